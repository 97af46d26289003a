"""The control refuses known normals of another population than the scored ones, and says what differs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ml_engine.core.errors import EngineError
from ml_engine.core.head import population
from ml_engine.core.head.population import FilmGroup, PopulationControl, compare_populations
from ml_engine.core.score.calibration import stratified_folds

WIDE = 20


def group(
    count: int, *, seed: int, prefix: str, shift: float = 0.0, columns: dict[str, list[str]] | None = None
) -> FilmGroup:
    features = np.random.default_rng(seed).normal(size=(count, WIDE))
    features[:, :4] += shift
    given = {name: tuple(values) for name, values in (columns or {}).items()}
    return FilmGroup(features, tuple(f"{prefix}{k}" for k in range(count)), given)


def compared(known: FilmGroup, scored: FilmGroup, **changes: Any) -> PopulationControl:
    return compare_populations(known, scored, **({"penalty": 100.0, "folds": 5, "seed": 0} | changes))


def test_the_area_is_that_of_scikit_learn_with_patients_held_out() -> None:
    known, scored = group(60, seed=1, prefix="a"), group(40, seed=2, prefix="b", shift=0.4)
    features = np.concatenate([known.features, scored.features])
    is_scored, patients = np.arange(100) >= 60, [*known.patients, *scored.patients]
    fold_of = stratified_folds(is_scored, patients, folds=5, seed=0)
    scores = np.zeros(100)
    for fold in range(5):
        train = fold_of != fold
        normals = features[train & ~is_scored]
        values = (features - normals.mean(0)) / normals.std(0, ddof=1)
        model = LogisticRegression(C=0.01, tol=1e-12, max_iter=10_000).fit(values[train], is_scored[train])
        scores[~train] = model.decision_function(values[~train])

    control = compared(known, scored)

    assert abs(control.auroc - roc_auc_score(is_scored, scores)) < 1e-12
    assert (control.known_films, control.scored_films) == (60, 40)
    half = 1.959964 * max(control.delong_error, control.permuted_error)
    np.testing.assert_allclose(
        (control.low, control.high), (control.auroc - half, min(1, control.auroc + half)), atol=1e-6
    )


def test_one_population_passes_and_the_result_is_the_same_again() -> None:
    known, scored = group(80, seed=3, prefix="a"), group(50, seed=4, prefix="b")

    control = compared(known, scored)

    control.require()
    assert control.is_passed and control == compared(known, scored)
    assert control.permuted_error > control.delong_error  # DeLong's takes the fitted scores as fixed


def test_another_population_is_refused_with_the_groups_that_differ() -> None:
    known = group(
        80, seed=5, prefix="a", columns={"scanner": ["A"] * 70 + ["B"] * 10, "view": ["PA"] * 80, "site": [""] * 80}
    )
    scored = group(
        50, seed=6, prefix="b", shift=1.0,
        columns={"scanner": ["B"] * 45 + [""] * 5, "view": ["PA"] * 49 + ["AP"], "site": ["S"] * 50},
    )  # fmt: skip

    control = compared(known, scored)

    assert not control.is_passed and control.low > 0.5
    assert [(each.column, each.value) for each in control.differences] == [
        ("scanner", "A"), ("scanner", "B"), ("scanner", "unknown"),
    ]  # fmt: skip
    assert control.columns == ("scanner", "view")
    with pytest.raises(
        EngineError, match="The semi-supervised head is refused: known normals and scored normals"
    ) as why:
        control.require()
    assert "scanner A (88% of the known and 0% of the scored normals)" in str(why.value)
    assert f"AUROC of {control.auroc:.2f} (95 % interval {control.low:.2f}" in str(why.value)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "gives none of the columns site, scanner, view and period for both"),
        ({"view": ["PA"]}, "They do not differ in view: look for another cause"),
    ],
)
def test_a_refusal_without_a_difference_says_so(columns: dict[str, list[str]], words: str) -> None:
    many = {name: values * 40 for name, values in columns.items()}
    known = group(40, seed=7, prefix="a", columns=many)
    scored = group(40, seed=8, prefix="b", shift=2.0, columns=many)

    with pytest.raises(EngineError, match=words):
        compared(known, scored).require()


def test_a_control_that_could_not_fail_is_refused() -> None:
    known, few = group(60, seed=9, prefix="a"), group(19, seed=10, prefix="b")
    with pytest.raises(EngineError, match="at least 20 films of the pool below the operating point, of 10 patients"):
        compared(known, few)
    one = group(60, seed=9, prefix="c")
    of_nine = FilmGroup(one.features, tuple(f"p{k % 9}" for k in range(60)), {})
    with pytest.raises(EngineError, match="The control of the population needs at least 20 known normals, of 10"):
        compared(of_nine, group(30, seed=11, prefix="b"))


def test_known_normals_of_a_patient_with_scored_films_do_not_count() -> None:
    known, scored = group(60, seed=12, prefix="p"), group(30, seed=13, prefix="p")

    control = compared(known, scored)

    assert (control.known_films, control.scored_films) == (30, 30)


def test_what_is_reversed_on_other_patients_separates_nothing() -> None:
    control = compared(group(38, seed=1062, prefix="a"), group(29, seed=1063, prefix="b"))

    assert control.high < 0.5
    control.require()


def test_large_groups_are_drawn_by_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population, "MOST_FILMS", 30)
    known, scored = group(60, seed=14, prefix="a"), group(40, seed=15, prefix="b")
    twice = FilmGroup(known.features, tuple(f"a{k // 2}" for k in range(60)), {})

    control = compared(twice, scored)

    assert (control.known_films, control.known_patients, control.scored_films) == (30, 15, 30)


@pytest.mark.slow
def test_of_equal_populations_few_are_refused() -> None:
    """With DeLong's error alone it was one in six."""
    passed = [
        compared(group(70, seed=2 * k, prefix="a"), group(40, seed=2 * k + 1, prefix="b"), seed=k).is_passed
        for k in range(100)
    ]

    assert sum(passed) >= 95
    assert not math.isclose(sum(passed), 100)  # a control that never refuses would pass as well
