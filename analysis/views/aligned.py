"""The section on alignment quality of an evaluation's page."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.blinding import hidden_films, sentence
from analysis.evaluation.exposures import LABEL, SCORE, record_shown
from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import Evaluation
from analysis.sections.alignment_quality import WORDS, alignment_of
from analysis.views.query_parameters import get_evaluation, get_part
from portal.models import User
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import SignedInRequest


@require_GET
@accepts_query("part")
def alignment(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Flagged films, measures before and after alignment, the AUROC of flagged and other films, the worst films."""
    evaluation = get_evaluation(request.user, uuid)
    try:
        quality = requested_alignment(evaluation, request.user, request.GET)
    except CannotEvaluate as error:
        return render(request, "analysis/_aligned.html", {"refusal": str(error)})
    context: dict[str, Any] = {"found": quality, "run": evaluation.run}
    if not quality["reason"]:
        context["hidden"] = sentence(quality["hidden"], quality["part"])
        context["measures"] = _rows(quality["measures"] or {})
    return render(request, "analysis/_aligned.html", context)


def requested_alignment(evaluation: Evaluation, user: User, query: Mapping[str, Any]) -> dict[str, Any]:
    """The alignment of the `part` in a query. Raises CannotEvaluate, and Http404 for an unknown part."""
    part = get_part(evaluation, str(query.get("part", "")))
    hidden = hidden_films(user, evaluation.run, part=part)
    quality = alignment_of(evaluation, evaluated_part(evaluation, part), hidden=hidden)
    worst = [film["image"] for film in quality.get("worst", [])]
    record_shown(user, worst, [LABEL, SCORE], runs=[evaluation.run.uuid])
    return quality


def _rows(measures: dict[str, dict[str, float]]) -> list[tuple[str, dict[str, float] | None, dict[str, float] | None]]:
    """(words, before, after) of each measure."""
    return [
        (words, measures.get(f"{name}_before"), measures.get(f"{name}_after") or measures.get(name))
        for name, words in WORDS.items()
        if measures
    ]
