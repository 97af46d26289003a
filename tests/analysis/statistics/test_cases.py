"""The films to look at first."""

import numpy as np

from analysis.statistics import worst_cases


def test_worst_cases_come_worst_first():
    labels = [1, 0, 1, 0, 1, 0, 0]
    scores = [0.9, 0.8, 0.2, 0.8, np.nan, 0.1, 0.95]
    cases = worst_cases(labels, scores)
    assert list(cases.misses) == [2, 0]
    assert list(cases.false_alarms) == [6, 1, 3, 5]
    assert list(worst_cases(labels, scores, limit=1).false_alarms) == [6]
