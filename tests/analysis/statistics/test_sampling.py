"""Rates of a stream of which a known share was read, against copies of the films, the jackknife and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import clustered_rate, sampled_rates, wilson


def make_stream(*, seed, films=1000, prevalence=0.1, sensitivity=0.8, specificity=0.9, called=1.0, uncalled=0.1):
    """Labels, calls and probabilities of the films that were drawn to be read."""
    generator = np.random.default_rng(seed)
    labels = generator.random(films) < prevalence
    calls = np.where(labels, generator.random(films) < sensitivity, generator.random(films) >= specificity)
    probabilities = np.where(calls, called, uncalled)
    drawn = generator.random(films) < probabilities
    return labels[drawn].astype(int), calls[drawn].astype(int), probabilities[drawn]


def test_estimates_are_those_of_each_film_copied_as_often_as_it_stands_for():
    labels, calls, probabilities = make_stream(seed=1, called=0.5, uncalled=0.125)
    result = sampled_rates(labels, calls, probabilities=probabilities)
    copies = (1 / probabilities).astype(int)
    y, t = np.repeat(labels, copies), np.repeat(calls, copies)
    assert result.sensitivity.value == pytest.approx(t[y == 1].mean())
    assert result.positive_predictive_value.value == pytest.approx(y[t == 1].mean())
    assert result.prevalence.value == pytest.approx(y.mean())
    assert (result.readings, result.patients, result.represented) == (len(labels), len(labels), len(y))


def jackknife_variance(labels, calls, patients, weights, statistic):
    """Leaving out one patient at a time."""
    people = np.unique(patients)
    values = []
    for person in people:
        kept = patients != person
        values.append(statistic(labels[kept], calls[kept], weights[kept]))
    return (len(people) - 1) / len(people) * np.sum((np.array(values) - np.mean(values)) ** 2)


@pytest.mark.parametrize("films_a_patient", [1, 2])
def test_variance_of_the_predictive_value_is_that_of_the_jackknife(films_a_patient):
    generator = np.random.default_rng(2)
    patients = np.arange(600) // films_a_patient
    effect = generator.normal(size=600)[patients]
    labels, calls = (effect + generator.normal(size=600) > 0.3).astype(int), (effect > 0).astype(int)
    probabilities = generator.uniform(0.2, 1.0, 600)
    result = sampled_rates(labels, calls, patients, probabilities=probabilities).positive_predictive_value

    def ppv(y, t, w):
        return (w * y * t).sum() / (w * t).sum()

    variance = jackknife_variance(labels, calls, patients, 1 / probabilities, ppv)
    n, z = result.value * (1 - result.value) / variance, stats.norm.ppf(0.975)
    for limit in (result.low, result.high):  # Wilson's: z standard errors away, of the limit itself
        assert abs(result.value - limit) == pytest.approx(z * math.sqrt(limit * (1 - limit) / n), rel=0.02)


def test_a_census_is_nearly_wilson():
    labels, calls, probabilities = make_stream(seed=3, films=3000, called=1.0, uncalled=1.0)
    result = sampled_rates(labels, calls, probabilities=probabilities)
    for ours, theirs in (
        (result.sensitivity, wilson(int((labels * calls).sum()), int(labels.sum()))),
        (result.positive_predictive_value, wilson(int((labels * calls).sum()), int(calls.sum()))),
        (result.prevalence, wilson(int(labels.sum()), len(labels))),
    ):
        assert ours.value == pytest.approx(theirs.value)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.006)


def wilson_of(share, size):
    """The two roots of (p − θ)² = z² θ (1 − θ) / n."""
    z2 = stats.norm.ppf(0.975) ** 2
    return np.sort(np.roots([1 + z2 / size, -2 * share - z2 / size, share**2]))


def slow_share(hits, weights):
    """Hájek's share of films without patients in common, and the limits at its effective number."""
    n, share = len(hits), (weights * hits).sum() / weights.sum()
    variance = n / (n - 1) * ((weights * (hits - share)) ** 2).sum() / weights.sum() ** 2
    return share, *wilson_of(share, share * (1 - share) / variance)


def test_no_miss_among_a_few_is_no_sensitivity_of_one():
    # 50 of 100 called films are abnormal, none of 90 read from 900 others: up to 4 % of those may be
    labels = np.r_[np.ones(50), np.zeros(50), np.zeros(90)]
    calls = np.r_[np.ones(100), np.zeros(90)]
    probabilities = np.r_[np.ones(100), np.full(90, 0.1)]
    result = sampled_rates(labels, calls, probabilities=probabilities)
    missed = 0.9 * wilson(0, 90).high
    assert result.sensitivity.value == result.sensitivity.high == 1.0
    low, high = slow_share(labels * calls, 1 / probabilities)[1:]
    ratio = missed / math.sqrt(0.05**2 - (0.05 - low) ** 2)  # missed : found, at the most
    assert result.sensitivity.low == pytest.approx(1 / (1 + ratio))
    assert result.sensitivity.low < 0.6
    assert result.prevalence.high == pytest.approx(0.05 + math.hypot(high - 0.05, missed))


