"""Results: the list of scored runs, an evaluation, its figures at a weight, its table."""

from typing import Any
from uuid import UUID

from django.db.models import Prefetch
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from analysis.evaluation.analysis_plan import approval_of, current_plan, is_intact, planned_point, why_sealed
from analysis.evaluation.blinding import hidden_films, withheld_of
from analysis.evaluation.evaluate import (
    chosen_on_tune,
    evaluate,
    is_test_unseen,
    look_at_weight,
    parts_of,
    why_none_chosen,
)
from analysis.evaluation.exposures import LABEL, SCORE, films_in, record_shown
from analysis.evaluation.looks import CannotEvaluate, looks_at_test, note_of, with_looks
from analysis.evaluation.operating_point import OFFERED, RULES
from analysis.evaluation.scored_parts import evaluated_part
from analysis.evaluation.selection import selection_of
from analysis.figures import with_note
from analysis.models import Evaluation
from analysis.report.score_table import score_table
from analysis.sections import evaluation_figures
from analysis.sections.data_flow import data_of
from analysis.studies.opening import finished_studies
from analysis.views.external import validations
from analysis.views.query_parameters import get_evaluation, get_part, get_weight, is_a_look, theme_of
from ml_engine.models import Run, RunKind, RunState
from portal.models import Part
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, may, require
from portal.people.retired import without_retired
from portal.people.signed_in import SignedInRequest
from portal.sets.film_copies import divided_note
from portal.sets.view_mix import why_differs


@require_GET
@accepts_query("run")
def results(request: SignedInRequest) -> HttpResponse:
    site = require(request.user, "see scores", request.hilum_site)
    runs = (
        without_retired(Run.objects.filter(site=site, kind=RunKind.SCORE, state=RunState.DONE))
        .select_related("detector__run", "detector__split")
        .prefetch_related(Prefetch("evaluations", with_looks(Evaluation.objects.all())))
    )
    context = {
        "room": "results",
        "runs": runs,
        "studies": finished_studies(site),
        "validations": validations().filter(run__site=site),
        "asked": request.GET.get("run", ""),
        "may_evaluate": may(request.user, "evaluate runs", site),
    }
    return render(request, "analysis/results.html", context)


@require_POST
def make_evaluation(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    run = get_visible(Run.objects.select_related("detector__split", "site"), request.user, uuid)
    try:
        evaluation = evaluate(run=run, author=request.user)
    except CannotEvaluate as error:
        return render(request, "portal/error.html", {"title": "Not evaluated", "sentence": str(error)}, status=400)
    return redirect("analysis:evaluation", evaluation.uuid)


@require_GET
@accepts_query("part")
def evaluation(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """One part at a time, tune first, where the weight may be moved freely; test is for the results to report."""
    evaluation = get_evaluation(request.user, uuid)
    request.hilum_site = evaluation.run.site
    part = get_part(evaluation, request.GET.get("part", ""))
    weight = float(evaluation.metrics["weight"])
    plan = current_plan(evaluation.split)
    try:
        figures = _figures(request, evaluation, part, weight)
    except CannotEvaluate as error:
        return _refused(request, error)
    context = {
        "room": "results",
        "evaluation": evaluation,
        "run": evaluation.run,
        "part": part,
        "parts": parts_of(evaluation),
        "weight": weight,
        "chosen": chosen_on_tune(evaluation),
        "why_none_chosen": why_none_chosen(evaluation),
        "looks": looks_at_test(evaluation.split),
        "data": data_of(evaluation),
        "may_evaluate": may(request.user, "evaluate runs", evaluation.run.site),
        "locked": part == Part.TEST,
        "plan": plan,
        "plan_intact": plan is None or is_intact(plan),
        "approval": approval_of(plan) if plan else None,
        "sealed": why_sealed(evaluation.split),
        "other_views": why_differs(evaluation.split, part),
        "test_unseen": is_test_unseen(evaluation),
        "asked": planned_point(plan),
        "rules": RULES,
        "targets": OFFERED,
        "divided": divided_note(evaluation.split),
        **figures,
    }
    return render(request, "analysis/evaluation.html", context)


@require_http_methods(["GET", "POST"])
@accepts_query("part", "weight", "moving")
def figures(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The figures of a part at a weight, as JSON. Another weight than the run's on test needs a POST, and is a counted
    look. While the slider is `moving`, the band is not computed."""
    evaluation = get_evaluation(request.user, uuid)
    query = request.POST if request.method == "POST" else request.GET
    part = get_part(evaluation, query.get("part", ""))
    weight = get_weight(query.get("weight", ""))
    if weight is None:
        return JsonResponse({"error": "The weight is not one of 0, 0.01 … 1; move the slider again."}, status=400)
    if is_a_look(evaluation, part, weight):
        if request.method != "POST":
            sentence = "On test the weight is the run's. Another weight counts as a look: press the button first."
            return JsonResponse({"error": sentence}, status=403)
        try:
            look_at_weight(evaluation=evaluation, author=request.user, weight=weight)
        except CannotEvaluate as error:
            return JsonResponse({"error": str(error)}, status=403)
    try:
        drawn = _figures(request, evaluation, part, weight, moving=query.get("moving") == "yes")
    except CannotEvaluate as error:
        return JsonResponse({"error": str(error)}, status=410)
    return JsonResponse(
        {
            "figures": drawn["figures"],
            "summary": render_to_string("analysis/_summary.html", drawn, request),
            "looks": looks_at_test(evaluation.split),
        }
    )


@require_GET
def table(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Every evaluated film with its label and scores, as CSV; refused whole while one is withheld from the person."""
    evaluation = get_evaluation(request.user, uuid)
    try:
        text = score_table(evaluation, viewer=request.user)
    except CannotEvaluate as error:
        return _refused(request, error)
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="scores-{evaluation.uuid}.csv"'
    return response


def _refused(request: SignedInRequest, error: CannotEvaluate) -> HttpResponse:
    return render(request, "portal/error.html", {"title": "Results are gone", "sentence": str(error)}, status=410)


def _figures(
    request: SignedInRequest, evaluation: Evaluation, part: str, weight: float, *, moving: bool = False
) -> dict[str, Any]:
    scored = evaluated_part(evaluation, part)
    drawn = evaluation_figures.draw_part(
        scored,
        weight=weight,
        run_weight=float(evaluation.metrics["weight"]),
        chosen=chosen_on_tune(evaluation),
        theme=theme_of(request.user),
        random_weights=evaluation.run.random_weights,
        hidden=hidden_films(request.user, evaluation.run, part=part),
        unnamed=bool(withheld_of(request.user, scored.images)),
        moving=moving,
    )
    record_shown(request.user, films_in(drawn["figures"]), [LABEL, SCORE], runs=[evaluation.run.uuid])
    note = note_of(evaluation.split, part)
    return drawn | {
        "selection": selection_of(evaluation, part),
        "figures": {name: with_note(figure, note) for name, figure in drawn["figures"].items()},
    }
