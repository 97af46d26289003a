"""Bank studies and blind spots of the portal: a run's files joined with the labels at the cut-off of its split."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis import figures
from analysis.evaluation.looks import note_of
from analysis.figures.palette import Theme
from analysis.studies import bank, blind
from analysis.studies import bank_figures as drawn
from analysis.studies.opening import part_of, results_gone, split_of
from ml_engine.core.errors import EngineError
from ml_engine.models import Run, RunKind
from ml_engine.runs.run_bucket import here
from portal.labels.events import labels_at
from portal.models import LabelValue, Part, SplitImage

CLASSES: dict[str, int] = {LabelValue.NORMAL: 0, LabelValue.ABNORMAL: 1}


def bank_results_of(run: Run) -> bank.BankResults:
    """Raises CannotEvaluate where the run's folder is gone."""
    try:
        study = bank.read_bank_study(here(run))
    except EngineError as error:
        raise results_gone(run) from error
    split = split_of(run)
    members = SplitImage.objects.filter(member__split=split, member__part=Part.TEST)
    films = {
        str(uuid): (image, patient)
        for uuid, image, patient in members.values_list("image__uuid", "image_id", "member__patient_id")
    }
    labels = labels_at([image for image, _ in films.values()], split.label_cutoff)
    abnormal = np.full(len(study.images), -1, dtype=np.int64)
    patients = np.full(len(study.images), -1, dtype=np.int64)
    left_out: dict[str, int] = {}
    for k, uuid in enumerate(study.images):
        image, patient = films.get(uuid, (None, -1))
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
        return blind.blind_results(blind.read_blind_spots(here(run)))
    except EngineError as error:
        raise results_gone(run) from error


def facts_of(run: Run) -> dict[str, Any]:
    """The engine's summary of the study. Raises CannotEvaluate where the run's folder is gone."""
    folder = here(run)
    try:
        if run.kind == RunKind.BANK_STUDY:
            return bank.read_bank_study(folder).summary
        return blind.read_blind_spots(folder).summary
    except EngineError as error:
        raise results_gone(run) from error


def bank_figures(run: Run, results: bank.BankResults, *, theme: Theme) -> dict[str, dict[str, Any]]:
    style: dict[str, Any] = {"theme": theme, "random_weights": run.random_weights}
    return _noted(
        run,
        {
            "auroc-by-size": drawn.auroc_curve(results, by="size", **style),
            "alarms-by-size": drawn.rate_curve(results, by="size", **style),
            "auroc-by-contamination": drawn.auroc_curve(results, by="contamination", **style),
            "alarms-by-contamination": drawn.rate_curve(results, by="contamination", **style),
        },
    )


def blind_figures(run: Run, results: blind.BlindResults, *, theme: Theme) -> dict[str, dict[str, Any]]:
    style: dict[str, Any] = {"theme": theme, "random_weights": run.random_weights}
    kinds = [kind for kind in results.places if kind != blind.ALL]
    curves = {f"sensitivity-{kind}": drawn.sensitivity_curves(results, kind, **style) for kind in kinds}
    grids = {
        f"places-{kind.replace(' ', '-')}": drawn.place_grid(places, results.grid, title=kind.capitalize(), **style)
        for kind, places in results.places.items()
    }
    return _noted(run, curves | grids)


def _noted(run: Run, drawings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    note = note_of(split_of(run), part_of(run))
    return {name: figures.with_note(figures.as_json(figure), note) for name, figure in drawings.items()}
