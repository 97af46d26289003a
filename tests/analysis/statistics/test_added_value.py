"""The AUROC added to trivial scores, against scikit-learn's regression and simulated films."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from analysis.statistics import added_value, delong_paired, patient_folds


def films(seed: int, *, own: float, count: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores, two trivial numbers. The score is the first number with noise, and `own` × the label."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(count) < 0.5).astype(int)
    numbers = generator.normal(size=(count, 2)) + 1.0 * labels[:, None] * [1, 0]
    return labels, numbers[:, 0] + 0.3 * generator.normal(size=count) + own * labels, numbers


def test_both_models_are_those_of_scikit_learn() -> None:
    labels, scores, numbers = films(0, own=0.5)
    result = added_value(labels, scores, numbers)
    folds = PredefinedSplit(patient_folds(labels, np.arange(300)))
    areas, odds = [], []
    for table in (numbers, np.column_stack([numbers, scores])):
        model = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-12, max_iter=10_000))
        odds.append(cross_val_predict(model, table, labels, cv=folds, method="decision_function"))
        areas.append(roc_auc_score(labels, odds[-1]))
    assert result.trivial is not None and result.with_method is not None and result.added is not None
    assert [result.trivial.auroc, result.with_method.auroc] == pytest.approx(areas)
    wanted = delong_paired(labels, odds[1], odds[0])
    assert result.added.difference == pytest.approx(areas[1] - areas[0])
    assert (result.added.low, result.added.high) == pytest.approx((wanted.low, wanted.high), abs=1e-4)


def test_a_score_that_repeats_a_trivial_one_adds_nothing() -> None:
    labels, scores, numbers = films(1, own=0.0, count=2000)
    result = added_value(labels, scores, numbers)
    assert roc_auc_score(labels, scores) > 0.7
    assert result.added is not None and result.added.low is not None and result.added.high is not None
    assert result.added.low < 0 < result.added.high or abs(result.added.difference or 0) < 0.003


def test_a_score_of_its_own_adds_its_part() -> None:
    labels, scores, numbers = films(2, own=1.0)
    result = added_value(labels, scores, numbers)
    assert result.added is not None and result.added.low is not None
    assert result.added.low > 0.02


def test_a_category_counts_as_a_trivial_score() -> None:
    labels = np.tile([0, 1], 60)
    result = added_value(labels, np.zeros(120), np.empty((120, 0)), [np.where(labels, "AP", "PA")])
    assert result.trivial is not None
    assert result.trivial.auroc == 1.0


def test_folds_are_by_patient() -> None:
    """Each patient has ten equal films, and a property that is the patient's own: it predicts nothing of others."""
    generator = np.random.default_rng(3)
    labels, numbers = np.repeat(np.tile([0, 1], 15), 10), np.repeat(generator.normal(size=(30, 20)), 10, axis=0)
    scores, patients = np.zeros(300), np.repeat(np.arange(30), 10)
    by_patient, by_film = (added_value(labels, scores, numbers, patients=who) for who in (patients, None))
    assert by_film.trivial is not None and by_patient.trivial is not None
    assert (by_film.trivial.auroc or 0) > 0.9
    assert (by_patient.trivial.auroc or 1) < 0.75


def test_films_without_a_score_are_left_out() -> None:
    labels, scores, numbers = films(4, own=0.5)
    scores[:7] = np.nan
    result, other = added_value(labels, scores, numbers), added_value(labels[7:], scores[7:], numbers[7:])
    assert (result.films, result.left_out) == (293, 7)
    assert result.trivial == other.trivial


def test_few_patients_give_the_reason() -> None:
    result = added_value([0] * 9 + [1] * 4, np.arange(13), np.arange(13))
    assert result.trivial is None
    assert result.reason == "5 folds need 5 patients with abnormal and 5 with normal films."
