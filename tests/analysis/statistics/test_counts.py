"""Wilson, operating points and histograms, against SciPy, scikit-learn and NumPy."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix

from analysis.statistics import histogram, operating_point, wilson


@pytest.mark.parametrize(("successes", "total"), [(0, 10), (3, 10), (10, 10), (1, 1), (977, 1182)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_is_that_of_scipy(successes, total, confidence):
    result = wilson(successes, total, confidence=confidence)
    theirs = stats.binomtest(successes, total).proportion_ci(confidence, method="wilson")
    assert (result.low, result.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert result.value == successes / total


def test_wilson_of_nothing_is_nothing():
    assert (wilson(0, 0).value, wilson(0, 0).low, wilson(0, 0).high) == (None, None, None)


@pytest.mark.parametrize(("successes", "total"), [(-1, 3), (4, 3)])
def test_wilson_refuses_what_is_no_proportion(successes, total):
    with pytest.raises(ValueError):
        wilson(successes, total)


def test_operating_point_counts_as_scikit_learn():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 80)
    scores = (generator.normal(size=80) + labels).round(1)
    threshold = scores[0]  # a film at the threshold is called abnormal
    point = operating_point(labels, scores, threshold=threshold)
    tn, fp, fn, tp = confusion_matrix(labels, scores >= threshold).ravel()
    assert (point.true_negatives, point.false_positives) == (tn, fp)
    assert (point.false_negatives, point.true_positives) == (fn, tp)
    assert point.sensitivity == wilson(tp, tp + fn)
    assert point.specificity == wilson(tn, tn + fp)
    assert point.positive_predictive_value == wilson(tp, tp + fp)
    assert point.negative_predictive_value == wilson(tn, tn + fn)
    assert point.prevalence.value == pytest.approx(labels.mean())


def test_operating_point_without_abnormal_films_has_no_sensitivity():
    point = operating_point([0, 0, 0], [0.1, np.nan, 0.9], threshold=0.5)
    assert point.sensitivity.value is None
    assert point.specificity.value == 0.5
    assert point.left_out == 1


def test_operating_point_refuses_a_threshold_that_is_no_number():
    with pytest.raises(ValueError, match="threshold"):
        operating_point([0, 1], [0.1, 0.2], threshold=float("nan"))


def test_histogram_shares_its_bins():
    scores = np.r_[np.linspace(0, 1, 11), 5.0, np.nan]
    groups = ["normal"] * 6 + ["abnormal"] * 5 + ["unsure", "normal"]
    result = histogram(scores, groups, bins=10)
    assert list(result.counts) == ["abnormal", "normal", "unsure"]
    assert result.left_out == 1
    assert result.edges == pytest.approx(np.linspace(0, 5, 11))
    for name, counts in result.counts.items():
        values = scores[:12][np.array(groups[:12]) == name]
        assert list(counts) == list(np.histogram(values, result.edges)[0])
    assert sum(counts.sum() for counts in result.counts.values()) == 12


def test_histogram_of_equal_scores_and_of_none():
    assert histogram([2.0, 2.0], ["normal", "normal"], bins=4).counts["normal"].sum() == 2
    empty = histogram([np.nan], ["normal"])
    assert (len(empty.edges), empty.counts, empty.left_out) == (0, {}, 1)
    with pytest.raises(ValueError):
        histogram([1.0, 2.0], ["normal"])
