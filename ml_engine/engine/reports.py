"""What fits report, as types that write, check and read alignment.json and detector.json, and the rows that keep them.

Nobody else names what these files hold. No torch: the portal's web processes read them.
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
T = TypeVar("T")


class ReportMissing(EngineError):
    """The file of a report is missing or damaged."""


# --- an alignment -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PicturePair:
    """Two pictures of the folder pictures/, by file name. ``name`` is mean, variance, or worst or middle and a number;
    of a film also its ``row`` and its NCC to the canonical image, in [-1, 1]."""

    name: str
    before: str
    after: str
    row: int | None = field(default=None, metadata=OPTIONAL)
    ncc_before: float | None = field(default=None, metadata=OPTIONAL)
    ncc_after: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class FilmResidual:
    """A film aligned by landmarks: its residual (root mean square) in canonical pixels, or the reason why its landmarks
    do not align it, blank otherwise."""

    row: int
    residual_px: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class AlignmentReport:
    """alignment.json. ``films`` of ``part`` fitted it; ``flagged`` are the rows whose affine failed a check,
    ``unreadable`` is row -> sentence; ``landmarks`` has each readable film of an alignment by landmarks."""

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
        return cls.from_json(_read(folder / ALIGNMENT, FIT_AGAIN))


@dataclass(frozen=True, kw_only=True)
class StudyAlignment:
    """An alignment of a run of many detectors, in that run's summary: the settings that it changes, the reason why it
    was refused, blank otherwise, and what was measured of it, None where it was refused."""

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
    """Patches in PatchCore's global bank and in each cell's region bank; 0 where a cell has none."""

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
    """PaDiM: a Gaussian a patch place, over so many of the features."""

    places: int
    dimensions: int


@dataclass(frozen=True, kw_only=True)
class GallerySizes:
    """DN2 and SPADE: films kept, and the patches of all of them; DN2 keeps none."""

    films: int
    patches: int


@dataclass(frozen=True, kw_only=True)
class MaskShare:
    """The hard mask: the share of patches that it keeps, in [0, 1], and the gray value of the mean film, from 0 to 255,
    that it keeps pixels above."""

    share_kept: float
    threshold: float


@dataclass(frozen=True, kw_only=True)
class CoveringRadius:
    """Pairs (patches picked, largest L2 distance of a patch to the bank), thinned; of the global bank and of each
    cell's, None where it has no bank."""

    whole: Sequence[Sequence[float]] = field(metadata=called("global"))
    cells: Sequence[Sequence[Sequence[float]] | None]


@dataclass(frozen=True, kw_only=True)
class NestedAuroc:
    """The AUROC in [0, 1] of films held out from the choosing on tune, with its 95 % interval, and the folds of
    patients."""

    auroc: float
    low: float
    high: float
    folds: int


@dataclass(frozen=True, kw_only=True)
class TriedAlternative:
    """An alternative tried on tune, with its best fusion weight and the AUROC there, both in [0, 1]."""

    rate: float
    neighbours: int
    top_share: float
    weight: float
    auroc: float


@dataclass(frozen=True, kw_only=True)
class ChosenSettings:
    """The share of patches kept, the nearest neighbours taken, and the share of highest patches that make a score; none
    of them of a detector that was fitted before they could be chosen."""

    rate: float | None = field(default=None, metadata=OPTIONAL)
    neighbours: int | None = field(default=None, metadata=OPTIONAL)
    top_share: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class TuneReport:
    """What was chosen on tune, on ``films`` films, ``abnormal`` of them. ``auroc`` in [0, 1] at each fusion weight of
    ``weights``; both are empty where nothing was chosen. ``nested`` is None, with the reason in ``nested_note``, where
    it cannot be had, and without one where nothing was chosen."""

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
    """The normals that calibrated it: how many, and which: calibrate, or folds of fit in words."""

    source: str
    films: int


@dataclass(frozen=True, kw_only=True)
class MapThreshold:
    """Where the fused map is marked, in its own unit; ``kind`` film or percentile; None, with the reason in ``note``,
    where too few films calibrated it. Of kind film also the false-alarm ``rate`` asked for, and the one to expect with
    its 95 % interval, all in [0, 1]."""

    kind: str
    value: float | None
    note: str
    rate: float | None = field(default=None, metadata=OPTIONAL)
    expected: float | None = field(default=None, metadata=OPTIONAL)
    low: float | None = field(default=None, metadata=OPTIONAL)
    high: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class SuspectFilm:
    """A fit film that models of the other patients find abnormal. ``image`` is its address in the portal, blank for a
    run of the command line; ``p_value`` in [0, 1] among the fit films."""

    image: str
    filename: str
    fused: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class PartCounts:
    """Films of each part that a detector is fitted with."""

    fit: int
    tune: int
    calibrate: int

    @classmethod
    def of(cls, rows: Iterable[ManifestRow]) -> PartCounts:
        counts = Counter(row.part for row in rows)
        return cls(fit=counts["fit"], tune=counts["tune"], calibrate=counts["calibrate"])


@dataclass(frozen=True, kw_only=True)
class DetectorReport:
    """detector.json. One of ``bank``, ``padim`` and ``gallery`` is there, by the kind of ``detector``; ``about`` is a
    sentence on the kind, ``note`` says how it was changed without the films it was fitted on. ``fusion_weight`` in
    [0, 1], from tune or config. ``flagged`` are rows whose alignment is doubtful, ``unreadable`` row -> sentence,
    ``suspects`` the least normal fit films, highest score first."""

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
        return cls.from_json(_read(folder / DETECTOR, FIT_DETECTOR_AGAIN))

    @property
    def detector_words(self) -> str:
        return KINDS[self.detector].words

    @property
    def sizes_in_words(self) -> str:
        """What a detector beside PatchCore keeps; empty where nothing is counted."""
        if self.padim:
            return f"{self.padim.places} Gaussians in {self.padim.dimensions} dimensions"
        if self.gallery:
            patches = f", {self.gallery.patches} patches" if self.gallery.patches else ""
            return f"{self.gallery.films} films{patches}"
        return ""

    @property
    def last_radius(self) -> float | None:
        """The covering radius of the whole global bank; None where it is not known."""
        curve = self.covering_radius.whole if self.covering_radius else ()
        return float(curve[-1][1]) if curve else None

    @property
    def chosen_auroc(self) -> float | None:
        """The AUROC of tune at the fusion weight that was chosen on it; None where none was."""
        aurocs = self.tune.auroc
        return float(aurocs[round(self.fusion_weight * 100)]) if aurocs else None


def _read(path: Path, advice: str) -> Any:
    try:
        return files.read_json(path)
    except (OSError, ValueError) as error:
        raise ReportMissing(f"{path.name} is missing or damaged: {advice}.") from error
