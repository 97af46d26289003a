"""The messages of the command line on progress, on a detector and at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml_engine.command.console import Console, print_detector, report_outcome
from ml_engine.engine.outcome import ExitStatus, Outcome
from ml_engine.engine.reports import BankSizes, GallerySizes, GaussianSizes, MapThreshold, MaskShare, TuneReport
from tests.ml_engine import reports

STAGE = {"stage": "maps", "stage_index": 1, "stage_count": 4, "done": 2, "total": 9, "seconds_left": 30.0}
REPORT = reports.detector_report(
    bank=BankSizes(whole=90, cells=[20, 30]),
    mask=MaskShare(share_kept=0.75, threshold=30.0),
    tune=TuneReport(films=12, abnormal=4),
    threshold=MapThreshold(kind="film", value=2.5, note="", rate=0.1, expected=0.05, low=0.01, high=0.12),
    weights={"name": "imagenet"},
)

NO_GUARANTEE = "for a false-alarm rate of 10.0%, without a guarantee: for one, fit with a calibrate part"


def test_a_stage_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    for event in ({"message": "begun"}, STAGE, {**STAGE, "done": 3}, {**STAGE, "stage": "results", "stage_index": 2}):
        console.event(event)
    assert capsys.readouterr().err == "stage 2 of 4, maps\nstage 3 of 4, results\n"


def test_a_terminal_has_one_line_that_changes(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.live = True
    console.event(STAGE)
    console.say("model: out")
    assert capsys.readouterr().err == (
        "\r\033[Kstage 2 of 4, maps: 2 of 9, about 30 s left in this stage\r\033[Kmodel: out\n"
    )


def test_the_time_of_the_whole_run_is_said_where_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.live = True
    console.event({**STAGE, "run_seconds_left": 1200.0})
    assert capsys.readouterr().err == "\r\033[Kstage 2 of 4, maps: 2 of 9, about 20 min left"


def test_a_detector_is_reported_with_its_bank_weight_and_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    print_detector(REPORT, Path("out"), Console())
    assert capsys.readouterr().err.splitlines() == [
        "bank: 90 vectors, regions 50; mask keeps 75%",
        "fusion weight 0.6, from tune, 12 films",
        "threshold of the map 2.5: it marks 5.0% of normal films (1.0% to 12.0%)",
        "model: out",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"weights": {"name": "random"}}, "random weights, not for evaluation"),
        (
            {"threshold": MapThreshold(kind="film", value=None, note="no normal film")},
            "no threshold: no normal film",
        ),
        (
            {"threshold": MapThreshold(kind="film", value=2.5, note="", rate=0.1)},
            f"threshold of the map 2.5 {NO_GUARANTEE}",
        ),
        (
            {"threshold": MapThreshold(kind="percentile", value=2.5, note="")},
            "threshold of the map 2.5, a percentile of normal patches",
        ),
        (
            {"bank": None, "padim": GaussianSizes(places=64, dimensions=10), "detector": "padim"},
            "PaDiM: 64 Gaussians in 10 dimensions; mask keeps 75%",
        ),
        (
            {"bank": None, "gallery": GallerySizes(films=8, patches=0), "detector": "dn2"},
            "DN2: 8 films; mask keeps 75%",
        ),
        ({"fusion_source": "config"}, "fusion weight 0.6, as configured"),
    ],
)
def test_other_detectors_are_reported(changes: dict[str, Any], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_detector(replace(REPORT, **changes), Path("out"), Console())
    assert line in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("outcome", "status", "words"),
    [
        (Outcome(ExitStatus.DONE), 0, ""),
        (Outcome(ExitStatus.REFUSED, "No film is normal."), 2, "ml_engine: No film is normal.\n"),
        (Outcome(ExitStatus.UNREADABLE, unreadable=3), 3, "ml_engine: 3 films could not be read.\n"),
        (Outcome(ExitStatus.PARENT_GONE), 1, ""),
    ],
)
def test_the_end_has_its_sentence_and_status(
    outcome: Outcome, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_outcome(outcome) == status
    assert capsys.readouterr().err == words
