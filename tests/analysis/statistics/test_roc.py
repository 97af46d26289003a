"""The ROC curve and its band, against scikit-learn and plain resampling."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from analysis.statistics import roc_band, roc_curve
from analysis.statistics.roc import _sensitivities
from analysis.statistics.sample import resampled_weights, take_sample


def make_films(*, seed, films=200, decimals=None):
    generator = np.random.default_rng(seed)
    labels = (generator.random(films) < 0.4).astype(int)
    scores = generator.normal(size=films) + labels
    return labels, scores if decimals is None else scores.round(decimals)


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_curve_is_that_of_scikit_learn(decimals):
    labels, scores = make_films(seed=1, decimals=decimals)
    curve = roc_curve(labels, scores)
    rate, sensitivity, thresholds = metrics.roc_curve(labels, scores, drop_intermediate=False)
    assert curve.thresholds[0] == math.inf
    at = [list(thresholds).index(t) for t in curve.thresholds]
    assert curve.false_positive_rate == pytest.approx(rate[at])
    assert curve.sensitivity == pytest.approx(sensitivity[at])
    assert metrics.auc(curve.false_positive_rate, curve.sensitivity) == pytest.approx(
        metrics.roc_auc_score(labels, scores), abs=1e-12
    )
    assert curve.auroc == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)


def test_points_inside_straight_pieces_are_dropped():
    curve = roc_curve([1] * 50 + [0] * 50, -np.arange(100.0))
    assert list(zip(curve.false_positive_rate, curve.sensitivity, strict=True)) == [(0, 0), (0, 1), (1, 1)]
    assert list(curve.thresholds) == [math.inf, -49.0, -99.0]
    tied = roc_curve([0, 1] * 50, np.zeros(100))
    assert list(zip(tied.false_positive_rate, tied.sensitivity, strict=True)) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_a_long_curve_is_thinned_without_changing_the_area(shift):
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 2, 20_000)
    scores = generator.normal(size=20_000) + shift * labels
    curve = roc_curve(labels, scores)
    full = roc_curve(labels, scores, max_points=10**6)
    assert 400 < len(curve.thresholds) <= 1000 < len(full.thresholds)
    assert metrics.auc(curve.false_positive_rate, curve.sensitivity) == pytest.approx(curve.auroc, abs=1e-4)
    assert set(zip(curve.false_positive_rate, curve.sensitivity, strict=True)) <= set(
        zip(full.false_positive_rate, full.sensitivity, strict=True)
    )
    assert (curve.false_positive_rate[-1], curve.sensitivity[-1]) == (1, 1)


@pytest.mark.parametrize("decimals", [None, 0])
def test_each_point_names_a_film_with_its_score(decimals):
    labels, scores = make_films(seed=3, decimals=decimals)
    scores[7] = np.nan
    curve = roc_curve(labels, scores)
    assert curve.films[0] == -1
    assert list(scores[curve.films[1:]]) == list(curve.thresholds[1:])
    if decimals == 0:  # where films tie, an abnormal one stands for them
        for film, threshold in zip(curve.films[1:], curve.thresholds[1:], strict=True):
            assert labels[film] == labels[scores == threshold].max()
    assert curve.left_out == 1
    assert curve.positives + curve.negatives == 199


def test_curve_and_band_of_one_class_say_why():
    curve = roc_curve([0, 0], [1.0, 2.0])
    assert curve.auroc is None
    assert "No abnormal film" in curve.reason
    assert len(curve.films) == len(curve.thresholds) == 0
    band = roc_band([0, 0], [1.0, 2.0])
    assert "No abnormal film" in band.reason
    assert len(band.low) == 0
    assert "only one abnormal patient" in roc_band([0, 0, 1], [1.0, 2.0, 3.0]).reason


def slow_sensitivity(labels, scores, rate):
    """The height of scikit-learn's curve at a rate: the top of a vertical piece, a straight line between points."""
    x, y, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    at = max(i for i in range(len(x)) if x[i] <= rate + 1e-12)
    if at == len(x) - 1:
        return y[at]
    return y[at] + (rate - x[at]) / (x[at + 1] - x[at]) * (y[at + 1] - y[at])


@pytest.mark.parametrize("decimals", [None, 0])
def test_resampled_curves_are_those_of_scikit_learn(decimals):
    labels, scores = make_films(seed=4, films=60, decimals=decimals)
    sample = take_sample(labels, scores, np.arange(60) // 2)
    grid = np.linspace(0, 1, 21)
    weights = next(resampled_weights(sample, replicates=6, seed=0))
    ours = _sensitivities(sample, np.argsort(-scores, kind="stable"), weights, grid)
    slow = [[slow_sensitivity(np.repeat(labels, w), np.repeat(scores, w), rate) for rate in grid] for w in weights]
    assert ours == pytest.approx(np.array(slow), abs=1e-9)


def test_band_holds_the_curve_and_is_repeatable():
    labels, scores = make_films(seed=5)
    band = roc_band(labels, scores, replicates=200)
    assert (band.low <= band.sensitivity).all()
    assert (band.sensitivity <= band.high).all()
    assert band.sensitivity[50] == pytest.approx(slow_sensitivity(labels, scores, 0.5))
    assert (band.high == roc_band(labels, scores, replicates=200).high).all()
    assert (band.high != roc_band(labels, scores, replicates=200, seed=1).high).any()


def test_band_of_separated_classes_is_not_certain():
    band = roc_band(np.repeat([0, 1], 20), np.arange(40.0), replicates=100)
    assert band.sensitivity[1] == 1.0
    assert band.low[1] == pytest.approx(stats.binomtest(20, 20).proportion_ci(method="wilson").low)


@pytest.mark.parametrize("shift", [0.0, 1.0, 9.0])
def test_band_holds_the_ends_that_every_curve_has(shift):
    labels, scores = make_films(seed=7)
    band = roc_band(labels, scores + shift * labels, replicates=50)
    assert (band.low[0], band.low[-1], band.high[-1]) == (0.0, 1.0, 1.0)
    assert 0.0 < band.high[0] <= 1.0
    assert (band.low <= band.sensitivity).all() and (band.sensitivity <= band.high).all()


def test_band_counts_patients_not_films():
    labels, scores = make_films(seed=6)
    once = roc_band(labels, scores, np.arange(200))
    twice = roc_band(np.tile(labels, 2), np.tile(scores, 2), np.tile(np.arange(200), 2))
    assert twice.high - twice.low == pytest.approx(once.high - once.low, abs=0.05)
    as_films = roc_band(np.tile(labels, 2), np.tile(scores, 2))
    assert (as_films.high - as_films.low).mean() < 0.8 * (once.high - once.low).mean()


def test_coverage_of_the_band():
    grid, covered = (0.1, 0.3, 0.6), []
    truth = stats.norm.cdf(stats.norm.ppf(grid) + 1.0)
    for seed in range(150):
        generator = np.random.default_rng(seed)
        labels = np.repeat([0, 1], 60)
        band = roc_band(labels, generator.normal(size=120) + labels, replicates=200, points=11)
        at = [1, 3, 6]
        covered.append((band.low[at] <= truth) & (truth <= band.high[at]))
    assert (np.mean(covered, axis=0) > 0.9).all()
    assert np.mean(covered) < 0.995  # nor is it uselessly wide
