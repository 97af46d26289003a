"""Exact limits, rates at a threshold of another sample, and predictive values, against SciPy and slow references."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import (
    clustered_rate,
    exact_limits,
    operating_point,
    predictive_values,
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
    with pytest.raises(ValueError, match=f"{successes} of {total} is no proportion"):
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


@pytest.mark.parametrize("specificity", [0.5, 0.8, 0.9, 0.95, 1.0])
def test_threshold_is_the_lowest_that_reaches_the_specificity(specificity):
    normal = np.r_[make_films(seed=1)[1], np.nan]
    threshold = threshold_at_specificity(normal, specificity=specificity)
    finite = normal[:-1]
    assert np.mean(finite < threshold) >= specificity - 1e-12
    lower = finite[finite < threshold].max()  # one score less, and that film is called
    assert np.mean(finite < lower) < specificity


@pytest.mark.parametrize("sensitivity", [0.5, 0.8, 0.95, 1.0])
def test_threshold_is_the_highest_that_reaches_the_sensitivity(sensitivity):
    abnormal = make_films(seed=2)[1]
    threshold = threshold_at_sensitivity(abnormal, sensitivity=sensitivity)
    assert np.mean(abnormal >= threshold) >= sensitivity - 1e-12
    assert np.mean(abnormal >= np.nextafter(threshold, np.inf)) < sensitivity


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
    first = sensitivity_at_specificity(labels, scores, normal_scores=[0.0, 1.0, 2.0], specificity=0.9)
    other = sensitivity_at_specificity(labels, scores + 5, normal_scores=[0.0, 1.0, 2.0], specificity=0.9)
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


def test_without_abnormal_films_there_is_no_sensitivity():
    result = sensitivity_at_specificity([0, 0, 1], [0.0, 1.0, np.nan], normal_scores=[0.5])
    assert (result.sensitivity.value, result.sensitivity.low, result.left_out) == (None, None, 1)
    assert result.sensitivity.reason == "No such film has a score, so the rate is not defined."
    assert result.specificity.value == 0.5


@pytest.mark.parametrize("value", [0.0, 1.1, math.nan])
def test_a_target_is_a_share(value):
    with pytest.raises(ValueError, match=f"specificity is {value}; it must be above 0 and at most 1"):
        threshold_at_specificity([0.0], specificity=value)
    with pytest.raises(ValueError, match=f"sensitivity is {value}; it must be above 0"):
        threshold_at_sensitivity([0.0], sensitivity=value)


def delta_method(function, rates, sizes):
    """Standard error of logit function(*rates) by central differences and binomial variances."""
    variance = 0.0
    for k, (rate, size) in enumerate(zip(rates, sizes, strict=True)):
        up, down = list(rates), list(rates)
        up[k], down[k] = rate + 1e-6, rate - 1e-6
        logits = [math.log(v / (1 - v)) for v in (function(*up), function(*down))]
        variance += ((logits[0] - logits[1]) / 2e-6) ** 2 * rate * (1 - rate) / size
    return math.sqrt(variance)


@pytest.mark.parametrize("prevalence", [0.03, 0.3])
def test_predictive_values_are_bayes_with_the_delta_method(prevalence):
    # the counts of Mercaldo, Lau & Zhou 2007, section 4: ApoE.e4 and Alzheimer's disease
    sensitivity, specificity = wilson(240, 240 + 178), wilson(288, 288 + 87)
    result = predictive_values(sensitivity, specificity, prevalence=prevalence)

    def ppv(se, sp):
        return se * prevalence / (se * prevalence + (1 - sp) * (1 - prevalence))

    def npv(se, sp):
        return sp * (1 - prevalence) / (sp * (1 - prevalence) + (1 - se) * prevalence)

    rates, sizes = (240 / 418, 288 / 375), (418, 375)
    for ours, theirs in ((result.positive_predictive_value, ppv), (result.negative_predictive_value, npv)):
        value = theirs(*rates)
        half = stats.norm.ppf(0.975) * delta_method(theirs, rates, sizes)
        limits = [1 / (1 + math.exp(-(math.log(value / (1 - value)) + sign * half))) for sign in (-1, 1)]
        assert (ours.value, ours.low, ours.high) == pytest.approx((value, *limits), abs=1e-7)
    assert result.method == "logit"


def test_a_rate_of_one_has_the_adjusted_interval():
    sensitivity, specificity = wilson(40, 40), wilson(85, 100)
    result = predictive_values(sensitivity, specificity, prevalence=0.1)
    z2 = stats.norm.ppf(0.975) ** 2
    se, sp = (40 + z2 / 2) / (40 + z2), (85 + z2 / 2) / (100 + z2)
    logit = math.log(se * 0.1 / ((1 - sp) * 0.9))
    half = math.sqrt(z2 * ((1 - se) / (se * (40 + z2)) + sp / ((1 - sp) * (100 + z2))))
    assert result.method == "adjusted logit"
    assert result.positive_predictive_value.value == pytest.approx(0.1 / (0.1 + 0.15 * 0.9))
    assert result.positive_predictive_value.low == pytest.approx(1 / (1 + math.exp(half - logit)))
    assert result.positive_predictive_value.high == pytest.approx(1 / (1 + math.exp(-half - logit)))
    assert (result.negative_predictive_value.value, result.negative_predictive_value.high) == (1.0, 1.0)
    logit = math.log(sp * 0.9 / ((1 - se) * 0.1))
    half = math.sqrt(z2 * ((1 - sp) / (sp * (100 + z2)) + se / ((1 - se) * (40 + z2))))
    assert result.negative_predictive_value.low == pytest.approx(1 / (1 + math.exp(half - logit)))


def test_films_of_every_thousand():
    sensitivity, specificity = wilson(80, 100), wilson(180, 200)
    result = predictive_values(sensitivity, specificity, prevalence=0.05)
    assert result.flags_per_1000.value == pytest.approx(0.8 * 50 + 0.1 * 950)
    assert result.false_alarms_per_1000.value == pytest.approx(95)
    assert result.misses_per_1000.value == pytest.approx(10)
    assert result.misses_per_1000.low == pytest.approx(50 * (1 - sensitivity.high))
    assert result.false_alarms_per_1000.high == pytest.approx(950 * (1 - specificity.low))
    below = math.sqrt((50 * (0.8 - sensitivity.low)) ** 2 + (950 * (specificity.high - 0.9)) ** 2)
    above = math.sqrt((50 * (sensitivity.high - 0.8)) ** 2 + (950 * (0.9 - specificity.low)) ** 2)
    assert (result.flags_per_1000.low, result.flags_per_1000.high) == pytest.approx((135 - below, 135 + above))


def test_predictive_values_know_that_patients_repeat():
    patients = np.repeat(np.arange(30), 4)
    sensitivity = clustered_rate(np.random.default_rng(1).normal(size=30)[patients] > -0.5, patients)
    specificity = wilson(180, 200)
    clustered = predictive_values(sensitivity, specificity, prevalence=0.1)
    naive = predictive_values(wilson(sensitivity.successes, 120), specificity, prevalence=0.1)
    assert clustered.positive_predictive_value.value == naive.positive_predictive_value.value
    assert clustered.positive_predictive_value.low < naive.positive_predictive_value.low
    fewer = predictive_values(wilson(75, 100), wilson(180, 200), prevalence=0.1)
    same = predictive_values(wilson(75, 100), clustered_rate([1] * 180 + [0] * 20), prevalence=0.1)
    assert fewer == same


def test_what_cannot_be_predicted_says_why():
    empty = predictive_values(wilson(0, 0), wilson(9, 10), prevalence=0.1)
    assert empty.positive_predictive_value.reason == "One of the two rates has no film, so nothing follows from it."
    assert empty.flags_per_1000.value is None
    assert empty.false_alarms_per_1000.value == pytest.approx(90)
    one = predictive_values(clustered_rate([1, 0], ["a", "a"]), wilson(9, 10), prevalence=0.1)
    assert one.negative_predictive_value.reason.startswith("All these films are of one patient")
    never = predictive_values(wilson(0, 10), wilson(10, 10), prevalence=0.1)
    assert never.positive_predictive_value.value is None
    assert never.positive_predictive_value.reason == "No film is called so, and nothing can be said of those that are."
    assert never.negative_predictive_value.value == pytest.approx(0.9)


@pytest.mark.parametrize("prevalence", [0.0, 1.0, 5])
def test_prevalence_is_a_share(prevalence):
    with pytest.raises(ValueError, match=f"prevalence is {prevalence}; it must lie between 0 and 1"):
        predictive_values(wilson(1, 2), wilson(1, 2), prevalence=prevalence)


def test_two_confidences_are_refused():
    with pytest.raises(
        ValueError, match=r"sensitivity has confidence 0.9 and specificity 0.95; make both with the same"
    ):
        predictive_values(wilson(1, 2, confidence=0.9), wilson(1, 2), prevalence=0.1)
