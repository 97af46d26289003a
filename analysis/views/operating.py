"""The operating point of an evaluation, as a part of its page."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.operating_point import InvalidOperatingPoint, RequestedPoint
from analysis.evaluation.operating_points import OperatingResult, apply_operating_point
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import Evaluation
from analysis.views.query_parameters import allowed_weight, get_evaluation, get_part
from portal.people.signed_in import SignedInRequest


@require_GET
def operating(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """What the threshold does: confusion matrix, rates, predictive values and workload."""
    evaluation = get_evaluation(request.user, uuid)
    try:
        reached = reached_for(evaluation, request.GET)
    except (InvalidOperatingPoint, CannotEvaluate) as error:
        return render(request, "analysis/_operating.html", {"refusal": str(error)})
    return render(request, "analysis/_operating.html", {"evaluation": evaluation, "reached": reached})


def reached_for(evaluation: Evaluation, query: Mapping[str, Any]) -> OperatingResult:
    """For a query of part, weight, rule, target and prevalence, shares as fractions; each may be left out.

    Raises InvalidOperatingPoint, also for a weight on test that is not the run's, CannotEvaluate, and Http404 for
    another part.
    """
    part = get_part(evaluation, str(query.get("part", "")))
    weight = allowed_weight(evaluation, part, str(query.get("weight") or ""))
    scored = evaluated_part(evaluation, part)
    return apply_operating_point(evaluation, scored, weight=weight, asked=asked_for(query))


def asked_for(query: Mapping[str, Any], *, default: RequestedPoint | None = None) -> RequestedPoint:
    """By `rule`, `target` and `prevalence`; one that is left out is the default's, or the usual one. Raises
    InvalidOperatingPoint."""
    default = default or RequestedPoint()
    return RequestedPoint(
        rule=str(query.get("rule") or default.rule),
        target=_share(query, "target", default.target),
        prevalence=_share(query, "prevalence", default.prevalence),
    )


def _share(query: Mapping[str, Any], name: str, default: float) -> float:
    text = str(query.get(name, "")).strip()
    if not text:
        return default
    try:
        return float(text)
    except ValueError:
        raise InvalidOperatingPoint(f"The {name} {text[:20]!r} is no number; write a share such as 0.9.") from None
