"""The pages of ablations and sweeps. Results on test are shown after test has been opened, which is a counted look."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from analysis import figures
from analysis.evaluation.analysis_plan import why_sealed
from analysis.evaluation.blinding import hidden_films, withheld_of
from analysis.evaluation.exposures import LABEL, MAP, SCORE, record_shown
from analysis.evaluation.looks import CannotEvaluate, looks_at_test, note_of
from analysis.studies import ablation_figures, sweep_figures
from analysis.studies.experiments import COLUMNS
from analysis.studies.joining import ablation_of, alignments_of, parts_shown, segmented_of, summary_of, sweep_of
from analysis.studies.opening import is_open, open_test, split_of
from analysis.studies.segmentation import Segmented
from analysis.studies.sweep import SweepResult
from analysis.views.query_parameters import get_study, theme_of
from ml_engine.engine.stages.sweep import AXES, WEIGHT
from ml_engine.models import Run, RunKind
from portal.models import Image, Part
from portal.people.accepted_query import accepts_query
from portal.people.access import may
from portal.people.blinding import omitted
from portal.people.signed_in import SignedInRequest


@require_POST
def show_test(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    run = get_study(request.user, uuid)
    try:
        open_test(run=run, author=request.user)
    except CannotEvaluate as error:
        return render(request, "portal/error.html", {"title": "Not shown", "sentence": str(error)}, status=400)
    return redirect(f"analysis:{run.kind}", uuid)


@require_GET
def ablation(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    run = get_study(request.user, uuid, kind=RunKind.ABLATION)
    request.hilum_site = run.site
    try:
        summary = summary_of(run)
        context = _shared(request, run) | {"summary": summary, "alignments": alignments_of(summary)}
        if context["is_open"]:
            results = ablation_of(run)
            drawn = ablation_figures.draw(results, theme=theme_of(request.user), random_weights=run.random_weights)
            context |= {"found": results, "drawn": drawn, "kinds": COLUMNS}
            segmented = _with_films(segmented_of(run, request.user))
            shown = [film.uuid for _, film in segmented]
            record_shown(request.user, shown, [LABEL, SCORE, MAP], runs=[run.uuid])
            context |= {"segmented": segmented} | _hidden(request, run)
            noted = [figures.with_note(study_figure.figure, context["note"]) for study_figure in drawn]
            context["figures"] = {f"figure-{number}": figure for number, figure in enumerate(noted, start=1)}
    except CannotEvaluate as error:
        return _refused(request, error)
    return render(request, "analysis/ablation.html", context)


def _with_films(examples: list[Segmented]) -> list[tuple[Segmented, Image]]:
    """The examples whose films still exist, with their films."""
    films = {str(film.uuid): film for film in Image.objects.filter(uuid__in=[example.film for example in examples])}
    return [(example, films[example.film]) for example in examples if example.film in films]


def _hidden(request: SignedInRequest, run: Run) -> dict[str, Any]:
    """The number of films still to be labelled, and a sentence on those to be read blinded."""
    hidden = hidden_films(request.user, run, part=Part.TEST)
    withheld = withheld_of(request.user, hidden)
    return {"hidden": len(hidden - withheld), "omitted": omitted(len(withheld))}


@require_GET
@accepts_query("order")
def sweep(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    run = get_study(request.user, uuid, kind=RunKind.SWEEP)
    request.hilum_site = run.site
    try:
        context = _shared(request, run)
        results = sweep_of(run, parts=parts_shown(run))
    except CannotEvaluate as error:
        return _refused(request, error)
    drawn = sweep_figures.draw(results, theme=theme_of(request.user), random_weights=run.random_weights)
    columns = _columns(results)
    order, descending = _order(request, columns)
    context |= {
        "found": results,
        "columns": [(name, words, _next_order(name, order, descending)) for name, words in columns.items()],
        "order": order,
        "descending": descending,
        "lines": _lines(results, order, descending),
        "settings": [
            (list(setting.values.values()), setting, number == results.best)
            for number, setting in enumerate(results.settings)
        ],
        "varied": [AXES[name] for name in results.settings[0].values] if results.settings else [],
        "has_seeds": any(len(setting.rows) > 1 for setting in results.settings),
        "best": sweep_figures.words(results.settings[results.best]) if results.best is not None else "",
        "drawn": drawn,
        "figures": {
            f"{one.axis}-{one.part}": figures.with_note(one.figure, note_of(split_of(run), one.part)) for one in drawn
        },
    }
    return render(request, "analysis/sweep.html", context)


def _shared(request: SignedInRequest, run: Run) -> dict[str, Any]:
    return {
        "room": "results",
        "run": run,
        "split": split_of(run),
        "looks": looks_at_test(split_of(run)),
        "sealed": why_sealed(split_of(run)),
        "note": note_of(split_of(run), Part.TEST),
        "is_open": is_open(run),
        "may_evaluate": may(request.user, "evaluate runs", run.site),
    }


def _refused(request: SignedInRequest, error: CannotEvaluate) -> HttpResponse:
    return render(request, "portal/error.html", {"title": "Results are gone", "sentence": str(error)}, status=410)


# The table of a sweep, in the requested order ----------------------------------------------------------


def _columns(results: SweepResult) -> dict[str, str]:
    weight = {} if WEIGHT in results.axes else {WEIGHT: AXES[WEIGHT]}
    return {name: AXES[name] for name in results.axes} | weight | {part: f"AUROC on {part}" for part in results.films}


def _order(request: SignedInRequest, columns: dict[str, str]) -> tuple[str, bool]:
    """The column to sort by, blank for the engine's order, and whether the order is descending. Raises Http404 for a
    column that the table does not have."""
    requested = request.GET.get("order", "")
    name = requested.removeprefix("-")
    if name and name not in columns:
        raise Http404(f"The table has no column {name!r}.")
    return name, requested.startswith("-")


def _next_order(name: str, order: str, descending: bool) -> str:
    """The order after a click on a column's heading: an AUROC is sorted from the highest first."""
    if name != order:
        return f"-{name}" if name in (Part.TUNE, Part.TEST) else name
    return name if descending else f"-{name}"


def _lines(results: SweepResult, order: str, descending: bool) -> list[dict[str, Any]]:
    best = results.settings[results.best].rows if results.best is not None else ()
    lines = [
        {
            "row": row,
            "cells": list(row.values.values()),
            "has_weight": WEIGHT not in row.values,
            "aurocs": [(part, row.aurocs.get(part)) for part in results.films],
            "is_best": number in best,
            "key": _key(row, order, number),
        }
        for number, row in enumerate(results.rows)
    ]
    if order:
        known = sorted((line for line in lines if line["key"] is not None), key=lambda line: line["key"])
        lines = (known[::-1] if descending else known) + [line for line in lines if line["key"] is None]
    return lines


def _key(row: Any, order: str, number: int) -> Any:
    if order in (Part.TUNE, Part.TEST):
        area = row.aurocs.get(order)
        return area.auroc if area else None
    if order == WEIGHT:
        return row.weight
    text = row.values.get(order)
    try:
        return None if text is None else (float(text), "")
    except ValueError:
        return (0.0, text)
