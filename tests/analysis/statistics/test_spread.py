"""The spread over seeds, against SciPy's one-sample t-test and a printed table."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import spread_over_seeds


def test_the_interval_is_that_of_the_t_test() -> None:
    values = [0.71, 0.74, 0.69, 0.73, 0.72]
    spread = spread_over_seeds(values)
    assert spread is not None
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (spread.mean_low, spread.mean_high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert (spread.seeds, spread.low, spread.high) == (5, 0.69, 0.74)
    assert spread.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-15)


def test_two_seeds_have_the_wide_interval_that_they_deserve() -> None:
    """t with one degree of freedom at 97.5 % is 12.706 (Student's table)."""
    spread = spread_over_seeds([0.70, 0.71])
    assert spread is not None and spread.mean_high is not None
    assert spread.mean_high - spread.mean == pytest.approx(12.706 * 0.005, abs=1e-5)


def test_the_interval_ends_where_an_auroc_does() -> None:
    spread = spread_over_seeds([0.5, 0.6])  # 0.55 ± 0.64
    assert spread is not None
    assert (spread.mean_low, spread.mean_high) == (0, 1)


def test_one_seed_has_no_spread_and_none_has_nothing() -> None:
    spread = spread_over_seeds([None, 0.7])
    assert spread is not None
    assert (spread.seeds, spread.mean, spread.deviation, spread.mean_low) == (1, 0.7, None, None)
    assert spread_over_seeds([None]) is None


def test_a_confidence_of_more_than_one_is_refused() -> None:
    with pytest.raises(ValueError, match="confidence is 95"):
        spread_over_seeds([0.7, 0.8], confidence=95)
