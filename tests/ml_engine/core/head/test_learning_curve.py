"""What how many reads bought: held-out scores, intervals and the extrapolation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from analysis.statistics.auroc import auroc_interval, delong_paired
from ml_engine.core.head import confirmed_head
from ml_engine.core.head.confirmed_head import TrainingFilms
from ml_engine.core.head.learning_curve import CalibrationNormals, LearningCurve, TuneFilms, learning_curve

WIDE, KNOWN, READS = 16, 60, 70


def drawn(count: int, abnormal: np.ndarray, *, seed: int) -> np.ndarray:
    features = np.random.default_rng(seed).normal(size=(count, WIDE))
    features[abnormal, :4] += 1.2
    return features


def world(*, of_tune: bool = False) -> tuple[TrainingFilms, tuple[str, ...], TuneFilms, CalibrationNormals]:
    """60 known normals, 70 reads of which 50 abnormal, 80 tune films of 40 patients, 25 calibration normals. With
    ``of_tune`` the reads are of the patients of tune."""
    abnormal = np.arange(KNOWN + READS) >= KNOWN + 20
    known = np.arange(KNOWN + READS) < KNOWN
    films = TrainingFilms(drawn(KNOWN + READS, abnormal, seed=1), abnormal, np.ones(KNOWN + READS), known)
    ill = np.arange(80) % 4 < 2
    rng = np.random.default_rng(2)
    tune = TuneFilms(
        drawn(80, ill, seed=3), rng.normal(size=80) + 0.7 * ill, ill, tuple(f"t{k // 2}" for k in range(80))
    )
    healthy = np.zeros(25, dtype=bool)
    normals = CalibrationNormals(
        drawn(25, healthy, seed=4), rng.normal(size=25), tuple(f"c{k}" for k in range(25)), are_known=False
    )
    reads = tuple(f"t{k % 40}" if of_tune else f"r{k}" for k in range(READS))
    return films, reads, tune, normals


def curve_of(*, of_tune: bool = False, repeats: int = 4) -> LearningCurve:
    films, reads, tune, normals = world(of_tune=of_tune)
    return learning_curve(films, reads, tune, normals, penalty=100.0, folds=5, repeats=repeats, seed=0)


def test_with_all_reads_outside_tune_it_is_one_head_with_the_intervals_of_the_pages() -> None:
    films, _, tune, normals = world()
    fitted = confirmed_head.fit(films, penalty=100.0)
    head = confirmed_head.logits(fitted, tune.features)
    of_normals = confirmed_head.logits(fitted, normals.features)
    combined = (head - of_normals.mean()) / of_normals.std(ddof=1)
    combined += (tune.one_class - normals.one_class.mean()) / normals.one_class.std(ddof=1)

    curve = curve_of()

    assert curve.tune is not None and curve.folds is not None and set(curve.folds.tolist()) == {0}
    np.testing.assert_allclose(curve.tune.combined, combined, atol=1e-9)
    point = curve.points[-1]
    assert (point.reads, point.abnormal, point.repeats, point.spread) == (70, 50, 1, 0)
    expected = auroc_interval(tune.abnormal, combined, tune.patients)
    np.testing.assert_allclose(
        (point.combined.value, point.combined.low, point.combined.high),
        (expected.auroc, expected.low, expected.high),
        atol=1e-9,
    )
    paired = delong_paired(tune.abnormal, combined, tune.one_class, tune.patients)
    np.testing.assert_allclose(
        (point.gain.value, point.gain.low, point.gain.high), (paired.difference, paired.low, paired.high), atol=1e-9
    )
    assert curve.one_class is not None
    assert abs(curve.one_class.value - roc_auc_score(tune.abnormal, tune.one_class)) < 1e-12


def test_more_reads_help_and_each_size_keeps_the_share_of_abnormal_ones() -> None:
    curve = curve_of()

    assert [point.reads for point in curve.points] == [10, 20, 40, 70]
    assert [point.abnormal for point in curve.points] == [7, 14, 29, 50]
    assert [point.repeats for point in curve.points] == [4, 4, 4, 1]
    assert curve.points[0].spread > 0
    assert curve.points[-1].gain.value > curve.points[0].gain.value > 0


def test_a_tune_film_is_scored_without_reads_of_its_patient() -> None:
    films, reads, tune, normals = world(of_tune=True)
    before = learning_curve(films, reads, tune, normals, penalty=100.0, folds=5, repeats=1, seed=0)
    assert before.tune is not None and before.folds is not None and before.folds.max() == 4
    patient = reads[-1]
    features = films.features.copy()
    own = [KNOWN + k for k, name in enumerate(reads) if name == patient]
    features[own] += 50

    after = learning_curve(
        replace(films, features=features), reads, tune, normals, penalty=100.0, folds=5, repeats=1, seed=0
    )

    assert after.tune is not None
    mine = np.array([name == patient for name in tune.patients])
    np.testing.assert_array_equal(after.tune.combined[mine], before.tune.combined[mine])
    assert (
        after.tune.combined[before.folds != before.folds[mine][0]]
        != before.tune.combined[before.folds != before.folds[mine][0]]
    ).all()
    assert all(point.reads < READS for point in before.points)


def test_the_gain_of_twenty_more_is_on_the_line_over_the_logarithm() -> None:
    curve = curve_of()
    assert curve.further_gain is not None and "straight line" in curve.note
    line = stats.linregress(
        np.log([point.reads for point in curve.points]), [point.gain.value for point in curve.points]
    )

    assert abs(curve.further_gain.value - line.slope * np.log(90 / 70)) < 1e-12
    assert curve.further_gain.low < curve.further_gain.value < curve.further_gain.high


def test_the_interval_of_the_extrapolation_is_that_of_a_bootstrap_over_tune_patients() -> None:
    """Each replicate draws patients of tune, and fits the line to the gains of the replicate."""
    films, reads, tune, normals = world()
    curve = learning_curve(films, reads, tune, normals, penalty=100.0, folds=5, repeats=1, seed=0)
    assert curve.further_gain is not None
    draws = sum(point.spread for point in curve.points)
    assert draws == 0  # one draw of each size: only the tune films vary
    from ml_engine.core.head.learning_curve import _Drawing

    drawing = _Drawing(
        films=films, read_patients=reads, tune=tune, normals=normals, fold_of=np.zeros(80, np.int64),
        penalty=100.0, folds=5, seed=0,
    )  # fmt: skip
    scores = [drawing.scores(size, 0).combined for size in (10, 20, 40, None)]
    x = np.log([10, 20, 40, 70])
    rng, slopes = np.random.default_rng(7), []
    for _ in range(1000):
        ill, healthy = (rng.choice(np.flatnonzero(np.arange(40) % 2 == k), 20) for k in (0, 1))
        at = np.concatenate([[2 * p, 2 * p + 1] for p in (*ill, *healthy)])
        one_class = roc_auc_score(tune.abnormal[at], tune.one_class[at])
        gains = [roc_auc_score(tune.abnormal[at], each[at]) - one_class for each in scores]
        slopes.append(np.polyfit(x, gains, 1)[0])

    error = (curve.further_gain.high - curve.further_gain.low) / 2 / 1.96
    assert error == pytest.approx(np.std(slopes) * np.log(90 / 70), rel=0.15)


def test_a_short_curve_is_not_extrapolated_and_tune_without_abnormal_films_has_none() -> None:
    films, reads, tune, normals = world()
    some = np.arange(len(films.features)) >= KNOWN + 58
    few = films.take(films.known | some)

    curve = learning_curve(few, reads[58:], tune, normals, penalty=100.0, folds=5, repeats=2, seed=0)
    none = learning_curve(
        films,
        reads,
        replace(tune, abnormal=np.zeros(80, dtype=bool)),
        normals,
        penalty=100.0,
        folds=5,
        repeats=2,
        seed=0,
    )

    assert len(curve.points) == 2 and curve.further_gain is None
    assert "extrapolated from at least 3" in curve.note
    assert none.points == () and none.one_class is None
    assert none.note == "Tune has abnormal films of 0 patients and normal films of 40: too few for a curve."


def test_normals_that_are_the_known_ones_are_scored_without_their_fold() -> None:
    films, *_ = world()
    known = films.features[:KNOWN]
    normals = CalibrationNormals(known, np.arange(60.0), tuple(f"k{k}" for k in range(KNOWN)), are_known=True)
    fitted = confirmed_head.fit(films, penalty=1.0)
    logits = normals.logits(films, fitted, penalty=1.0, folds=5, seed=0)

    from ml_engine.core.score.calibration import patient_folds

    fold_of = patient_folds(list(normals.patients), folds=5, seed=0)
    train = np.r_[fold_of != 2, np.ones(READS, dtype=bool)]
    without = confirmed_head.fit(films.take(train), penalty=1.0)
    np.testing.assert_array_equal(logits[fold_of == 2], confirmed_head.logits(without, known[fold_of == 2]))
    assert logits.mean() > confirmed_head.logits(fitted, known).mean()  # their own would look more normal
