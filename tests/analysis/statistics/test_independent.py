"""The difference of AUROCs of different films, against SciPy and a simulation."""

import numpy as np
import pytest
from scipy.stats import norm

from analysis.statistics import auroc_interval, independent_difference

RNG = np.random.default_rng(2)


def study(films, shift):
    labels = np.arange(films) % 2
    return auroc_interval(labels, RNG.normal(size=films) + shift * labels)


def test_difference_interval_and_p_value():
    first, second = study(300, 1.2), study(160, 0.7)
    result = independent_difference(first, second)
    error = np.sqrt(first.variance + second.variance)
    assert result.difference == pytest.approx(first.auroc - second.auroc)
    assert (result.low, result.high) == pytest.approx(norm.interval(0.95, result.difference, error))
    assert result.p_value == pytest.approx(2 * norm.sf(abs(result.difference) / error))


def test_equal_populations_differ_in_one_of_twenty_studies():
    p_values = [independent_difference(study(120, 1.0), study(80, 1.0)).p_value for _ in range(600)]
    assert 0.03 < np.mean(np.array(p_values) < 0.05) < 0.075


def test_without_a_class_or_a_variance_there_is_a_reason():
    nothing = auroc_interval([0, 0], [1.0, 2.0])
    result = independent_difference(study(40, 1), nothing)
    assert (result.difference, result.p_value) == (None, None)
    assert "No abnormal film" in result.reason
    one = auroc_interval([0, 0, 1], [1.0, 2.0, 1.5])
    assert independent_difference(study(40, 1), one).low is None
    perfect = auroc_interval([0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0])
    result = independent_difference(perfect, perfect)
    assert (result.difference, result.p_value) == (0.0, None)
    assert "separate completely" in result.reason
