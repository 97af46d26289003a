"""The galleries of an evaluation at an operating point, as a part of its page."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.blinding import hidden_films, sentence
from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.operating_point import InvalidOperatingPoint
from analysis.evaluation.operating_points import OperatingResult
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import Evaluation
from analysis.sections.galleries import WORDS, GalleryPage, galleries
from analysis.views.operating import reached_for
from analysis.views.query_parameters import get_evaluation
from portal.models import User
from portal.people.signed_in import SignedInRequest


@require_GET
def gallery(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Without a kind the first page of all; with one its page as further films of the list."""
    evaluation = get_evaluation(request.user, uuid)
    kind = request.GET.get("kind", "")
    try:
        reached, found = galleries_for(evaluation, request.user, request.GET)
    except (InvalidOperatingPoint, CannotEvaluate) as error:
        return render(request, "analysis/_galleries.html", {"refusal": str(error)})
    hidden = sum(one.hidden for one in found)
    context = {
        "evaluation": evaluation,
        "run": evaluation.run,
        "reached": reached,
        "galleries": [(one, _next(reached, one)) for one in found],
        "hidden": sentence(hidden, reached.part),
    }
    return render(request, "analysis/_gallery_films.html" if kind else "analysis/_galleries.html", context)


def galleries_for(
    evaluation: Evaluation, user: User, query: Mapping[str, Any]
) -> tuple[OperatingResult, list[GalleryPage]]:
    """For a query as `reached_for` takes it, with kind and page; either may be left out. Raises what it raises, and
    InvalidOperatingPoint for another kind or a page that is no number."""
    kind, page = str(query.get("kind", "")), str(query.get("page") or "1")
    if kind and kind not in WORDS:
        raise InvalidOperatingPoint(f"The kind {kind[:40]!r} is unknown; use one of {', '.join(WORDS)}.")
    if not (page.isascii() and page.isdecimal() and int(page[:9]) >= 1):
        raise InvalidOperatingPoint(f"The page {page[:20]!r} is no page; give a whole number from 1 on.")
    reached = reached_for(evaluation, query)
    scored = evaluated_part(evaluation, reached.part)
    hidden = hidden_films(user, evaluation.run, part=reached.part)
    found = galleries(evaluation, scored, reached, hidden=hidden, kind=kind, page=int(page[:9]))
    if kind and not found:
        raise InvalidOperatingPoint(
            f"There is no gallery {kind!r} here: it is one of films that are {'not ' if reached.threshold else ''}"
            "called by a threshold."
        )
    return reached, found


def _next(reached: OperatingResult, gallery: GalleryPage) -> str:
    """The query of the next page; "" after the last."""
    if gallery.page >= gallery.pages:
        return ""
    return urlencode(
        {
            "part": reached.part,
            "weight": reached.weight,
            "rule": reached.asked.rule,
            "target": reached.asked.target,
            "prevalence": reached.asked.prevalence,
            "kind": gallery.kind,
            "page": gallery.page + 1,
        }
    )
