"""L2-penalised logistic regression in float64 by Newton's method, and the choice of its penalty by folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.score.calibration import stratified_folds

PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)  # tried by `choose_penalty`
STEPS = 100
TOLERANCE = 1e-10  # of the gradient, as a share of the sum of the weights

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Logistic:
    """The logit of features x is ``coefficients`` @ x + ``intercept``; ``coefficients`` float64 (D,)."""

    coefficients: Array
    intercept: float

    def logits(self, features: Array) -> Array:
        """The logits float64 (N,) of features float64 (N, D). Not by a matrix product, whose last digits depend on the
        number of films and on addresses in memory."""
        products = np.ascontiguousarray(features * self.coefficients)
        return np.asarray(products.sum(axis=1) + self.intercept, dtype=np.float64)


def fit_logistic(
    features: Array, positive: NDArray[np.bool_], *, penalty: float, weights: Array | None = None
) -> Logistic:
    """The minimum of sum_i w_i log(1 + exp(-y_i f_i)) + penalty / 2 * |coefficients|^2, y in {-1, 1}; the intercept is
    not penalised.

    The losses are summed, not averaged, so that ``penalty`` λ is 1 / C of scikit-learn's LogisticRegression.
    ``features`` float64 (N, D), ``positive`` bool (N,) with both classes present, ``weights`` float64 (N,) positive,
    1 by default. The minimum is unique and found to the precision of float64. Raises ValueError for a single class, or
    a penalty or weight that is not positive.
    """
    weighted = np.ones(len(features)) if weights is None else np.asarray(weights, dtype=np.float64)
    if positive.all() or not positive.any():
        raise ValueError("a logistic regression needs films of both classes")
    if not penalty > 0 or not (weighted > 0).all():
        raise ValueError("the penalty and the weights must be positive")
    x = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float64))
    basis = None
    if x.shape[1] > x.shape[0]:  # the coefficients lie in the span of the films
        basis, triangle = torch.linalg.qr(x.T)
        x = triangle.T.contiguous()  # (N, N)
    design = torch.cat([x, x.new_ones(len(x), 1)], 1)
    solution = _minimise(design, torch.from_numpy(positive.copy()), torch.from_numpy(weighted), penalty)
    coefficients = solution[:-1] if basis is None else basis @ solution[:-1]
    return Logistic(coefficients.numpy().copy(), float(solution[-1]))


def _minimise(design: Tensor, positive: Tensor, weights: Tensor, penalty: float) -> Tensor:
    """The minimum (D + 1,) for a design (N, D + 1) whose last column is the intercept's."""
    sign = torch.where(positive, 1.0, -1.0).double()
    ridge = torch.full((design.shape[1],), penalty, dtype=torch.float64)
    ridge[-1] = 0.0
    solution = torch.zeros(design.shape[1], dtype=torch.float64)
    share = (weights * positive).sum() / weights.sum()
    solution[-1] = torch.log(share / (1 - share))

    def loss_of(at: Tensor) -> Tensor:
        return (weights * F.softplus(-sign * (design @ at))).sum() + 0.5 * (ridge * at.square()).sum()

    loss = loss_of(solution)
    for _ in range(STEPS):
        probability = torch.sigmoid(design @ solution)
        gradient = design.T @ (weights * (probability - positive.double())) + ridge * solution
        if gradient.abs().max() <= TOLERANCE * weights.sum():
            break
        curvature = weights * probability * (1 - probability)
        hessian = (design * curvature[:, None]).T @ design + torch.diag(ridge)
        step = torch.linalg.solve(hessian, gradient)
        length, slope = 1.0, float(gradient @ step)
        while (tried := loss_of(solution - length * step)) > loss - 1e-4 * length * slope and length > 1e-12:
            length /= 2
        if not tried < loss:  # the rest is rounding
            break
        solution, loss = solution - length * step, tried
    return solution


def choose_penalty(
    features: Array,
    positive: NDArray[np.bool_],
    *,
    patients: Sequence[str],
    weights: Array | None = None,
    penalties: Sequence[float] = PENALTIES,
    folds: int = 5,
    seed: int = 0,
) -> float:
    """The penalty with the smallest weighted log loss on films of other patients, by ``folds`` of ``patients`` (N,)
    within the films given; a tie goes to the larger one. The other arguments are those of `fit_logistic`."""
    fold_of = stratified_folds(positive, list(patients), folds=folds, seed=seed)
    weighted = np.ones(len(features)) if weights is None else np.asarray(weights, dtype=np.float64)
    losses = dict.fromkeys(sorted(penalties, reverse=True), 0.0)
    for fold in np.unique(fold_of):
        train, held_out = fold_of != fold, fold_of == fold
        if positive[train].all() or not positive[train].any():
            continue
        for penalty in losses:
            fitted = fit_logistic(features[train], positive[train], penalty=penalty, weights=weighted[train])
            signed = np.where(positive[held_out], 1.0, -1.0) * fitted.logits(features[held_out])
            losses[penalty] += float((weighted[held_out] * np.logaddexp(0.0, -signed)).sum())
    return min(losses, key=lambda penalty: losses[penalty])
