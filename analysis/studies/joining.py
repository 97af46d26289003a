"""Finished ablations and sweeps of the portal, joined with the labels of their split at its cut-off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from analysis.evaluation.blinding import hidden_films
from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.memory_cache import MemoryCache
from analysis.studies import ablation, segmentation, sweep
from analysis.studies.experiments import LabelledFilm, Truth, read_experiment, read_summary
from analysis.studies.opening import is_open, results_gone, split_of
from ml_engine.core.errors import EngineError
from ml_engine.core.json_objects import IncompleteJson
from ml_engine.engine.reports import StudyAlignment
from ml_engine.models import Run
from ml_engine.runs.run_bucket import here
from portal.labels.events import labels_at
from portal.models import Part, SplitImage, User

T = TypeVar("T")
_joined = MemoryCache(16)


def ablation_of(run: Run) -> ablation.AblationResult:
    """Results on test: call it for an opened ablation only. Raises CannotEvaluate where the run's folder is gone."""

    def work_out() -> ablation.AblationResult:
        folder = here(run)
        return ablation.join(folder, read_summary(folder, "ablation"), _truth(run, [Part.TEST]), name="image")

    return _remembered(run, (Part.TEST,), work_out)


def segmented_of(run: Run, user: User) -> list[segmentation.Segmented]:
    """Examples of films of an opened ablation, marked by its first detector, without those whose scores are hidden from
    the user. Raises CannotEvaluate where the run's folder is gone."""
    folder, summary = here(run), summary_of(run)
    hidden = hidden_films(user, run, part=Part.TEST)

    def work_out() -> list[segmentation.Segmented]:
        truth, experiment = _truth(run, [Part.TEST]), summary["cells"][0]
        scored = read_experiment(folder, experiment, part=Part.TEST, name="image")
        places = segmentation.chosen(scored, truth, hidden)
        return segmentation.segmented(folder, experiment, scored, places, truth)

    return _remembered(run, ("segmented", *sorted(hidden)), work_out)


def sweep_of(run: Run, *, parts: Sequence[str]) -> sweep.SweepResult:
    """Results on these parts; pass test for an opened sweep only. Raises CannotEvaluate where the run's folder is
    gone."""

    def work_out() -> sweep.SweepResult:
        folder = here(run)
        return sweep.join(folder, read_summary(folder, "sweep"), _truth(run, parts), parts=parts, name="image")

    return _remembered(run, tuple(parts), work_out)


def _remembered(run: Run, parts: tuple[str, ...], work_out: Callable[[], T]) -> T:
    try:
        written = (here(run) / f"{run.kind}.json").stat().st_mtime_ns
        return _joined.get_or_compute((run.uuid, parts, written), work_out)
    except (EngineError, OSError, ValueError) as error:
        raise results_gone(run) from error


def _truth(run: Run, parts: Sequence[str]) -> Truth:
    """By the films' UUIDs, which are their names in the engine."""
    split = split_of(run)
    rows = SplitImage.objects.filter(member__split=split, member__part__in=parts)
    films = list(rows.values_list("image_id", "image__uuid", "member__patient_id"))
    labels = labels_at([image_id for image_id, _, _ in films], split.label_cutoff)
    return {
        str(uuid): LabelledFilm(str(labels[image_id].value) if image_id in labels else "", str(patient))
        for image_id, uuid, patient in films
    }


def summary_of(run: Run) -> dict[str, Any]:
    """The engine's summary of a study. Raises CannotEvaluate where the run's folder is gone."""
    try:
        return read_summary(here(run), run.kind)
    except EngineError as error:
        raise results_gone(run) from error


def alignments_of(summary: dict[str, Any]) -> dict[str, StudyAlignment]:
    """In the order of the experiments that use them, since the keys in the file are sorted. Raises CannotEvaluate for a
    report that lacks a value this release needs."""
    names = dict.fromkeys(experiment["alignment"] for experiment in summary["cells"] if experiment["alignment"])
    try:
        return {name: StudyAlignment.from_json(summary["alignments"][name]) for name in names}
    except IncompleteJson as problem:
        raise CannotEvaluate(str(problem)) from problem


def parts_shown(run: Run) -> list[str]:
    """Tune, and test after it has been opened."""
    return [Part.TUNE.value, Part.TEST.value] if is_open(run) else [Part.TUNE.value]
