"""The precision–recall curve against scikit-learn, and the interval of many films against that of all thresholds."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from analysis.statistics import auprc, partial_auc, precision_recall, resampling


def make_films(*, seed, films, share=0.3, decimals=1):
    generator = np.random.default_rng(seed)
    labels = (generator.random(films) < share).astype(int)
    return labels, (generator.normal(size=films) + 1.2 * labels).round(decimals)


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_points_are_those_of_scikit_learn(decimals):
    labels, scores = make_films(seed=1, films=200, decimals=decimals)
    curve = precision_recall(labels, scores)
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    theirs = {t: (r, p) for t, r, p in zip(thresholds, recall[:-1], precision[:-1], strict=True)}
    assert curve.thresholds.tolist() == sorted(curve.thresholds, reverse=True)
    for k, threshold in enumerate(curve.thresholds):
        assert (curve.recall[k], curve.precision[k]) == pytest.approx(theirs[threshold], abs=1e-12)
        assert scores[curve.films[k]] == threshold
        assert labels[curve.films[k]] == 1


def test_its_steps_have_the_average_precision_as_area():
    labels, scores = make_films(seed=2, films=300)
    curve = precision_recall(labels, scores)
    area = (np.diff(curve.recall, prepend=0) * curve.precision).sum()
    assert area == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert curve.recall[-1] == 1


def test_a_long_curve_keeps_its_ends_and_its_shape():
    labels, scores = make_films(seed=3, films=20_000, decimals=9)
    curve, whole = precision_recall(labels, scores, max_points=200), precision_recall(labels, scores, max_points=10**9)
    assert len(curve.recall) <= 200 < len(whole.recall)
    assert (curve.recall[0], curve.recall[-1]) == (whole.recall[0], 1)
    assert set(curve.thresholds) <= set(whole.thresholds)
    area = (np.diff(curve.recall, prepend=0) * curve.precision).sum()
    assert area == pytest.approx(average_precision_score(labels, scores), abs=0.005)


def test_one_class_has_a_reason():
    curve = precision_recall([1, 1], [0.1, 0.2])
    assert len(curve.recall) == 0
    assert "precision–recall curve" in curve.reason


@pytest.mark.parametrize("statistic", [auprc, partial_auc])
def test_the_interval_of_many_films_is_that_at_every_threshold(monkeypatch, statistic):
    labels, scores = make_films(seed=4, films=4000, share=0.1, decimals=9)
    every = statistic(labels, scores, replicates=400)
    monkeypatch.setattr(resampling, "MANY_FILMS", 1000)
    some = statistic(labels, scores, replicates=400)
    assert some.low != every.low
    width = every.high - every.low
    assert (some.low, some.high) == pytest.approx((every.low, every.high), abs=0.06 * width)


def test_many_films_of_fewer_patients_are_drawn_by_patient(monkeypatch):
    labels, scores = make_films(seed=5, films=1500, decimals=9)
    patients = np.arange(1500) // 3
    wanted = auprc(labels, scores, patients, replicates=50)
    monkeypatch.setattr(resampling, "MANY_FILMS", 1000)
    assert auprc(labels, scores, patients, replicates=50) == wanted
