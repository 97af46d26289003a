"""The pages of fits show every number of a report as the engine writes it. Django renders a missing name as nothing,
without an error, so each number is asserted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ml_engine.core.alignment.report import AffineErrors, KnownAffines, LandmarkResiduals
from ml_engine.engine.reports import (
    AlignmentReport,
    CalibrationFilms,
    ChosenSettings,
    DetectorReport,
    GallerySizes,
    GaussianSizes,
    MapThreshold,
    MaskShare,
    NestedAuroc,
    PicturePair,
    TriedAlternative,
    TuneReport,
)
from ml_engine.models import AlignmentModel, DetectorModel, Run
from portal.models import Role, Split
from tests.ml_engine import made, reports
from tests.pages import without_gaps

pytestmark = pytest.mark.django_db


@pytest.fixture
def split(data_dir: Path) -> Split:
    return made.small_split(made.site())


@pytest.fixture
def web(client: Client, split: Split) -> Client:
    client.force_login(made.person("ana", at=split.site, role=Role.ANALYST))
    return client


def page(web: Client, run: Run) -> str:
    answer = web.get(reverse("ml_engine:run", args=[run.uuid]))
    assert answer.status_code == 200
    return without_gaps(answer)


def errors(first: float) -> AffineErrors:
    return AffineErrors(
        displacement_median_px=first,
        displacement_p95_px=first + 1,
        shift_median_px=first + 2,
        angle_median_degrees=first + 3,
        log_scale_median=first + 4,
    )


def test_an_alignments_page_shows_all_of_its_report(web: Client, split: Split, tmp_path: Path) -> None:
    measures = reports.alignment_measures(
        films=101,
        ncc_before=0.111,
        ncc_after=0.222,
        ssim_before=0.333,
        ssim_after=0.444,
        stack_variance_before=0.05551,
        stack_variance_after=0.06661,
        share_determinant_not_positive=0.11,
        share_scale_outside=0.12,
        share_valid_area_below=0.13,
        share_flagged=0.14,
        frame_filled=0.15,
        frame_filled_least=0.16,
        canonical_source="a mean of some kind",
        known=KnownAffines(films=31, before=errors(20.51), after=errors(30.61)),
        consistency=errors(40.71),
        landmarks=LandmarkResiduals(
            films=41, aligned=37, residual_median_px=2.34, residual_p95_px=3.45, residual_most_px=4.56
        ),
    )
    pair = PicturePair(name="worst-1", before="w-b.png", after="w-a.png", row=0, ncc_before=0.17, ncc_after=0.18)
    reports.alignment_report(measures=measures, pictures=["canonical.png"], pairs=[pair]).write(tmp_path)
    model = made.alignment_model(split, AlignmentReport.read(tmp_path))
    text = page(web, model.run)
    for words in (
        "measured on its 101 films", ">0.111<", ">0.222<", ">0.333<", ">0.444<", ">0.05551<", ">0.06661<", ">11 %<",
        ">12 %<", ">13 %<", ">14 %<", ">15 %<", ">16 %<", "on 31 films", ">20.51<", ">30.61<", ">21.51<", ">31.61<",
        ">22.51<", ">32.61<", ">23.51<", ">33.61<", ">24.510<", ">34.610<", ">40.71<", ">41.71<", "on 37 of 41 films",
        ">2.34<", ">3.45<", "The canonical image: a mean of some kind",
        "Poorest fit 1, before and after: NCC 0.17 and 0.18", "w-b.png", "w-a.png",
    ):  # fmt: skip
        assert words in text, words


def detectors() -> dict[str, tuple[DetectorReport, tuple[str, ...]]]:
    aurocs = [0.5] * 101
    aurocs[60] = 0.91
    chosen = ChosenSettings(rate=0.0123, neighbours=7, top_share=0.0456)
    tried = [
        TriedAlternative(rate=rate, neighbours=7, top_share=0.0456, weight=0.31, auroc=0.777) for rate in (0.0321, 0.1)
    ]
    nested = NestedAuroc(auroc=0.734, low=0.613, high=0.832, folds=4, method="within folds")
    threshold = MapThreshold(kind="film", value=4.256, note="A note.", rate=0.1, expected=0.06, low=0.01, high=0.21)
    plain = reports.detector_report(
        mask=MaskShare(share_kept=0.79, threshold=30),
        calibration=CalibrationFilms(source="calibrate", films=67),
        tune=TuneReport(films=98, abnormal=43, auroc=aurocs, chosen=chosen, table=tried, nested=nested),
        threshold=threshold,
        weights={"name": "some-weights", "sha256": "1234567890"},
        about="About it.",
        note="A warning.",
    )
    shared = (
        ">79 %<", ">0.60 chosen on tune<", "98, 43 abnormal", "67 normals (calibrate)",
        "4.26, marks 6 % of normal films (1 % to 21 %)", "some-weights", "12345678<", "selection procedure: 0.734",
        "(0.613–0.832), averaged within 4 folds", "chosen: s = 0.0123, K = 7, film score as configured, q = 0.0456",
        ">0.0321<", ">0.31<", ">0.777<", "About it.", "A warning.", "A note.",
    )  # fmt: skip
    banks = (">40 patches<", "3 of 4 cells, 30 patches", ">2.500<")
    without = {"bank": None, "covering_radius": None}
    changed: dict[str, dict[str, Any]] = {
        "padim": {"padim": GaussianSizes(places=620, dimensions=100), **without},
        "spade": {"gallery": GallerySizes(films=19, patches=99), **without},
    }
    cases = {"patchcore": (plain, (*shared, *banks))}
    for kind, words in (("padim", "620 Gaussians in 100 dimensions"), ("spade", "19 films, 99 patches")):
        cases[kind] = (replace(plain, detector=kind, **changed[kind]), (*shared, words))
    return cases


@pytest.mark.parametrize("kind", ["patchcore", "padim", "spade"])
def test_a_detectors_page_shows_all_of_its_report(web: Client, split: Split, tmp_path: Path, kind: str) -> None:
    report, words = detectors()[kind]
    report.write(tmp_path)
    text = page(web, made.detector_model(split, DetectorReport.read(tmp_path)).run)
    for word in words:
        assert word in text, word


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("alignment", "alignment.json does not hold report.ncc_after: fit the alignment again."),
        ("detector", "detector.json does not hold mask.share_kept: fit the detector again."),
    ],
)
def test_a_report_without_a_number_is_explained_on_the_page(
    web: Client, split: Split, name: str, sentence: str
) -> None:
    model: AlignmentModel | DetectorModel
    if name == "alignment":
        report = reports.alignment_report().to_json()
        del report["report"]["ncc_after"]
        model = made.alignment_model(split, report=report)
    else:
        summary = reports.detector_report().to_json()
        del summary["mask"]["share_kept"]
        model = made.detector_model(split, summary=summary)
    assert sentence in page(web, model.run)
