"""Finished ablations and sweeps of the portal, joined with the labels of their split at its cut-off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from analysis.hiding import hidden_films
from analysis.looking import CannotEvaluate, look
from analysis.models import TestLook
from analysis.remembering import Remembered
from analysis.studies import ablation, segmentation, sweep
from analysis.studies.cells import Film, Truth, read_cell, read_summary
from ml_engine.core.errors import EngineError
from ml_engine.models import Run, RunKind, RunState
from ml_engine.storage import run_folder
from portal.access import require
from portal.labelling import labels_at
from portal.models import Part, Site, Split, SplitImage, User

T = TypeVar("T")
REASONS = {RunKind.ABLATION: "ablation opened", RunKind.SWEEP: "test of a sweep opened"}
_joined = Remembered(16)


def forget() -> None:
    """Drop what this process remembers; for measurements."""
    _joined.clear()


def split_of(run: Run) -> Split:
    assert run.split is not None  # constraint run_fit_has_split
    return run.split


def is_open(run: Run) -> bool:
    """Whether somebody has opened the test part of this study: it then stays open, since its figures are fixed."""
    return TestLook.objects.filter(run=run).exists()


def finished_studies(site: Site) -> QuerySet[Run]:
    """The ablations and sweeps of a site, newest first, each with `opened`: whether its test part is."""
    looked = TestLook.objects.filter(run=OuterRef("pk"))
    runs = Run.objects.filter(site=site, kind__in=REASONS, state=RunState.DONE)
    return runs.select_related("split").annotate(opened=Exists(looked))


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
        scored = read_cell(folder, cell, part=Part.TEST, name="image")
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
        raise gone(run) from error


def gone(run: Run) -> CannotEvaluate:
    return CannotEvaluate(f"The results of the run “{run.name}” are not in the data folder any more: run it again.")


def _truth(run: Run, parts: Sequence[str]) -> Truth:
    """By the films' addresses, as the engine names them."""
    split = split_of(run)
    rows = SplitImage.objects.filter(member__split=split, member__part__in=parts)
    films = list(rows.values_list("image_id", "image__uuid", "member__patient_id"))
    labels = labels_at([image_id for image_id, _, _ in films], split.label_cutoff)
    return {
        str(uuid): Film(str(labels[image_id].value) if image_id in labels else "", str(patient))
        for image_id, uuid, patient in films
    }


def summary_of(run: Run) -> dict[str, Any]:
    """What the engine left of a study. Raises CannotEvaluate when it is gone."""
    try:
        return read_summary(run_folder(run.uuid), run.kind)
    except EngineError as error:
        raise gone(run) from error


def alignments_of(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """In the order of the cells that use them: a JSON file keeps none."""
    names = dict.fromkeys(cell["alignment"] for cell in summary["cells"] if cell["alignment"])
    return {name: summary["alignments"][name] for name in names}


def parts_shown(run: Run) -> list[str]:
    """Tune, and test once it has been opened."""
    return [Part.TUNE.value, Part.TEST.value] if is_open(run) else [Part.TUNE.value]


def open_test(*, run: Run, author: User) -> None:
    """Count a look at test for this study, once: its figures do not change. Raises CannotEvaluate, PermissionDenied."""
    require(author, "evaluate runs", run.site)
    with transaction.atomic():
        Run.objects.select_for_update(no_key=True).get(pk=run.pk)  # two people who press at once are one look
        if not is_open(run):
            look(split=split_of(run), author=author, reason=REASONS[RunKind(run.kind)], run=run)
