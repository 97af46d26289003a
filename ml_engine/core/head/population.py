"""The control of a head: whether known normals and scored normals are of one population.

A head learns whatever separates its two classes. If the known normals come from another site, scanner or period than
the films that are read, that is the population and not the disease. So a head of the same kind is fitted to separate
known normals from films of the pool that the detector takes for normal, with folds of patients held out: where it can,
the head would too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.errors import EngineError
from ml_engine.core.head.confirmed_head import Scale
from ml_engine.core.head.logistic import fit_logistic
from ml_engine.core.score.calibration import patient_numbers, stratified_folds
from ml_engine.core.score.delong import Placements, Z, placements

LEAST_FILMS = 20  # of each group
LEAST_PATIENTS = 10
MOST_FILMS = 400  # of each group, drawn by patient; more would take minutes and change little
PERMUTATIONS = 60
LISTED = 6  # differences in the report
LEAST_DIFFERENCE = 0.05  # of two shares

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FilmGroup:
    """Pooled features float64 (n, D), the patient of each film, and by the name of each column (site, scanner, view,
    period) its value for each film, empty where it is unknown."""

    features: Array
    patients: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]

    def take(self, at: Sequence[int]) -> FilmGroup:
        columns = {name: tuple(values[k] for k in at) for name, values in self.columns.items()}
        return FilmGroup(self.features[list(at)], tuple(self.patients[k] for k in at), columns)


@dataclass(frozen=True)
class GroupDifference:
    """The shares of films with this value of a column among the known normals and among the scored normals."""

    column: str
    value: str
    known_share: float
    scored_share: float

    @property
    def words(self) -> str:
        shares = f"{self.known_share:.0%} of the known and {self.scored_share:.0%} of the scored normals"
        return f"{self.column} {self.value} ({shares})"


@dataclass(frozen=True)
class PopulationControl:
    """How separable known and scored normals are: the cross-fitted AUROC with its 95 % interval.

    The standard error is the larger one of ``delong_error``, clustered by patient, and ``permuted_error``, the root
    mean square deviation from 0.5 where the groups are permuted among patients. DeLong's alone takes the fitted scores
    as fixed, and would refuse one in six heads of equal populations.
    """

    auroc: float
    low: float
    high: float
    delong_error: float
    permuted_error: float
    known_films: int
    known_patients: int
    scored_films: int
    scored_patients: int
    differences: tuple[GroupDifference, ...]
    columns: tuple[str, ...]

    @property
    def is_passed(self) -> bool:
        """Whether the interval begins at or below 0.5. An interval wholly below it is passed too: what was learnt from
        some patients is then wrong for others, so it separates nothing."""
        return self.low <= 0.5

    def require(self) -> None:
        """Raises EngineError, with the groups that differ most, unless the control is passed."""
        if self.is_passed:
            return
        if self.differences:
            where = f"They differ most in {', '.join(each.words for each in self.differences[:3])}. "
        elif self.columns:
            where = f"They do not differ in {', '.join(self.columns)}: look for another cause. "
        else:
            where = "The CSV gives none of the columns site, scanner, view and period for both, which would show why. "
        raise EngineError(
            f"The semi-supervised head is refused: known normals and scored normals are separable with an AUROC of "
            f"{self.auroc:.2f} (95 % interval {self.low:.2f} to {self.high:.2f}, above 0.5), so it would learn the "
            f"population instead of the disease. {where}Fit the detector on normals of the population that is scored."
        )


def compare_populations(
    known: FilmGroup, scored: FilmGroup, *, penalty: float, folds: int, seed: int
) -> PopulationControl:
    """The control of ``known`` against ``scored`` normals; known normals of a patient with scored films are left out.

    Raises EngineError where either group is too small for a control that could fail.
    """
    both = set(scored.patients)
    known = _at_most(known.take([k for k, name in enumerate(known.patients) if name not in both]), seed)
    scored = _at_most(scored, seed)
    for words, group in (("known normals", known), ("films of the pool below the operating point", scored)):
        if len(group.patients) < LEAST_FILMS or len(set(group.patients)) < LEAST_PATIENTS:
            raise EngineError(
                f"The control of the population needs at least {LEAST_FILMS} {words}, of {LEAST_PATIENTS} patients; "
                f"there are {len(group.patients)}, of {len(set(group.patients))}. Films of the pool that nobody read "
                "belong into the CSV too, without a label."
            )
    features = np.concatenate([known.features, scored.features])
    patients = [*known.patients, *scored.patients]
    is_scored = np.arange(len(patients)) >= len(known.patients)
    placed = _cross_fitted(features, is_scored, patients, penalty=penalty, folds=folds, seed=seed)
    rng = np.random.default_rng([seed, 17])
    permuted = [
        _cross_fitted(
            features, _permuted(is_scored, patients, rng), patients, penalty=penalty, folds=folds, seed=seed
        ).area
        for _ in range(PERMUTATIONS)
    ]
    delong_error = math.sqrt(placed.variance())
    permuted_error = math.sqrt(float(np.mean((np.array(permuted) - 0.5) ** 2)))
    half = Z * max(delong_error, permuted_error)
    differences, columns = _differences(known, scored)
    return PopulationControl(
        auroc=placed.area,
        low=max(0.0, placed.area - half),
        high=min(1.0, placed.area + half),
        delong_error=delong_error,
        permuted_error=permuted_error,
        known_films=len(known.patients),
        known_patients=len(set(known.patients)),
        scored_films=len(scored.patients),
        scored_patients=len(set(scored.patients)),
        differences=differences,
        columns=columns,
    )


def _at_most(group: FilmGroup, seed: int) -> FilmGroup:
    """The group, or `MOST_FILMS` of its films: whole patients in a drawn order."""
    if len(group.patients) <= MOST_FILMS:
        return group
    names = sorted(set(group.patients))
    rank = {names[k]: place for place, k in enumerate(np.random.default_rng([seed, 18]).permutation(len(names)))}
    ordered = sorted(range(len(group.patients)), key=lambda film: (rank[group.patients[film]], film))
    return group.take(sorted(ordered[:MOST_FILMS]))


def _permuted(is_scored: NDArray[np.bool_], patients: list[str], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The groups permuted among patients."""
    group_of = dict(zip(patients, is_scored.tolist(), strict=True))
    names = list(group_of)
    drawn = [group_of[names[k]] for k in rng.permutation(len(names))]
    of_patient = dict(zip(names, drawn, strict=True))
    return np.array([of_patient[name] for name in patients], dtype=np.bool_)


