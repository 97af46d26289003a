from __future__ import annotations

import statistics

import numpy as np
import pytest

from ml_engine.core import calibration
from ml_engine.core.errors import EngineError


def maps(n: int = 6, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(5, 2, (n, 2, 3, 3)).astype(np.float32)
    values[:, :, 0, 0] = np.nan
    return values


def test_mean_and_deviation_are_those_of_each_position() -> None:
    raw = maps()

    mean, std = calibration.standardisation(raw)

    for channel, r, c in np.argwhere(~np.isnan(raw[0])):
        column = [float(v) for v in raw[:, channel, r, c]]
        assert mean[channel, r, c] == pytest.approx(statistics.mean(column), rel=1e-6)
        assert std[channel, r, c] == pytest.approx(statistics.stdev(column), rel=1e-6)
    assert np.isnan(mean[:, 0, 0]).all()
    assert np.isnan(std[:, 0, 0]).all()


def test_a_position_without_spread_does_not_divide_by_zero() -> None:
    raw = maps()
    raw[:, 0, 1, 1] = 3

    _, std = calibration.standardisation(raw)

    assert std[0, 1, 1] == pytest.approx(np.nanmedian(std[0]) / 1000, rel=0.5)
    assert (calibration.standardisation(np.ones((4, 2, 3, 3), np.float32))[1] == 1).all()


def test_one_film_is_too_few() -> None:
    with pytest.raises(EngineError, match="at least 2 films in the calibrate part, and it has 1"):
        calibration.standardisation(maps(1))


def test_threshold_is_the_percentile_of_all_scored_patches() -> None:
    fused = maps()[:, 0].astype(np.float64)

    found = calibration.patch_threshold(fused, 90)

    seen = sorted(fused[~np.isnan(fused)].tolist())
    position = 0.9 * (len(seen) - 1)
    low = int(position)
    assert found == pytest.approx(seen[low] + (position - low) * (seen[low + 1] - seen[low]))


def test_threshold_without_normals_is_nan() -> None:
    assert np.isnan(calibration.patch_threshold(np.zeros((0, 3, 3)), 99.5))


def test_folds_keep_a_patients_films_together_and_sizes_alike() -> None:
    patients = [f"p{k % 7}" for k in range(40)]

    folds = calibration.patient_folds(patients, folds=5, seed=0)

    for name in set(patients):
        assert len({int(f) for f, p in zip(folds, patients, strict=True) if p == name}) == 1
    assert set(folds.tolist()) == {0, 1, 2, 3, 4}
    assert max(np.bincount(folds)) <= 12


def test_folds_follow_the_seed_and_not_the_order_of_films() -> None:
    patients = [f"p{k}" for k in range(20)]

    first = dict(zip(patients, calibration.patient_folds(patients, folds=5, seed=1).tolist(), strict=True))
    again = dict(zip(patients[::-1], calibration.patient_folds(patients[::-1], folds=5, seed=1).tolist(), strict=True))

    assert first == again
    assert first != dict(zip(patients, calibration.patient_folds(patients, folds=5, seed=2).tolist(), strict=True))


def test_fewer_patients_than_folds_make_fewer_folds() -> None:
    assert sorted(calibration.patient_folds(["a", "b", "a"], folds=5, seed=0).tolist()) in ([0, 0, 1], [0, 1, 1])
