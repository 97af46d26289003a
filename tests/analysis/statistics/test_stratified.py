"""AUROC within strata, against all pairs one by one and a bootstrap of the films."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.statistics import delong, stratified_auroc


def films(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores, strata; the stratum shifts both the score and the share of abnormal films."""
    generator = np.random.default_rng(seed)
    strata = generator.integers(0, 3, count)
    labels = (generator.random(count) < 0.2 + 0.25 * strata).astype(int)
    scores = generator.normal(size=count) + 0.7 * labels + 1.5 * strata
    return labels, scores.round(1), strata


def by_pairs(labels: np.ndarray, scores: np.ndarray, strata: np.ndarray) -> float:
    won = pairs = 0.0
    for abnormal in np.flatnonzero(labels == 1):
        for normal in np.flatnonzero((labels == 0) & (strata == strata[abnormal])):
            pairs += 1
            won += (scores[abnormal] > scores[normal]) + 0.5 * (scores[abnormal] == scores[normal])
    return won / pairs


def test_it_is_the_share_of_pairs_within_strata() -> None:
    labels, scores, strata = films(0)
    result = stratified_auroc(labels, scores, strata)
    assert result.auroc == pytest.approx(by_pairs(labels, scores, strata))
    assert result.auroc is not None and result.auroc < (delong(labels, scores).auroc or 0) - 0.05  # the strata helped
    assert (result.strata, result.films, result.left_out) == (3, 300, 0)


def test_the_interval_is_that_of_resampled_films() -> None:
    labels, scores, strata = films(1)
    generator = np.random.default_rng(2)
    cells = [np.flatnonzero((labels == label) & (strata == s)) for label in (0, 1) for s in range(3)]
    draws = []
    for _ in range(400):
        rows = np.concatenate([generator.choice(cell, len(cell)) for cell in cells])
        draws.append(stratified_auroc(labels[rows], scores[rows], strata[rows]).auroc)
    result = stratified_auroc(labels, scores, strata)
    assert result.low is not None and result.high is not None
    assert (result.high - result.low) / (2 * 1.96) == pytest.approx(np.std(draws), rel=0.12)  # type: ignore[arg-type]


def test_one_stratum_is_delong() -> None:
    labels, scores, _ = films(3)
    result, plain = stratified_auroc(labels, scores, np.zeros(300)), delong(labels, scores)
    assert (result.auroc, result.low, result.high) == pytest.approx((plain.auroc, plain.low, plain.high))


def test_strata_without_two_patients_of_a_class_are_left_out() -> None:
    labels, scores, strata = [0, 0, 1, 1, 0, 1, 1], [1, 2, 3, np.nan, 1, 2, 0], list("aaaabbb")
    result = stratified_auroc(labels, scores, strata)
    assert (result.auroc, result.left_out) == (None, 7)
    assert result.reason == "No stratum has normal and abnormal films of two patients each."
    result = stratified_auroc([*labels, 1], [*scores, 5], [*strata, "a"])
    assert (result.strata, result.films, result.left_out) == (1, 4, 4)


def test_another_number_of_strata_is_refused() -> None:
    with pytest.raises(ValueError, match=r"strata \(1,\) must name one stratum for each of the 2 films"):
        stratified_auroc([0, 1], [1, 2], ["a"])
