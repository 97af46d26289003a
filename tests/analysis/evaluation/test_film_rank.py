"""A film among the calibration normals: shares and p-values by counting patients, and where none can be given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from analysis.evaluation.film_rank import p_values, rank_of
from analysis.evaluation.thresholds import ReferenceScores

GENERATOR = np.random.default_rng(5)


def reference(films: int = 30, people: int = 12, *, exchangeable: bool = True) -> ReferenceScores:
    return ReferenceScores(
        np.round(GENERATOR.normal(0, 1, films), 1),  # with ties
        "calibrate",
        GENERATOR.integers(0, people, films),
        is_split_conformal=exchangeable,
    )


def test_the_p_value_counts_patients_whose_highest_film_is_as_high() -> None:
    of = reference()
    assert of.patients is not None
    highest = [max(of.scores[of.patients == person]) for person in set(of.patients.tolist())]
    scores = np.round(GENERATOR.normal(0, 1, 40), 1)
    by_hand = [(1 + sum(other >= score for other in highest)) / (len(highest) + 1) for score in scores]
    np.testing.assert_allclose(p_values(of, scores), by_hand)
    assert np.isnan(p_values(of, [np.nan])[0])


def test_p_values_of_new_normal_films_are_uniform_or_higher() -> None:
    """Of exchangeable normals, at most a share of t has a p-value of t or less, over many draws."""
    values = []
    for _ in range(2000):
        scores = GENERATOR.normal(0, 1, 20)
        of = ReferenceScores(scores[:19], "calibrate", np.arange(19), is_split_conformal=True)
        values.append(float(p_values(of, scores[19:])[0]))
    for share in (0.05, 0.1, 0.5):
        assert np.mean(np.array(values) <= share) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 2000))


def test_a_film_above_all_of_a_few_is_said_with_its_interval() -> None:
    of = ReferenceScores(np.arange(16.0), "calibrate", np.repeat(np.arange(14), [2, 2, *[1] * 12]), True)
    rank = rank_of(of, 99.0, part="test")
    assert rank is not None
    assert (rank.above.successes, rank.above.total, rank.films) == (14, 14, 16)
    assert (rank.above.low, rank.above.high) == pytest.approx(tuple(binomtest(14, 14).proportion_ci(method="wilson")))
    assert rank.p_value == pytest.approx(1 / 15)
    assert rank_of(ReferenceScores(np.empty(0), "calibrate"), 1.0, part="test") is None


@pytest.mark.parametrize(
    ("part", "exchangeable", "why"),
    [
        ("fit", True, "The film is in fit: the model was made with it."),
        ("calibrate", True, "The film is in calibrate: the model was made with it."),
        ("test", False, "The calibration normals do not score as new films do."),
    ],
)
def test_a_film_without_a_p_value_says_why(part: str, exchangeable: bool, why: str) -> None:
    rank = rank_of(reference(exchangeable=exchangeable), 1.0, part=part)
    assert rank is not None
    assert (rank.p_value, rank.why_none) == (None, why)
