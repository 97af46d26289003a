"""The section on precision and the screening range of an evaluation's page."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.blinding import UNNAMED, named_films, withheld_of
from analysis.evaluation.evaluate import ScoredPart
from analysis.evaluation.exposures import LABEL, SCORE, films_in, record_shown
from analysis.evaluation.looks import CannotEvaluate, note_of
from analysis.evaluation.operating_point import InvalidOperatingPoint
from analysis.evaluation.scored_parts import evaluated_part
from analysis.figures import with_note
from analysis.models import Evaluation
from analysis.sections.precision import Precision, precision_figure, precision_of
from analysis.views.query_parameters import allowed_weight, get_evaluation, get_part, theme_of
from portal.people.accepted_query import accepts_query
from portal.people.blinding import omitted
from portal.people.signed_in import SignedInRequest


@require_GET
@accepts_query("part", "weight")
def precision(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The precision–recall figure, and a table of average precision, partial AUROC and rates at fixed thresholds."""
    evaluation = get_evaluation(request.user, uuid)
    try:
        results, scored = requested_precision(evaluation, request.GET)
    except (InvalidOperatingPoint, CannotEvaluate) as error:
        return render(request, "analysis/_precision.html", {"refusal": str(error)})
    drawn = precision_figure(
        results,
        scored,
        shown=named_films(request.user, evaluation.run, part=results.part, images=scored.images),
        theme=theme_of(request.user),
        random_weights=evaluation.run.random_weights,
    )
    record_shown(request.user, films_in({"precision": drawn}), [LABEL, SCORE], runs=[evaluation.run.uuid])
    figure = with_note(drawn, note_of(evaluation.split, results.part))
    kinds = [
        (kind, results.auroc[kind], results.bootstrap[kind], results.auprc[kind], results.partial_auc[kind])
        for kind in results.auprc
    ]
    withheld = omitted(len(withheld_of(request.user, scored.images)))
    context = {
        "found": results,
        "kinds": kinds,
        "figure": figure,
        "omitted": f"{withheld} {UNNAMED}" if withheld else "",
    }
    return render(request, "analysis/_precision.html", context)


def requested_precision(evaluation: Evaluation, query: Mapping[str, Any]) -> tuple[Precision, ScoredPart]:
    """For the optional parameters `part` and `weight`. Raises InvalidOperatingPoint for a weight without stored scores
    or that would be a look at test, CannotEvaluate, and Http404 for an unknown part."""
    part = get_part(evaluation, str(query.get("part", "")))
    weight = allowed_weight(evaluation, part, str(query.get("weight") or ""))
    scored = evaluated_part(evaluation, part)
    return precision_of(evaluation, scored, weight=weight), scored
