"""The report (`DetectorReport`) of a fitted detector, which its page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.bank.detectors import Model
from ml_engine.core.bank.memory_bank import Banks
from ml_engine.core.bank.nearest_films import Gallery
from ml_engine.core.bank.padim import Padim
from ml_engine.core.detector import pipeline
from ml_engine.core.detector.pipeline import FittedDetector
from ml_engine.core.detector_kinds import KINDS
from ml_engine.core.score import fusion
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine.reports import (
    BankSizes,
    CalibrationFilms,
    ChosenSettings,
    CoveringRadius,
    DetectorReport,
    GallerySizes,
    GaussianSizes,
    MapThreshold,
    MaskShare,
    NegativeControls,
    NestedAuroc,
    PartCounts,
    SuspectFilm,
    TriedAlternative,
    TuneReport,
)

CURVE_POINTS = 100


def describe(
    detector: FittedDetector,
    *,
    parts: PartCounts,
    flagged: Sequence[int],
    unreadable: Mapping[str, str],
    suspects: Sequence[SuspectFilm] = (),
    controls: NegativeControls | None = None,
    by_hand: Sequence[int] = (),
) -> DetectorReport:
    """The detector's report. The other arguments, which come from its run, are described in `DetectorReport`."""
    model, config = detector.model, detector.config
    return DetectorReport(
        format=FORMAT,
        weights=detector.weights,
        code_version=code_version(),
        config=config.to_json(),
        alignment_sha256=detector.alignment_sha256,
        detector=config.detector,
        about=KINDS[config.detector].note,
        note=detector.note,
        mask=MaskShare(share_kept=detector.mask.share, threshold=detector.mask.threshold),
        bank=_bank_sizes(model) if isinstance(model, Banks) else None,
        padim=GaussianSizes(places=len(model.mean), dimensions=len(model.dimensions))
        if isinstance(model, Padim)
        else None,
        gallery=_gallery_sizes(model),
        covering_radius=_radii(model) if isinstance(model, Banks) else None,
        fusion_weight=detector.choice.weight,
        fusion_source=detector.choice.source,
        tune=_tune(detector),
        calibration=CalibrationFilms(source=detector.calibration.source, films=len(detector.calibration.maps)),
        threshold=MapThreshold(**pipeline.threshold(detector)),
        parts=parts,
        flagged=flagged,
        unreadable=unreadable,
        suspects=suspects,
        controls=controls,
        by_hand=by_hand or None,
    )


def _bank_sizes(banks: Banks) -> BankSizes:
    cells = [0 if bank is None else len(bank.vectors) for bank in banks.cells]
    return BankSizes(whole=len(banks.whole.vectors), cells=cells)


def _gallery_sizes(model: Model) -> GallerySizes | None:
    if not isinstance(model, Gallery):
        return None
    return GallerySizes(films=len(model.films), patches=model.patches.shape[0] * model.patches.shape[1])


def _tune(detector: FittedDetector) -> TuneReport:
    choice, configured = detector.choice, detector.configured
    return TuneReport(
        films=choice.films,
        abnormal=choice.abnormal,
        weights=[round(float(w), 2) for w in fusion.WEIGHTS] if choice.aurocs else [],
        auroc=list(choice.aurocs),
        asked=ChosenSettings(**configured),
        chosen=ChosenSettings(**{name: getattr(detector.config, name) for name in configured}),
        table=[TriedAlternative(**alternative) for alternative in choice.table],
        nested=NestedAuroc(**asdict(choice.nested)) if choice.nested else None,
        nested_note=choice.note,
    )


def _radii(banks: Banks) -> CoveringRadius:
    """The covering radius after each pick of the k-centre selection, thinned by `curve`."""
    cells = [None if bank is None else curve(bank.radius) for bank in banks.cells]
    return CoveringRadius(whole=curve(banks.whole.radius), cells=cells)


def curve(radius: NDArray[np.float64]) -> list[list[float]]:
    """At most `CURVE_POINTS` pairs (picks, covering radius), with the first and last that are known: those at geometric
    intervals where all are known, as in detectors of an earlier version."""
    known = np.flatnonzero(np.isfinite(radius))
    if len(known) > CURVE_POINTS:
        known = known[np.unique(np.geomspace(1, len(known), CURVE_POINTS).round().astype(int)) - 1]
    return [[int(position) + 1, float(radius[position])] for position in known]
