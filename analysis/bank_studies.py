"""Bank studies and blind spots of the portal: a run's files joined with the labels at its split's cut-off."""

from __future__ import annotations

from typing import Any

import numpy as np
from django.db import transaction

from analysis import figures
from analysis.figures import studies as drawn
from analysis.looking import CannotEvaluate, look, note_of
from analysis.models import TestLook
from analysis.palette import Theme
from analysis.studies import bank, blind
from ml_engine.core.errors import EngineError
from ml_engine.models import Run, RunKind, RunState
from ml_engine.storage import run_folder
from portal.access import require
from portal.labelling import labels_at
from portal.models import LabelValue, Part, SplitImage, User

CLASSES: dict[str, int] = {LabelValue.NORMAL: 0, LabelValue.ABNORMAL: 1}
REASONS = {RunKind.BANK_STUDY: "bank study shown", RunKind.BLIND_SPOTS: "blind spots on test shown"}


def part_of(run: Run) -> str:
    """The part whose films a study of these kinds tells of."""
    return str(run.parts[0]) if run.kind == RunKind.BLIND_SPOTS and run.parts else Part.TEST.value


def is_shown(run: Run) -> bool:
    """Whether the figures may be drawn: of tune always, of test once somebody has looked."""
    return part_of(run) != Part.TEST or TestLook.objects.filter(run=run).exists()


def show(*, run: Run, author: User) -> None:
    """Look at test: from then on the figures of the run are drawn. Once is counted, and once more changes nothing.

    Raises CannotEvaluate, PermissionDenied."""
    require(author, "evaluate runs", run.site)
    check_done(run)
    with transaction.atomic():
        locked = Run.objects.select_for_update().get(pk=run.pk)  # two people at once are one look
        if not is_shown(locked):
            assert locked.split is not None  # constraint run_fit_has_split
            look(split=locked.split, author=author, reason=REASONS[RunKind(run.kind)], run=locked)


def check_done(run: Run) -> None:
    """Raises CannotEvaluate for a run that is no study of these kinds, or not done."""
    if run.kind not in REASONS:
        raise CannotEvaluate(f"The run {run.name!r} is no bank study and no study of blind spots.")
    if run.state != RunState.DONE:
        raise CannotEvaluate(
            f"The run {run.name!r} is {run.get_state_display().lower()}: its results appear when it is done."
        )


def bank_results_of(run: Run) -> bank.BankResults:
    """Raises CannotEvaluate where the run's folder is gone."""
    try:
        study = bank.read_bank_study(run_folder(run.uuid))
    except EngineError as error:
        raise _gone(run) from error
    assert run.split is not None  # constraint run_fit_has_split
    members = SplitImage.objects.filter(member__split=run.split, member__part=Part.TEST)
    found = {
        str(uuid): (image, patient)
        for uuid, image, patient in members.values_list("image__uuid", "image_id", "member__patient_id")
    }
    labels = labels_at([image for image, _ in found.values()], run.split.label_cutoff)
    abnormal = np.full(len(study.images), -1, dtype=np.int64)
    patients = np.full(len(study.images), -1, dtype=np.int64)
    left_out: dict[str, int] = {}
    for k, uuid in enumerate(study.images):
        image, patient = found.get(uuid, (None, -1))
        label = labels.get(image) if image is not None else None
        reason = "erased" if image is None else str(label.value) if label else "unlabelled"
        patients[k] = patient
        if reason in CLASSES:
            abnormal[k] = CLASSES[reason]
        else:
            left_out[reason] = left_out.get(reason, 0) + 1
    return bank.bank_results(study, abnormal, patients, left_out)


def blind_results_of(run: Run) -> blind.BlindResults:
    """Raises CannotEvaluate where the run's folder is gone."""
    try:
        return blind.blind_results(blind.read_blind_spots(run_folder(run.uuid)))
    except EngineError as error:
        raise _gone(run) from error


def _gone(run: Run) -> CannotEvaluate:
    return CannotEvaluate(
        f"The results of the run {run.name!r} are not in the data folder any more; clone the run and run it again."
    )


def facts_of(run: Run) -> dict[str, Any]:
    """What the engine says of the study. Raises CannotEvaluate where the run's folder is gone."""
    folder = run_folder(run.uuid)
    try:
        if run.kind == RunKind.BANK_STUDY:
            return bank.read_bank_study(folder).summary
        return blind.read_blind_spots(folder).summary
    except EngineError as error:
        raise _gone(run) from error


def bank_figures(run: Run, found: bank.BankResults, *, theme: Theme) -> dict[str, dict[str, Any]]:
    said: dict[str, Any] = {"theme": theme, "random_weights": run.random_weights}
    return _noted(
        run,
        {
            "auroc-by-size": drawn.auroc_curve(found, by="size", **said),
            "alarms-by-size": drawn.rate_curve(found, by="size", **said),
            "auroc-by-contamination": drawn.auroc_curve(found, by="contamination", **said),
            "alarms-by-contamination": drawn.rate_curve(found, by="contamination", **said),
        },
    )


def blind_figures(run: Run, found: blind.BlindResults, *, theme: Theme) -> dict[str, dict[str, Any]]:
    said: dict[str, Any] = {"theme": theme, "random_weights": run.random_weights}
    kinds = [kind for kind in found.places if kind != blind.ALL]
    curves = {f"sensitivity-{kind}": drawn.sensitivity_curves(found, kind, **said) for kind in kinds}
    grids = {
        f"places-{kind.replace(' ', '-')}": drawn.place_grid(places, found.grid, title=kind.capitalize(), **said)
        for kind, places in found.places.items()
    }
    return _noted(run, curves | grids)


def _noted(run: Run, made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    assert run.split is not None  # constraint run_fit_has_split
    note = note_of(run.split, part_of(run))
    return {name: figures.with_note(figures.as_json(figure), note) for name, figure in made.items()}
