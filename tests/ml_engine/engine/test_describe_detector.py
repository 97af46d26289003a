"""The report of a fitted detector, for each kind of model, and after saving and loading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml_engine.core.bank import detectors, memory_bank
from ml_engine.core.bank.memory_bank import Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector import pipeline
from ml_engine.core.detector.pipeline import FittedDetector
from ml_engine.core.film.masking import HardMask
from ml_engine.core.score.model_selection import Choice, Nested
from ml_engine.engine.describe_detector import curve, describe
from ml_engine.engine.reports import (
    ChosenSettings,
    DetectorReport,
    GallerySizes,
    GaussianSizes,
    MapThreshold,
    MaskShare,
    NestedAuroc,
    PartCounts,
    TriedAlternative,
)

CONFIG = PipelineConfig.from_preset("default").replace(size=64, grid=2, rate=0.2, neighbours=3)
TRIED = {"rate": 0.2, "neighbours": 3, "top_share": 0.01, "weight": 0.25, "auroc": 0.75}


def detector(kind: str = "patchcore") -> FittedDetector:
    """Fitted on four films of 8 x 8 patches, with the first row masked."""
    config = CONFIG.replace(detector=kind)
    keep = np.ones((8, 8), dtype=bool)
    keep[0] = False
    places = memory_bank.places_of(keep)
    features = torch.randn(4 * len(places), 6, generator=torch.Generator().manual_seed(0))
    maps = np.random.default_rng(1).gamma(4, 1, (5, 2, 8, 8)).astype(np.float32)
    maps[:, :, ~keep] = np.nan
    return FittedDetector(
        config=config,
        mask=HardMask(keep, 10.5),
        model=detectors.fit_model(features, Source(places, torch.arange(4)), config),
        calibration=pipeline.calibrate(maps, source="calibrate", config=config),
        choice=Choice(0.25, "tune", tuple(np.linspace(0, 1, 101)), 9, 4, table=(TRIED,), note="Too few."),
        weights={"name": "random", "sha256": None},
        alignment_sha256=None,
        code_version="1",
        configured={"rate": 0.1, "neighbours": 1, "top_share": 0.01},
    )


def described(fitted: FittedDetector) -> DetectorReport:
    return describe(
        fitted, parts=PartCounts(fit=4, tune=9, calibrate=5), flagged=[1], unreadable={"2": "It is damaged."}
    )


def test_the_report_describes_the_detector() -> None:
    report = described(detector())
    assert (report.detector, report.fusion_weight, report.fusion_source) == ("patchcore", 0.25, "tune")
    assert report.mask == MaskShare(share_kept=56 / 64, threshold=10.5)
    assert (report.calibration.films, report.calibration.source) == (5, "calibrate")
    assert (report.flagged, report.unreadable, report.suspects) == ([1], {"2": "It is damaged."}, ())
    assert report.bank is not None
    assert report.bank.whole == len(detector().banks.whole.vectors)
    assert report.bank.cells == [len(bank.vectors) for bank in detector().banks.cells if bank is not None]
    assert report.last_radius == detector().banks.whole.radius[-1]
    assert report.threshold == MapThreshold(**pipeline.threshold(detector()))
    assert (report.padim, report.gallery) == (None, None)


def test_the_report_lists_configured_and_chosen_settings() -> None:
    fitted = detector()
    tune = described(replace(fitted, choice=replace(fitted.choice, nested=Nested(0.7, 0.6, 0.8, 5)))).tune
    assert (tune.films, tune.abnormal, tune.nested_note) == (9, 4, "Too few.")
    assert tune.asked == ChosenSettings(rate=0.1, neighbours=1, top_share=0.01)
    assert tune.chosen == ChosenSettings(rate=0.2, neighbours=3, top_share=CONFIG.top_share)
    assert tune.table == [TriedAlternative(**TRIED)]  # type: ignore[arg-type]
    assert tune.nested == NestedAuroc(auroc=0.7, low=0.6, high=0.8, folds=5)
    assert (tune.weights[25], described(fitted).chosen_auroc) == (0.25, 0.25)


def test_a_detector_of_an_older_release_lists_no_settings() -> None:
    tune = described(replace(detector(), configured={})).to_json()["tune"]
    assert (tune["asked"], tune["chosen"]) == ({}, {})


@pytest.mark.parametrize(
    ("kind", "padim", "gallery"),
    [
        ("padim", GaussianSizes(places=56, dimensions=6), None),
        ("dn2", None, GallerySizes(films=4, patches=0)),
        ("spade", None, GallerySizes(films=4, patches=4 * 56)),
    ],
)
def test_a_baseline_reports_its_own_sizes(kind: str, padim: GaussianSizes | None, gallery: GallerySizes | None) -> None:
    report = described(detector(kind))
    assert (report.bank, report.covering_radius, report.padim, report.gallery) == (None, None, padim, gallery)
    assert not {"bank", "padim", "gallery"} - {kind, "padim" if padim else "gallery"} & set(report.to_json())
    assert report.about


def test_a_saved_detector_has_the_same_report(tmp_path: Path) -> None:
    pipeline.save_detector(detector(), tmp_path / "d.safetensors")
    again = described(pipeline.load_detector(tmp_path / "d.safetensors"))
    again.write(tmp_path)
    assert again == described(detector())
    assert DetectorReport.read(tmp_path).to_json() == again.to_json()


def test_the_curve_keeps_its_ends_and_few_points() -> None:
    points = curve(np.linspace(9, 1, 5000))
    assert points[0] == [1, 9.0]
    assert points[-1] == [5000, 1.0]
    assert len(points) <= 100
    assert curve(np.array([3.0])) == [[1, 3.0]]
    assert curve(np.array([])) == []
    assert curve(np.array([9.0, 7.0, np.nan, 5.0, np.nan])) == [[1, 9.0], [2, 7.0], [4, 5.0]]
