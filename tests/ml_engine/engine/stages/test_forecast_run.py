"""The forecast of a run that begins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ml_engine.core.config import PipelineConfig
from ml_engine.engine import unit_costs
from ml_engine.engine.forecast import Forecast, Phase
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.outcome import ExitStatus
from ml_engine.engine.run_folder import RunSpec, write_run_folder
from ml_engine.engine.stages import forecast_run
from ml_engine.engine.stages.runner import run_folder
from tests.ml_engine import films
from tests.ml_engine.engine.costs import COSTS

CONFIG = PipelineConfig.from_preset("default").replace(
    weights="random", backbone="resnet18", size=64, grid=2, rate=0.2, threads=1, controls=0, align="none", device="cpu"
)
UNALIGNED = replace(COSTS, aligning=None, backbone=replace(COSTS.backbone, dimensions=384))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder of a detector fit, on a machine that was not measured."""
    monkeypatch.setenv("HILUM_DATA_DIR", str(tmp_path / "data"))
    films.write_set(tmp_path / "run", train=10, test=0)
    parts = ["fit"] * 6 + ["tune"] * 2 + ["calibrate"] * 2
    rows = [
        ManifestRow(f"film-{k:02}.png", f"id-{k}", "", f"p{k}", part, "abnormal" if k == 7 else "normal")
        for k, part in enumerate(parts)
    ]
    write_run_folder(tmp_path / "run", RunSpec("fit_detector", CONFIG).to_json(), rows)
    return tmp_path / "run"


def events(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    return [event for event in lines if "stage" in event]


def test_a_measured_machine_gives_the_seconds_left_of_the_whole_run(folder: Path) -> None:
    unit_costs.keep(CONFIG, UNALIGNED)

    assert run_folder(folder).status == ExitStatus.DONE

    left = [event["run_seconds_left"] for event in events(folder)]
    assert left[0] > 0
    assert left[-1] is not None
    assert left[-1] < left[0]


def test_a_small_run_measures_nothing_and_does_not_know_the_time(folder: Path) -> None:
    assert run_folder(folder).status == ExitStatus.DONE

    assert {event["run_seconds_left"] for event in events(folder)} == {None}
    assert not unit_costs.default_path().exists()


def test_a_large_run_measures_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_run, "MEASURED_FROM", 10)

    assert run_folder(folder).status == ExitStatus.DONE

    assert unit_costs.stored(CONFIG) is not None
    assert "Measuring what this machine takes" in (folder / "log.txt").read_text(encoding="utf-8")
    assert events(folder)[0]["run_seconds_left"] > 0


def test_a_run_that_cannot_fit_is_refused_before_a_film_is_read(folder: Path) -> None:
    unit_costs.keep(CONFIG, replace(UNALIGNED, backbone=replace(UNALIGNED.backbone, memory_mib=1e8)))

    outcome = run_folder(folder)

    assert outcome.status == ExitStatus.REFUSED
    assert "GiB of memory while searching the banks, and this machine can give" in outcome.sentence
    assert not events(folder)


def test_a_run_with_other_stages_than_forecast_has_no_clock() -> None:
    made = Forecast({"films": 2.0, "maps": 5.0}, 1.0, 100.0, Phase("", 0, ""), 1.0)

    clock = forecast_run.clock_of(made, ["films", "maps"])
    assert clock is not None
    assert clock.stages == [2.0, 5.0]
    assert forecast_run.clock_of(made, ["films", "grow", "maps"]) is None
    assert forecast_run.clock_of(None, ["films"]) is None
