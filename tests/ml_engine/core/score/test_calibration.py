from __future__ import annotations

import statistics

import numpy as np
import pytest
from scipy.stats import binom

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.core.score import calibration


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


UNCALIBRATED = {"cross_fit": False, "standardise": False, "image_score": "top"}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"standardise": True}, "standardise=yes needs normal films that the model was not fitted on.*standardise=no"),
        ({"image_score": "mean+top"}, "setting image_score=mean.top needs normal films.*or image_score=top"),
        ({"image_score_tried": "mean+top"}, "setting image_score=mean.top needs normal films.*or image_score=top"),
    ],
)
def test_what_needs_calibration_is_refused_where_no_film_calibrates(changed: dict[str, object], sentence: str) -> None:
    config = PipelineConfig.from_preset("default").replace(**UNCALIBRATED)
    calibration.require_calibration(config)
    calibration.require_calibration(config.replace(**changed, cross_fit=True))

    with pytest.raises(EngineError, match=sentence):
        calibration.require_calibration(config.replace(**changed))


def test_one_film_is_too_few() -> None:
    with pytest.raises(EngineError, match="at least 2 films in the calibrate part, and it has 1"):
        calibration.standardisation(maps(1))


def test_threshold_is_the_percentile_of_all_scored_patches() -> None:
    fused = maps()[:, 0].astype(np.float64)

    threshold = calibration.patch_threshold(fused, 90)

    values = sorted(fused[~np.isnan(fused)].tolist())
    position = 0.9 * (len(values) - 1)
    low = int(position)
    assert threshold == pytest.approx(values[low] + (position - low) * (values[low + 1] - values[low]))


def test_threshold_without_normals_is_nan() -> None:
    assert np.isnan(calibration.patch_threshold(np.zeros((0, 3, 3)), 99.5))


def test_folds_keep_a_patients_films_together_and_have_similar_sizes() -> None:
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


def test_held_out_values_are_standardised_by_the_other_films() -> None:
    raw = maps(7)

    held_out = calibration.held_out_standardised(raw)

    for film in range(7):
        mean, std = calibration.standardisation(np.delete(raw, film, axis=0))
        expected = (raw[film].astype(float) - mean) / std
        np.testing.assert_allclose(held_out[film], expected, rtol=1e-4, atol=1e-5)


def test_a_film_threshold_keeps_its_false_alarm_rate_over_new_films() -> None:
    """Standardised with their own values, 19 films would give more than twice the false alarms of a nominal 10 %."""
    rng = np.random.default_rng(0)
    alarms = {"held out": [], "own values": []}
    for _ in range(300):
        films = rng.normal(size=(19 + 40, 2, 4, 4)).astype(np.float32)
        normals, new = films[:19], films[19:].astype(float)
        mean, std = calibration.standardisation(normals)
        standardised = {
            "held out": calibration.held_out_standardised(normals),
            "own values": (normals.astype(float) - mean) / std,
        }
        for way, values in standardised.items():
            threshold = calibration.film_threshold(values.reshape(19, -1).max(axis=1), 0.1)
            assert threshold is not None
            alarms[way].append((((new - mean) / std).reshape(40, -1).max(axis=1) > threshold.value).mean())

    assert np.mean(alarms["held out"]) == pytest.approx(0.1, abs=0.02)
    assert np.mean(alarms["own values"]) > 0.2


@pytest.mark.parametrize(("count", "rate"), [(9, 0.1), (99, 0.05), (20, 0.5)])
def test_the_interval_of_the_false_alarm_rate_is_that_of_order_statistics(count: int, rate: float) -> None:
    """P(rate <= x) = P(at least n + 1 - k of n uniforms lie below x), by the binomial distribution."""
    threshold = calibration.film_threshold(np.arange(count, dtype=float), rate)

    assert threshold is not None
    k = int(threshold.value) + 1
    assert threshold.expected == pytest.approx((count + 1 - k) / (count + 1))
    assert threshold.expected <= rate + 1e-9
    for x, share in ((threshold.low, 0.025), (threshold.high, 0.975)):
        assert binom.sf(count - k, count, x) == pytest.approx(share, abs=1e-6)


