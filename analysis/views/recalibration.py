"""The section of an evaluation's page on risks: calibration and decision curves."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.looks import CannotEvaluate, note_of
from analysis.figures import with_note
from analysis.models import Evaluation
from analysis.sections.recalibration import Risks, RisksRefused, draw_risks, prevalence_of, risks_of
from analysis.views.query_parameters import get_evaluation, get_part, theme_of
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import SignedInRequest


@require_GET
@accepts_query("part", "prevalence")
def recalibration(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Calibration and net benefit of the risks of test, or why there are none. Names no film."""
    evaluation = get_evaluation(request.user, uuid)
    try:
        risks = requested_risks(evaluation, request.GET)
    except (RisksRefused, CannotEvaluate) as error:
        return render(request, "analysis/_recalibration.html", {"refusal": str(error)})
    drawn = draw_risks(risks, theme=theme_of(request.user), random_weights=evaluation.run.random_weights)
    note = note_of(evaluation.split, "test")
    context = {
        "evaluation": evaluation,
        "risks": risks,
        "figures": {name: with_note(figure, note) for name, figure in drawn.items()},
    }
    return render(request, "analysis/_recalibration.html", context)


def requested_risks(evaluation: Evaluation, query: Mapping[str, Any]) -> Risks:
    """For the parameters `part` and `prevalence`. Raises RisksRefused, CannotEvaluate, and Http404 for no such part."""
    part = get_part(evaluation, str(query.get("part", "")))
    return risks_of(evaluation, part=part, prevalence=prevalence_of(str(query.get("prevalence", ""))))
