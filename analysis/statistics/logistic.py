"""Logistic regression on a few properties of films, fitted and applied in folds by patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.resampling import expit
from analysis.statistics.sample import BoolArray, FloatArray, IntArray

FOLDS = 5
MOST_STEPS = 100


def fit_logistic(features: FloatArray, abnormal: BoolArray, *, penalty: float = 1.0) -> tuple[float, FloatArray]:
    """Intercept and weights (K,) that minimise Σ log(1 + e^(−y z)) + penalty/2 · Σ w², y = ±1, z = intercept + features
    (N, K) · w; the intercept is not penalised. By Newton's method with halved steps, until no weight moves by 1e-9.

    With a penalty above 0 the minimum is unique even where the classes separate completely or features depend on each
    other. Raises ValueError without a film of each class, since the intercept would be infinite.
    """
    if abnormal.all() or not abnormal.any():
        raise ValueError("a logistic model needs normal and abnormal films")
    design = np.column_stack([np.ones(len(features)), features])
    ridge = np.full(design.shape[1], penalty)
    ridge[0] = 0.0
    sign = np.where(abnormal, 1.0, -1.0)

    def loss(weights: FloatArray) -> float:
        return float(np.logaddexp(0.0, -sign * (design @ weights)).sum() + ridge @ weights**2 / 2)

    weights = np.zeros(design.shape[1])
    for _ in range(MOST_STEPS):
        share = expit(design @ weights)
        gradient = design.T @ (share - abnormal) + ridge * weights
        curvature = (design * (share * (1 - share))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-6 and loss(weights - size * step) > loss(weights):
            size /= 2
        weights = weights - size * step
        if float(np.abs(size * step).max()) < 1e-9:
            break
    return float(weights[0]), weights[1:]


def patient_folds(labels: ArrayLike, patients: ArrayLike, *, folds: int = FOLDS, seed: int = 0) -> IntArray:
    """(N,) the fold 0 … folds − 1 of each film, from labels (N,) of 0 and 1 and patients (N,).

    All films of a patient are in one fold. Patients with an abnormal film, and then the others, are dealt to the folds
    in an order drawn by `seed`, so that folds differ by at most one patient of each kind.
    """
    codes = np.unique(np.asarray(patients), return_inverse=True)[1]
    is_ill = np.bincount(codes, weights=np.asarray(labels)) > 0
    generator = np.random.default_rng(seed)
    order = np.concatenate([generator.permutation(np.flatnonzero(is_ill == kind)) for kind in (True, False)])
    fold = np.empty(len(is_ill), dtype=np.int64)
    fold[order] = np.arange(len(order)) % folds
    return fold[codes]


def cross_fitted_log_odds(
    numbers: FloatArray, categories: Sequence[ArrayLike], abnormal: BoolArray, folds: IntArray, *, penalty: float = 1.0
) -> FloatArray:
    """(N,) the log odds of each film by the model of the other folds, from numbers (N, T), categories, each (N,), and
    folds (N,) with films of both classes outside each.

    Numbers are standardised by mean and standard deviation of the films that the model is fitted on; a missing number,
    NaN, counts as that mean, and where a number is missing in some film, whether it is missing is a feature as well.
    Each value of a category is a feature of 0 and 1.
    """
    fixed = _fixed_features(numbers, categories)
    log_odds = np.empty(len(abnormal))
    for fold in np.unique(folds):
        held = folds == fold
        features = np.column_stack([_standardised(numbers, ~held), fixed])
        intercept, weights = fit_logistic(features[~held], abnormal[~held], penalty=penalty)
        log_odds[held] = intercept + features[held] @ weights
    return log_odds


def _standardised(numbers: FloatArray, fitted: BoolArray) -> FloatArray:
    columns = np.zeros_like(numbers)
    for k in range(numbers.shape[1]):
        known = np.isfinite(numbers[:, k])
        values = numbers[fitted & known, k]
        deviation = float(values.std()) if len(values) else 0.0
        if deviation > 0:
            columns[known, k] = (numbers[known, k] - values.mean()) / deviation
    return columns


def _fixed_features(numbers: FloatArray, categories: Sequence[ArrayLike]) -> FloatArray:
    """The features of 0 and 1, (N, F): missing numbers and values of categories."""
    is_missing = ~np.isfinite(numbers)
    features: list[NDArray[np.bool_]] = [is_missing[:, k] for k in range(numbers.shape[1]) if is_missing[:, k].any()]
    for category in categories:
        names = np.asarray(category).astype(str)
        features += [names == name for name in np.unique(names)]
    return np.column_stack([np.empty((len(numbers), 0)), *features]).astype(np.float64)
