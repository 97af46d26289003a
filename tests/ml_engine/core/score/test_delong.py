"""Variance and interval of an AUROC against those of the pages, which are tested against published figures."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from analysis.statistics import auroc as of_pages
from ml_engine.core.score.delong import mean_placements, placements


def drawn(count: int, *, of_patient: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    patients = np.arange(count) // of_patient
    abnormal = rng.random(count) < 0.4
    scores = np.round(rng.normal(size=count) + shift * abnormal + rng.normal(size=patients.max() + 1)[patients], 1)
    return scores, abnormal, patients


@pytest.mark.parametrize("of_patient", [1, 3])
@pytest.mark.parametrize(("count", "shift"), [(300, 0.7), (60, 0.7), (300, 6.0)])
def test_it_is_that_of_the_pages(count: int, shift: float, of_patient: int) -> None:
    scores, abnormal, patients = drawn(count, of_patient=of_patient, shift=shift)

    placed = placements(scores, abnormal, patients)

    expected = of_pages.auroc_interval(abnormal, scores, patients)
    assert abs(placed.area - roc_auc_score(abnormal, scores)) < 1e-12
    assert expected.variance is not None and abs(placed.variance() - expected.variance) < 1e-14
    np.testing.assert_allclose(placed.interval(), (expected.low, expected.high), atol=1e-12)


def test_complete_separation_has_an_interval() -> None:
    abnormal = np.arange(40) >= 25
    expected = of_pages.auroc_interval(abnormal, np.arange(40.0), np.arange(40))

    placed = placements(np.arange(40.0), abnormal, np.arange(40))

    assert (placed.area, expected.method) == (1.0, "newcombe")
    np.testing.assert_allclose(placed.interval(), (expected.low, expected.high), atol=1e-9)


def test_a_difference_has_the_variance_of_the_pages() -> None:
    first, abnormal, patients = drawn(120, of_patient=2, shift=0.8)
    second = first + np.random.default_rng(9).normal(size=120)

    difference = placements(first, abnormal, patients).combined([placements(second, abnormal, patients)], [1.0, -1.0])

    expected = of_pages.delong_paired(abnormal, first, second, patients)
    assert expected.variance is not None and expected.difference is not None
    assert abs(difference.area - expected.difference) < 1e-12
    assert abs(difference.variance() - expected.variance) < 1e-14


def test_the_mean_of_repetitions_is_the_mean_area() -> None:
    abnormal, patients = np.arange(50) < 20, np.arange(50)
    scores = np.random.default_rng(4).normal(size=(3, 50))

    mean = mean_placements([placements(each, abnormal, patients) for each in scores])

    assert abs(mean.area - np.mean([roc_auc_score(abnormal, each) for each in scores])) < 1e-12


def test_one_class_has_no_area_and_one_patient_no_interval() -> None:
    with pytest.raises(ValueError, match="both classes"):
        placements(np.zeros(3), np.zeros(3, dtype=bool), np.arange(3))
    one = placements(np.arange(4.0), np.array([True, False, False, False]), np.arange(4))
    assert not one.has_interval and np.isnan(one.interval()).all()
