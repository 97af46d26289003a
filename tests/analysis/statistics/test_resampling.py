"""What bootstrapped statistics share, against SciPy, NumPy and counting."""

import numpy as np
import pytest
from scipy import special

from analysis.statistics.resampling import area_between, counts_above, expit, logit_limits
from analysis.statistics.sample import take_sample


def test_expit_is_that_of_scipy_and_never_overflows():
    x = np.array([-800.0, -30.0, -1.0, 0.0, 2.5, 800.0])
    assert expit(x) == pytest.approx(special.expit(x), abs=1e-15)


def test_limits_are_symmetric_on_the_logit_scale():
    low, high = logit_limits(0.9, 0.02, confidence=0.95)
    assert (special.logit(low) + special.logit(high)) / 2 == pytest.approx(special.logit(0.9))
    assert (special.logit(high) - special.logit(low)) / 2 == pytest.approx(1.959964 * 0.02 / (0.9 * 0.1), rel=1e-6)


@pytest.mark.parametrize(("value", "error"), [(0.9, 0.0), (1.0, 0.1), (0.0, 0.1)])
def test_without_a_spread_there_are_no_limits(value, error):
    assert logit_limits(value, error, confidence=0.95) is None


def test_films_above_each_score_are_counted_with_their_weights():
    labels, scores = np.array([1, 0, 1, 0]), np.array([3.0, 3.0, 2.0, 1.0])
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1]])
    positive, negative = counts_above(take_sample(labels, scores), np.array([0, 1, 2, 3]), weights)
    assert positive.tolist() == [[1, 2, 2], [2, 3, 3]]
    assert negative.tolist() == [[1, 1, 2], [0, 0, 1]]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.1, 0.35), (0.3, 0.3)])
def test_area_between_is_the_trapezium_rule_on_a_fine_grid(low, high):
    x, y = np.array([[0.0, 0.2, 0.2, 0.6, 1.0]]), np.array([[0.0, 0.3, 0.5, 0.9, 1.0]])
    fine = np.linspace(low, high, 200_001)
    expected = np.trapezoid(np.interp(fine, x[0], y[0]), fine)
    assert area_between(x, y, low=low, high=high)[0] == pytest.approx(expected, abs=1e-5)
