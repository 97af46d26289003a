"""The breakdown by finding and group of an evaluation's page, and the trivial scores beside its AUROC."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.looks import CannotEvaluate, note_of
from analysis.evaluation.scored_parts import evaluated_part
from analysis.figures import with_note
from analysis.sections.attributes import GROUPS
from analysis.sections.breakdown import break_down, forest
from analysis.sections.trivial_baselines import trivial_of
from analysis.views.query_parameters import get_evaluation, get_part, theme_of
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import SignedInRequest


@require_GET
@accepts_query("part")
def breakdown(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The forest plot, and the same numbers as tables."""
    evaluation = get_evaluation(request.user, uuid)
    try:
        results = break_down(evaluation, part=get_part(evaluation, request.GET.get("part", "")))
    except CannotEvaluate as error:
        return render(request, "analysis/_breakdown.html", {"refusal": str(error)})
    theme = theme_of(request.user)
    figure = forest(results, theme=theme, random_weights=evaluation.run.random_weights)
    context = {
        "evaluation": evaluation,
        "found": results,
        "groups": [(GROUPS[name], rows) for name, rows in results.groups.items()],
        "figure": with_note(figure, note_of(evaluation.split, results.part)),
    }
    return render(request, "analysis/_breakdown.html", context)


@require_GET
@accepts_query("part")
def beside(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The best trivial score and what the method adds, in the lines below the AUROC; at the run's weight."""
    evaluation = get_evaluation(request.user, uuid)
    weight = float(evaluation.metrics["weight"])
    try:
        part = evaluated_part(evaluation, get_part(evaluation, request.GET.get("part", "")))
        trivial = trivial_of(evaluation, part, weight=weight)
    except CannotEvaluate as error:
        return render(request, "analysis/_beside.html", {"refusal": str(error)})
    return render(request, "analysis/_beside.html", {"trivial": trivial, "weight": weight})
