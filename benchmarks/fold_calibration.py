"""The false-alarm rate that a threshold reaches where folds of the fit films replace the calibrate part.

    python -m benchmarks.fold_calibration [--repeats 60] [--films 30 60]

Draws features of normal films, builds banks from them and scores them by the code of a fit; then counts how many of new
normal films lie above the threshold for a rate of 10 %. A part of its own, with as many films, is the comparison: its
rate is promised, that of folds is not. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.statistics import threshold_at_specificity
from analysis.studies.print_table import markdown_table
from ml_engine.core.bank import detectors, memory_bank
from ml_engine.core.bank.memory_bank import MapScorer, Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector import in_memory, pipeline
from ml_engine.core.detector.pipeline import FittedDetector
from ml_engine.core.film.masking import HardMask
from ml_engine.core.score import calibration
from ml_engine.core.score.conformal import promised_rate
from ml_engine.core.score.fusion import Maps
from ml_engine.core.score.model_selection import Choice

DIMENSIONS, NEW_FILMS, RATE = 8, 200, 0.1
FOLDS = (2, 5, 10)
CONFIG = PipelineConfig.from_preset("default").replace(size=64, grid=2, rate=0.2, neighbours=1)
KEEP = np.pad(np.ones((4, 4), dtype=bool), 2)  # 16 of 8 x 8 patches
CPU = torch.device("cpu")


def draw_films(count: int, rng: np.random.Generator) -> torch.Tensor:
    """Features of normal films, float32 (count * patches, DIMENSIONS): a film differs from the others as a whole, and
    its patches differ from each other."""
    of_film = rng.normal(size=(count, 1, DIMENSIONS))
    of_patch = rng.normal(size=(count, int(KEEP.sum()), DIMENSIONS))
    return torch.from_numpy((of_film + of_patch).reshape(-1, DIMENSIONS).astype(np.float32))


def false_alarm_rates(films: int, *, seed: int) -> Iterator[tuple[str, float]]:
    """The rate among new films, by the source of the calibration scores."""
    rng = np.random.default_rng([14, films, seed])
    places = memory_bank.places_of(KEEP)
    features, source = draw_films(films, rng), Source(places, torch.arange(films))
    model = detectors.fit_model(features, source, CONFIG, with_radius=False)
    new, held_out = (_maps(model, draw_films(count, rng)) for count in (NEW_FILMS, films))
    yield "a part of its own", _rate(held_out, new, model=model, source="calibrate")
    for folds in FOLDS:
        of_film = calibration.patient_folds([str(k) for k in range(films)], folds=folds, seed=seed)
        maps = in_memory.fold_maps(features, source, of_film, keep=KEEP, config=CONFIG, device=CPU)[0]
        yield f"{folds} folds", _rate(maps, new, model=model, source=in_memory.fold_words(of_film))


def _maps(model: detectors.Model, features: torch.Tensor) -> Maps:
    assert isinstance(model, memory_bank.Banks)
    scorer, per_film = MapScorer(model, KEEP, CONFIG, CPU), int(KEEP.sum())
    return scorer.film_maps(features.view(-1, per_film, features.shape[1]))


def _rate(normals: Maps, new: Maps, *, model: detectors.Model, source: str) -> float:
    detector = FittedDetector(
        config=CONFIG,
        mask=HardMask(KEEP, 0.0),
        model=model,
        calibration=pipeline.calibrate(normals, source=source, config=CONFIG),
        choice=Choice(CONFIG.fusion_weight, "config"),
        weights={"name": "none", "sha256": None},
        alignment_sha256=None,
        code_version="",
    )
    threshold = threshold_at_specificity(pipeline.normal_scores(detector), specificity=1 - RATE)
    assert threshold is not None
    return float((pipeline.score_maps(new, detector).fused >= threshold).mean())


def table(film_counts: list[int], repeats: int) -> str:
    rows = []
    for films in film_counts:
        by_source: dict[str, list[float]] = {}
        for seed in range(repeats):
            for source, rate in false_alarm_rates(films, seed=seed):
                by_source.setdefault(source, []).append(rate)
        promised = promised_rate(RATE, films)
        assert promised is not None
        for source, rates in by_source.items():
            words = f"{promised.expected:.3f} ({promised.low:.3f}–{promised.high:.3f})"
            rows.append([str(films), source, _shown(np.array(rates)), "none" if "fold" in source else words])
    return markdown_table(("films", "calibration scores from", "rate reached: mean (95 % of draws)", "promised"), rows)


def _shown(rates: NDArray[np.float64]) -> str:
    low, high = np.quantile(rates, [0.025, 0.975])
    return f"{rates.mean():.3f} ({low:.3f}–{high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description="False-alarm rates of thresholds fixed on folds.")
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--films", type=int, nargs="+", default=[30, 60])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(table(options.films, options.repeats))


if __name__ == "__main__":
    main()
