"""Split-conformal ranks and promises against scipy, plain loops and simulation."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from scipy import stats

from ml_engine.core.score import conformal


@pytest.mark.parametrize("percent", [50, 80, 90, 95, 99])
def test_the_rank_is_the_share_of_one_more_than_the_units(percent: int) -> None:
    for units in range(120):
        exact = ceil(Fraction(percent, 100) * (units + 1))
        assert conformal.rank(percent / 100, units) == (exact if exact <= units else None)


def test_sixteen_scores_promise_a_tenth_with_their_highest_only() -> None:
    """ceil(0.9 * 16) = 15 would let 2 in 17 new scores pass, more than a tenth."""
    assert conformal.rank(0.9, 16) == 16
    assert conformal.rank(0.9, 9) == 9
    assert conformal.rank(0.9, 8) is None


@pytest.mark.parametrize(("units", "target"), [(9, 0.1), (16, 0.1), (39, 0.1), (99, 0.05), (40, 0.5)])
def test_the_promise_is_the_beta_distribution_of_the_rank(units: int, target: float) -> None:
    promised = conformal.promised_rate(target, units)
    k = ceil(Fraction(str(1 - Fraction(str(target)))) * (units + 1))

    assert promised is not None
    rate = stats.beta(units + 1 - k, k)
    assert promised.expected == pytest.approx(rate.mean())
    assert promised.expected <= target + 1e-9
    assert (promised.low, promised.high) == pytest.approx((rate.ppf(0.025), rate.ppf(0.975)))
    assert (promised.target, promised.patients) == (target, units)


def test_too_few_units_promise_nothing() -> None:
    assert conformal.promised_rate(0.1, 8) is None
    assert conformal.promised_rate(0.1, 0) is None


def test_simulated_rates_lie_in_the_promised_interval() -> None:
    rng = np.random.default_rng(0)
    promised = conformal.promised_rate(0.1, 39)
    assert promised is not None
    rates = []
    for _ in range(4000):
        k = conformal.rank(0.9, 39)
        assert k is not None
        threshold = np.sort(rng.normal(size=39))[k - 1]
        rates.append(stats.norm.sf(threshold))

    assert np.mean(rates) == pytest.approx(promised.expected, abs=0.003)
    inside = np.mean([(promised.low <= rate <= promised.high) for rate in rates])
    assert inside == pytest.approx(0.95, abs=0.01)


def test_each_patient_counts_with_its_highest_score() -> None:
    rng = np.random.default_rng(1)
    scores, patients = rng.normal(size=50), rng.integers(0, 20, 50)
    scores[::7] = np.nan
    slow: dict[int, float] = {}
    for score, patient in zip(scores.tolist(), patients.tolist(), strict=True):
        if not np.isnan(score):
            slow[patient] = max(score, slow.get(patient, score))

    np.testing.assert_array_equal(conformal.highest_by_patient(scores, patients), sorted(slow.values()))
    np.testing.assert_array_equal(conformal.highest_by_patient(scores), np.sort(scores[~np.isnan(scores)]))
    assert len(conformal.highest_by_patient([], [])) == 0


def test_with_films_of_a_patient_alike_only_the_interval_by_patient_holds() -> None:
    """20 patients with 5 films each, nearly the same: 100 films that hold no more than 20."""
    rng = np.random.default_rng(2)
    inside: dict[str, list[bool]] = {"films": [], "patients": []}
    for _ in range(1000):
        of_patient = rng.normal(size=20)
        scores = (of_patient[:, None] + 0.01 * rng.normal(size=(20, 5))).ravel()
        patients = np.repeat(np.arange(20), 5)
        for name, ordered in (
            ("films", conformal.highest_by_patient(scores)),
            ("patients", conformal.highest_by_patient(scores, patients)),
        ):
            k, promised = conformal.rank(0.9, len(ordered)), conformal.promised_rate(0.1, len(ordered))
            assert k is not None
            assert promised is not None
            inside[name].append(promised.low <= stats.norm.sf(ordered[k - 1]) <= promised.high)

    assert np.mean(inside["patients"]) == pytest.approx(0.95, abs=0.02)
    assert np.mean(inside["films"]) < 0.75


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9])
def test_each_patient_is_called_by_the_threshold_of_the_others(share: float) -> None:
    rng = np.random.default_rng(3)
    scores, patients = rng.integers(0, 30, 60).astype(float), rng.integers(0, 25, 60)
    above = conformal.above_the_others(scores, patients, share=share)

    assert above is not None
    for film in range(60):
        others = conformal.highest_by_patient(scores[patients != patients[film]], patients[patients != patients[film]])
        k = conformal.rank(share, len(others))
        assert k is not None
        assert above[film] == (scores[film] > others[k - 1])


def test_too_few_others_call_nobody() -> None:
    assert conformal.above_the_others(np.arange(9.0), np.arange(9), share=0.9) is None
    assert conformal.above_the_others(np.arange(10.0), np.arange(10), share=0.9) is not None
