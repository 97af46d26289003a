"""What readers change after the reveal, against counts in loops, scipy and plain formulas."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import automation_bias, wilson
from analysis.statistics.automation_bias import _exact_mcnemar

NAN = math.nan


def make_readings(*, seed, readings=200):
    generator = np.random.default_rng(seed)
    truth, model = generator.integers(0, 2, (2, readings))
    before = np.where(generator.random(readings) < 0.75, truth, 1 - truth)
    after = np.where(generator.random(readings) < 0.3, model, before)
    return truth, before.astype(float), after.astype(float), model.astype(float)


def counts(changes):
    return (changes.kept_right, changes.right_to_wrong, changes.wrong_to_right, changes.kept_wrong)


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_a_loop(seed):
    truth, before, after, model = make_readings(seed=seed)
    expected = {name: [0, 0, 0, 0] for name in ("all", "right", "wrong")}
    for t, b, a, m in zip(truth, before, after, model, strict=True):
        place = {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}[b == t, a == t]
        for name in ("all", "right" if m == t else "wrong"):
            expected[name][place] += 1
    result = automation_bias(truth, before, after, model)
    assert list(counts(result.all)) == expected["all"]
    assert list(counts(result.model_right)) == expected["right"]
    assert list(counts(result.model_wrong)) == expected["wrong"]
    assert (result.all.readings, result.left_out, result.without_model) == (200, 0, 0)
    for changes in (result.all, result.model_right, result.model_wrong):
        kept, lost, gained, wrong = counts(changes)
        for rate, plain in (
            (changes.lost, wilson(lost, kept + lost)),
            (changes.gained, wilson(gained, gained + wrong)),
        ):
            assert (rate.value, rate.low, rate.high) == (plain.value, plain.low, plain.high)


def test_readers_who_follow_are_harmed_only_where_the_model_is_wrong():
    truth, before, _, model = make_readings(seed=5)
    result = automation_bias(truth, before, model, model)  # every reader takes over the model's call
    assert (result.model_wrong.lost.value, result.model_right.gained.value) == (1.0, 1.0)
    assert (result.model_wrong.wrong_to_right, result.model_right.right_to_wrong) == (0, 0)


@pytest.mark.parametrize(("losses", "gains"), [(0, 1), (0, 6), (3, 9), (9, 3), (5, 5), (40, 71), (600, 520)])
def test_exact_test_is_the_binomial_one(losses, gains):
    expected = stats.binomtest(losses, losses + gains, 0.5).pvalue
    assert _exact_mcnemar(losses, gains) == pytest.approx(expected, rel=1e-9)
    changes = losses + gains
    tail = sum(math.comb(changes, k) for k in range(min(losses, gains) + 1))
    assert expected == pytest.approx(min(1.0, 2 * tail / 2**changes))
    truth = np.ones(losses + gains, int)
    before = np.r_[np.ones(losses), np.zeros(gains)]
    changes = automation_bias(truth, before, 1 - before, truth).all
    assert (changes.p_value, changes.test) == (pytest.approx(expected), "exact McNemar")


def test_several_readings_of_a_patient_are_tested_by_patient():
    truth, before, after, model = make_readings(seed=7)
    patients = np.arange(200) % 60
    changes = automation_bias(truth, before, after, model, patients).all
    net = [
        sum(int(a == t) - int(b == t) for t, b, a, p in zip(truth, before, after, patients, strict=True) if p == person)
        for person in range(60)
    ]
    z = sum(net) / math.sqrt(60 / 59 * sum(d * d for d in net))
    assert (changes.p_value, changes.test) == (pytest.approx(2 * stats.norm.sf(abs(z))), "clustered McNemar")
    twice = [np.concatenate([values, values]) for values in (truth, before, after, model)]
    once = automation_bias(truth, before, after, model, np.arange(200)).all
    copied = automation_bias(*twice, np.tile(np.arange(200), 2)).all
    assert copied.right_to_wrong == 2 * once.right_to_wrong
    large = (once.wrong_to_right - once.right_to_wrong) / math.sqrt(once.wrong_to_right + once.right_to_wrong)
    assert copied.p_value == pytest.approx(2 * stats.norm.sf(abs(large) / math.sqrt(200 / 199)))


def test_missing_calls():
    result = automation_bias([1, 1, 0, 0, 1], [1, NAN, 0, 1, 0], [1, 1, 0, 0, NAN], [1, 1, NAN, 1, 1])
    assert (result.left_out, result.without_model) == (2, 1)
    assert (counts(result.all), counts(result.model_right), counts(result.model_wrong)) == (
        (2, 0, 1, 0), (1, 0, 0, 0), (0, 0, 1, 0),
    )  # fmt: skip
    assert result.model_wrong.lost.value is None and result.model_wrong.lost.reason


def test_nothing_to_test_has_a_reason():
    unchanged = automation_bias([1, 0], [1, 0], [1, 0], [1, 1]).all
    assert (unchanged.p_value, unchanged.test) == (None, "none")
    assert unchanged.reason == "No reading changed between right and wrong, so there is nothing to test."
    empty = automation_bias([], [], [], [])
    assert empty.all.readings == 0 and empty.all.reason
    one_patient = automation_bias([1, 0], [1, 0], [0, 0], [1, 1], [5, 5]).all
    assert (one_patient.p_value, one_patient.reason[:36]) == (None, "All readings are of one patient: a t")
    evened = automation_bias([1, 1, 1, 1], [1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1], [5, 5, 6, 7]).all
    assert evened.p_value is None and evened.reason.startswith("In each patient as many readings were lost as gained")


def test_misuse_raises():
    with pytest.raises(ValueError, match="calls must be 0"):
        automation_bias([1], [0.5], [1], [1])
    with pytest.raises(ValueError, match="one call for each reading"):
        automation_bias([1, 0], [1, 0], [1, 0], [1])
    with pytest.raises(ValueError, match="expected one for each reading"):
        automation_bias([1, 0], [[1, 0]], [1, 0], [1, 0])
    with pytest.raises(ValueError, match="labels must be 0"):
        automation_bias([2, 0], [1, 0], [1, 0], [1, 0])
    with pytest.raises(ValueError, match="confidence"):
        automation_bias([1], [1], [1], [1], confidence=1.0)
