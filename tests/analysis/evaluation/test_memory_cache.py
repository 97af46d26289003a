"""The cache keeps the latest values, and a value belongs to the content that it was computed from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from analysis import statistics
from analysis.evaluation import evaluate
from analysis.evaluation.evaluate import ScoredPart, sweep_of
from analysis.evaluation.memory_cache import MemoryCache
from analysis.sections import evaluation_figures


def test_the_latest_values_are_kept() -> None:
    computed: list[str] = []
    cache = MemoryCache(2)
    for key in "aabacab":
        assert cache.get_or_compute(key, lambda key=key: computed.append(key) or key.upper()) == key.upper()
    assert computed == ["a", "b", "c", "b"]


def a_part(seed: int) -> ScoredPart:
    generator = np.random.default_rng(seed)
    sweep = generator.normal(size=(40, 101)).astype(np.float32)
    labels = np.arange(40, dtype=np.int8) % 2
    return ScoredPart("tune", [str(n) for n in range(40)], labels, np.arange(40), sweep, {}, np.arange(40))


def test_a_sweep_and_a_band_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    for name in ("fusion_sweep", "roc_band"):
        plain = getattr(statistics, name)
        monkeypatch.setattr(
            statistics, name, lambda *a, name=name, plain=plain, **k: computed.append(name) or plain(*a, **k)
        )
    monkeypatch.setattr(evaluate, "_statistics", MemoryCache(8))

    def draw(part: ScoredPart, weight: float) -> None:
        evaluation_figures.draw_part(
            part, weight=weight, run_weight=0.6, chosen=None, theme="light", random_weights=False
        )

    for weight in (0.1, 0.2, 0.1):
        draw(a_part(0), weight)
    assert sorted(computed) == ["fusion_sweep", "roc_band", "roc_band"]
    draw(a_part(1), 0.1)
    assert computed.count("fusion_sweep") == 2


def test_other_labels_or_patients_are_another_sweep() -> None:
    part = a_part(2)
    other = dataclasses.replace(part, labels=1 - part.labels)
    assert sweep_of(other).auroc == pytest.approx(1 - sweep_of(part).auroc)
    paired = dataclasses.replace(part, patients=part.patients // 2)
    assert (sweep_of(paired).low != sweep_of(part).low).any()
