"""Alignment quality of an evaluation, as a part of its page."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.blinding import hidden_films, sentence
from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import Evaluation
from analysis.sections.alignment_quality import WORDS, alignment_of
from analysis.views.query_parameters import get_evaluation, get_part
from portal.models import User
from portal.people.signed_in import SignedInRequest


@require_GET
def alignment(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Films flagged, measures before and after, the AUROC of both groups, and the worst aligned films."""
    evaluation = get_evaluation(request.user, uuid)
    try:
        found = aligned_for(evaluation, request.user, request.GET)
    except CannotEvaluate as error:
        return render(request, "analysis/_aligned.html", {"refusal": str(error)})
    context: dict[str, Any] = {"found": found, "run": evaluation.run}
    if not found["reason"]:
        context["hidden"] = sentence(found["hidden"], found["part"])
        context["measures"] = _rows(found["measures"] or {})
    return render(request, "analysis/_aligned.html", context)


def aligned_for(evaluation: Evaluation, user: User, query: Mapping[str, Any]) -> dict[str, Any]:
    """For a query of part. Raises CannotEvaluate, and Http404 for another part."""
    part = get_part(evaluation, str(query.get("part", "")))
    hidden = hidden_films(user, evaluation.run, part=part)
    return alignment_of(evaluation, evaluated_part(evaluation, part), hidden=hidden)


def _rows(measures: dict[str, dict[str, float]]) -> list[tuple[str, dict[str, float] | None, dict[str, float] | None]]:
    """(in words, before, after) of each measure."""
    return [
        (words, measures.get(f"{name}_before"), measures.get(f"{name}_after") or measures.get(name))
        for name, words in WORDS.items()
        if measures
    ]
