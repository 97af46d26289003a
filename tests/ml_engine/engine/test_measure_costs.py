"""Unit costs of this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.config import PipelineConfig
from ml_engine.core.determinism import fix
from ml_engine.engine import measure_costs, unit_costs

CONFIG = PipelineConfig.from_preset("default").replace(
    weights="random", backbone="resnet18", size=64, threads=1, device="cpu", alignment=AlignmentConfig(size=32)
)


def test_costs_are_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "costs.json"
    costs = measure_costs.of(CONFIG, path=path)

    assert costs.backbone.dimensions == 128 + 256
    assert costs.aligning is not None
    for part in (costs.process, costs.backbone, costs.bank, costs.aligning):
        assert all(value >= 0 for value in asdict(part).values()), part
    assert costs.backbone.film_seconds > 0
    assert costs.process.memory_mib > 50
    assert unit_costs.stored(CONFIG, path) == costs
    monkeypatch.setattr(measure_costs, "_process", None)  # nothing is measured again
    assert measure_costs.of(CONFIG, path=path) == costs


def test_costs_that_cannot_be_kept_are_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    costs = measure_costs.of(CONFIG.replace(align="none"), path=tmp_path / "file" / "costs.json")

    assert costs.aligning is None
    assert costs.bank.search_product >= 0


def test_measuring_leaves_the_random_state_alone(tmp_path: Path) -> None:
    fix(threads=1)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    measure_costs.of(CONFIG.replace(align="none"), path=tmp_path / "costs.json")

    assert torch.equal(torch.rand(3), expected)


def test_two_timed_sizes_give_the_two_unknowns() -> None:
    sizes = [(82.0, 8e6), (656.0, 5e9)]
    seconds = [3e-4 * picks + 2e-11 * products for picks, products in sizes]

    assert measure_costs._two_unknowns(sizes, seconds) == pytest.approx((3e-4, 2e-11))
    assert min(measure_costs._two_unknowns(sizes, [1.0, 0.5])) >= 0
    assert min(measure_costs._two_unknowns(sizes, [1e-6, 0.5])) >= 0
