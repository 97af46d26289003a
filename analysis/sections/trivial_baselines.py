"""Beside each AUROC stand those of scores that know nothing of anatomy, and the AUROC among films alike in them."""

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
    """A score that knows one thing of a film. What says abnormal (a direction, or a category's share of abnormal films)
    comes from tune, and auroc is None, with a `reason`, where tune does not tell. `beats` says that the method's AUROC
    is higher and the paired difference is told from zero at 95 %; None where it cannot be tested."""

    name: str
    auroc: statistics.Auroc | None
    difference: statistics.AurocDifference | None
    beats: bool | None
    reason: str = ""


@dataclass(frozen=True)
class Trivial:
    """The trivial scores of a part, and the method's AUROC among films that are alike in `matched_by`."""

    scores: tuple[TrivialScore, ...]
    matched_by: tuple[str, ...]
    matched: statistics.StratifiedAuroc | None


def trivial_of(evaluation: Evaluation, scored: ScoredPart, *, weight: float) -> Trivial:
    """Raises CannotEvaluate when the run's folder is gone. A run of an older engine has no measures of its films."""
    tune, why = None, ""
    if scored.part == Part.TUNE:
        why = "What says abnormal is learned on tune, so nothing is told of tune itself: look at test."
    elif Part.TUNE not in evaluation.metrics["parts"]:
        why = "The run did not score tune, where it is learned what says abnormal: score that part as well."
    else:
        tune = evaluated_part(evaluation, Part.TUNE)
    own = scored.scores_at(weight)
    here = attributes_of(scored, cutoff=evaluation.label_cutoff).groups
    there = attributes_of(tune, cutoff=evaluation.label_cutoff).groups if tune else None
    measures = measures_of(evaluation.run)
    found = []
    for column, name in enumerate(NAMES):
        if measures is None:
            found.append(_unknown(MEASURES[name], "The run was scored before films were measured; score again."))
            continue
        values = measures[scored.rows, column]
        told = _directed(values, measures[tune.rows, column], tune.labels) if tune else None
        found.append(_compared(MEASURES[name], scored, own, told, why))
    for name, words in CATEGORIES.items():
        if len(set(here[name])) < 2:
            continue
        told = _shares(here[name], there[name], tune.labels) if tune and there else None
        found.append(_compared(words, scored, own, told, why))
    matched_by = [name for name in CATEGORIES if len(set(here[name]) - {UNKNOWN}) > 1]
    matched = None
    if matched_by:
        strata = [" / ".join(values) for values in zip(*(here[name] for name in matched_by), strict=True)]
        matched = statistics.stratified_auroc(scored.labels, own, strata, scored.patients)
    return Trivial(tuple(found), tuple(CATEGORIES[name].lower() for name in matched_by), matched)


def measures_of(run: Run) -> NDArray[np.float64] | None:
    """`NAMES` of each film of the run, (N, 3), or None for a run of an engine that did not measure them."""
    with results_of(run) as folder:
        folder.check_there()
        return np.asarray(folder.array("trivial"), dtype=np.float64) if folder.measures_films else None


def _directed(
    values: NDArray[np.float64], of_tune: NDArray[np.float64], labels: NDArray[np.int8]
) -> NDArray[np.float64] | None:
    """The values, turned round where low ones mean abnormal in tune."""
    area = statistics.delong(labels, of_tune).auroc
    return None if area is None else values if area >= 0.5 else -values


def _shares(here: Sequence[str], there: Sequence[str], labels: NDArray[np.int8]) -> NDArray[np.float64] | None:
    """Each film's category as tune's share of abnormal films in it; that of all of tune for one that tune lacks."""
    if not len(labels):
        return None
    films, abnormal = Counter(there), Counter(name for name, label in zip(there, labels, strict=True) if label)
    everything = float(labels.mean())
    return np.array([abnormal[name] / films[name] if films[name] else everything for name in here])


def _compared(
    name: str, scored: ScoredPart, own: NDArray[np.float32], told: NDArray[np.float64] | None, why: str
) -> TrivialScore:
    if told is None:
        return _unknown(name, why or "Tune has films of one class only, so it does not tell what says abnormal.")
    area = statistics.auroc_interval(scored.labels, told, scored.patients)
    difference = statistics.delong_paired(scored.labels, own, told, scored.patients)
    beats = None if difference.low is None else difference.low > 0
    return TrivialScore(name, area, difference, beats, area.reason or difference.reason)


def _unknown(name: str, reason: str) -> TrivialScore:
    return TrivialScore(name, None, None, None, reason)
