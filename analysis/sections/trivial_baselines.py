"""AUROCs of trivial scores, which know nothing of anatomy, and what the method adds to them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis import statistics
from analysis.evaluation.evaluate import ScoredPart
from analysis.evaluation.memory_cache import MemoryCache
from analysis.evaluation.run_results import results_of
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import Evaluation
from analysis.sections.attributes import UNKNOWN, attributes_of
from analysis.sections.coreset_starts import CoresetStarts, coreset_starts_of
from analysis.sections.metadata_shortcuts import Shortcuts, shortcuts_of
from ml_engine.core.film.trivial import NAMES
from ml_engine.models import Run
from portal.models import Part

# name -> (in words, films with low values, films with high values)
MEASURES = {
    "brightness": ("Brightness", "darker films", "brighter films"),
    "gradient": ("Gradient", "films with weaker gradients", "films with stronger gradients"),
    "size": ("Size in pixels", "smaller films", "larger films"),
    "bytes": ("Size of the stored file", "smaller files", "larger files"),
    "number": ("Number in the file name", "lower numbers", "higher numbers"),
    "arrival": ("Order of import", "films imported earlier", "films imported later"),
}
CATEGORIES = {
    "view": "View position",
    "scanner": "Scanner",
    "age": "Age band",
    "sex": "Sex",
    "dataset": "Dataset",
    "file": "File type",
}
RECORDS = ("number", "arrival", "dataset", "file")  # no detector can see them in a film
STRATA = ("view", "scanner", "age", "sex")
FOLDS = 5

ON_TUNE = "learned on tune"
HERE = "chosen on these films, so optimistic"
AGAINST_TUNE = "chosen on these films, so optimistic; on tune it is the other way"
IN_FOLDS = "learned in folds of these films"


@dataclass(frozen=True)
class TrivialScore:
    """A score from one property of a film, in the direction with the higher AUROC: `direction` in words, and its
    `source`. A category's values score as their shares of abnormal films. `beats`: whether the method's AUROC is
    higher, with a paired difference that is significant at 5 %; None if it cannot be tested. auroc is None, with a
    `reason`, where there is none. `of_records`: known from records alone, and not visible in a film."""

    name: str
    auroc: statistics.Auroc | None
    difference: statistics.AurocDifference | None
    beats: bool | None
    reason: str = ""
    direction: str = ""
    source: str = ""
    of_records: bool = False


@dataclass(frozen=True)
class Added:
    """What the method adds to a model of trivial scores: `over` in words, and the names of the `scores`."""

    over: str
    scores: tuple[str, ...]
    value: statistics.AddedValue


@dataclass(frozen=True)
class Trivial:
    """The trivial scores of a part, and the method beside them: what it adds to models of all of them, its AUROC within
    pairs matched by `pairs_by`, within strata alike in `matched_by`, within fifths of the gradient, and its spread over
    coreset starts."""

    scores: tuple[TrivialScore, ...]
    added: tuple[Added, ...]
    pairs_by: tuple[str, ...]
    pairs: statistics.MatchedPairs | None
    matched_by: tuple[str, ...]
    matched: statistics.StratifiedAuroc | None
    fifths: statistics.StratifiedAuroc | None
    starts: CoresetStarts

    @property
    def best_in_film(self) -> TrivialScore | None:
        """The score with the highest AUROC of those visible in a film."""
        return self._best(of_records=False)

    @property
    def best_of_records(self) -> TrivialScore | None:
        return self._best(of_records=True)

    def _best(self, *, of_records: bool) -> TrivialScore | None:
        areas = [
            (row.auroc.auroc, row)
            for row in self.scores
            if row.of_records == of_records and row.auroc and row.auroc.auroc is not None
        ]
        return max(areas, key=lambda pair: pair[0])[1] if areas else None


@dataclass(frozen=True)
class Properties:
    """The trivial properties of the films of a part: numbers, name -> (N,) float64, NaN where unknown; reasons, name ->
    why a number is unknown of all films; groups, name -> (N,) texts."""

    part: ScoredPart
    numbers: dict[str, NDArray[np.float64]]
    reasons: dict[str, str]
    groups: dict[str, list[str]]

    def varied(self) -> list[str]:
        """The categories in which the films differ."""
        return [name for name in CATEGORIES if len(set(self.groups[name])) > 1]


def trivial_of(evaluation: Evaluation, scored: ScoredPart, *, weight: float) -> Trivial:
    """The trivial scores of a part. A run of an older engine has no measures of its films. Raises CannotEvaluate when
    the run's folder is gone."""
    tune = None
    if scored.part != Part.TUNE and Part.TUNE in evaluation.metrics["parts"]:
        part = evaluated_part(evaluation, Part.TUNE)
        if len(set(part.labels.tolist())) == 2:
            tune = properties_of(evaluation, part)
    here, own = properties_of(evaluation, scored), scored.scores_at(weight)
    rows = {name: _measure(name, here, tune, own) for name in MEASURES}
    rows |= {name: _category(name, here, tune, own) for name in here.varied()}
    pairs_by, pairs = _pairs(here, own)
    matched_by, matched = _matched(here, own)
    return Trivial(
        scores=tuple(replace(row, of_records=name in RECORDS) for name, row in rows.items()),
        added=tuple(_added(here, own)),
        pairs_by=pairs_by,
        pairs=pairs,
        matched_by=matched_by,
        matched=matched,
        fifths=_fifths(here, own),
        starts=coreset_starts_of(evaluation, part=scored.part),
    )


