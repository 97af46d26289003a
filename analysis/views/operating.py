"""The section on the operating point of an evaluation's page."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.evaluate import ScoredPart
from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.operating_point import InvalidOperatingPoint, RequestedPoint
from analysis.evaluation.operating_points import OperatingResult, apply_operating_point
from analysis.evaluation.score_kinds import of_kind
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import Evaluation, ScoreKind
from analysis.sections.realised_alarms import RealisedAlarms, realised_alarms
from analysis.views.query_parameters import OF_OPERATING_POINT, allowed_weight, get_evaluation, get_part
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import SignedInRequest


@require_GET
@accepts_query(*OF_OPERATING_POINT)
def operating(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Results at the threshold: confusion matrix, rates, predictive values and workload."""
    evaluation = get_evaluation(request.user, uuid)
    try:
        reached, alarms = result_with_alarms(evaluation, request.GET)
    except (InvalidOperatingPoint, CannotEvaluate) as error:
        return render(request, "analysis/_operating.html", {"refusal": str(error)})
    context = {"evaluation": evaluation, "reached": reached, "alarms": alarms}
    return render(request, "analysis/_operating.html", context)


def operating_result(evaluation: Evaluation, query: Mapping[str, Any]) -> OperatingResult:
    """For the optional parameters `part`, `weight`, `score`, `rule`, `target` and `prevalence`, shares as fractions.

    Raises InvalidOperatingPoint, also for a weight on test that is not the run's, CannotEvaluate, and Http404 for an
    unknown part.
    """
    return scored_and_result(evaluation, query)[1]


def result_with_alarms(
    evaluation: Evaluation, query: Mapping[str, Any]
) -> tuple[OperatingResult, tuple[RealisedAlarms, ...]]:
    """As `operating_result`, with the false-alarm rates by group."""
    scored, reached = scored_and_result(evaluation, query)
    return reached, realised_alarms(evaluation, scored, reached)


def scored_and_result(evaluation: Evaluation, query: Mapping[str, Any]) -> tuple[ScoredPart, OperatingResult]:
    """`operating_result`, and the films with their scores of the kind `score`."""
    part = get_part(evaluation, str(query.get("part", "")))
    weight = allowed_weight(evaluation, part, str(query.get("weight") or ""))
    kind = str(query.get("score") or ScoreKind.ONE_CLASS)
    scored = of_kind(evaluation.run, evaluated_part(evaluation, part), kind)
    return scored, apply_operating_point(evaluation, scored, weight=weight, point=requested_point(query))


def requested_point(query: Mapping[str, Any], *, default: RequestedPoint | None = None) -> RequestedPoint:
    """From the parameters `rule`, `target` and `prevalence`; a missing one is taken from the default. Raises
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
        raise InvalidOperatingPoint(f"The {name} {text[:20]!r} is not a number; write a share such as 0.9.") from None
