"""Two to six runs side by side."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis import figures, statistics
from analysis.evaluation.blinding import hidden_films
from analysis.evaluation.evaluate import parts_of
from analysis.evaluation.looks import CannotEvaluate, looks_at_test, note_of
from analysis.figures.palette import Theme
from analysis.models import Evaluation
from analysis.sections.comparison import CannotCompare, Comparison, compare
from analysis.views.query_parameters import get_evaluation, theme_of
from portal.models import Part, User
from portal.people.signed_in import SignedInRequest


@require_GET
def comparison(request: SignedInRequest) -> HttpResponse:
    """`evaluation` (repeated), the first as the one that the others are compared with, and `part`."""
    part = request.GET.get("part") or Part.TEST
    try:
        evaluations = evaluations_asked(request.user, request.GET.getlist("evaluation"))
        found = compare(evaluations, part=part)
    except (CannotCompare, CannotEvaluate) as error:
        refusal = {"title": "Not compared", "sentence": str(error)}
        return render(request, "portal/error.html", refusal, status=400)
    random_weights = any(row.evaluation.run.random_weights for row in found.rows)
    theme = theme_of(request.user)
    context = {
        "room": "results",
        "found": found,
        "parts": [one for one in (Part.TUNE, Part.TEST) if all(one in parts_of(row.evaluation) for row in found.rows)],
        "query": "&".join(f"evaluation={row.evaluation.uuid}" for row in found.rows),
        "by_finding": by_finding(found),
        "left_out": list(zip(found.rows, found.left_out, strict=True)),
        "looks": looks_at_test(evaluations[0].split),
        "any_declared": any(row.declared for row in found.rows),
        "random_weights": random_weights,
        "figures": _figures(request.user, found, theme=theme, random_weights=random_weights),
    }
    return render(request, "analysis/comparison.html", context)


def evaluations_asked(user: User, addresses: list[str]) -> list[Evaluation]:
    """Each once, in the order given. Raises CannotCompare for what is no address, Http404 for another site's."""
    try:
        return [get_evaluation(user, UUID(address)) for address in dict.fromkeys(addresses)]
    except ValueError:
        raise CannotCompare("The address of an evaluation is damaged; choose the runs again.") from None


def by_finding(found: Comparison) -> list[tuple[str, int, list[statistics.Auroc]]]:
    """Finding, its films, and its AUROC in each run."""
    columns = [{finding.name: finding for finding in row.findings} for row in found.rows]
    return [
        (name, first.films, [column[name].auroc for column in columns if name in column])
        for name, first in columns[0].items()
    ]


def _figures(user: User, found: Comparison, *, theme: Theme, random_weights: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"theme": theme, "random_weights": random_weights}
    curves = [
        figures.RunCurve(row.evaluation.run.name, statistics.roc_curve(found.labels, scores), row.auroc)
        for row, scores in zip(found.rows, found.scores, strict=True)
    ]
    drawn = {"roc": figures.as_json(figures.comparison_figure(curves, **said))}
    if len(found.rows) == 2:
        hidden: set[str] = set()
        for row in found.rows:
            hidden |= hidden_films(user, row.evaluation.run, part=found.part)
        changed = found.changed
        drawn["scatter"] = figures.as_json(
            figures.scatter_figure(
                found.scores[0],
                found.scores[1],
                found.labels,
                names=(found.rows[0].evaluation.run.name, found.rows[1].evaluation.run.name),
                image_ids=[None if image in hidden else image for image in found.images],
                thresholds=(changed.threshold_first, changed.threshold_second) if changed else None,
                **said,
            )
        )
    note = note_of(found.rows[0].evaluation.split, found.part)
    return {name: figures.with_note(figure, note) for name, figure in drawn.items()}
