"""The section of an evaluation's page on a semi-supervised head."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.looks import CannotEvaluate, note_of
from analysis.evaluation.scored_parts import evaluated_part
from analysis.figures import as_json, with_note
from analysis.sections.semi_supervised import ABOUT, compare_head, draw_head
from analysis.views.query_parameters import get_evaluation, get_part, theme_of
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import SignedInRequest


@require_GET
@accepts_query("part")
def semi_supervised(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """AUROC of the one-class score, of the head and of both combined, and what the head gained. It names no film."""
    evaluation = get_evaluation(request.user, uuid)
    part = get_part(evaluation, request.GET.get("part", ""))
    try:
        scored = evaluated_part(evaluation, part)
        result = compare_head(evaluation, scored)
        figure = draw_head(
            evaluation,
            scored,
            result,
            theme=theme_of(request.user),
            random_weights=evaluation.run.random_weights,
        )
    except CannotEvaluate as error:
        return render(request, "analysis/_semi_supervised.html", {"refusal": str(error)})
    context = {
        "evaluation": evaluation,
        "head": evaluation.run.head,
        "result": result,
        "about": ABOUT,
        "figure": with_note(as_json(figure), note_of(evaluation.split, part)),
    }
    return render(request, "analysis/_semi_supervised.html", context)
