"""AUROC within matched pairs, against all assignments tried one by one and plain loops."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from analysis.statistics import matched_auroc, wilson
from analysis.statistics.matched_pairs import pair_films


def films(seed: int, count: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores, values, groups: abnormal films have higher values, and the score follows the value alone."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(count) < 0.4).astype(int)
    values = generator.normal(size=count) + 1.2 * labels
    return labels, values + generator.normal(size=count) * 0.5, values, generator.choice(["PA", "AP"], count)


def best_by_trying(ill: np.ndarray, well: np.ndarray, widest: float) -> tuple[int, float]:
    """The most pairs, and their lowest sum of differences, over every assignment of the shorter to the longer list."""
    short, long = (ill, well) if len(ill) <= len(well) else (well, ill)
    best = (0, 0.0)
    for order in permutations(range(len(long)), len(short)):
        apart = [abs(a - long[k]) for a, k in zip(short, order, strict=True) if abs(a - long[k]) <= widest]
        if (len(apart), -sum(apart)) > (best[0], -best[1]):
            best = (len(apart), sum(apart))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_the_assignment_has_the_most_and_the_closest_pairs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    abnormal = np.arange(10) < 4
    values = generator.normal(size=10).round(2)
    pairs = pair_films(abnormal, values, np.zeros(10), np.arange(10), widest=0.5)
    apart = np.abs(values[pairs[:, 0]] - values[pairs[:, 1]])
    wanted = best_by_trying(values[abnormal], values[~abnormal], 0.5)
    assert (len(pairs), pytest.approx(apart.sum())) == wanted


def test_pairs_keep_to_group_patient_and_caliper() -> None:
    labels, _, values, groups = films(1)
    patients = np.arange(200) // 3
    pairs = pair_films(labels == 1, values, groups, patients, widest=0.3)
    assert len(pairs) > 30
    assert len(np.unique(pairs)) == pairs.size  # no film twice
    for ill, well in pairs:
        assert (labels[ill], labels[well]) == (1, 0)
        assert groups[ill] == groups[well]
        assert patients[ill] != patients[well]
        assert abs(values[ill] - values[well]) <= 0.3


def test_the_nearest_film_of_the_same_patient_is_no_partner() -> None:
    pairs = pair_films(
        np.array([True, False, False]), np.array([1.0, 1.0, 1.2]), ["PA"] * 3, np.array([4, 4, 5]), widest=1
    )
    assert pairs.tolist() == [[0, 2]]


def test_pairs_do_not_depend_on_the_order_of_the_films() -> None:
    labels, _, values, groups = films(2)
    order = np.random.default_rng(0).permutation(200)
    pairs = pair_films(labels == 1, values, groups, np.arange(200), widest=0.3)
    other = pair_films(labels[order] == 1, values[order], groups[order], np.arange(200), widest=0.3)
    assert {tuple(pair) for pair in order[other]} == {tuple(pair) for pair in pairs}


def test_a_large_group_is_cut_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, _, values, _ = films(3, count=400)
    whole = pair_films(labels == 1, values, np.zeros(400), np.arange(400), widest=0.3)
    monkeypatch.setattr("analysis.statistics.matched_pairs.MOST_AT_ONCE", 100)
    cut = pair_films(labels == 1, values, np.zeros(400), np.arange(400), widest=0.3)
    assert 0.8 * len(whole) < len(cut) < len(whole)


def test_it_is_the_share_of_pairs_won() -> None:
    labels, scores, values, groups = films(4)
    scores = scores.round(0)  # ties
    result = matched_auroc(labels, scores, values, groups)
    widest = 0.2 * np.sqrt((values[labels == 1].var(ddof=1) + values[labels == 0].var(ddof=1)) / 2)
    won = 0.0
    pairs = pair_films(labels == 1, values, groups, np.arange(200), widest=widest)
    for ill, well in pairs:
        won += 1 if scores[ill] > scores[well] else 0.5 if scores[ill] == scores[well] else 0
    assert result.auroc == pytest.approx(won / len(pairs))
    assert result.caliper == pytest.approx(widest)
    assert result.abnormal_left == (labels == 1).sum() - len(pairs)
    assert result.normal_left == (labels == 0).sum() - len(pairs)


def test_a_score_that_follows_the_matched_value_is_near_a_half() -> None:
    labels, scores, values, groups = films(5, count=900)
    result = matched_auroc(labels, scores, values, groups)
    assert result.low is not None and result.high is not None
    assert result.low < 0.5 < result.high


def test_without_repeated_patients_the_interval_is_wilsons() -> None:
    labels, scores, values, groups = films(6)
    result = matched_auroc(labels, scores, values, groups)
    assert result.auroc is not None
    wanted = wilson(round(result.auroc * result.pairs), result.pairs)
    assert (result.low, result.high) == pytest.approx((wanted.low, wanted.high))


def test_the_interval_counts_patients_not_pairs() -> None:
    """Each pair of patients has four identical pairs of films: the interval is that of a quarter of the pairs."""
    generator = np.random.default_rng(7)
    labels, values = np.tile([1, 0], 40), np.repeat(np.arange(40) * 100.0, 2)
    scores = generator.normal(size=80) + labels
    again = [np.repeat(column, 4) for column in (labels, scores, values)]
    patients = np.repeat(np.arange(80), 4)
    once = matched_auroc(labels, scores, values, np.zeros(80), caliper=1e-6)
    several = matched_auroc(*again, np.zeros(320), patients, caliper=1e-6)
    assert (once.pairs, several.pairs) == (40, 160)
    assert several.auroc == once.auroc
    assert several.effective_pairs == pytest.approx(39)
    assert several.low == pytest.approx(once.low, abs=0.005)


def test_dependent_pairs_are_those_that_share_a_patient() -> None:
    """Against a double loop over pairs of pairs."""
    generator = np.random.default_rng(8)
    patients = np.arange(200) // 4
    labels = (generator.random(50) < 0.4)[patients].astype(int)
    labels[:40] = generator.integers(0, 2, 40)  # ten patients have films of both classes
    values, groups = generator.normal(size=200), np.zeros(200)
    scores = 2 * generator.normal(size=50)[patients] + labels  # films of a patient score alike
    result = matched_auroc(labels, scores, values, groups, patients)
    pairs = pair_films(labels == 1, values, groups, patients, widest=result.caliper)
    won = np.array([float(scores[ill] > scores[well]) for ill, well in pairs])
    total = 0.0
    for one, first in zip(pairs, won, strict=True):
        for other, second in zip(pairs, won, strict=True):
            if set(patients[one]) & set(patients[other]):
                total += (first - won.mean()) * (second - won.mean())
    fewest = min(len(set(patients[pairs[:, side]])) for side in (0, 1))
    variance = total / len(pairs) ** 2 * fewest / (fewest - 1)
    assert result.effective_pairs == pytest.approx(min(len(pairs), won.mean() * (1 - won.mean()) / variance))
    assert result.effective_pairs is not None and result.effective_pairs < len(pairs)


def test_pairs_with_one_patient_in_common_have_no_interval() -> None:
    """Patient 9 has all abnormal films."""
    patients = [9, 9, 9, 1, 2, 3]
    result = matched_auroc([1, 1, 1, 0, 0, 0], [3, 3, 1, 2, 2, 2], [1.0, 2, 3, 1, 2, 3], ["PA"] * 6, patients)
    assert (result.auroc, result.pairs) == (pytest.approx(2 / 3), 3)
    assert (result.low, result.high) == (None, None)
    assert result.reason == "All pairs share a patient: an interval needs at least two of each class."


def test_films_without_score_value_or_group_are_left_out() -> None:
    labels, values = [1, 1, 1, 1, 0, 0, 0, 0], [1.0, 2, 3, np.nan, 1, 2, 3, 4]
    result = matched_auroc(labels, [5, np.nan, 5, 5, 1, 1, 1, 1], values, ["PA", "PA", "", "PA"] * 2, caliper=0.1)
    assert (result.pairs, result.abnormal_left, result.normal_left) == (1, 3, 3)  # the first of each class


def test_no_alike_film_gives_the_reason() -> None:
    result = matched_auroc([1, 1, 0, 0], [1, 2, 3, 4], [1.0, 2, 8, 9], ["PA"] * 4)
    assert result.auroc is None
    assert result.reason == "No abnormal film has a normal film of another patient that is alike."


def test_arrays_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="must name one group for each of the 2 films"):
        matched_auroc([1, 0], [1, 2], [1, 2], ["PA"])