def properties_of(evaluation: Evaluation, scored: ScoredPart) -> Properties:
    """Raises CannotEvaluate when the run's folder is gone."""
    measures = measures_of(evaluation.run)
    shortcuts: Shortcuts = shortcuts_of(scored)
    numbers, reasons = dict(shortcuts.numbers), dict(shortcuts.reasons)
    for column, name in enumerate(NAMES):
        if measures is None:
            reasons[name] = "The run was scored before films were measured; score again."
        else:
            numbers[name] = measures[scored.rows, column]
    groups = attributes_of(scored, cutoff=evaluation.label_cutoff).groups
    return Properties(scored, numbers, reasons, {**groups, "file": shortcuts.types})


def measures_of(run: Run) -> NDArray[np.float64] | None:
    """(N, 3): the measures `NAMES` of each film of the run; None if the engine of the run did not measure them."""
    with results_of(run) as folder:
        folder.check_there()
        return np.asarray(folder.array("trivial"), dtype=np.float64) if folder.measures_films else None


def _measure(name: str, here: Properties, tune: Properties | None, own: NDArray[np.float32]) -> TrivialScore:
    words, low, high = MEASURES[name]
    if name in here.reasons:
        return TrivialScore(words, None, None, None, here.reasons[name])
    values = here.numbers[name]
    area = statistics.delong(here.part.labels, values).auroc
    is_low = area is not None and area < 0.5
    source = HERE
    learned = statistics.delong(tune.part.labels, tune.numbers[name]).auroc if tune and name in tune.numbers else None
    if learned is not None:
        source = ON_TUNE if (learned < 0.5) == is_low else AGAINST_TUNE
    direction = f"{low if is_low else high} are abnormal"
    turned = -values if is_low else values
    return _compared(words, here.part, own, turned, direction=direction, source=source)


def _category(name: str, here: Properties, tune: Properties | None, own: NDArray[np.float32]) -> TrivialScore:
    words, direction = CATEGORIES[name], "by share of abnormal films"
    if tune:
        values = _shares(here.groups[name], tune.groups[name], tune.part.labels)
        area = statistics.delong(here.part.labels, values).auroc
        if area is not None and area < 0.5:
            direction = "by share of normal films"
            return _compared(words, here.part, own, -values, direction=direction, source=AGAINST_TUNE)
        return _compared(words, here.part, own, values, direction=direction, source=ON_TUNE)
    labels, patients = here.part.labels, here.part.patients
    if min(len(np.unique(patients[labels == label])) for label in (0, 1)) < FOLDS:
        reason = f"Tune has films of one class only, and here a class has fewer than {FOLDS} patients."
        return TrivialScore(words, None, None, None, reason)
    folds = statistics.patient_folds(labels, patients, folds=FOLDS)
    empty = np.empty((len(labels), 0))
    values = statistics.cross_fitted_log_odds(empty, [here.groups[name]], labels == 1, folds)
    return _compared(words, here.part, own, values, direction=direction, source=IN_FOLDS)


