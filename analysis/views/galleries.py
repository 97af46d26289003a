"""The section of an evaluation's page with galleries of films at an operating point."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.blinding import hidden_films, sentence
from analysis.evaluation.exposures import LABEL, MAP, SCORE, record_shown
from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.operating_point import InvalidOperatingPoint
from analysis.evaluation.operating_points import OperatingResult
from analysis.models import Evaluation
from analysis.sections.galleries import WORDS, GalleryPage, galleries
from analysis.sections.wrong_reasons import WrongReasons, wrong_reasons
from analysis.views.operating import scored_and_result
from analysis.views.query_parameters import OF_OPERATING_POINT, get_evaluation
from portal.models import User
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import SignedInRequest


@require_GET
@accepts_query(*OF_OPERATING_POINT, "kind", "page")
def gallery(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Without `kind`, the first page of every gallery; with `kind`, only the films of the requested page, to append."""
    evaluation = get_evaluation(request.user, uuid)
    kind = request.GET.get("kind", "")
    try:
        reached, pages, hidden, reasons = requested_galleries(evaluation, request.user, request.GET)
    except (InvalidOperatingPoint, CannotEvaluate) as error:
        return render(request, "analysis/_galleries.html", {"refusal": str(error)})
    context = {
        "evaluation": evaluation,
        "run": evaluation.run,
        "reached": reached,
        "galleries": [(page, _next(reached, page)) for page in pages],
        "hidden": sentence(hidden, reached.part),
        "reasons": reasons.sentence,
    }
    return render(request, "analysis/_gallery_films.html" if kind else "analysis/_galleries.html", context)


def requested_galleries(
    evaluation: Evaluation, user: User, query: Mapping[str, Any]
) -> tuple[OperatingResult, list[GalleryPage], int, WrongReasons]:
    """For the parameters of `operating_result` and the optional `kind` and `page`; the number is that of the films of
    the part, of any kind, that may not be shown to the person and are not counted as right for the wrong reason. Raises
    as `operating_result`, and InvalidOperatingPoint for an unknown kind or a page that is not a number."""
    kind, page = str(query.get("kind", "")), str(query.get("page") or "1")
    if kind and kind not in WORDS:
        raise InvalidOperatingPoint(f"The kind {kind[:40]!r} is unknown; use one of {', '.join(WORDS)}.")
    if not (page.isascii() and page.isdecimal() and int(page[:9]) >= 1):
        raise InvalidOperatingPoint(f"The page {page[:20]!r} is not a page; give a whole number from 1 on.")
    scored, reached = scored_and_result(evaluation, query)
    hidden = hidden_films(user, evaluation.run, part=reached.part)
    pages = galleries(evaluation, scored, reached, hidden=hidden, kind=kind, page=int(page[:9]))
    if kind and not pages:
        raise InvalidOperatingPoint(
            f"There is no gallery {kind!r} here: it is only for results {'without' if reached.threshold else 'with'} a "
            "threshold."
        )
    films = [film.image for page in pages for film in page.shown]
    record_shown(user, films, [LABEL, SCORE, MAP], runs=[evaluation.run.uuid])
    reasons = wrong_reasons(evaluation, scored, reached, hidden=hidden)
    return reached, pages, len(hidden.intersection(scored.images)), reasons


def _next(reached: OperatingResult, gallery: GalleryPage) -> str:
    """The query string of the next page; "" after the last page."""
    if gallery.page >= gallery.pages:
        return ""
    return urlencode(
        {
            "part": reached.part,
            "weight": reached.weight,
            "score": reached.score,
            "rule": reached.point.rule,
            "target": reached.point.target,
            "prevalence": reached.point.prevalence,
            "kind": gallery.kind,
            "page": gallery.page + 1,
        }
    )
