"""Standardised differences, against the formulas for two categories and one value, and a published matrix form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import linalg

from analysis.statistics import difference_of_means, difference_of_shares


def test_means_by_hand() -> None:
    first, second = [1.0, 2.0, 3.0, math.nan], [2.0, 4.0]
    assert difference_of_means(first, second) == pytest.approx((2 - 3) / math.sqrt((1 + 2) / 2))
    assert difference_of_means([5, 5], [5, 5]) == 0.0
    assert difference_of_means([5, 5], [6, 6]) == -math.inf
    assert difference_of_means([1], [1, 2]) is None


def test_two_categories_are_the_difference_of_proportions() -> None:
    p, q = 30 / 80, 10 / 50
    wanted = abs(p - q) / math.sqrt((p * (1 - p) + q * (1 - q)) / 2)
    assert difference_of_shares({"f": 30, "m": 50}, {"f": 10, "m": 40}) == pytest.approx(wanted)


def test_more_categories_are_the_distance_of_mahalanobis() -> None:
    first, second = {"a": 20, "b": 30, "c": 50}, {"a": 40, "b": 10, "c": 25}
    t, c = np.array([20, 30]) / 100, np.array([40, 10]) / 75  # any category may be the one left out
    both = [np.diag(x) - np.outer(x, x) for x in (t, c)]
    wanted = math.sqrt((t - c) @ linalg.solve((both[0] + both[1]) / 2, t - c))
    assert difference_of_shares(first, second) == pytest.approx(wanted)


def test_edges_of_shares() -> None:
    assert difference_of_shares({}, {"a": 1}) is None
    assert difference_of_shares({"a": 3}, {"a": 9}) == 0.0
    assert difference_of_shares({"a": 3}, {"b": 9}) == math.inf
    assert difference_of_shares({"a": 3, "b": 3}, {"a": 3, "b": 3, "c": 0}) == pytest.approx(0.0)
