"""Points of readers on the ROC plot, against scipy's exact intervals."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import clustered_rate, reader_points


def make_calls(*, readers=3, films=90):
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 2, films)
    calls = np.where(generator.random((films, readers)) < 0.8, labels[:, None], 1 - labels[:, None]).astype(float)
    return labels, calls


def exact(successes, total):
    limits = stats.binomtest(successes, total).proportion_ci(method="exact")
    return limits.low, limits.high


def test_points_have_exact_limits():
    labels, calls = make_calls()
    calls[:7, 1] = math.nan
    points = reader_points(labels, calls)
    assert [point.left_out for point in points] == [0, 7, 0]
    for point, column in zip(points, calls.T, strict=True):
        for rate, label in ((point.sensitivity, 1), (point.specificity, 0)):
            own = column[(labels == label) & ~np.isnan(column)]
            right = int((own == label).sum())
            assert (rate.successes, rate.total, rate.value) == (right, len(own), right / len(own))
            assert (rate.low, rate.high) == pytest.approx(exact(right, len(own)))


def test_patients_with_several_films_widen_the_limits():
    labels, calls = make_calls(readers=1)
    patients = np.arange(90) // 3
    point = reader_points(labels, calls, patients)[0]
    abnormal = labels == 1
    assert point.sensitivity == clustered_rate(calls[abnormal, 0] == 1, patients[abnormal], method="exact")
    assert point.sensitivity.patients < point.sensitivity.total


def test_a_reader_without_films_of_a_class_has_a_reason():
    point = reader_points([1, 1, 0], [[1], [0], [math.nan]])[0]
    assert (point.sensitivity.value, point.specificity.value) == (0.5, None)
    assert point.specificity.reason
    assert reader_points([1, 0], np.empty((2, 0))) == ()


def test_misuse_raises():
    with pytest.raises(ValueError, match="expected \\(films, readers\\)"):
        reader_points([1, 0], [1, 0])
    with pytest.raises(ValueError, match="calls must be 0"):
        reader_points([1, 0], [[1], [70]])
    with pytest.raises(ValueError, match="one row for each film"):
        reader_points([1, 0, 1], [[1], [0]])
