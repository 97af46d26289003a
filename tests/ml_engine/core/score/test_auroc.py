from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ml_engine.core.score.auroc import auroc, mid_ranks


def by_pairs(scores: np.ndarray, abnormal: np.ndarray) -> float:
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[abnormal] for b in scores[~abnormal]
    ]  # fmt: skip
    return sum(wins) / len(wins)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [3, 10, 10**6])
def test_equals_pair_counting_and_scikit_learn(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, 80) / 7
    abnormal = rng.random(80) < 0.3

    area = auroc(scores, abnormal)

    assert area == pytest.approx(by_pairs(scores, abnormal), abs=1e-12)
    assert area == pytest.approx(roc_auc_score(abnormal, scores), abs=1e-12)


def test_float32_scores_are_ranked_at_their_own_precision() -> None:
    scores = np.array([1, 1 + 1e-7, 2], dtype=np.float32)

    assert auroc(scores, np.array([False, True, False])) == 0.5


@pytest.mark.parametrize("labels", [[True, True], [False, False]])
def test_a_single_class_gives_nan(labels: list[bool]) -> None:
    assert math.isnan(auroc(np.array([1.0, 2.0]), np.array(labels)))


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert mid_ranks(np.array([5.0, 1.0, 5.0, 7.0])).tolist() == [2.5, 1.0, 2.5, 4.0]
