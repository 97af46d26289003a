"""The pages of bank studies and of blind spots."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from analysis.evaluation.analysis_plan import why_sealed
from analysis.evaluation.looks import CannotEvaluate, looks_at_test, note_of
from analysis.report.csv_tables import Table, as_csv, sentences
from analysis.studies import bank, bank_results, blind
from analysis.studies.opening import check_done, is_open, open_test, part_of, split_of
from analysis.views.query_parameters import theme_of
from ml_engine.models import Run, RunKind
from portal.models import User
from portal.people.access import get_visible, may, require
from portal.people.signed_in import SignedInRequest

PAGES = {RunKind.BANK_STUDY: "bank-study", RunKind.BLIND_SPOTS: "blind-spots"}


def get_bank_study(user: User, uuid: UUID, kind: RunKind) -> Run:
    """A study of this kind, finished or not, at a site where the user may see scores; 404 or 403 otherwise."""
    rows = Run.objects.filter(kind=kind).select_related("site", "split", "alignment__run", "detector__run")
    run = get_visible(rows, user, uuid)
    require(user, "see scores", run.site)
    return run


@require_GET
def bank_study(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """AUROC and false alarms against the number of normal films, and the share of abnormal films, in the bank."""
    run = get_bank_study(request.user, uuid, RunKind.BANK_STUDY)
    request.hilum_site = run.site
    try:
        context = _context(request, run)
        context["cells"] = str(len(context["facts"]["cells"]))
        if context["shown"]:
            results = bank_results.bank_results_of(run)
            figures = bank_results.bank_figures(run, results, theme=theme_of(request.user))
            context |= {"found": results, "figures": figures}
    except CannotEvaluate as error:
        return _refusal(request, error)
    return render(request, "analysis/bank_study.html", context)


@require_GET
def blind_spots(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The share of pasted lesions that are detected, by size, contrast and place, and the losses by mask and cells."""
    run = get_bank_study(request.user, uuid, RunKind.BLIND_SPOTS)
    request.hilum_site = run.site
    try:
        context = _context(request, run)
        if context["shown"]:
            results = bank_results.blind_results_of(run)
            figures = bank_results.blind_figures(run, results, theme=theme_of(request.user))
            context |= {
                "found": results,
                "figures": figures,
                "kinds": [kind for kind in results.places if kind != blind.ALL],
            }
            context |= {"all_kinds": blind.ALL, "limits": blind.LIMITS}
    except CannotEvaluate as error:
        return _refusal(request, error)
    return render(request, "analysis/blind_spots.html", context)


def _context(request: SignedInRequest, run: Run) -> dict[str, Any]:
    """Raises CannotEvaluate where the run is not done or its folder is gone."""
    check_done(run)
    return {
        "room": "results",
        "run": run,
        "part": part_of(run),
        "facts": bank_results.facts_of(run),
        "shown": is_open(run),
        "looks": looks_at_test(split_of(run)),
        "sealed": why_sealed(split_of(run)),
        "may_look": may(request.user, "evaluate runs", run.site),
    }


@require_POST
def show_bank_study(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    return _show(request, uuid, RunKind.BANK_STUDY)


@require_POST
def show_blind_spots(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    return _show(request, uuid, RunKind.BLIND_SPOTS)


def _show(request: SignedInRequest, uuid: UUID, kind: RunKind) -> HttpResponse:
    run = get_bank_study(request.user, uuid, kind)
    try:
        open_test(run=run, author=request.user)
    except CannotEvaluate as error:
        return _refusal(request, error)
    return redirect(f"analysis:{PAGES[kind]}", uuid)


@require_GET
def bank_study_table(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """A row for each bank, with full precision, as CSV."""
    run = get_bank_study(request.user, uuid, RunKind.BANK_STUDY)
    try:
        require_shown(run)
        return _csv(run, bank.COLUMNS, bank.rows(bank_results.bank_results_of(run)))
    except CannotEvaluate as error:
        return _refusal(request, error)


@require_GET
def blind_spots_table(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """A row for each kind, size, contrast and map, with full precision, as CSV."""
    run = get_bank_study(request.user, uuid, RunKind.BLIND_SPOTS)
    try:
        require_shown(run)
        return _csv(run, blind.COLUMNS, blind.rows(bank_results.blind_results_of(run)))
    except CannotEvaluate as error:
        return _refusal(request, error)


def require_shown(run: Run) -> None:
    """Raises CannotEvaluate where the run is not done, or nobody has looked at its results on test yet."""
    check_done(run)
    if not is_open(run):
        raise CannotEvaluate(
            f"The results of the run {run.name!r} are on test films, and nobody has looked yet: show test on its page "
            "first, which is a counted look."
        )


def _csv(run: Run, columns: tuple[str, ...], lines: list[list[Any]]) -> HttpResponse:
    note = note_of(split_of(run), part_of(run))
    text = as_csv(Table(columns, lines), notice=sentences(random_weights=run.random_weights, note=note))
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{run.kind}-{run.uuid}.csv"'
    return response


def _refusal(request: SignedInRequest, error: CannotEvaluate) -> HttpResponse:
    return render(
        request, "portal/error.html", {"title": "No results to show", "sentence": str(error)}, status=error.status
    )
