"""The AUROC that a method adds to a model of trivial scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.auroc import Auroc, AurocDifference, auroc_interval, delong_paired
from analysis.statistics.logistic import FOLDS, cross_fitted_log_odds, patient_folds
from analysis.statistics.sample import take_sample


@dataclass(frozen=True)
class AddedValue:
    """AUROCs of two models of the same films: of the trivial scores alone, and of these and the method's score.

    added: with_method minus trivial. ``films`` have a score of the method, and ``left_out`` have none. All are None,
    with a `reason`, where there are too few patients.
    """

    trivial: Auroc | None
    with_method: Auroc | None
    added: AurocDifference | None
    folds: int
    films: int
    left_out: int
    reason: str = ""


def added_value(
    labels: ArrayLike,
    scores: ArrayLike,
    numbers: ArrayLike,
    categories: Sequence[ArrayLike] = (),
    patients: ArrayLike | None = None,
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> AddedValue:
    """What the scores (N,) add to logistic models of numbers (N, T) and categories, each (N,); labels (N,) of 0 and 1,
    patients (N,) or None.

    Both models are fitted in folds by patient and applied to the fold left out (`cross_fitted_log_odds`, L2 penalty 1),
    and the log odds of all folds are ranked together. The difference is tested by paired DeLong, clustered by patient,
    which takes the fitted models as given: it ignores that another sample would give other models, and that the models
    of different folds share films. With fewer patients of a class than folds there is no result.
    """
    sample = take_sample(labels, scores, patients)
    kept, abnormal = sample.films, sample.abnormal
    few = min(sample.positive_patients, sample.negative_patients)
    if few < folds:
        reason = f"{folds} folds need {folds} patients with abnormal and {folds} with normal films."
        return AddedValue(
            trivial=None, with_method=None, added=None, folds=folds, films=len(kept), left_out=sample.left_out,
            reason=reason,
        )  # fmt: skip
    trivial = np.asarray(numbers, dtype=np.float64).reshape(len(np.asarray(labels)), -1)[kept]
    names = [np.asarray(category).astype(str)[kept] for category in categories]
    fold = patient_folds(abnormal, sample.patients, folds=folds, seed=seed)
    alone = cross_fitted_log_odds(trivial, names, abnormal, fold)
    both = cross_fitted_log_odds(np.column_stack([trivial, sample.scores]), names, abnormal, fold)
    truth = abnormal.astype(np.int8)
    return AddedValue(
        trivial=auroc_interval(truth, alone, sample.patients),
        with_method=auroc_interval(truth, both, sample.patients),
        added=delong_paired(truth, both, alone, sample.patients),
        folds=folds,
        films=len(kept),
        left_out=sample.left_out,
    )
