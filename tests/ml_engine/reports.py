"""Reports of fits whose numbers are known, written by the product's own writers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ml_engine.core.alignment.report import AffineErrors, AlignmentMeasures, KnownAffines, LandmarkResiduals
from ml_engine.core.version import FORMAT
from ml_engine.engine.reports import (
    AlignmentReport,
    BankSizes,
    CalibrationFilms,
    ControlKind,
    CoveringRadius,
    DetectorReport,
    MapThreshold,
    MaskShare,
    NegativeControls,
    PartCounts,
    TuneReport,
)

DRAWN = AffineErrors(
    displacement_median_px=8.5,
    displacement_p95_px=20.25,
    shift_median_px=7.125,
    angle_median_degrees=4.75,
    log_scale_median=0.062,
)
LEFT = AffineErrors(
    displacement_median_px=1.25,
    displacement_p95_px=3.375,
    shift_median_px=0.875,
    angle_median_degrees=0.625,
    log_scale_median=0.011,
)
KNOWN = KnownAffines(films=5, before=DRAWN, after=LEFT)
LANDMARKS = LandmarkResiduals(
    films=8, aligned=7, residual_median_px=2.345, residual_p95_px=3.456, residual_most_px=4.567
)


def alignment_measures(**changes: Any) -> AlignmentMeasures:
    """Of 8 films that an alignment brought closer; an eighth of them is flagged."""
    plain = AlignmentMeasures(
        films=8,
        ncc_before=0.5,
        ncc_after=0.75,
        ssim_before=0.3,
        ssim_after=0.6,
        stack_variance_before=0.02,
        stack_variance_after=0.01,
        share_determinant_not_positive=0.0,
        share_scale_outside=0.0,
        share_valid_area_below=0.125,
        share_flagged=0.125,
    )
    return replace(plain, **changes)


def alignment_report(**changes: Any) -> AlignmentReport:
    plain = AlignmentReport(
        format=FORMAT,
        weights={"name": "random", "sha256": None},
        config={},
        measures=alignment_measures(),
        part="fit",
        films=8,
        flagged=[3],
        unreadable={},
    )
    return replace(plain, **changes)


def detector_report(**changes: Any) -> DetectorReport:
    """Of a PatchCore fitted on 8 films, with one of four cells empty."""
    plain = DetectorReport(
        format=FORMAT,
        weights={"name": "random", "sha256": None},
        code_version="test",
        config={},
        alignment_sha256=None,
        detector="patchcore",
        mask=MaskShare(share_kept=0.79, threshold=30.0),
        bank=BankSizes(whole=40, cells=[10, 0, 10, 10]),
        covering_radius=CoveringRadius(whole=[[1, 9.0], [40, 2.5]], cells=[None, None, None, None]),
        fusion_weight=0.6,
        fusion_source="tune",
        tune=TuneReport(films=9, abnormal=4),
        calibration=CalibrationFilms(source="calibrate", films=6),
        threshold=MapThreshold(kind="percentile", value=2.5, note=""),
        parts=PartCounts(fit=8, tune=9, calibrate=6),
        flagged=[],
        unreadable={},
    )
    return replace(plain, **changes)


def negative_controls(**flagged: int) -> NegativeControls:
    """Of 40 films of each kind at a rate of 10 %: the numbers that are flagged by kind."""
    kinds = [
        ControlKind(
            kind=kind, films=40, flagged=count, low=0.01, high=0.45, unaligned=2, mean_change=1.25, top_change=-0.5
        )
        for kind, count in flagged.items()
    ]
    return NegativeControls(part="calibrate", rate=0.1, kinds=kinds)
