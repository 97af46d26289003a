"""Exact limits and rates at a threshold of another sample, against SciPy and slow references."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import (
    clustered_rate,
    exact_limits,
    operating_point,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
    threshold_at_sensitivity,
    threshold_at_specificity,
    wilson,
)


def make_films(*, seed, films=90, films_a_patient=1):
    generator = np.random.default_rng(seed)
    patients = np.arange(films) // films_a_patient
    labels = (generator.random(films) < 0.4).astype(int)
    scores = generator.normal(size=films) + 1.5 * labels + generator.normal(size=films)[patients]
    return labels, scores.round(1), patients


@pytest.mark.parametrize(("successes", "total"), [(0, 10), (3, 10), (10, 10), (1, 1), (977, 1182)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_exact_limits_are_those_of_scipy(successes, total, confidence):
    theirs = stats.binomtest(successes, total).proportion_ci(confidence, method="exact")
    assert exact_limits(successes, total, confidence=confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-10)


def test_exact_limits_of_no_trial_exclude_nothing():
    assert exact_limits(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "total"), [(-1, 3), (4, 3)])
def test_exact_limits_refuse_what_is_no_proportion(successes, total):
    with pytest.raises(ValueError, match=f"{successes} of {total} is not a proportion"):
        exact_limits(successes, total)


@pytest.mark.parametrize("method", ["wilson", "exact"])
def test_without_repeats_a_rate_is_that_of_scipy(method):
    result = clustered_rate([1, 1, 0, 1, 0, 0, 1, 1], method=method)
    theirs = stats.binomtest(5, 8).proportion_ci(0.95, method=method)
    assert (result.low, result.high) == pytest.approx((theirs.low, theirs.high), abs=1e-10)
    assert (result.successes, result.total, result.patients, result.effective_total) == (5, 8, 8, 8.0)


def slow_effective_total(successes, patients):
    """The design effect from the ratio estimator, patient by patient."""
    people = sorted(set(patients))
    p = np.mean(successes)
    squares = 0.0
    for person in people:
        mine = [s for s, q in zip(successes, patients, strict=True) if q == person]
        squares += (sum(mine) - p * len(mine)) ** 2
    variance = len(people) / (len(people) - 1) * squares / len(successes) ** 2
    return p * (1 - p) / variance


@pytest.mark.parametrize("method", ["wilson", "exact"])
def test_a_clustered_rate_counts_as_many_films_as_vary_so_much(method):
    patients = np.repeat(np.arange(20), [1, 2, 3, 4] * 5)
    successes = (np.random.default_rng(0).normal(size=20)[patients] > 0.2).astype(int)  # patients are all or nothing
    result = clustered_rate(successes, patients, method=method)
    n = slow_effective_total(successes, patients)
    assert result.effective_total == pytest.approx(n)
    assert n < 25 < len(successes)
    p, z = successes.mean(), stats.norm.ppf(0.975)
    if method == "wilson":  # the shares that lie z standard errors away
        for limit in (result.low, result.high):
            assert abs(p - limit) == pytest.approx(z * math.sqrt(limit * (1 - limit) / n), abs=1e-9)
    else:
        assert result.low == pytest.approx(stats.beta.ppf(0.025, p * n, n - p * n + 1), abs=1e-9)
        assert result.high == pytest.approx(stats.beta.ppf(0.975, p * n + 1, n - p * n), abs=1e-9)


def test_patients_never_make_more_films_than_there_are():
    result = clustered_rate([1, 0] * 10, np.repeat(np.arange(10), 2))  # one of each patient's two: no variance at all
    assert result.effective_total == 20
    uneven = clustered_rate([1, 0] * 9 + [1, 1], np.repeat(np.arange(10), 2))  # hardly any
    assert uneven.effective_total == 20


def test_a_perfect_rate_counts_patients():
    result = clustered_rate(np.ones(30), np.repeat(np.arange(10), 3))
    assert (result.value, result.effective_total) == (1.0, 10.0)
    assert result.low == pytest.approx(wilson(10, 10).low)


def test_films_of_one_patient_have_no_interval():
    result = clustered_rate([1, 0, 1], ["a", "a", "a"])
    assert (result.value, result.low) == (pytest.approx(2 / 3), None)
    assert result.reason == "All these films are of one patient: an interval needs at least two."
    assert clustered_rate([1]).high == 1.0  # a single film is its own patient, and Wilson's limits are wide


def test_another_method_is_refused():
    with pytest.raises(ValueError, match="method is 'wald'; it must be 'wilson' or 'exact'"):
        clustered_rate([1, 0], method="wald")


@pytest.mark.parametrize("percent", [50, 80, 90, 95])
def test_the_threshold_of_a_specificity_has_the_conformal_rank(percent):
    normal = np.r_[make_films(seed=1)[1], np.nan]
    threshold = threshold_at_specificity(normal, specificity=percent / 100)
    ranked = np.sort(normal[:-1])
    k = math.ceil(Fraction(percent, 100) * (len(ranked) + 1))
    assert threshold == np.nextafter(ranked[k - 1], np.inf)  # the k-th film itself is not called


@pytest.mark.parametrize("percent", [50, 80, 90, 95])
def test_the_threshold_of_a_sensitivity_has_the_conformal_rank(percent):
    abnormal = make_films(seed=2)[1]
    ranked = np.sort(abnormal)[::-1]
    k = math.ceil(Fraction(percent, 100) * (len(ranked) + 1))
    assert threshold_at_sensitivity(abnormal, sensitivity=percent / 100) == ranked[k - 1]


@pytest.mark.parametrize(("fix", "name"), [(threshold_at_specificity, "specificity"),
                                           (threshold_at_sensitivity, "sensitivity")])  # fmt: skip
def test_too_few_films_fix_no_threshold(fix, name):
    assert fix(np.arange(9.0), **{name: 0.9}) is not None
    assert fix(np.arange(8.0), **{name: 0.9}) is None
    assert fix(np.arange(50.0), **{name: 1.0}) is None
    assert fix(np.arange(50.0), **{name: 0.9}, patients=np.arange(50) % 8) is None


def test_new_films_are_called_as_rarely_and_as_often_as_promised():
    """Over 2,000 draws of 16 films; with k = ⌈0.9 · 16⌉ = 15 the false alarms would be 0.118."""
    rng = np.random.default_rng(0)
    alarms, found = [], []
    for scores in rng.normal(size=(2000, 16)):
        alarms.append(stats.norm.sf(threshold_at_specificity(scores, specificity=0.9)))
        found.append(stats.norm.sf(threshold_at_sensitivity(scores, sensitivity=0.9)))
    assert np.mean(alarms) == pytest.approx(1 / 17, abs=0.004)
    assert np.mean(found) == pytest.approx(16 / 17, abs=0.004)


def test_a_patient_counts_once_with_the_film_nearest_the_wrong_side():
    scores, patients = [5.0, 1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "c", "d"]
    above = threshold_at_specificity(scores, specificity=0.6, patients=patients)
    assert above == np.nextafter(4.0, np.inf)  # the 3rd of 2, 3, 4, 5
    assert threshold_at_sensitivity(scores, sensitivity=0.8, patients=patients) == 1.0  # the 4th of 4, 3, 2, 1


@pytest.mark.parametrize("method", ["wilson", "exact"])
def test_sensitivity_at_the_specificity_of_other_films(method):
    labels, scores, _ = make_films(seed=3)
    normal = make_films(seed=4)[1]
    result = sensitivity_at_specificity(labels, scores, normal_scores=normal, specificity=0.8, method=method)
    point = operating_point(labels, scores, threshold=threshold_at_specificity(normal, specificity=0.8))
    for ours, theirs in ((result.sensitivity, point.sensitivity), (result.specificity, point.specificity)):
        limits = stats.binomtest(theirs.successes, theirs.total).proportion_ci(0.95, method=method)
        assert (ours.successes, ours.total) == (theirs.successes, theirs.total)
        assert (ours.low, ours.high) == pytest.approx((limits.low, limits.high), abs=1e-10)
    assert (result.target, result.reference_films, result.left_out) == (0.8, 90, 0)


def test_the_threshold_comes_only_from_the_other_films():
    labels, scores, _ = make_films(seed=5)
    first = sensitivity_at_specificity(labels, scores, normal_scores=[0.0, 1.0, 2.0], specificity=0.7)
    other = sensitivity_at_specificity(labels, scores + 5, normal_scores=[0.0, 1.0, 2.0], specificity=0.7)
    assert first.threshold == other.threshold == np.nextafter(2.0, np.inf)
    assert other.sensitivity.value > first.sensitivity.value


def test_specificity_at_the_sensitivity_of_other_films():
    labels, scores, _ = make_films(seed=6)
    abnormal = make_films(seed=7)[1]
    result = specificity_at_sensitivity(labels, scores, abnormal_scores=abnormal, sensitivity=0.9)
    assert result.threshold == threshold_at_sensitivity(abnormal, sensitivity=0.9)
    called = scores >= result.threshold
    assert result.specificity.value == pytest.approx(1 - called[labels == 0].mean())
    assert result.sensitivity.value == pytest.approx(called[labels == 1].mean())


def test_rates_are_clustered_inside_each_class():
    labels, scores, patients = make_films(seed=8, films_a_patient=3)
    result = sensitivity_at_specificity(labels, scores, patients, normal_scores=scores[labels == 0], specificity=0.7)
    called = (scores >= result.threshold).astype(int)
    expected = slow_effective_total(called[labels == 1], patients[labels == 1])
    assert result.sensitivity.effective_total == pytest.approx(min(expected, (labels == 1).sum()))
    expected = slow_effective_total(1 - called[labels == 0], patients[labels == 0])
    assert result.specificity.effective_total == pytest.approx(min(expected, (labels == 0).sum()))


def test_without_other_films_there_is_no_threshold():
    result = sensitivity_at_specificity([0, 1], [0.0, 1.0], normal_scores=[np.nan])
    assert (result.threshold, result.sensitivity, result.specificity) == (None, None, None)
    assert result.reason == "No normal film of the other sample has a score, so there is no threshold."
    result = specificity_at_sensitivity([0, 1], [0.0, 1.0], abnormal_scores=[])
    assert result.reason == "No abnormal film of the other sample has a score, so there is no threshold."
    result = sensitivity_at_specificity([0, 1], [0.0, 1.0], normal_scores=[1.0, 2.0], normal_patients=["a", "a"])
    assert (result.threshold, result.reference_films, result.reference_patients) == (None, 2, 1)
    assert result.reason == (
        "The normal films of the other sample are of 1 patients, which are too few for a share of 0.9, so there is no "
        "threshold."
    )


def test_without_abnormal_films_there_is_no_sensitivity():
    result = sensitivity_at_specificity([0, 0, 1], [0.0, 1.0, np.nan], normal_scores=[0.5], specificity=0.5)
    assert (result.sensitivity.value, result.sensitivity.low, result.left_out) == (None, None, 1)
    assert result.sensitivity.reason == "No such film has a score, so the rate is not defined."
    assert result.specificity.value == 0.5


@pytest.mark.parametrize("value", [0.0, 1.1, math.nan])
def test_a_target_is_a_share(value):
    with pytest.raises(ValueError, match=f"specificity is {value}; it must be above 0 and at most 1"):
        threshold_at_specificity([0.0], specificity=value)
    with pytest.raises(ValueError, match=f"sensitivity is {value}; it must be above 0"):
        threshold_at_sensitivity([0.0], sensitivity=value)
