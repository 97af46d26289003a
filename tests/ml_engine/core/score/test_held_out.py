"""A normal film is standardised by the films of other patients, as a new film is."""

from __future__ import annotations

import numpy as np
import pytest

from ml_engine.core.score import calibration, film_scores
from ml_engine.core.score.conformal import highest_by_patient
from ml_engine.core.score.held_out import moments_of_others


@pytest.mark.parametrize("patients", [None, [5, 5, 2, 9, 9, 9, 7]])
def test_moments_are_those_of_the_films_of_other_patients(patients: list[int] | None) -> None:
    values = np.random.default_rng(0).normal(1e3, 1, (7, 2, 3))
    groups = None if patients is None else np.array(patients)

    moments = moments_of_others(values, groups)

    assert moments is not None
    for film in range(7):
        others = np.arange(7) != film if groups is None else groups != groups[film]
        np.testing.assert_allclose(moments[0][film], values[others].mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(moments[1][film], values[others].std(axis=0, ddof=1), rtol=1e-9)


def test_too_few_films_of_others_give_none() -> None:
    assert moments_of_others(np.zeros((2, 1))) is None
    assert moments_of_others(np.zeros((5, 1)), np.array([1, 1, 1, 1, 2])) is None
    assert moments_of_others(np.zeros((0, 1))) is None


def test_a_film_without_scores_leaves_the_others_as_they_are() -> None:
    parts = np.random.default_rng(0).normal(size=(6, 2, 101))
    with_gap = np.insert(parts, 2, np.nan, axis=0)

    held_out = film_scores.held_out_parts(with_gap, np.array([0, 1, 9, 2, 3, 4, 5]))

    assert np.isnan(held_out[2]).all()
    np.testing.assert_allclose(np.delete(held_out, 2, axis=0), film_scores.held_out_parts(parts))


def test_the_promise_holds_where_patients_have_several_films() -> None:
    """20 patients with 4 films that are nearly alike: leaving out the film alone, 14 % of new patients and more were
    above a threshold for 10 %."""
    generator = np.random.default_rng(1)
    patients = np.repeat(np.arange(20), 4)
    rates = []
    for _ in range(40):
        own = generator.normal(size=(20, 1, 2, 4, 4))
        maps = (np.sqrt(0.95) * own + np.sqrt(0.05) * generator.normal(size=(20, 4, 2, 4, 4))).reshape(80, 2, 4, 4)
        values = calibration.held_out_standardised(maps.astype(np.float32), patients)
        scores = film_scores.normal_scores_at(
            values, how="mean+top", top_share=0.01, patients=patients, weights=np.array([0.6])
        )[:, 0]
        threshold = calibration.film_threshold(scores, 0.1, patients=patients)
        assert threshold is not None
        mean, std = calibration.standardisation(maps.astype(np.float32))
        parts = film_scores.part_statistics(film_scores.part_scores(values))
        new = generator.normal(size=(200, 1, 2, 4, 4))
        films = (np.sqrt(0.95) * new + np.sqrt(0.05) * generator.normal(size=(200, 4, 2, 4, 4))).reshape(-1, 2, 4, 4)
        of_new = film_scores.scores_at(
            (films - mean) / std, how="mean+top", top_share=0.01, parts=parts, weights=np.array([0.6])
        )[:, 0]
        highest = highest_by_patient(of_new, np.repeat(np.arange(200), 4))
        rates.append(float((highest > threshold.value).mean()))

    assert np.mean(rates) < 0.1
