"""Logistic regression in folds, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from analysis.statistics import cross_fitted_log_odds, patient_folds
from analysis.statistics.logistic import fit_logistic


def films(seed: int, count: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, three numbers on different scales, a category."""
    generator = np.random.default_rng(seed)
    abnormal = generator.random(count) < 0.4
    numbers = generator.normal(size=(count, 3)) * [1, 50, 1e6] + abnormal[:, None] * [0.5, 10, 0]
    return abnormal, numbers, generator.choice(["AP", "PA", "LL"], count, p=[0.3, 0.6, 0.1])


def plain_regression() -> LogisticRegression:
    return LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000)


@pytest.mark.parametrize("penalty", [0.1, 1.0, 20.0])
def test_weights_are_those_of_scikit_learn(penalty: float) -> None:
    abnormal, numbers, _ = films(0)
    features = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    intercept, weights = fit_logistic(features, abnormal, penalty=penalty)
    other = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=10_000).fit(features, abnormal)
    assert weights == pytest.approx(other.coef_[0], abs=1e-5)
    assert intercept == pytest.approx(other.intercept_[0], abs=1e-5)


def test_classes_that_separate_completely_have_a_finite_model() -> None:
    features = np.r_[np.linspace(-9, -1, 30), np.linspace(1, 9, 30)][:, None] * 100
    intercept, weights = fit_logistic(features, np.arange(60) >= 30)
    other = LogisticRegression(tol=1e-12, max_iter=100_000).fit(features, np.arange(60) >= 30)
    assert weights[0] == pytest.approx(other.coef_[0, 0], rel=1e-3)
    assert abs(intercept) < 1e-6


def test_outliers_do_not_make_the_steps_diverge() -> None:
    generator = np.random.default_rng(59)  # Newton's method with whole steps fails on these films
    count, width = generator.integers(10, 60), generator.integers(1, 6)
    features = generator.standard_t(1.2, size=(count, width)) * 10 ** generator.uniform(0, 3)
    abnormal = generator.random(count) < generator.uniform(0.05, 0.6)
    intercept, weights = fit_logistic(features, abnormal)
    other = LogisticRegression(solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(features, abnormal)
    assert weights == pytest.approx(other.coef_[0], abs=1e-5)
    assert intercept == pytest.approx(other.intercept_[0], abs=1e-4)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="needs normal and abnormal films"):
        fit_logistic(np.zeros((3, 1)), np.ones(3, dtype=bool))


def test_log_odds_are_those_of_scikit_learn_with_the_same_folds() -> None:
    abnormal, numbers, view = films(1)
    folds = patient_folds(abnormal, np.arange(150))
    got = cross_fitted_log_odds(numbers, [view], abnormal, folds)
    table = np.column_stack([numbers.astype(object), view])
    encoder = OneHotEncoder(categories=[["AP", "LL", "PA"]])
    pipeline = make_pipeline(make_column_transformer((StandardScaler(), [0, 1, 2]), (encoder, [3])), plain_regression())
    wanted = cross_val_predict(pipeline, table, abnormal, cv=PredefinedSplit(folds), method="decision_function")
    assert got == pytest.approx(wanted, abs=1e-4)


def test_a_missing_number_is_the_mean_and_a_feature_of_its_own() -> None:
    abnormal, numbers, _ = films(2)
    numbers[np.random.default_rng(3).random((150, 3)) < [0.2, 0, 0]] = np.nan
    folds = patient_folds(abnormal, np.arange(150))
    got = cross_fitted_log_odds(numbers, [], abnormal, folds)
    table = np.column_stack([numbers, np.isnan(numbers[:, 0])])
    scaled = make_pipeline(StandardScaler(), SimpleImputer())  # scikit-learn's scaler leaves NaN where it is
    pipeline = make_pipeline(make_column_transformer((scaled, [0, 1, 2]), ("passthrough", [3])), plain_regression())
    wanted = cross_val_predict(pipeline, table, abnormal, cv=PredefinedSplit(folds), method="decision_function")
    assert got == pytest.approx(wanted, abs=1e-4)


def test_a_number_that_never_varies_adds_nothing() -> None:
    abnormal, numbers, view = films(4)
    folds = patient_folds(abnormal, np.arange(150))
    with_constant = np.column_stack([numbers, np.full(150, 7.0), np.full(150, 0.0)])
    assert cross_fitted_log_odds(with_constant, [view], abnormal, folds) == pytest.approx(
        cross_fitted_log_odds(numbers, [view], abnormal, folds)
    )


def test_folds_keep_patients_together_and_classes_apart_evenly() -> None:
    labels = np.r_[np.ones(26), np.zeros(54)].astype(int)
    patients = np.arange(80) // 2
    folds = patient_folds(labels, patients, seed=3)
    for patient in range(40):
        assert len(set(folds[patients == patient])) == 1
    for label, people in ((1, 13), (0, 27)):
        sizes = [len(set(patients[(folds == fold) & (labels == label)])) for fold in range(5)]
        assert sum(sizes) == people
        assert max(sizes) - min(sizes) <= 1


def test_folds_are_drawn_by_the_seed() -> None:
    labels = np.tile([0, 1], 30)
    first, again, other = (patient_folds(labels, np.arange(60), seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
