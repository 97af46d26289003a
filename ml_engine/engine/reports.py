"""The reports of fits as types, which write, check and load alignment.json and detector.json.

No other code knows the keys of these files. Does not import torch, for the portal's web processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ml_engine.core import files
from ml_engine.core.alignment.report import FIT_AGAIN, AlignmentMeasures
from ml_engine.core.detector_kinds import KINDS
from ml_engine.core.errors import EngineError
from ml_engine.core.json_objects import OPTIONAL, called, from_json, to_json
from ml_engine.engine.manifest import ManifestRow

ALIGNMENT, DETECTOR = "alignment.json", "detector.json"
FIT_DETECTOR_AGAIN = "fit the detector again"
TOLERANCE = 0.05  # share of flagged controls above the promised one from which a detector's page warns
T = TypeVar("T")


class ReportMissing(EngineError):
    """The file of a report is missing or damaged."""


# --- an alignment -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PicturePair:
    """A picture before and after alignment, by file names in pictures/. ``name`` is mean, variance, or worst or middle
    with a number. A pair of one film also has its ``row`` and its NCC with the canonical image, in [-1, 1]."""

    name: str
    before: str
    after: str
    row: int | None = field(default=None, metadata=OPTIONAL)
    ncc_before: float | None = field(default=None, metadata=OPTIONAL)
    ncc_after: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class FilmResidual:
    """A film of an alignment by landmarks: its residual (root mean square) in canonical pixels, or None with the reason
    why its landmarks do not align it."""

    row: int
    residual_px: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class AlignmentReport:
    """alignment.json. The alignment was fitted on ``films`` films of ``part``. ``flagged`` are the rows whose affine
    failed a check, ``unreadable`` is row -> reason. ``landmarks`` lists the readable films of an alignment by
    landmarks."""

    format: int
    weights: Mapping[str, Any]
    config: Mapping[str, Any]
    measures: AlignmentMeasures = field(metadata=called("report"))
    part: str
    films: int
    flagged: Sequence[int]
    unreadable: Mapping[str, str]
    pictures: Sequence[str] = ()
    pairs: Sequence[PicturePair] = ()
    landmarks: Sequence[FilmResidual] | None = field(default=None, metadata=OPTIONAL)

    def to_json(self) -> dict[str, Any]:
        return dict(to_json(self))

    @classmethod
    def from_json(cls, values: Any) -> AlignmentReport:
        """Raises IncompleteJson."""
        return from_json(cls, values, source=ALIGNMENT, advice=FIT_AGAIN)

    def write(self, folder: Path) -> None:
        files.write_json(folder / ALIGNMENT, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> AlignmentReport:
        """Raises ReportMissing, IncompleteJson."""
        return cls.from_json(_load(folder / ALIGNMENT, FIT_AGAIN))


@dataclass(frozen=True, kw_only=True)
class StudyAlignment:
    """An alignment in the summary of an ablation or a sweep: the settings that it changes, and its measures, or None
    with the reason why it was refused."""

    changes: Mapping[str, str]
    refused: str
    measures: AlignmentMeasures | None = field(metadata=called("report"))

    def to_json(self) -> dict[str, Any]:
        return dict(to_json(self))

    @classmethod
    def from_json(cls, values: Any) -> StudyAlignment:
        """Raises IncompleteJson."""
        return from_json(cls, values, source="The summary of an alignment", advice="run the study again")


# --- a detector -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class BankSizes:
    """The number of patches in PatchCore's global bank and in each cell's region bank, 0 for a cell without one."""

    whole: int = field(metadata=called("global"))
    cells: Sequence[int]

    @property
    def filled(self) -> int:
        """Cells with a bank."""
        return sum(size > 0 for size in self.cells)

    @property
    def patches(self) -> int:
        """Patches in all region banks."""
        return sum(self.cells)


@dataclass(frozen=True, kw_only=True)
class GaussianSizes:
    """PaDiM: the number of patch positions, each with a Gaussian, and the number of feature dimensions it uses."""

    places: int
    dimensions: int


@dataclass(frozen=True, kw_only=True)
class GallerySizes:
    """DN2 and SPADE: the number of films, and of their patches; DN2 has no patches."""

    films: int
    patches: int


@dataclass(frozen=True, kw_only=True)
class MaskShare:
    """The hard mask: the share of patches that it keeps, in [0, 1], and the gray value of the mean film, from 0 to 255,
    above which it keeps pixels."""

    share_kept: float
    threshold: float


@dataclass(frozen=True, kw_only=True)
class CoveringRadius:
    """Thinned pairs (patches picked, largest L2 distance of a patch to the bank) for the global bank and each cell's
    region bank, None for a cell without one."""

    whole: Sequence[Sequence[float]] = field(metadata=called("global"))
    cells: Sequence[Sequence[Sequence[float]] | None]


@dataclass(frozen=True, kw_only=True)
class NestedAuroc:
    """The AUROC in [0, 1] on tune films held out from the choice of settings, with its 95 % interval, and the number of
    patient folds."""

    auroc: float
    low: float
    high: float
    folds: int
    method: str = "pooled"  # from engines before 0.3.0, see `model_selection.Nested`

    @property
    def sentence(self) -> str:
        """The AUROC to quote for tune, and how it was estimated."""
        numbers = f"{self.auroc:.3f} ({self.low:.3f}–{self.high:.3f})"
        if self.method == "pooled":
            return (
                f"AUROC of the selection procedure, by release 0.2.0: {numbers}, the scores of {self.folds} folds of "
                "patients ranked together; its interval does not select again. Fit again for one that does."
            )
        return (
            f"AUROC of the selection procedure: {numbers}, averaged within {self.folds} folds of patients, each scored "
            "by what the other folds select."
        )


@dataclass(frozen=True, kw_only=True)
class TriedAlternative:
    """Settings tried on tune, with their best fusion weight and its AUROC, both in [0, 1]."""

    rate: float
    neighbours: int
    top_share: float
    weight: float
    auroc: float
    image_score: str = ""  # blank from engines before 0.3.0


@dataclass(frozen=True, kw_only=True)
class ChosenSettings:
    """The share of patches kept in a bank, the number of nearest neighbours, the kind of film score, and its share of
    highest patches. None for a detector fitted before they could be chosen."""

    rate: float | None = field(default=None, metadata=OPTIONAL)
    neighbours: int | None = field(default=None, metadata=OPTIONAL)
    image_score: str | None = field(default=None, metadata=OPTIONAL)
    top_share: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class TuneReport:
    """The choice of settings on ``films`` tune films, ``abnormal`` of them abnormal. ``auroc`` in [0, 1] is at each
    fusion weight of ``weights``; both are empty if nothing was chosen. ``asked`` are the configured settings.
    ``nested`` is None if it cannot be computed, with the reason in ``nested_note``, or if nothing was chosen."""

    films: int
    abnormal: int
    weights: Sequence[float] = ()
    auroc: Sequence[float] = ()
    asked: ChosenSettings = ChosenSettings()
    chosen: ChosenSettings = ChosenSettings()
    table: Sequence[TriedAlternative] = ()
    nested: NestedAuroc | None = None
    nested_note: str = ""


@dataclass(frozen=True, kw_only=True)
class CalibrationFilms:
    """The number of normal films that calibrated the detector, and their source: calibrate, or folds of fit in
    words."""

    source: str
    films: int


@dataclass(frozen=True, kw_only=True)
class MapThreshold:
    """The threshold of the fused map, in the map's unit; ``kind`` is film or percentile. ``value`` is None, with the
    reason in ``note``, if there were too few calibration films. Kind film also has the requested false-alarm ``rate``,
    the number of calibration ``patients``, and the ``expected`` rate with its 95 % interval, all rates in [0, 1]; these
    three are None where nothing can be promised, as for cross-fitted scores."""

    kind: str
    value: float | None
    note: str
    rate: float | None = field(default=None, metadata=OPTIONAL)
    patients: int | None = field(default=None, metadata=OPTIONAL)
    expected: float | None = field(default=None, metadata=OPTIONAL)
    low: float | None = field(default=None, metadata=OPTIONAL)
    high: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class SuspectFilm:
    """A fit film that models of the other patients score high. ``image`` is its id in the portal, blank for a run of
    the command line; ``p_value`` in [0, 1] is among the fit films."""

    image: str
    filename: str
    fused: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class ControlKind:
    """Normal films changed harmlessly in one way, or ``unchanged``: how many there are, how many are ``flagged``, that
    share's 95 % interval by Wilson from ``low`` to ``high``, and how many the checks of the alignment refuse.
    ``mean_change`` and ``top_change`` are the mean changes of the two standardised parts of the film score: the mean of
    all patches, and that of the highest 1 %. They are None where the parts cannot be standardised."""

    kind: str
    films: int
    flagged: int
    low: float
    high: float
    unaligned: int
    mean_change: float | None
    top_change: float | None

    @property
    def share(self) -> float:
        return self.flagged / self.films


@dataclass(frozen=True, kw_only=True)
class NegativeControls:
    """Held-out normal films of ``part``, changed harmlessly and scored as new films. A detector that keeps its promise
    flags at most the share ``rate`` of them. Without ``kinds``, ``note`` gives the reason."""

    part: str
    rate: float
    kinds: Sequence[ControlKind] = ()
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return dict(to_json(self))

    @classmethod
    def from_json(cls, values: Any) -> NegativeControls:
        """Raises IncompleteJson."""
        return from_json(cls, values, source="The summary of the negative controls", advice=FIT_DETECTOR_AGAIN)

    @property
    def too_often(self) -> list[ControlKind]:
        """The kinds of which more than `TOLERANCE` above the promised share is flagged."""
        return [kind for kind in self.kinds if kind.share > self.rate + TOLERANCE + 1e-9]


@dataclass(frozen=True, kw_only=True)
class PartCounts:
    """The number of films in each part of a detector fit."""

    fit: int
    tune: int
    calibrate: int

    @classmethod
    def of(cls, rows: Iterable[ManifestRow]) -> PartCounts:
        counts = Counter(row.part for row in rows)
        return cls(fit=counts["fit"], tune=counts["tune"], calibrate=counts["calibrate"])


@dataclass(frozen=True, kw_only=True)
class DetectorReport:
    """detector.json. The kind of ``detector`` determines which of ``bank``, ``padim`` and ``gallery`` is set. ``about``
    describes the kind; ``note`` states a change that was made without the original films. ``fusion_weight`` is in [0,
    1], from tune or config. ``flagged`` are the rows whose alignment is doubtful, ``unreadable`` is row -> reason,
    ``suspects`` are the least normal fit films, highest score first. ``controls`` is None where none were asked for.
    ``by_hand`` are the rows that a person aligned on the alignment board, None where there are none."""

    format: int
    weights: Mapping[str, Any]
    code_version: str
    config: Mapping[str, Any]
    alignment_sha256: str | None
    detector: str
    mask: MaskShare
    fusion_weight: float
    fusion_source: str
    tune: TuneReport
    calibration: CalibrationFilms
    parts: PartCounts
    flagged: Sequence[int]
    unreadable: Mapping[str, str]
    bank: BankSizes | None = field(default=None, metadata=OPTIONAL)
    padim: GaussianSizes | None = field(default=None, metadata=OPTIONAL)
    gallery: GallerySizes | None = field(default=None, metadata=OPTIONAL)
    about: str = ""
    note: str = ""
    covering_radius: CoveringRadius | None = None
    threshold: MapThreshold | None = None
    suspects: Sequence[SuspectFilm] = ()
    controls: NegativeControls | None = field(default=None, metadata=OPTIONAL)
    by_hand: Sequence[int] | None = field(default=None, metadata=OPTIONAL)

    def to_json(self) -> dict[str, Any]:
        return dict(to_json(self))

    @classmethod
    def from_json(cls, values: Any) -> DetectorReport:
        """Raises IncompleteJson."""
        return from_json(cls, values, source=DETECTOR, advice=FIT_DETECTOR_AGAIN)

    def write(self, folder: Path) -> None:
        files.write_json(folder / DETECTOR, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> DetectorReport:
        """Raises ReportMissing, IncompleteJson."""
        return cls.from_json(_load(folder / DETECTOR, FIT_DETECTOR_AGAIN))

    @property
    def detector_words(self) -> str:
        return KINDS[self.detector].words

    @property
    def sizes_in_words(self) -> str:
        """The size of a detector other than PatchCore; empty for PatchCore."""
        if self.padim:
            return f"{self.padim.places} Gaussians in {self.padim.dimensions} dimensions"
        if self.gallery:
            patches = f", {self.gallery.patches} patches" if self.gallery.patches else ""
            return f"{self.gallery.films} films{patches}"
        return ""

    @property
    def last_radius(self) -> float | None:
        """The covering radius of the complete global bank; None if unknown."""
        curve = self.covering_radius.whole if self.covering_radius else ()
        return float(curve[-1][1]) if curve else None

    @property
    def chosen_auroc(self) -> float | None:
        """The AUROC on tune at the fusion weight that was chosen there; None if none was chosen."""
        aurocs = self.tune.auroc
        return float(aurocs[round(self.fusion_weight * 100)]) if aurocs else None


def _load(path: Path, advice: str) -> Any:
    try:
        return files.read_json(path)
    except (OSError, ValueError) as error:
        raise ReportMissing(f"{path.name} is missing or damaged: {advice}.") from error
