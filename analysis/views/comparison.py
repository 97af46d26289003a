"""The comparison of two to six runs."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from analysis import figures, statistics
from analysis.evaluation.blinding import UNNAMED, hidden_films, named_films, withheld_of
from analysis.evaluation.evaluate import parts_of
from analysis.evaluation.exposures import LABEL, SCORE, films_in, record_shown
from analysis.evaluation.looks import CannotEvaluate, looks_at_test, note_of
from analysis.figures.palette import Theme
from analysis.models import Evaluation
from analysis.sections.comparison import (
    SIDES,
    CannotCompare,
    ComparedRun,
    Comparison,
    compare,
    default_part,
)
from analysis.views.query_parameters import get_evaluation, theme_of
from portal.models import Part, User
from portal.people.accepted_query import accepts_query
from portal.people.blinding import omitted
from portal.people.signed_in import SignedInRequest


@dataclass(frozen=True)
class ChangedRun:
    """A run against the reference: its films that changed sides, as (side, its words, number of films that the person
    may see), and the address of their page."""

    row: ComparedRun
    sides: tuple[tuple[str, str, int], ...]
    address: str


@require_GET
@accepts_query("part", "reference", repeated="evaluation")
def comparison(request: SignedInRequest) -> HttpResponse:
    """Parameters: `evaluation` (repeated), `reference` (one of them, with which the others are compared) and `part`."""
    try:
        compared, query = requested_comparison(request.user, request.GET)
    except (CannotCompare, CannotEvaluate) as error:
        return _refused(request, error)
    request.hilum_site = compared.rows[0].evaluation.run.site
    random_weights = any(row.evaluation.run.random_weights for row in compared.rows)
    drawn = _figures(request.user, compared, theme=theme_of(request.user), random_weights=random_weights)
    runs = [row.evaluation.run.uuid for row in compared.rows]
    record_shown(request.user, films_in(drawn), [LABEL, SCORE], runs=runs)
    hidden = hidden_of(request.user, compared)
    context = {
        "room": "results",
        "found": compared,
        "parts": [
            offered
            for offered in (Part.TUNE, Part.TEST)
            if all(offered in parts_of(row.evaluation) for row in compared.rows)
        ],
        "query": query,
        "changed": [
            changed_run(compared, row, hidden=hidden, query=query) for row in compared.rows if row.changed is not None
        ],
        "by_finding": by_finding(compared),
        "left_out": list(zip(compared.rows, compared.left_out, strict=True)),
        "looks": looks_at_test(compared.rows[0].evaluation.split),
        "any_declared": any(row.declared for row in compared.rows),
        "random_weights": random_weights,
        "figures": drawn,
        "omitted": omitted(len(withheld_of(request.user, compared.images))),
        "unnamed": UNNAMED,
    }
    return render(request, "analysis/comparison.html", context)


def requested_comparison(user: User, query: QueryDict) -> tuple[Comparison, str]:
    """The comparison, and the query string of its runs and its reference. Raises CannotCompare, CannotEvaluate and
    Http404."""
    evaluations = requested_evaluations(user, query.getlist("evaluation"))
    part = query.get("part") or default_part(evaluations)
    named = query.get("reference", "")
    reference = requested_evaluations(user, [named])[0] if named else None
    compared = compare(evaluations, part=part, reference=reference)
    pairs = [("evaluation", str(evaluation.uuid)) for evaluation in evaluations]
    return compared, urlencode([*pairs, *([("reference", named)] if named else [])])


def hidden_of(user: User, compared: Comparison) -> set[str]:
    """The films of the comparison that the person may not see with their scores yet."""
    hidden = {image for row in compared.rows for image in hidden_films(user, row.evaluation.run, part=compared.part)}
    return hidden.intersection(compared.images)


def changed_run(compared: Comparison, row: ComparedRun, *, hidden: Collection[str], query: str) -> ChangedRun:
    assert row.changed is not None
    visible = row.changed.without(hidden)
    names = {"first": compared.rows[0].evaluation.run.name, "other": row.evaluation.run.name}
    sides = tuple((side, words.format(**names), len(getattr(visible, side))) for side, words in SIDES.items())
    address = f"{reverse('analysis:changed-films')}?{query}&part={compared.part}&run={row.evaluation.run.uuid}"
    return ChangedRun(row, sides, address)


def _refused(request: SignedInRequest, error: Exception) -> HttpResponse:
    refusal = {"title": "Not compared", "sentence": str(error)}
    return render(request, "portal/error.html", refusal, status=400)


def requested_evaluations(user: User, addresses: list[str]) -> list[Evaluation]:
    """The evaluations with these UUIDs, without repeats, in their order. Raises CannotCompare for a text that is not a
    UUID, Http404 for an evaluation that the user may not see."""
    try:
        return [get_evaluation(user, UUID(address)) for address in dict.fromkeys(addresses)]
    except ValueError:
        raise CannotCompare("The address names an evaluation that is not a UUID; choose the runs again.") from None


def by_finding(compared: Comparison) -> list[tuple[str, int, list[statistics.Auroc]]]:
    """(finding, number of films, AUROC in each run)."""
    columns = [{finding.name: finding for finding in row.findings} for row in compared.rows]
    return [
        (name, first.films, [column[name].auroc for column in columns if name in column])
        for name, first in columns[0].items()
    ]


def _figures(user: User, compared: Comparison, *, theme: Theme, random_weights: bool) -> dict[str, Any]:
    style: dict[str, Any] = {"theme": theme, "random_weights": random_weights}
    curves = [
        figures.RunCurve(row.evaluation.run.name, statistics.roc_curve(compared.labels, scores), row.auroc)
        for row, scores in zip(compared.rows, compared.scores, strict=True)
    ]
    drawn = {"roc": figures.as_json(figures.comparison_figure(curves, **style))}
    if len(compared.rows) == 2:
        by_run = [
            named_films(user, row.evaluation.run, part=compared.part, images=compared.images) for row in compared.rows
        ]
        changed = compared.changed
        drawn["scatter"] = figures.as_json(
            figures.scatter_figure(
                compared.scores[0],
                compared.scores[1],
                compared.labels,
                names=(compared.rows[0].evaluation.run.name, compared.rows[1].evaluation.run.name),
                image_ids=[first and second for first, second in zip(*by_run, strict=True)],
                thresholds=(changed.threshold_first, changed.threshold_second) if changed else None,
                **style,
            )
        )
    note = note_of(compared.rows[0].evaluation.split, compared.part)
    return {name: figures.with_note(figure, note) for name, figure in drawn.items()}
