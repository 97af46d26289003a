"""Exports: the data of a figure as CSV, an evaluation as PDF. The API uses the same functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.analysis_plan import current_plan, planned_point
from analysis.evaluation.blinding import hidden_films, refuse_file_of
from analysis.evaluation.exposures import LABEL, SCORE, record_shown
from analysis.evaluation.looks import CannotEvaluate, is_disclosed, note_of
from analysis.evaluation.operating_point import InvalidOperatingPoint
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import Evaluation, ScoreKind
from analysis.report.csv_tables import Table, as_csv, sentences
from analysis.report.figure_tables import AT_OPERATING_POINT, AT_RUN_WEIGHT, COMPARED, FIGURES, Figure, table_of
from analysis.report.risk_tables import RISK_FIGURES
from analysis.sections.comparison import CannotCompare
from analysis.sections.recalibration import RisksRefused
from analysis.views.comparison import requested_comparison
from analysis.views.operating import requested_point
from analysis.views.query_parameters import OF_OPERATING_POINT, get_evaluation, get_part, get_weight, is_a_look
from analysis.views.recalibration import requested_risks
from portal.models import User
from portal.people import audit
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import SignedInRequest

IMAGE = "image"  # the column with the UUIDs of films


class CannotExportTable(Exception):
    """A sentence for the user."""


@dataclass(frozen=True)
class Download:
    """A file to download; its name contains no text entered by users."""

    name: str
    kind: str
    content: str | bytes

    def response(self) -> HttpResponse:
        response = HttpResponse(self.content, content_type=self.kind)
        response.headers["Content-Disposition"] = f'attachment; filename="{self.name}"'
        return response


@require_GET
@accepts_query(*OF_OPERATING_POINT)
def figure_csv(request: SignedInRequest, uuid: UUID, name: str) -> HttpResponse:
    try:
        return figure_of(request.user, uuid, name, request.GET).response()
    except CannotExportTable as error:
        return _refused(request, error, 400)
    except CannotEvaluate as error:
        return _refused(request, error, 410)


@require_GET
@accepts_query("part", "reference", repeated="evaluation")
def comparison_csv(request: SignedInRequest, name: str) -> HttpResponse:
    try:
        return compared_figure_of(request.user, name, request.GET).response()
    except CannotExportTable as error:
        return _refused(request, error, 400)
    except CannotEvaluate as error:
        return _refused(request, error, 410)


@require_GET
@accepts_query("rule", "target", "prevalence")
def report(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    try:
        return report_of(request.user, uuid, request.GET).response()
    except CannotExportTable as error:
        return _refused(request, error, 400)
    except CannotEvaluate as error:
        return _refused(request, error, 410)


def report_of(user: User, uuid: UUID, query: Mapping[str, Any]) -> Download:
    """An evaluation as PDF, at the operating point of `rule`, `target` and `prevalence`, each by default that of the
    plan. Raises as `figure_of`."""
    from analysis.report.document import report_pdf  # Matplotlib takes a second to load, and one page needs it

    evaluation = get_evaluation(user, uuid)
    planned = planned_point(current_plan(evaluation.split))
    try:
        content = report_pdf(evaluation, point=requested_point(query, default=planned), viewer=user)
    except InvalidOperatingPoint as error:
        raise CannotExportTable(str(error)) from error
    with transaction.atomic():
        audit.record(verb="download report", site=evaluation.run.site, actor=user, target=evaluation)
    return Download(f"hilum-report-{evaluation.uuid}.pdf", "application/pdf", content)


def figure_of(user: User, uuid: UUID, name: str, query: Mapping[str, Any]) -> Download:
    """The data of a figure of an evaluation, by `part`, `weight` and, for those at the operating point, `score`,
    `rule`, `target` and `prevalence`; those of risks take a prevalence too. Raises Http404, PermissionDenied,
    CannotExportTable, and CannotEvaluate where the run's folder is gone. A table that names films is refused whole
    while one of them is withheld from the person."""
    evaluation = get_evaluation(user, uuid)
    part = get_part(evaluation, str(query.get("part", "")))
    weight = _weight(evaluation, part, str(query.get("weight", "")))
    if name in (*AT_RUN_WEIGHT, *RISK_FIGURES) and weight != float(evaluation.metrics["weight"]):
        raise CannotExportTable(
            f"The figure {name} is drawn at the run's weight, {float(evaluation.metrics['weight']):g}: leave out the "
            "weight."
        )
    kind = str(query.get("score") or ScoreKind.ONE_CLASS)
    if kind != ScoreKind.ONE_CLASS and name not in AT_OPERATING_POINT:
        raise CannotExportTable(f"The figure {name} is of the one-class score: leave out the score {kind[:20]!r}.")
    hidden = hidden_films(user, evaluation.run, part=part)
    try:
        if name in RISK_FIGURES:
            table = RISK_FIGURES[name](requested_risks(evaluation, query))
        else:
            table = table_of(FIGURES, name, Figure(evaluation, part, weight, hidden, requested_point(query), kind=kind))
    except KeyError as error:
        raise Http404(error.args[0]) from None
    except (InvalidOperatingPoint, RisksRefused) as error:
        raise CannotExportTable(str(error)) from error
    if IMAGE in table.columns:
        refuse_file_of(user, evaluated_part(evaluation, part).images)
    _record(user, table, [evaluation])
    return _csv(f"{name}-{part}-{evaluation.uuid}", table, [evaluation], part)


def csv_of(name: str, table: Table, *, random_weights: bool, note: str) -> Download:
    """A table that names no film, with the notices on every line."""
    notice = sentences(random_weights=random_weights, note=note, remark=table.remark)
    return Download(f"hilum-{name}.csv", "text/csv; charset=utf-8", as_csv(table, notice=notice))


def compared_figure_of(user: User, name: str, query: QueryDict) -> Download:
    """The data of a figure of a comparison, by `evaluation` (repeated), `reference` and `part`. Raises as
    `figure_of`."""
    try:
        compared, _ = requested_comparison(user, query)
        evaluations, part = [row.evaluation for row in compared.rows], compared.part
        hidden = {image for evaluation in evaluations for image in hidden_films(user, evaluation.run, part=part)}
        table = table_of(COMPARED, name, compared, hidden)
    except KeyError as error:
        raise Http404(error.args[0]) from None
    except CannotCompare as error:
        raise CannotExportTable(str(error)) from error
    if IMAGE in table.columns:
        refuse_file_of(user, compared.images)
    _record(user, table, evaluations)
    return _csv(f"comparison-{name}-{part}", table, evaluations, part)


def _record(user: User, table: Table, evaluations: Sequence[Evaluation]) -> None:
    if IMAGE in table.columns:
        images = [row[table.columns.index(IMAGE)] for row in table.rows]
        record_shown(user, images, [LABEL, SCORE], runs=[evaluation.run.uuid for evaluation in evaluations])


def _csv(name: str, table: Table, evaluations: Sequence[Evaluation], part: str) -> Download:
    random_weights = any(evaluation.run.random_weights for evaluation in evaluations)
    return csv_of(name, table, random_weights=random_weights, note=note_of(evaluations[0].split, part))


def _weight(evaluation: Evaluation, part: str, text: str) -> float:
    """The weight; on test only the run's or one that was looked at before, so that no look is uncounted."""
    weight = get_weight(text) if text else float(evaluation.metrics["weight"])
    if weight is None:
        raise CannotExportTable(f"The weight {text[:20]!r} is not one of 0, 0.01 … 1; choose one of these.")
    if is_a_look(evaluation, part, weight) and not is_disclosed(evaluation.run, evaluation=evaluation, weight=weight):
        raise CannotExportTable(
            f"On test the weight is the run's, {float(evaluation.metrics['weight']):g}. Another weight counts as a "
            "look: choose it on the page first, then export it."
        )
    return weight


def _refused(request: SignedInRequest, error: Exception, status: int) -> HttpResponse:
    return render(request, "portal/error.html", {"title": "Not exported", "sentence": str(error)}, status=status)