def _shares(here: Sequence[str], there: Sequence[str], labels: NDArray[np.int8]) -> NDArray[np.float64]:
    """For each film, tune's share of abnormal films in its category, or in all of tune if tune lacks the category."""
    films, abnormal = Counter(there), Counter(name for name, label in zip(there, labels, strict=True) if label)
    everything = float(labels.mean())
    return np.array([abnormal[name] / films[name] if films[name] else everything for name in here])


def _compared(
    name: str,
    scored: ScoredPart,
    own: NDArray[np.float32],
    trivial: NDArray[np.float64],
    *,
    direction: str,
    source: str,
) -> TrivialScore:
    area = statistics.auroc_interval(scored.labels, trivial, scored.patients)
    difference = statistics.delong_paired(scored.labels, own, trivial, scored.patients)
    beats = None if difference.low is None else difference.low > 0
    return TrivialScore(
        name, area, difference, beats, reason=area.reason or difference.reason, direction=direction, source=source
    )


def _added(here: Properties, own: NDArray[np.float32]) -> list[Added]:
    """Over all trivial scores, and over those alone that are visible in a film. Records may tell two sources of
    films apart completely, and then nothing can be added to them."""
    everything = [name for name in MEASURES if name not in here.reasons] + here.varied()
    in_film = [name for name in everything if name not in RECORDS]
    asked = {"all trivial scores": everything, "trivial scores visible in a film": in_film}
    return [
        Added(over, tuple(_words(name) for name in names), _over(here, own, names))
        for over, names in asked.items()
        if names
    ]


def _words(name: str) -> str:
    return MEASURES[name][0] if name in MEASURES else CATEGORIES[name]


_models = MemoryCache(64)  # a few kilobytes each; the models of 100,000 films take seconds


def _over(here: Properties, own: NDArray[np.float32], names: Sequence[str]) -> statistics.AddedValue:
    scored = here.part
    numbers = np.column_stack([np.empty((len(own), 0)), *(here.numbers[name] for name in names if name in MEASURES)])
    categories = [here.groups[name] for name in names if name in CATEGORIES]
    content = hashlib.blake2b(scored.digest + own.tobytes() + numbers.tobytes() + repr(categories).encode())
    return _models.get_or_compute(
        content.digest(),
        lambda: statistics.added_value(scored.labels, own, numbers, categories, scored.patients, folds=FOLDS),
    )


def _pairs(here: Properties, own: NDArray[np.float32]) -> tuple[tuple[str, ...], statistics.MatchedPairs | None]:
    """By view and brightness; by brightness alone where no film has a view. None without a brightness."""
    if "brightness" in here.reasons:
        return (), None
    views = ["" if view == UNKNOWN else view for view in here.groups["view"]]
    by = ("view position", "brightness") if any(views) else ("brightness",)
    groups = views if any(views) else ["all"] * len(views)
    scored = here.part
    pairs = statistics.matched_auroc(scored.labels, own, here.numbers["brightness"], groups, scored.patients)
    return by, pairs


def _matched(here: Properties, own: NDArray[np.float32]) -> tuple[tuple[str, ...], statistics.StratifiedAuroc | None]:
    by = [name for name in STRATA if len(set(here.groups[name]) - {UNKNOWN}) > 1]
    if not by:
        return (), None
    strata = [" / ".join(values) for values in zip(*(here.groups[name] for name in by), strict=True)]
    matched = statistics.stratified_auroc(here.part.labels, own, strata, here.part.patients)
    return tuple(CATEGORIES[name].lower() for name in by), matched


def _fifths(here: Properties, own: NDArray[np.float32]) -> statistics.StratifiedAuroc | None:
    if "gradient" in here.reasons:
        return None
    gradient = here.numbers["gradient"]
    known = np.isfinite(gradient)
    if not known.any():
        return None
    fifth = np.searchsorted(np.quantile(gradient[known], [0.2, 0.4, 0.6, 0.8]), gradient, side="right")
    scores = np.where(known, own, np.nan)
    return statistics.stratified_auroc(here.part.labels, scores, fifth, here.part.patients)