def test_films_of_a_patient_count_once_in_a_film_threshold() -> None:
    maxima = np.array([5.0, 1.0, 9.0, 3.0, np.nan])

    threshold = calibration.film_threshold(maxima, 0.5, patients=np.array([0, 0, 1, 2, 3]))

    assert threshold is not None
    assert (threshold.value, threshold.patients) == (5.0, 3)  # ceil(4 * 0.5) = 2nd of 3, 5, 9


def test_scores_that_are_not_exchangeable_promise_nothing() -> None:
    threshold = calibration.film_threshold(np.arange(9.0), 0.1, exchangeable=False)

    assert threshold is not None
    assert (threshold.value, threshold.expected, threshold.low, threshold.high) == (8.0, None, None, None)


def test_patients_get_numbers_instead_of_names() -> None:
    assert calibration.patient_numbers(["b", "a", "b", "row 3"]).tolist() == [0, 1, 0, 2]
    assert calibration.patient_numbers([]).dtype == np.int64


@pytest.mark.parametrize(("rate", "least"), [(0.1, 9), (0.05, 19), (0.5, 1), (0.3, 3)])
def test_a_rate_that_the_films_cannot_guarantee_gives_no_threshold(rate: float, least: int) -> None:
    assert calibration.least_films(rate) == least
    assert calibration.film_threshold(np.zeros(least), rate) is not None
    assert calibration.film_threshold(np.zeros(least - 1), rate) is None


def test_p_values_count_the_normals_that_score_as_high() -> None:
    normals, scores = np.array([1.0, 2.0, 2.0, 5.0]), np.array([0.0, 2.0, 3.0, 9.0, np.nan])

    p_values = calibration.p_values(scores, normals)

    assert p_values[:4].tolist() == [(1 + sum(n >= s for n in normals)) / 5 for s in scores[:4]]
    assert np.isnan(p_values[4])
    assert calibration.p_values(scores, np.array([]))[:4].tolist() == [1, 1, 1, 1]


def test_p_values_count_the_films_of_a_patient_once_with_the_highest() -> None:
    normals, patients = np.array([1.0, 4.0, 2.0, 5.0, np.nan, 3.0]), np.array([7, 7, 7, 2, 2, 9])
    scores = np.array([0.0, 2.5, 4.0, 4.5, 9.0])

    p_values = calibration.p_values(scores, normals, patients)

    highest = [4.0, 5.0, 3.0]
    assert p_values.tolist() == [(1 + sum(n >= s for n in highest)) / 4 for s in scores]


def test_each_p_value_among_the_others_compares_with_all_other_scores() -> None:
    scores = np.array([3.0, 1.0, 3.0, 7.0])

    p_values = calibration.p_values_among(scores)

    expected = [calibration.p_values(scores[[k]], np.delete(scores, k))[0] for k in range(4)]
    np.testing.assert_allclose(p_values, expected)


def test_p_values_of_normal_films_are_valid() -> None:
    rng = np.random.default_rng(1)
    p_values = np.array([calibration.p_values(rng.normal(size=1), rng.normal(size=19))[0] for _ in range(4000)])

    for level in (0.05, 0.1, 0.25, 0.5):
        assert (p_values <= level).mean() <= level + 0.02


def test_p_values_of_a_patients_highest_film_are_valid_where_patients_repeat() -> None:
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(19), 4)
    values = []
    for _ in range(2000):
        films = rng.normal(size=(20, 1)) + 0.3 * rng.normal(size=(20, 4))  # those of one patient are alike
        new, normals = films[0].max(), films[1:].ravel()
        values.append(calibration.p_values(np.array([new]), normals, patients)[0])

    for level in (0.05, 0.1, 0.25, 0.5):
        assert (np.array(values) <= level).mean() <= level + 0.02


def test_stratified_folds_share_the_abnormal_films_and_keep_a_patient_together() -> None:
    patients = [f"p{k // 2}" for k in range(100)]
    abnormal = np.arange(100) % 10 == 0  # one film of every fifth patient

    fold_of = calibration.stratified_folds(abnormal, patients, folds=5, seed=2)

    assert np.bincount(fold_of[abnormal]).tolist() == [2] * 5
    assert np.bincount(fold_of).tolist() == [20] * 5
    assert all(fold_of[k] == fold_of[k + 1] for k in range(0, 100, 2))
    np.testing.assert_array_equal(fold_of, calibration.stratified_folds(abnormal, patients, folds=5, seed=2))
    assert (fold_of != calibration.stratified_folds(abnormal, patients, folds=5, seed=3)).any()