def test_ratio_limits_solve_their_equation():
    """Donner & Zou's limits R of B / A: |B − R A| is as far as the limits of both allow together."""
    labels, calls, probabilities = make_stream(seed=4)
    weights = 1 / probabilities
    result = sampled_rates(labels, calls, probabilities=probabilities).sensitivity
    sides = [slow_share(hits, weights) for hits in (labels * (1 - calls), labels * calls)]
    (b, b_low, b_high), (a, a_low, a_high) = sides
    low, high = (1 - result.high) / result.high, (1 - result.low) / result.low
    assert (b - low * a) ** 2 == pytest.approx((b - b_low) ** 2 + low**2 * (a_high - a) ** 2)
    assert (high * a - b) ** 2 == pytest.approx((b_high - b) ** 2 + high**2 * (a - a_low) ** 2)


def test_nothing_found_among_the_called_is_a_sensitivity_of_nought():
    labels, calls = np.r_[np.zeros(40), np.ones(10), np.zeros(50)], np.r_[np.ones(40), np.zeros(60)]
    result = sampled_rates(labels, calls, probabilities=np.ones(100))
    assert (result.sensitivity.value, result.sensitivity.low) == (0.0, 0.0)
    assert 0.2 < result.sensitivity.high < 0.6
    assert result.positive_predictive_value.value == 0.0
    assert result.positive_predictive_value.high == pytest.approx(wilson(0, 40).high)


def test_a_predictive_value_of_one_counts_patients():
    labels, calls = np.r_[np.ones(30), np.zeros(30)], np.r_[np.ones(30), np.zeros(30)]
    patients = np.r_[np.repeat(np.arange(10), 3), np.arange(10, 40)]
    result = sampled_rates(labels, calls, patients, probabilities=np.ones(60))
    assert result.positive_predictive_value.low == pytest.approx(wilson(10, 10).low)
    single = sampled_rates(labels, calls, probabilities=np.ones(60))
    assert single.positive_predictive_value.low == pytest.approx(clustered_rate(np.ones(30)).low)


def test_copies_of_patients_do_not_narrow():
    labels, calls, probabilities = make_stream(seed=5)
    patients = np.arange(len(labels))
    once = sampled_rates(labels, calls, patients, probabilities=probabilities)
    twice = sampled_rates(*(np.tile(a, 2) for a in (labels, calls, patients)), probabilities=np.tile(probabilities, 2))
    for name in ("sensitivity", "positive_predictive_value", "prevalence"):
        one, two = getattr(once, name), getattr(twice, name)
        assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high), abs=1e-9)


def test_what_cannot_be_estimated_says_why():
    empty = sampled_rates([], [], probabilities=[])
    for estimate in (empty.sensitivity, empty.positive_predictive_value, empty.prevalence):
        assert (estimate.value, estimate.reason) == (None, "No reading, so nothing can be estimated.")
    normal = sampled_rates([0, 0, 0], [0, 0, 0], probabilities=[1, 1, 1])
    assert normal.sensitivity.reason == "No abnormal film was read, so the sensitivity is not defined."
    assert normal.positive_predictive_value.reason == "No film that was read is called abnormal."
    assert (normal.prevalence.value, normal.prevalence.high) == (0.0, pytest.approx(wilson(0, 3).high))
    one = sampled_rates([0, 1], [0, 1], ["a", "a"], probabilities=[1, 1])
    assert (one.sensitivity.value, one.sensitivity.low) == (1.0, None)
    assert one.sensitivity.reason == "The readings are of one patient: an interval needs at least two."


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.1, math.nan])
def test_probabilities_are_shares_above_nought(probability):
    with pytest.raises(ValueError, match="probabilities must be above 0 and at most 1"):
        sampled_rates([0, 1], [0, 1], probabilities=[probability, 1.0])


def test_readings_must_fit():
    with pytest.raises(ValueError, match=r"labels \(2,\), called \(2,\) and probabilities \(1,\) must have one value"):
        sampled_rates([0, 1], [0, 1], probabilities=[1.0])


def test_coverage_where_called_films_are_all_read_and_others_seldom():
    truth = {"sensitivity": 0.8, "positive_predictive_value": 0.08 / (0.08 + 0.09), "prevalence": 0.1}
    inside = dict.fromkeys(truth, 0)
    for seed in range(400):
        labels, calls, probabilities = make_stream(seed=seed)
        result = sampled_rates(labels, calls, probabilities=probabilities)
        for name, value in truth.items():
            inside[name] += getattr(result, name).low <= value <= getattr(result, name).high
    assert all(0.92 < count / 400 < 0.98 for count in inside.values()), inside


def test_a_prevalence_is_never_above_one():
    result = sampled_rates(np.ones(40), np.arange(40) % 2, probabilities=np.ones(40)).prevalence
    assert (result.value, result.high) == (1.0, 1.0)
    assert result.low < 0.95
