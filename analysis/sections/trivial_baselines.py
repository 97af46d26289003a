"""AUROCs of trivial scores, which know nothing of anatomy, and the method's AUROC among films alike in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis import statistics
from analysis.evaluation.evaluate import ScoredPart
from analysis.evaluation.run_results import results_of
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import Evaluation
from analysis.sections.attributes import UNKNOWN, attributes_of
from ml_engine.core.film.trivial import NAMES
from ml_engine.models import Run
from portal.models import Part

CATEGORIES = {"view": "View position", "scanner": "Scanner", "age": "Age band", "sex": "Sex"}
MEASURES = {"brightness": "Brightness", "gradient": "Gradient", "size": "Size in pixels"}


@dataclass(frozen=True)
class TrivialScore:
    """A score from one property of a film. Its direction, or each category's share of abnormal films, is learned on
    tune; auroc is None, with a `reason`, if that is not possible. `beats`: whether the method's AUROC is higher, with a
    paired difference that is significant at 5 %; None if it cannot be tested."""

    name: str
    auroc: statistics.Auroc | None
    difference: statistics.AurocDifference | None
    beats: bool | None
    reason: str = ""


@dataclass(frozen=True)
class Trivial:
    """The trivial scores of a part, and the method's AUROC within strata of films alike in `matched_by`."""

    scores: tuple[TrivialScore, ...]
    matched_by: tuple[str, ...]
    matched: statistics.StratifiedAuroc | None


def trivial_of(evaluation: Evaluation, scored: ScoredPart, *, weight: float) -> Trivial:
    """The trivial scores of a part. A run of an older engine has no measures of its films. Raises CannotEvaluate when
    the run's folder is gone."""
    tune, reason = None, ""
    if scored.part == Part.TUNE:
        reason = "Trivial scores are learned on tune, so they are not evaluated on tune itself: choose test."
    elif Part.TUNE not in evaluation.metrics["parts"]:
        reason = "The run did not score tune, on which trivial scores are learned: score that part as well."
    else:
        tune = evaluated_part(evaluation, Part.TUNE)
    own = scored.scores_at(weight)
    here = attributes_of(scored, cutoff=evaluation.label_cutoff).groups
    there = attributes_of(tune, cutoff=evaluation.label_cutoff).groups if tune else None
    measures = measures_of(evaluation.run)
    scores = []
    for column, name in enumerate(NAMES):
        if measures is None:
            scores.append(_unknown(MEASURES[name], "The run was scored before films were measured; score again."))
            continue
        values = measures[scored.rows, column]
        trivial = _directed(values, measures[tune.rows, column], tune.labels) if tune else None
        scores.append(_compared(MEASURES[name], scored, own, trivial, reason))
    for name, words in CATEGORIES.items():
        if len(set(here[name])) < 2:
            continue
        trivial = _shares(here[name], there[name], tune.labels) if tune and there else None
        scores.append(_compared(words, scored, own, trivial, reason))
    matched_by = [name for name in CATEGORIES if len(set(here[name]) - {UNKNOWN}) > 1]
    matched = None
    if matched_by:
        strata = [" / ".join(values) for values in zip(*(here[name] for name in matched_by), strict=True)]
        matched = statistics.stratified_auroc(scored.labels, own, strata, scored.patients)
    return Trivial(tuple(scores), tuple(CATEGORIES[name].lower() for name in matched_by), matched)


def measures_of(run: Run) -> NDArray[np.float64] | None:
    """(N, 3): the measures `NAMES` of each film of the run; None if the engine of the run did not measure them."""
    with results_of(run) as folder:
        folder.check_there()
        return np.asarray(folder.array("trivial"), dtype=np.float64) if folder.measures_films else None


def _directed(
    values: NDArray[np.float64], of_tune: NDArray[np.float64], labels: NDArray[np.int8]
) -> NDArray[np.float64] | None:
    """The values, negated if low values mean abnormal on tune; None if tune has one class only."""
    area = statistics.delong(labels, of_tune).auroc
    return None if area is None else values if area >= 0.5 else -values


def _shares(here: Sequence[str], there: Sequence[str], labels: NDArray[np.int8]) -> NDArray[np.float64] | None:
    """For each film, tune's share of abnormal films in its category, or in all of tune if tune lacks the category."""
    if not len(labels):
        return None
    films, abnormal = Counter(there), Counter(name for name, label in zip(there, labels, strict=True) if label)
    everything = float(labels.mean())
    return np.array([abnormal[name] / films[name] if films[name] else everything for name in here])


def _compared(
    name: str, scored: ScoredPart, own: NDArray[np.float32], trivial: NDArray[np.float64] | None, reason: str
) -> TrivialScore:
    if trivial is None:
        return _unknown(name, reason or "Tune has films of one class only, so nothing can be learned on it.")
    area = statistics.auroc_interval(scored.labels, trivial, scored.patients)
    difference = statistics.delong_paired(scored.labels, own, trivial, scored.patients)
    beats = None if difference.low is None else difference.low > 0
    return TrivialScore(name, area, difference, beats, area.reason or difference.reason)


def _unknown(name: str, reason: str) -> TrivialScore:
    return TrivialScore(name, None, None, None, reason)
