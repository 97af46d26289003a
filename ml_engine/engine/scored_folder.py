"""The results of a scoring run as one type, which writes, checks and opens the files of a scored folder.

| file | content, for N films in the order of images.csv |
|---|---|
| scores.csv | one line per film: name, global, region and fused score, `mean_z`, `top_z`, reason why it is unreadable |
| maps.npy | float32 (N, 2, h, w), raw patch scores, channel 0 global and 1 region; NaN where masked or unreadable |
| affines.npy | float64 (N, 2, 3), `original_from_canonical` in pixels; NaN where unreadable |
| sweep.npy | float32 (N, 101), the fused score at the fusion weights 0, 0.01 ... 1 |
| parts.npy | float32 (N, 2, 101), `mean_z` and `top_z` at these weights: the mean of all patches and of the highest |
|           | 1 %, standardised by the calibration normals |
| family.npy | float32 (N, 6, 101), the scores `film_scores.FAMILY` at these weights |
| p_values.npy | float64 (N,), p-value of the fused score among the calibration normals |
| trivial.npy | float64 (N, 3), `core.film.trivial.NAMES` |
| aligned.npy | float64 (N, 5), `core.alignment.columns.NAMES`; only if a network aligned the films |
| score.json | `ScoreSummary` |
| semi_supervised.npy | float64 (N, 5), `SEMI_SUPERVISED`; this and the next two only if the run had a head |
| semi_supervised_maps.npy | float32 (N, h, w), each patch's contribution to the head's logit, on the grid of maps.npy |
| semi_supervised.json | `SemiSupervisedSummary` |

No other code opens these files by name. Does not import torch, for the portal's web processes.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.backbone.weights import RANDOM_NOTICE
from ml_engine.core.errors import EngineError
from ml_engine.core.score import fusion
from ml_engine.engine import manifest
from ml_engine.engine.heatmap import Heatmap

if TYPE_CHECKING:
    from ml_engine.core.detector.pipeline import Scores

ArrayName = Literal[
    "maps",
    "original_from_canonical",
    "sweep",
    "parts",
    "family",
    "p_values",
    "trivial",
    "alignment_quality",
    "semi_supervised",
    "semi_supervised_maps",
]
ARRAYS: dict[ArrayName, str] = {
    "maps": "maps.npy",
    "original_from_canonical": "affines.npy",
    "sweep": "sweep.npy",
    "parts": "parts.npy",
    "family": "family.npy",
    "p_values": "p_values.npy",
    "trivial": "trivial.npy",
    "alignment_quality": "aligned.npy",
    "semi_supervised": "semi_supervised.npy",
    "semi_supervised_maps": "semi_supervised_maps.npy",
}
SCORES, SUMMARY, SEMI_SUPERVISED_SUMMARY = "scores.csv", "score.json", "semi_supervised.json"
SEMI_SUPERVISED = (
    "one_class_z",
    "semi_supervised_head",
    "semi_supervised_head_z",
    "semi_supervised_combined",
    "semi_supervised_p_value",
)
ERASED = "erased"  # the name of a film that was erased
COLUMNS = ("filename", "global", "region", "fused", "mean_z", "top_z", "error")


class ResultsMissing(EngineError):
    """A file of a scored folder is missing, damaged, or does not belong to the others."""


@dataclass(frozen=True, kw_only=True)
class ScoreSummary:
    """score.json: the settings needed to interpret the scores, and the calibration normals that they are compared with.
    Patch maps have ``rows`` x ``columns`` patches of ``stride`` pixels on canonical films of side ``size``.
    ``standardisation`` holds ``mean`` and ``std``, one number per map or per patch, or is None.
    ``calibration_scores`` are the calibration normals' fused scores in ascending order, ``calibration_patients`` the
    number of each one's patient and ``calibration_order`` its place among the calibration films of the detector.
    ``threshold_map`` is the threshold of the fused map, None if there were too few calibration films. ``flagged`` are
    the rows whose alignment is doubtful, ``by_hand`` those that a person aligned on the alignment board,
    ``unreadable`` is row -> reason."""

    format: int
    code_version: str
    weights: Mapping[str, Any]
    detector_sha256: str | None
    alignment_sha256: str | None
    note: str
    fusion_weight: float
    fusion_source: str
    standardisation: Mapping[str, Any] | None
    size: int
    stride: int
    rows: int
    columns: int
    image_score: str
    top_share: float
    distance: str
    neighbours: int
    calibration_source: str
    calibration_scores: Sequence[float]
    threshold: Mapping[str, Any]
    threshold_map: float | None
    unreadable: Mapping[str, str]
    flagged: Sequence[int] | None = None  # None if an engine before 0.1.0 scored the films
    calibration_patients: Sequence[int] | None = None  # None from an engine before 0.3.0, or of its detector
    calibration_order: Sequence[int] | None = None  # None from an engine before 0.3.0
    by_hand: Sequence[int] = ()  # empty from an engine before 0.4.0, too

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> ScoreSummary:
        """Raises ResultsMissing if a field is missing. Ignores names that a later release added."""
        missing = [field.name for field in fields(cls) if field.default is MISSING and field.name not in facts]
        if missing:
            raise ResultsMissing(f"{SUMMARY} does not hold {', '.join(missing)}: score the films again.")
        return cls(**{field.name: facts[field.name] for field in fields(cls) if field.name in facts})

    @property
    def scale(self) -> tuple[float, float]:
        """The ends of the colour scale, the same for every film of the run: from 0 to twice the threshold, so that the
        threshold is its middle; from 0 to 2 if the threshold is missing or not positive."""
        threshold = self.threshold_map
        return 0.0, 2 * float(threshold) if threshold and threshold > 0 else 2.0

    @cached_property
    def mean(self) -> NDArray[np.float32] | None:
        """(2, h, w), or (2, 1, 1) for one number per map; None if maps are not standardised."""
        return _by_patch(self.standardisation["mean"]) if self.standardisation else None

    @cached_property
    def std(self) -> NDArray[np.float32] | None:
        """As `mean`."""
        return _by_patch(self.standardisation["std"]) if self.standardisation else None


@dataclass(frozen=True, kw_only=True)
class SemiSupervisedSummary:
    """semi_supervised.json: the head that scored beside the detector, and what is needed to interpret its scores.

    ``intercept`` and the sum of a film's contributions make its logit. ``facts`` say what the head was fitted on.
    ``calibration_combined`` are the calibration normals' combined scores in ascending order, each standardised by those
    of other patients; ``calibration_patients`` and ``calibration_order`` are as in `ScoreSummary`."""

    format: int
    kind: str
    head_sha256: str
    detector_sha256: str
    penalty: float
    intercept: float
    facts: Mapping[str, Any]
    calibration_combined: Sequence[float]
    calibration_patients: Sequence[int] | None
    calibration_order: Sequence[int]


@dataclass(frozen=True)
class SemiSupervised:
    """The scores of a head: ``columns`` float64 (N, 5), `SEMI_SUPERVISED`, NaN where unreadable. The combined score is
    the sum of ``one_class_z`` and ``semi_supervised_head_z``, both standardised by the calibration normals; the p-value
    is its conformal one among them."""

    columns: NDArray[np.float64]
    summary: SemiSupervisedSummary


def _by_patch(values: Any) -> NDArray[np.float32]:
    array = np.asarray(values, dtype=np.float32)
    return array.reshape(array.shape + (1,) * (3 - array.ndim))


@dataclass(frozen=True)
class FilmScore:
    """A line of scores.csv. Scores are NaN if the film could not be read; ``error`` is the reason, or blank. ``image``
    is the film's id in the portal, blank for a run of the command line. ``mean_z`` and ``top_z`` are the film's parts
    at the run's fusion weight, see parts.npy; NaN from engines before 0.3.0."""

    image: str
    filename: str
    whole: float
    region: float
    fused: float
    mean_z: float
    top_z: float
    error: str


