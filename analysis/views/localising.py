"""The section on localisation of an evaluation's page."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.looks import CannotEvaluate, note_of
from analysis.evaluation.operating_point import InvalidOperatingPoint
from analysis.evaluation.scored_parts import evaluated_part
from analysis.figures import with_note
from analysis.models import Evaluation
from analysis.sections.localisation import froc_of, localise
from analysis.views.query_parameters import allowed_weight, get_evaluation, get_part, theme_of
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import SignedInRequest


@require_GET
@accepts_query("part", "weight")
def localisation(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The FROC figure, and tables of its numbers and the other measures; a sentence where no film has boxes."""
    evaluation = get_evaluation(request.user, uuid)
    try:
        localised = requested_localisation(evaluation, request.GET)
    except (InvalidOperatingPoint, CannotEvaluate) as error:
        return render(request, "analysis/_localisation.html", {"refusal": str(error)})
    context: dict[str, Any] = {"found": localised}
    if not localised["reason"]:
        drawn = froc_of(localised, theme=theme_of(request.user), random_weights=evaluation.run.random_weights)
        context["rates"] = _rates(localised["kinds"]["fused"]["froc"])
        context["figure"] = with_note(drawn, note_of(evaluation.split, localised["part"]))
    return render(request, "analysis/_localisation.html", context)


def requested_localisation(evaluation: Evaluation, query: Mapping[str, Any]) -> dict[str, Any]:
    """For the optional parameters `part` and `weight`. Raises InvalidOperatingPoint for a weight without stored scores
    or that would be a look at test, CannotEvaluate, and Http404 for an unknown part."""
    part = get_part(evaluation, str(query.get("part", "")))
    weight = allowed_weight(evaluation, part, str(query.get("weight") or ""))
    return localise(evaluation, evaluated_part(evaluation, part), weight=weight)


def _rates(froc: dict[str, Any]) -> list[tuple[str, float, float | None, float | None]]:
    """(rate in words, sensitivity, low, high); low and high are None without an interval."""
    words = [f"1/{round(1 / rate)}" if rate < 1 else f"{rate:g}" for rate in froc["rates"]]
    none = [None] * len(words)
    return list(zip(words, froc["at_rates"], froc["low"] or none, froc["high"] or none, strict=True))
