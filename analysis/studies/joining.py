"""Finished ablations and sweeps of the portal, joined with the labels of their split at its cut-off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from analysis.evaluation.blinding import hidden_films
from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.memory_cache import Remembered
from analysis.studies import ablation, segmentation, sweep
from analysis.studies.experiments import LabelledFilm, Truth, read_experiment, read_summary
from analysis.studies.opening import is_open, results_gone, split_of
from ml_engine.core.errors import EngineError
from ml_engine.core.json_objects import IncompleteJson
from ml_engine.engine.reports import StudyAlignment
from ml_engine.models import Run
from ml_engine.runs.paths import run_folder
from portal.labels.events import labels_at
from portal.models import Part, SplitImage, User

T = TypeVar("T")
_joined = Remembered(16)


def ablation_of(run: Run) -> ablation.AblationResult:
    """Figures of test: for an open ablation only. Raises CannotEvaluate where the run's folder is gone."""

    def work_out() -> ablation.AblationResult:
        folder = run_folder(run.uuid)
        return ablation.join(folder, read_summary(folder, "ablation"), _truth(run, [Part.TEST]), name="image")

    return _remembered(run, (Part.TEST,), work_out)


def segmented_of(run: Run, user: User) -> list[segmentation.Segmented]:
    """Films of an open ablation, as its first detector marks them: those whose scores the person may see. Raises
    CannotEvaluate where the run's folder is gone."""
    folder, summary = run_folder(run.uuid), summary_of(run)
    hidden = hidden_films(user, run, part=Part.TEST)

    def work_out() -> list[segmentation.Segmented]:
        truth, cell = _truth(run, [Part.TEST]), summary["cells"][0]
        scored = read_experiment(folder, cell, part=Part.TEST, name="image")
        places = segmentation.chosen(scored, truth, hidden)
        return segmentation.segmented(folder, cell, scored, places, truth)

    return _remembered(run, ("segmented", *sorted(hidden)), work_out)


def sweep_of(run: Run, *, parts: Sequence[str]) -> sweep.SweepResult:
    """The figures of these parts, of test for an open sweep only. Raises CannotEvaluate where the run's folder is
    gone."""

    def work_out() -> sweep.SweepResult:
        folder = run_folder(run.uuid)
        return sweep.join(folder, read_summary(folder, "sweep"), _truth(run, parts), parts=parts, name="image")

    return _remembered(run, tuple(parts), work_out)


def _remembered(run: Run, parts: tuple[str, ...], work_out: Callable[[], T]) -> T:
    try:
        written = (run_folder(run.uuid) / f"{run.kind}.json").stat().st_mtime_ns
        return _joined((run.uuid, parts, written), work_out)
    except (EngineError, OSError, ValueError) as error:
        raise results_gone(run) from error


def _truth(run: Run, parts: Sequence[str]) -> Truth:
    """By the films' addresses, as the engine names them."""
    split = split_of(run)
    rows = SplitImage.objects.filter(member__split=split, member__part__in=parts)
    films = list(rows.values_list("image_id", "image__uuid", "member__patient_id"))
    labels = labels_at([image_id for image_id, _, _ in films], split.label_cutoff)
    return {
        str(uuid): LabelledFilm(str(labels[image_id].value) if image_id in labels else "", str(patient))
        for image_id, uuid, patient in films
    }


def summary_of(run: Run) -> dict[str, Any]:
    """What the engine left of a study. Raises CannotEvaluate when it is gone."""
    try:
        return read_summary(run_folder(run.uuid), run.kind)
    except EngineError as error:
        raise results_gone(run) from error


def alignments_of(summary: dict[str, Any]) -> dict[str, StudyAlignment]:
    """In the order of the cells that use them: a JSON file keeps none. Raises CannotEvaluate for one that lacks what
    this release needs."""
    names = dict.fromkeys(cell["alignment"] for cell in summary["cells"] if cell["alignment"])
    try:
        return {name: StudyAlignment.from_json(summary["alignments"][name]) for name in names}
    except IncompleteJson as problem:
        raise CannotEvaluate(str(problem)) from problem


def parts_shown(run: Run) -> list[str]:
    """Tune, and test once it has been opened."""
    return [Part.TUNE.value, Part.TEST.value] if is_open(run) else [Part.TUNE.value]
