"""Drift of scores against SciPy's rank tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import brunnermunzel, mannwhitneyu

from analysis.statistics import holm, score_drift

RNG = np.random.default_rng(6)
BASE = RNG.normal(size=80)
SAME, HIGHER = RNG.normal(size=60), RNG.normal(size=50) + 0.8


def drift(*groups, people=None, **options):
    values = np.concatenate(groups)
    batches = [f"batch {k}" for k, group in enumerate(groups) for _ in group]
    return score_drift(values, batches, np.arange(len(values)) if people is None else people, reference=BASE, **options)


def test_a_batch_is_compared_as_by_scipy() -> None:
    same, higher = drift(SAME, HIGHER)
    for row, values in ((same, SAME), (higher, HIGHER)):
        above = mannwhitneyu(values, BASE).statistic / (len(values) * len(BASE))
        assert row.above.auroc == pytest.approx(above, abs=1e-12)
        # Brunner and Munzel's test has the same estimate and variance, with a t distribution
        expected = brunnermunzel(values, BASE, distribution="normal").pvalue
        assert row.p_value == pytest.approx(expected, abs=1e-9)
        assert row.median == np.median(values)
    assert (same.films, higher.films) == (60, 50)
    assert same.p_value > 0.05 > higher.p_value
    assert (same.adjusted_p_value, higher.adjusted_p_value) == tuple(holm([same.p_value, higher.p_value]))


def test_alarms_are_the_share_at_the_threshold() -> None:
    (row,) = drift(HIGHER, threshold=float(np.quantile(BASE, 0.95)))
    assert row.alarms.value == (np.quantile(BASE, 0.95) <= HIGHER).mean()
    assert row.alarms.low < row.alarms.value < row.alarms.high


def test_many_films_of_few_patients_say_less() -> None:
    by_film = drift(HIGHER)[0]
    copies = np.repeat(HIGHER, 6)
    (by_patient,) = drift(copies, people=np.repeat(np.arange(50), 6))
    (too_sure,) = drift(copies)
    assert by_patient.above.low == pytest.approx(by_film.above.low, abs=0.01)
    assert too_sure.above.low > by_patient.above.low + 0.01
    assert by_patient.patients == 50


def test_small_batches_and_few_normals_have_no_numbers() -> None:
    small, enough = drift(SAME[:29], HIGHER)
    assert small.above is None and small.adjusted_p_value is None
    assert small.reason == "29 films of this batch: at least 30 are needed."
    assert enough.above is not None
    (row,) = score_drift(SAME, ["a"] * 60, np.arange(60), reference=BASE[:10])
    assert row.reason == "10 films of calibration normals: at least 30 are needed."


def test_a_batch_that_is_wholly_above_has_a_p_value_of_nothing() -> None:
    (row,) = drift(SAME + 100)
    assert (row.above.auroc, row.p_value) == (1.0, 0.0)
    constant = np.ones(40)
    (row,) = score_drift(constant, ["a"] * 40, np.arange(40), reference=constant)
    assert (row.above.auroc, row.p_value) == (0.5, 1.0)


def test_scores_that_are_missing_are_left_out() -> None:
    values = SAME.copy()
    values[:5] = np.nan
    assert drift(values)[0].films == 55


def test_shapes_have_to_match() -> None:
    with pytest.raises(ValueError, match="must match"):
        score_drift(SAME, ["a"], np.arange(60), reference=BASE)
    with pytest.raises(ValueError, match="reference_patients"):
        score_drift(SAME, ["a"] * 60, np.arange(60), reference=BASE, reference_patients=[1])