@dataclass(frozen=True)
class ScoredFolder:
    """The scored folder at ``path``. Opening a file that is missing or damaged raises ResultsMissing."""

    path: Path

    # --- writing ------------------------------------------------------------------------------------

    def write_scores(
        self,
        rows: Sequence[manifest.ManifestRow],
        errors: Mapping[int, str],
        scores: Scores,
        *,
        weight: float,
        beside: SemiSupervised | None = None,
        random_weights: bool = False,
    ) -> None:
        """Write scores.csv, sweep.npy, parts.npy and family.npy: the ``scores`` of the films of ``rows`` at the fusion
        ``weight``, and the ``errors`` by row. The column ``image`` is written if the manifest has it, and those of
        `SEMI_SUPERVISED` last if there are scores ``beside`` the detector's. With ``random_weights``, each line says so
        in a column ``notice`` after all others."""
        with_image = any(row.image for row in rows)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        more = list(SEMI_SUPERVISED) if beside else []
        notice = [RANDOM_NOTICE] if random_weights else []
        writer.writerow((["image"] if with_image else []) + list(COLUMNS) + more + ["notice"] * len(notice))
        for k, row in enumerate(rows):
            parts = scores.parts[k, :, round(weight * 100)]
            values = [_text(value) for value in (scores.whole[k], scores.region[k], scores.fused[k], *parts)]
            added = [_text(value) for value in beside.columns[k].tolist()] if beside else []
            line = [row.filename, *values, errors.get(k, ""), *added, *notice]
            writer.writerow(([row.image] if with_image else []) + line)
        self.write_array("sweep", scores.sweep)
        self.write_array("parts", scores.parts)
        self.write_array("family", scores.family)
        files.write_bytes(self.path / SCORES, text.getvalue().encode())

    def write_array(self, name: ArrayName, array: NDArray[Any]) -> None:
        files.write_npy(self.path / ARRAYS[name], array)

    def take_maps(self, source: Path) -> None:
        """Link or copy the file ``source``, which holds the maps, to maps.npy."""
        files.link_or_copy(source, self.path / ARRAYS["maps"])

    def write_semi_supervised(self, beside: SemiSupervised, maps: Path) -> None:
        """Write semi_supervised.npy and semi_supervised.json, and link or copy the file ``maps``, the head's."""
        self.write_array("semi_supervised", beside.columns)
        files.link_or_copy(maps, self.path / ARRAYS["semi_supervised_maps"])
        files.write_json(self.path / SEMI_SUPERVISED_SUMMARY, asdict(beside.summary))

    def write_summary(self, summary: ScoreSummary) -> None:
        files.write_json(self.path / SUMMARY, summary.to_json())

    # --- forgetting ---------------------------------------------------------------------------------

    def forget(self, images: Collection[str]) -> None:
        """Blank the films with these ids, who keep their rows: NaN in every array, and no name in scores.csv and
        images.csv. Raises ResultsMissing and InvalidManifest."""
        rows = [row for row, film in enumerate(self.films) if film.image in images]
        for name, file in ARRAYS.items():
            if rows and (self.path / file).is_file():
                array = np.array(self.array(name))
                array[rows] = np.nan
                self.write_array(name, array)
        self._write_forgotten(set(rows))
        if (self.path / "images.csv").is_file():
            self._forget_listed(images)

    def _forget_listed(self, images: Collection[str]) -> None:
        listed = manifest.read(self.path / "images.csv")
        blank = {"image": "", "sha256": "", "patient": "", "label": ""}
        kept = [
            replace(row, filename=f"{ERASED}-{at}", **blank) if row.image in images else row
            for at, row in enumerate(listed)
        ]
        manifest.write(self.path / "images.csv", kept, with_labels=any(row.label for row in listed))

    def _write_forgotten(self, rows: set[int]) -> None:
        with (self.path / SCORES).open(encoding="utf-8", newline="") as file:
            header, *lines = list(csv.reader(file))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        blank = {"image": "", "error": ERASED}
        for row, line in enumerate(lines):
            if row in rows:
                named = blank | {"filename": f"{ERASED}-{row}", "notice": line[-1]}
                line = [named.get(column, "nan") for column in header]
            writer.writerow(line)
        files.write_bytes(self.path / SCORES, text.getvalue().encode())

    @staticmethod
    def file_names() -> set[str]:
        """The names of the files of a scored folder, beside the list of its films."""
        return {*ARRAYS.values(), SCORES, SUMMARY, SEMI_SUPERVISED_SUMMARY}

    # --- checking -----------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises ResultsMissing unless the files exist and agree on the films and the grid."""
        count, summary = len(self.films), self.summary
        expected: dict[ArrayName, tuple[int, ...]] = {
            "maps": (count, 2, summary.rows, summary.columns),
            "original_from_canonical": (count, 2, 3),
            "sweep": (count, len(fusion.WEIGHTS)),
        }
        if self.is_semi_supervised:
            expected["semi_supervised"] = (count, len(SEMI_SUPERVISED))
            expected["semi_supervised_maps"] = (count, summary.rows, summary.columns)
        for name, shape in expected.items():
            if self.array(name).shape != shape:
                raise ResultsMissing(
                    f"{ARRAYS[name]} has the shape {self.array(name).shape}, and {count} films need {shape}: score "
                    "the films again."
                )

    # --- opening ------------------------------------------------------------------------------------

    @cached_property
    def summary(self) -> ScoreSummary:
        try:
            facts = files.read_json(self.path / SUMMARY)
        except (OSError, ValueError) as error:
            raise _missing(SUMMARY) from error
        return ScoreSummary.from_json(facts)

    @cached_property
    def films(self) -> list[FilmScore]:
        """The lines of scores.csv, in the order of the arrays."""
        try:
            with (self.path / SCORES).open(encoding="utf-8", newline="") as file:
                return [
                    FilmScore(
                        image=line.get("image", ""),
                        filename=line["filename"],
                        whole=float(line["global"]),
                        region=float(line["region"]),
                        fused=float(line["fused"]),
                        mean_z=float(line.get("mean_z", math.nan)),
                        top_z=float(line.get("top_z", math.nan)),
                        error=line["error"],
                    )
                    for line in csv.DictReader(file)
                ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _missing(SCORES) from error

    def array(self, name: ArrayName) -> NDArray[Any]:
        """The array, memory-mapped from its file."""
        if name not in self._opened:
            try:
                self._opened[name] = files.open_npy(self.path / ARRAYS[name])
            except (OSError, ValueError) as error:
                raise _missing(ARRAYS[name]) from error
        return self._opened[name]

    @cached_property
    def _opened(self) -> dict[ArrayName, NDArray[Any]]:
        return {}

    @property
    def sweep_written(self) -> int:
        """The time in nanoseconds at which the scores were written; it changes with the scores."""
        try:
            return (self.path / ARRAYS["sweep"]).stat().st_mtime_ns
        except OSError as error:
            raise _missing(ARRAYS["sweep"]) from error

    def check_there(self) -> None:
        """Raises ResultsMissing if score.json is missing, as when the run's files were deleted."""
        if not (self.path / SUMMARY).is_file():
            raise _missing(SUMMARY)

    @property
    def measures_films(self) -> bool:
        """Whether trivial.npy exists: older engines did not write it."""
        return (self.path / ARRAYS["trivial"]).is_file()

    @property
    def measures_alignment(self) -> bool:
        """Whether aligned.npy exists: only for films aligned by a network, and not from older engines."""
        return (self.path / ARRAYS["alignment_quality"]).is_file()

    @property
    def has_parts(self) -> bool:
        """Whether parts.npy and family.npy exist: engines before 0.3.0 did not write them."""
        return (self.path / ARRAYS["parts"]).is_file() and (self.path / ARRAYS["family"]).is_file()

    @property
    def is_semi_supervised(self) -> bool:
        """Whether a semi-supervised head scored the films beside the detector."""
        return (self.path / SEMI_SUPERVISED_SUMMARY).is_file()

    @cached_property
    def semi_supervised(self) -> SemiSupervised:
        """The scores of the head. Raises ResultsMissing without one."""
        try:
            facts = files.read_json(self.path / SEMI_SUPERVISED_SUMMARY)
            summary = SemiSupervisedSummary(**{name.name: facts[name.name] for name in fields(SemiSupervisedSummary)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _missing(SEMI_SUPERVISED_SUMMARY) from error
        return SemiSupervised(np.asarray(self.array("semi_supervised"), dtype=np.float64), summary)

    def contributions_of(self, row: int) -> NDArray[np.float32]:
        """What each patch of the film at ``row`` contributes to the head's logit, (h, w), NaN where masked, on the grid
        of `maps_of` and with its `affine_of`."""
        return np.asarray(self.array("semi_supervised_maps")[row], dtype=np.float32)

    def maps_of(self, row: int) -> NDArray[np.float32]:
        """The raw maps (2, h, w) of the film at ``row``, global and region, NaN where masked."""
        return np.asarray(self.array("maps")[row], dtype=np.float32)

    def affine_of(self, row: int) -> NDArray[np.float64]:
        """`original_from_canonical` (2, 3) of the film at ``row``, in pixels."""
        return np.asarray(self.array("original_from_canonical")[row], dtype=np.float64)

    def heatmap_of(self, row: int, *, weight: float | None = None) -> Heatmap:
        """The film's fused map with its alignment and colour scale. ``weight`` replaces the run's fusion weight."""
        summary = self.summary
        fusion_weight = summary.fusion_weight if weight is None else weight
        low, high = summary.scale
        standardised = fusion.standardised(self.maps_of(row)[None], summary.mean, summary.std)
        return Heatmap(
            fused=fusion.fuse(standardised, fusion_weight)[0],
            stride=summary.stride,
            original_from_canonical=self.affine_of(row),
            weight=fusion_weight,
            is_standardised=summary.standardisation is not None,
            low=low,
            high=high,
            threshold=summary.threshold_map,
        )


def _missing(name: str) -> ResultsMissing:
    return ResultsMissing(f"{name} is missing or damaged: score the films again.")


def _text(value: float) -> str:
    return "nan" if math.isnan(value) else repr(float(value))
