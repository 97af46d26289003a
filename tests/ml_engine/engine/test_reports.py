"""Reports of fits load as they were written, with the JSON keys of the last release."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ml_engine.core.alignment.report import AlignmentMeasures
from ml_engine.core.json_objects import IncompleteJson
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.reports import (
    AlignmentReport,
    DetectorReport,
    FilmResidual,
    MapThreshold,
    NestedAuroc,
    PartCounts,
    PicturePair,
    ReportMissing,
    StudyAlignment,
    SuspectFilm,
    TuneReport,
)
from tests.ml_engine import reports

LATE = {"frame_filled", "frame_filled_least", "canonical_source", "history", "initial_losses", "landmarks", "known",
        "consistency"}  # fmt: skip
PAIR = PicturePair(name="worst-1", before="b.png", after="a.png", row=0, ncc_before=0.25, ncc_after=0.5)
SUSPECT = SuspectFilm(image="a", filename="a.png", fused=9.5, p_value=0.1)


def full_alignment() -> AlignmentReport:
    measures = reports.alignment_measures(
        frame_filled=0.9,
        frame_filled_least=0.8,
        canonical_source="given",
        history=[{"epoch": 1.0, "loss": 0.5}],
        initial_losses={"ssim": 0.25},
        landmarks=reports.LANDMARKS,
        known=reports.KNOWN,
        consistency=reports.LEFT,
    )
    placed = FilmResidual(row=0, residual_px=None, reason="it has no landmarks")
    return reports.alignment_report(measures=measures, pictures=["b.png", "a.png"], pairs=[PAIR], landmarks=[placed])


def full_detector() -> DetectorReport:
    nested = NestedAuroc(auroc=0.734, low=0.61, high=0.83, folds=4)
    threshold = MapThreshold(kind="film", value=4.25, note="", rate=0.1, expected=0.06, low=0.01, high=0.2)
    return reports.detector_report(
        tune=TuneReport(films=9, abnormal=4, nested=nested), threshold=threshold, suspects=[SUSPECT]
    )


# --- a round trip ----------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [full_alignment(), reports.alignment_report()])
def test_an_alignments_report_comes_back(tmp_path: Path, report: AlignmentReport) -> None:
    report.write(tmp_path)
    assert AlignmentReport.read(tmp_path).to_json() == report.to_json()
    assert json.loads((tmp_path / "alignment.json").read_text()) == report.to_json()


@pytest.mark.parametrize("report", [full_detector(), reports.detector_report()])
def test_a_detectors_report_comes_back(tmp_path: Path, report: DetectorReport) -> None:
    report.write(tmp_path)
    assert DetectorReport.read(tmp_path).to_json() == report.to_json()
    assert json.loads((tmp_path / "detector.json").read_text()) == report.to_json()


def test_the_names_in_alignment_json_stay() -> None:
    """Existing run folders and database rows use these names."""
    values = full_alignment().to_json()
    assert set(values) == {
        "format", "weights", "config", "report", "part", "films", "flagged", "unreadable", "pictures", "pairs",
        "landmarks",
    }  # fmt: skip
    assert set(values["report"]) == {
        "films", "ncc_before", "ncc_after", "ssim_before", "ssim_after", "stack_variance_before",
        "stack_variance_after", "share_determinant_not_positive", "share_scale_outside", "share_valid_area_below",
        "share_flagged", *LATE,
    }  # fmt: skip
    assert set(values["report"]["known"]) == {"films", "before", "after"}
    errors = {"displacement_median_px", "displacement_p95_px", "shift_median_px", "angle_median_degrees",
              "log_scale_median"}  # fmt: skip
    assert set(values["report"]["known"]["before"]) == set(values["report"]["consistency"]) == errors
    assert set(values["report"]["landmarks"]) == {"films", "aligned", "residual_median_px", "residual_p95_px",
                                                 "residual_most_px"}  # fmt: skip
    assert values["pairs"] == [{"name": "worst-1", "before": "b.png", "after": "a.png", "row": 0, "ncc_before": 0.25,
                               "ncc_after": 0.5}]  # fmt: skip
    assert values["landmarks"] == [{"row": 0, "residual_px": None, "reason": "it has no landmarks"}]


def test_the_names_in_detector_json_stay() -> None:
    values = full_detector().to_json()
    assert set(values) == {
        "format", "weights", "code_version", "config", "alignment_sha256", "detector", "mask", "fusion_weight",
        "fusion_source", "tune", "calibration", "parts", "flagged", "unreadable", "bank", "about", "note",
        "covering_radius", "threshold", "suspects",
    }  # fmt: skip
    assert values["bank"] == {"global": 40, "cells": [10, 0, 10, 10]}
    assert values["covering_radius"] == {"global": [[1, 9.0], [40, 2.5]], "cells": [None] * 4}
    assert values["mask"] == {"share_kept": 0.79, "threshold": 30.0}
    assert values["parts"] == {"fit": 8, "tune": 9, "calibrate": 6}
    assert set(values["tune"]) == {"films", "abnormal", "weights", "auroc", "asked", "chosen", "table", "nested",
                                  "nested_note"}  # fmt: skip
    assert values["tune"]["nested"] == {"auroc": 0.734, "low": 0.61, "high": 0.83, "folds": 4, "method": "pooled"}
    assert values["threshold"] == {"kind": "film", "value": 4.25, "note": "", "rate": 0.1, "expected": 0.06,
                                  "low": 0.01, "high": 0.2}  # fmt: skip
    assert values["suspects"] == [{"image": "a", "filename": "a.png", "fused": 9.5, "p_value": 0.1}]


# --- older and broken ones --------------------------------------------------------------------------


def test_fields_absent_from_older_alignments_are_optional() -> None:
    older = reports.alignment_report().to_json()
    del older["pictures"], older["pairs"]
    assert not LATE & set(older["report"])
    report = AlignmentReport.from_json(older)
    assert (report.pictures, report.pairs, report.measures.known) == ((), (), None)


def test_fields_absent_from_older_detectors_are_optional() -> None:
    older = reports.detector_report().to_json() | {"tune": {"films": 4, "abnormal": 2}}
    for name in ("about", "note", "covering_radius", "threshold", "suspects"):
        del older[name]
    report = DetectorReport.from_json(older)
    assert (report.threshold, report.last_radius, report.chosen_auroc, report.suspects) == (None, None, None, ())
    assert report.to_json()["tune"]["asked"] == {}


@pytest.mark.parametrize("name", sorted({field.name for field in fields(AlignmentMeasures)} - LATE))
def test_an_alignment_without_one_of_its_measures_is_refused(tmp_path: Path, name: str) -> None:
    values = reports.alignment_report().to_json()
    values["report"][f"{name}_renamed"] = values["report"].pop(name)
    (tmp_path / "alignment.json").write_text(json.dumps(values))
    with pytest.raises(IncompleteJson, match=f"alignment.json does not hold report.{name}: fit the alignment again"):
        AlignmentReport.read(tmp_path)


@pytest.mark.parametrize("name", ["format", "weights", "mask", "fusion_weight", "fusion_source", "tune", "calibration",
                                  "parts", "flagged", "unreadable", "detector", "config"])  # fmt: skip
def test_a_detector_without_one_of_its_facts_is_refused(tmp_path: Path, name: str) -> None:
    values = reports.detector_report().to_json()
    values[f"{name}_renamed"] = values.pop(name)
    (tmp_path / "detector.json").write_text(json.dumps(values))
    with pytest.raises(IncompleteJson, match=f"detector.json does not hold {name}: fit the detector again"):
        DetectorReport.read(tmp_path)


@pytest.mark.parametrize(("kind", "name"), [(AlignmentReport, "alignment.json"), (DetectorReport, "detector.json")])
def test_a_missing_or_damaged_file_is_named(tmp_path: Path, kind: Any, name: str) -> None:
    for text in (None, "{"):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(ReportMissing, match=f"{name} is missing or damaged: fit the"):
            kind.read(tmp_path)


def test_an_alignment_of_a_study_comes_back_even_if_refused() -> None:
    refused = StudyAlignment(changes={"alignment.ssim": "0"}, refused="It collapsed.", measures=None)
    assert refused.to_json() == {"changes": {"alignment.ssim": "0"}, "refused": "It collapsed.", "report": None}
    measured = StudyAlignment(changes={}, refused="", measures=reports.alignment_measures())
    assert [StudyAlignment.from_json(alignment.to_json()) for alignment in (refused, measured)] == [refused, measured]


# --- facts of a report ------------------------------------------------------------------------------


def test_sizes_and_choices_in_numbers() -> None:
    aurocs = [0.5] * 101
    aurocs[60] = 0.91
    report = reports.detector_report(tune=TuneReport(films=9, abnormal=4, auroc=aurocs))
    assert report.bank is not None
    assert (report.bank.filled, report.bank.patches, report.last_radius) == (3, 30, 2.5)
    assert report.chosen_auroc == 0.91
    assert reports.detector_report(covering_radius=None).last_radius is None


def test_films_are_counted_by_part() -> None:
    rows = [ManifestRow(name, part=part) for name, part in zip("abcd", ("fit", "fit", "tune", "test"), strict=True)]
    assert PartCounts.of(rows) == PartCounts(fit=2, tune=1, calibrate=0)


def test_reports_load_without_torch() -> None:
    code = "import sys, ml_engine.engine.reports, ml_engine.engine.fit_scores; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
