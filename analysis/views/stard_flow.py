"""The flow diagram of an evaluation's page."""

from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from analysis.evaluation.looks import CannotEvaluate, note_of
from analysis.evaluation.operating_point import InvalidOperatingPoint
from analysis.figures import with_note
from analysis.sections.stard_flow import stard_figure, stard_flow
from analysis.views.operating import scored_and_result
from analysis.views.query_parameters import OF_OPERATING_POINT, get_evaluation, theme_of
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import SignedInRequest


@require_GET
@accepts_query(*OF_OPERATING_POINT)
def flow(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The flow of films to the results at an operating point, drawn after STARD."""
    evaluation = get_evaluation(request.user, uuid)
    try:
        scored, reached = scored_and_result(evaluation, request.GET)
        films = stard_flow(evaluation, scored, reached)
    except (InvalidOperatingPoint, CannotEvaluate) as error:
        return render(request, "analysis/_flow.html", {"refusal": str(error)})
    drawn = stard_figure(films, theme=theme_of(request.user), random_weights=evaluation.run.random_weights)
    figure = with_note(drawn, note_of(evaluation.split, reached.part))
    point = {"rule": reached.point.rule, "target": reached.point.target, "prevalence": reached.point.prevalence}
    query = urlencode({"part": reached.part, "score": reached.score, **point})
    csv_url = f"{reverse('analysis:figure-csv', args=[evaluation.uuid, 'flow'])}?{query}"
    return render(request, "analysis/_flow.html", {"csv_url": csv_url, "figure": figure})
