"""Predictive values and films of every thousand, against the delta method."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import clustered_rate, predictive_values, wilson


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
    assert empty.positive_predictive_value.reason == "One of the two rates is of no film, so this value is not defined."
    assert empty.flags_per_1000.value is None
    assert empty.false_alarms_per_1000.value == pytest.approx(90)
    one = predictive_values(clustered_rate([1, 0], ["a", "a"]), wilson(9, 10), prevalence=0.1)
    assert one.negative_predictive_value.reason.startswith("All these films are of one patient")
    never = predictive_values(wilson(0, 10), wilson(10, 10), prevalence=0.1)
    assert never.positive_predictive_value.value is None
    assert never.positive_predictive_value.reason == "No film gets this call, so the share correct is undefined."
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