def _cross_fitted(
    features: Array, is_scored: NDArray[np.bool_], patients: list[str], *, penalty: float, folds: int, seed: int
) -> Placements:
    """Placements of the logits of all films, each by a regression without its fold of patients."""
    fold_of = stratified_folds(is_scored, patients, folds=folds, seed=seed)
    scores = np.zeros(len(features))
    for fold in np.unique(fold_of):
        train = fold_of != fold
        scale = Scale.of(features[train & ~is_scored])
        values = scale.apply(features)
        fitted = fit_logistic(values[train], is_scored[train], penalty=penalty)
        scores[~train] = fitted.logits(values[~train])
    return placements(scores, is_scored, patient_numbers(patients))


def _differences(known: FilmGroup, scored: FilmGroup) -> tuple[tuple[GroupDifference, ...], tuple[str, ...]]:
    """The largest differences of shares, and the columns that are known for both groups."""
    shown, differences = [], []
    for column in known.columns:
        first, second = known.columns[column], scored.columns.get(column, ())
        if not any(first) or not any(second):
            continue
        shown.append(column)
        shares = [_shares(first), _shares(second)]
        for value in sorted({*shares[0], *shares[1]}):
            before, after = shares[0].get(value, 0.0), shares[1].get(value, 0.0)
            if abs(before - after) >= LEAST_DIFFERENCE:
                differences.append(GroupDifference(column, value or "unknown", before, after))
    ordered = sorted(differences, key=lambda each: -abs(each.known_share - each.scored_share))
    return tuple(ordered[:LISTED]), tuple(shown)


def _shares(values: Sequence[str]) -> dict[str, float]:
    return {value: count / len(values) for value, count in Counter(values).items()}
