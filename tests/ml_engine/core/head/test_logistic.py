"""The regression against scikit-learn, and the choice of its penalty."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from ml_engine.core.head.logistic import choose_penalty, fit_logistic
from ml_engine.core.score.calibration import stratified_folds


def drawn(count: int, wide: int, *, seed: int = 0, abnormal: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = np.zeros(count, dtype=bool)
    positive[:abnormal] = True
    features = rng.normal(size=(count, wide)) @ (np.eye(wide) + 0.3 * rng.normal(size=(wide, wide)) / np.sqrt(wide))
    features[positive, : wide // 4] += 0.8
    return features, positive, rng.uniform(0.2, 3.0, count)


def by_scikit_learn(
    features: np.ndarray, positive: np.ndarray, penalty: float, weights: np.ndarray | None
) -> tuple[np.ndarray, float]:
    model = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    model.fit(features, positive, sample_weight=weights)
    return model.coef_[0], float(model.intercept_[0])


@pytest.mark.parametrize("penalty", [0.5, 100.0, 10_000.0])
@pytest.mark.parametrize(("count", "wide"), [(120, 15), (60, 200)])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_it_is_that_of_scikit_learn(count: int, wide: int, penalty: float, is_weighted: bool) -> None:
    features, positive, weights = drawn(count, wide)
    given = weights if is_weighted else None

    fitted = fit_logistic(features, positive, penalty=penalty, weights=given)

    coefficients, intercept = by_scikit_learn(features, positive, penalty, given)
    np.testing.assert_allclose(fitted.coefficients, coefficients, rtol=0, atol=1e-6)
    assert abs(fitted.intercept - intercept) < 1e-6
    np.testing.assert_allclose(fitted.logits(features), features @ coefficients + intercept, rtol=0, atol=1e-5)


def test_a_weight_of_two_is_a_film_given_twice() -> None:
    features, positive, _ = drawn(50, 6)
    twice = np.r_[np.arange(50), np.arange(8)]

    weighted = fit_logistic(features, positive, penalty=3, weights=np.where(np.arange(50) < 8, 2.0, 1.0))
    repeated = fit_logistic(features[twice], positive[twice], penalty=3)

    np.testing.assert_allclose(weighted.coefficients, repeated.coefficients, atol=1e-10)


def test_separable_films_have_a_finite_minimum_and_the_same_input_the_same_bytes() -> None:
    features, positive, _ = drawn(40, 300)
    features[positive] += 5

    first, second = (fit_logistic(features, positive, penalty=1e-3) for _ in range(2))

    assert np.isfinite(first.coefficients).all()
    assert first.coefficients.tobytes() == second.coefficients.tobytes() and first.intercept == second.intercept


def test_one_class_or_a_penalty_of_zero_is_refused() -> None:
    features, positive, weights = drawn(20, 3)
    with pytest.raises(ValueError, match="both classes"):
        fit_logistic(features, np.ones(20, dtype=bool), penalty=1)
    with pytest.raises(ValueError, match="must be positive"):
        fit_logistic(features, positive, penalty=0)
    with pytest.raises(ValueError, match="must be positive"):
        fit_logistic(features, positive, penalty=1, weights=weights * 0)


def test_the_penalty_is_the_one_with_the_smallest_loss_by_scikit_learn() -> None:
    features, positive, weights = drawn(90, 40, abnormal=25)
    patients = [f"p{k // 2}" for k in range(90)]
    penalties = (1.0, 30.0, 1000.0)
    fold_of = stratified_folds(positive, patients, folds=5, seed=3)
    losses = dict.fromkeys(penalties, 0.0)
    for penalty in penalties:
        for fold in range(5):
            train, out = fold_of != fold, fold_of == fold
            coefficients, intercept = by_scikit_learn(features[train], positive[train], penalty, weights[train])
            shares = 1 / (1 + np.exp(-(features[out] @ coefficients + intercept)))
            losses[penalty] += log_loss(
                positive[out], shares, sample_weight=weights[out], normalize=False, labels=[False, True]
            )

    chosen = choose_penalty(
        features, positive, patients=patients, weights=weights, penalties=penalties, folds=5, seed=3
    )

    assert chosen == min(penalties, key=lambda penalty: losses[penalty])
    assert chosen != penalties[0]  # so that the choice is not the first of the list
