"""Agreement of double readings against scikit-learn, against `krippendorff_alpha`, and against a plain bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from analysis.statistics import cohen_kappa, krippendorff_alpha
from analysis.statistics.double_reading import double_reading_agreement

RNG = np.random.default_rng(3)
FIRST = RNG.integers(0, 3, 120).astype(float)
SECOND = np.where(RNG.random(120) < 0.7, FIRST, RNG.integers(0, 3, 120))
TWO = np.stack([FIRST, SECOND], axis=1)
PATIENTS = RNG.integers(0, 50, 120)


def test_kappa_and_share_of_two_readers_are_those_of_scikit_learn() -> None:
    result = double_reading_agreement(TWO, PATIENTS, replicates=200)
    assert result.kappa is not None
    assert result.kappa.value == pytest.approx(cohen_kappa_score(FIRST, SECOND), abs=1e-12)
    assert result.share.value == pytest.approx((FIRST == SECOND).mean(), abs=1e-12)
    assert result.alpha.value == pytest.approx(krippendorff_alpha(TWO, replicates=10).alpha, abs=1e-12)
    assert (result.films, result.left_out, result.patients) == (120, 0, len(np.unique(PATIENTS)))


def test_the_interval_is_that_of_a_plain_bootstrap_by_patient() -> None:
    result = double_reading_agreement(TWO, PATIENTS, replicates=2000, seed=5)
    generator = np.random.default_rng(11)
    names = np.unique(PATIENTS)
    drawn = []
    for _ in range(2000):
        films = np.concatenate([np.flatnonzero(name == PATIENTS) for name in generator.choice(names, len(names))])
        drawn.append(cohen_kappa(FIRST[films], SECOND[films]).kappa)
    assert result.kappa is not None
    assert [result.kappa.low, result.kappa.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.015)


def test_films_of_one_patient_that_repeat_each_other_widen_the_interval() -> None:
    """Ten copies of each film add no information, which an interval by film would not notice."""
    copies = np.repeat(TWO, 10, axis=0)
    once = double_reading_agreement(TWO, np.arange(120), replicates=1000)
    by_patient = double_reading_agreement(copies, np.repeat(np.arange(120), 10), replicates=1000)
    by_film = double_reading_agreement(copies, np.arange(1200), replicates=1000)
    widths = [result.share.high - result.share.low for result in (once, by_patient, by_film)]  # type: ignore[operator]
    assert widths[1] == pytest.approx(widths[0], rel=0.01)
    assert widths[2] < widths[0] / 2


def test_more_readers_and_missing_readings() -> None:
    three = np.column_stack([TWO, np.where(RNG.random(120) < 0.3, np.nan, FIRST)])
    result = double_reading_agreement(three, PATIENTS, replicates=200)
    assert result.kappa is None
    assert result.alpha.value == pytest.approx(krippendorff_alpha(three, replicates=10).alpha, abs=1e-12)
    pairs = [
        np.mean([a == b for i, a in enumerate(row) for b in row[i + 1 :]])
        for row in (film[~np.isnan(film)] for film in three)
    ]
    assert result.share.value == pytest.approx(np.mean(pairs), abs=1e-12)
    holes = TWO.copy()
    holes[:10, 1] = np.nan
    result = double_reading_agreement(holes, PATIENTS, replicates=200)
    assert result.kappa is not None
    assert result.kappa.value == pytest.approx(cohen_kappa_score(FIRST[10:], SECOND[10:]), abs=1e-12)
    assert (result.films, result.left_out) == (110, 10)


@pytest.mark.parametrize(("readings", "patients", "reason"), [
    (np.full((3, 2), np.nan), [0, 1, 2], "No film has two readings"),
    (np.zeros((3, 2)), [0, 1, 2], "All readings are equal"),
    ([[0, 1], [1, 1]], [0, 0], "All films are of one patient"),
    ([[0, 0], [0, 0], [0, 0], [0, 0], [1, 0]], [0, 1, 2, 3, 4], "too few for an interval"),
])  # fmt: skip
def test_what_is_not_defined_says_why(readings: object, patients: list[int], reason: str) -> None:
    result = double_reading_agreement(readings, patients, replicates=200)  # type: ignore[arg-type]
    assert result.kappa is not None
    assert result.kappa.low is None
    assert reason in result.kappa.reason


def test_full_agreement_has_no_interval() -> None:
    full = np.stack([FIRST, FIRST], axis=1)
    result = double_reading_agreement(full, PATIENTS, replicates=200)
    assert result.kappa is not None
    assert (result.kappa.value, result.share.value) == (1.0, 1.0)
    assert "do not vary" in result.kappa.reason


def test_shapes_and_confidence_are_checked() -> None:
    with pytest.raises(ValueError, match="expected"):
        double_reading_agreement(TWO, PATIENTS[:5])
    with pytest.raises(ValueError, match="confidence"):
        double_reading_agreement(TWO, PATIENTS, confidence=1.5)


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert double_reading_agreement(TWO, PATIENTS, seed=1) == double_reading_agreement(TWO, PATIENTS, seed=1)
