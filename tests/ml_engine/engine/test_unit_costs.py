"""Costs are kept for the machine that they were measured on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ml_engine.core.config import PipelineConfig
from ml_engine.engine import unit_costs
from ml_engine.engine.unit_costs import Stopwatch
from tests.ml_engine.engine.costs import COSTS

CONFIG = PipelineConfig.from_preset("default").replace(device="cpu")


def test_costs_are_kept_for_the_settings_they_depend_on(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    assert unit_costs.stored(CONFIG, path) is None

    unit_costs.keep(CONFIG, COSTS, path)

    assert unit_costs.stored(CONFIG, path) == COSTS
    assert unit_costs.stored(CONFIG.replace(rate=0.1, seed=3, memory_gib=2), path) == COSTS
    for changes in ({"size": 448}, {"backbone": "resnet18"}, {"threads": 1}, {"batch": 1}, {"search": "faiss"}):
        assert unit_costs.stored(CONFIG.replace(**changes), path) is None, changes
    longer = replace(CONFIG.alignment, search_steps=3)
    assert unit_costs.stored(CONFIG.replace(alignment=longer), path) is None
    assert unit_costs.stored(CONFIG.replace(align="none", alignment=longer), path) == replace(COSTS, aligning=None)


def test_costs_of_several_settings_are_kept_side_by_side(tmp_path: Path) -> None:
    path, other = tmp_path / "costs.json", CONFIG.replace(size=448)
    slower = replace(COSTS, backbone=replace(COSTS.backbone, film_seconds=1.0))
    unit_costs.keep(CONFIG, COSTS, path)
    unit_costs.keep(other, slower, path)

    assert unit_costs.stored(CONFIG, path) == COSTS
    assert unit_costs.stored(other, path) == slower


def test_costs_of_another_machine_or_version_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "costs.json"
    unit_costs.keep(CONFIG, COSTS, path)

    monkeypatch.setattr(unit_costs, "machine", lambda: {"processor": "another"})

    assert unit_costs.stored(CONFIG, path) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', "null"])
def test_a_damaged_file_holds_no_costs(tmp_path: Path, content: str) -> None:
    path = tmp_path / "costs.json"
    path.write_text(content, encoding="utf-8")

    assert unit_costs.stored(CONFIG, path) is None
    unit_costs.keep(CONFIG, COSTS, path)
    assert unit_costs.stored(CONFIG, path) == COSTS


def test_the_fingerprint_names_processor_memory_and_code() -> None:
    assert {"processor", "cores", "memory_gib", "torch", "hilum"} <= set(unit_costs.machine())
    assert unit_costs.default_path().name == "unit-costs.json"


def test_a_stopwatch_counts_work_and_not_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = {"wall": 0.0, "cpu": 0.0}
    monkeypatch.setattr(unit_costs.time, "perf_counter", lambda: clocks["wall"])
    monkeypatch.setattr(unit_costs.time, "process_time", lambda: clocks["cpu"])

    alone = Stopwatch()
    clocks |= {"wall": 5.0, "cpu": 9.0}  # on two threads
    assert alone.seconds == 5
    waiting = Stopwatch()
    clocks |= {"wall": 15.0, "cpu": 12.0}
    assert waiting.seconds == 3
