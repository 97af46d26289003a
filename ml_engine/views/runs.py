"""The pages of runs. They delegate to ml_engine.runs.requests and ml_engine.runs.lifecycle."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from ml_engine.core.json_objects import IncompleteJson
from ml_engine.engine.reports import SuspectFilm
from ml_engine.forms import banks, embeddings, heads, studies
from ml_engine.forms import runs as run_forms
from ml_engine.forms.runs import RANDOM_WEIGHTS, RunForm
from ml_engine.models import KIND_CHOICES, Run, RunKind, RunState
from ml_engine.runs import lifecycle, paths, run_bucket
from ml_engine.runs.copies_of_test import copies_in_words
from ml_engine.runs.earlier_facts import earlier_facts
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.ranges import children_of
from ml_engine.runs.refused_views import fitted_on, left_out_in_words
from ml_engine.runs.requests import changes_from_preset
from ml_engine.runs.run_files import is_removed
from ml_engine.runs.suspect_normals import NoSuspects, queue_least_normal
from ml_engine.runs.waiting import ACTIVE, has_lost_worker, places, wait_of
from ml_engine.views.heads import head_report
from ml_engine.views.pictures import OF_ALL_FILMS, withheld_pairs
from portal.models import Dataset, Exposure, Image, Part, Site, Split, User
from portal.people.access import get_visible, may, may_see_scores, require
from portal.people.blinding import left_out, withheld_patients
from portal.people.exposure import record_exposure
from portal.people.retired import retired_row, without_retired
from portal.people.signed_in import SignedInRequest
from portal.sets.screening_queues import InvalidQueue

FORMS: dict[str, type[RunForm]] = {
    form.kind: form for module in (run_forms, studies, banks, heads, embeddings) for form in module.FORMS
}
RUNS_A_PAGE = 50


@require_GET
def runs(request: SignedInRequest) -> HttpResponse:
    """The runs of the site, newest first; the list polls while one of those shown is queued or running."""
    kind, state = request.GET.get("kind", ""), request.GET.get("state", "")
    of_site = without_retired(Run.objects.filter(site=request.hilum_site))
    site_runs = of_site.select_related("requested_by", "split", "after")
    if kind in list(RunKind):
        site_runs = site_runs.filter(kind=kind)
    if state in RunState.values:
        site_runs = site_runs.filter(state=state)
    page = Paginator(site_runs, RUNS_A_PAGE).get_page(request.GET.get("page"))
    any_active = any(run.state in ACTIVE for run in page.object_list)
    before = places() if any_active else {}
    for run in page.object_list:
        run.before = before.get(run.pk)  # type: ignore[attr-defined]
    context = {
        "room": "runs",
        "page": page,
        "kind": kind,
        "state": state,
        "kinds": KIND_CHOICES,
        "states": RunState.choices,
        "buttons": [(kind, form.button) for kind, form in FORMS.items()],
        "any_active": any_active,
    }
    return render(
        request,
        "ml_engine/_runs.html" if (request.htmx and not request.htmx.boosted) else "ml_engine/runs.html",
        context,
    )


def _runs() -> QuerySet[Run]:
    return Run.objects.select_related(
        "site",
        "split",
        "requested_by",
        "clone_of",
        "rescores",
        "scored",
        "head__run",
        "after",
        "alignment__run",
        "canonical",
        "detector__run",
        "detector__split",
        "alignment_made",
        "detector_made",
        "head_made",
    )


@require_GET
def run(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    run = get_visible(_runs(), request.user, uuid)
    request.hilum_site = run.site
    changed = changes_from_preset(run.config)
    context = {
        "room": "runs",
        "run": run,
        "files_removed": is_removed(run),
        "retired": retired_row(run),
        "may_run": may(request.user, "request runs", run.site),
        "settings": _settings(run.config, changed),
        "changed": changed,
        "films": run.scores.count() if run.kind == RunKind.SCORE else None,
        "earlier_facts": earlier_facts(run),
        "left_out_views": left_out_in_words(run),
        "left_out_copies": copies_in_words(run),
        "fitted_on": fitted_on(run.split) if run.kind == RunKind.FIT_DETECTOR and run.split else "",
        "followers": list(run.followers.order_by("pk")),
        "may_queue": may(request.user, "make queues", run.site),
        "asked": FORMS[run.kind].describe_request(run),
        **_reports(request.user, run),
        **head_report(request.user, run),
        **_progress(request, run),
    }
    return render(request, "ml_engine/run.html", context)


def _settings(config: dict[str, Any], changed: dict[str, str]) -> list[tuple[str, Any, bool]]:
    """(name, value, whether it differs from the preset); the alignment's settings come last."""
    flat = {name: value for name, value in config.items() if name != "alignment"}
    flat |= {f"alignment.{name}": value for name, value in (config.get("alignment") or {}).items()}
    return [(name, value, name in changed) for name, value in flat.items()]


def _reports(user: User, run: Run) -> dict[str, Any]:
    """The report of the run's alignment or detector; a sentence if it lacks a value that this release needs."""
    alignment, detector = getattr(run, "alignment_made", None), getattr(run, "detector_made", None)
    try:
        if alignment is not None:
            report = alignment.fit_report
            withheld = withheld_pairs(user, run, report)
            shown = [(pair, _pair_title(pair.name)) for pair in report.pairs if pair not in withheld]
            return {"alignment": report.measures, "pairs": shown, "left_out": left_out(user)}
        if detector is not None:
            summary = detector.fit_report
            suspects = _suspects(user, run, summary.suspects)
            return {"detector": summary, "suspects": suspects, "hidden_suspects": bool(withheld_patients(user))}
    except IncompleteJson as problem:
        return {"incomplete": str(problem)}
    return {}


def _suspects(user: User, run: Run, suspects: Sequence[SuspectFilm]) -> list[dict[str, Any]]:
    """The fit films of a detector with the highest cross-fitted scores, highest first: those that still exist and whose
    scores the user may see. None while the user reads films blinded: the list has a fixed length, so that a film that
    is left out of it would be known to be among the least normal."""
    if withheld_patients(user):
        return []
    films = Image.objects.filter(
        dataset__site=run.site, uuid__in=[suspect.image for suspect in suspects if suspect.image]
    )
    by_uuid = {str(film.uuid): film for film in films.select_related("dataset__site", "current_label")}
    rows: list[dict[str, Any]] = []
    for suspect in suspects:
        film = by_uuid.get(suspect.image)
        if film is not None and may_see_scores(user, film, Part.FIT):
            rows.append({"film": film, "fused": suspect.fused, "p_value": suspect.p_value})
    record_exposure(user, Exposure.Kind.SCORE, [row["film"].pk for row in rows], run=run.uuid)
    return rows


def _pair_title(name: str) -> str:
    if name in OF_ALL_FILMS:
        return {"mean": "The mean film", "variance": "The variance over films"}[name]
    kind, number = name.split("-")
    return {"worst": "Poorest fit", "middle": "Middling fit"}[kind] + f" {number}"


def _progress(request: SignedInRequest, run: Run) -> dict[str, Any]:
    return {
        "log": run_bucket.log_tail(run),
        "is_active": run.state in ACTIVE,
        "show_detail": request.user.is_staff and run.detail,
        "wait": wait_of(run),
        "lost_worker": has_lost_worker(run),
        "children": list(children_of(run)) if run.most_a_child else [],
    }


@require_GET
def progress(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The progress section of the run's page, and its badge. When the run has ended, the whole page is loaded again."""
    run = get_visible(Run.objects.select_related("after", "site"), request.user, uuid)
    context = {"run": run, "with_state": True, **_progress(request, run)}
    response = render(request, "ml_engine/_progress.html", context)
    if run.has_ended:
        response["HX-Refresh"] = "true"
        notice = {"title": run.name, "body": f"The run is {run.get_state_display().lower()}."}
        if run.state == RunState.FAILED:
            notice["body"] = "The run failed."
        trigger_client_event(response, "hilum:ended", notice)
    return response


@require_GET
def log(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    run = get_visible(Run.objects.all(), request.user, uuid)
    text = run_bucket.log_tail(run, lines=100_000, limit=8 * 2**20)
    notice = f"{RANDOM_WEIGHTS}\n\n" if run.random_weights else ""
    return HttpResponse(notice + (text or "No log yet."), content_type="text/plain; charset=utf-8")


@require_http_methods(["GET", "POST"])
def new(request: SignedInRequest, kind: str) -> HttpResponse:
    """The form of a new run, empty or filled from the run to clone."""
    if kind not in FORMS:
        raise Http404(f"There is no run of kind {kind}.")
    clone_of = _run_to_clone(request, kind)
    site = clone_of.site if clone_of else _site_of_query(request)
    if site is None:
        raise Http404("You are not a member of any site.")
    require(request.user, "request runs", site)
    request.hilum_site = site
    form_class = FORMS[kind]
    start = form_class.values_of(clone_of) if clone_of else form_class.start_values(request.GET.dict())
    form = form_class(request.POST or None, initial=start, site=site, user=request.user, clone_of=clone_of)
    if request.method == "POST" and form.is_valid():
        saved = form.save()
        if saved is not None:
            return redirect("ml_engine:run", saved.uuid)
    context = {"room": "runs", "form": form, "clone_of": clone_of, **_weights()}
    return render(request, "ml_engine/new.html", context, status=400 if form.errors else 200)


def _run_to_clone(request: SignedInRequest, kind: str) -> Run | None:
    address = request.GET.get("clone")
    if not address:
        return None
    runs = Run.objects.filter(kind=kind, rescores=None).select_related(
        "site", "split", "alignment", "canonical", "detector__run", "after"
    )
    return get_visible(runs, request.user, address)


def _site_of_query(request: SignedInRequest) -> Site | None:
    """The site of the split, the dataset or the run in the query string; without one, the site selected in the bar."""
    if split := request.GET.get("split"):
        return get_visible(Split.objects.select_related("site"), request.user, split).site
    if dataset := request.GET.get("dataset"):
        return get_visible(Dataset.objects.select_related("site"), request.user, dataset).site
    if of_run := request.GET.get("detector") or request.GET.get("scored"):
        return get_visible(Run.objects.select_related("site"), request.user, of_run).site
    return request.hilum_site


def _weights() -> dict[str, Any]:
    return {"missing_weights": paths.missing_of_presets(), "has_vgg": paths.has_vgg_weights()}


@require_POST
def cancel(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    run = get_visible(Run.objects.select_related("site"), request.user, uuid)
    try:
        lifecycle.cancel(run=run, actor=request.user)
    except RunRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("ml_engine:run", uuid)


@require_POST
def retry(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    run = get_visible(Run.objects.select_related("site", "after"), request.user, uuid)
    try:
        lifecycle.retry(run=run, actor=request.user)
    except RunRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("ml_engine:run", uuid)


@require_POST
def queue_suspects(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Make a screening queue of the detector's fit films, the least normal first."""
    run = get_visible(Run.objects.select_related("detector_made__split", "detector_made__site"), request.user, uuid)
    detector = getattr(run, "detector_made", None)
    if detector is None:
        raise Http404("This run made no detector.")
    require(request.user, "make queues", detector.site)
    try:
        return redirect("portal:queue", queue_least_normal(detector=detector, author=request.user).uuid)
    except (NoSuspects, InvalidQueue) as refusal:
        messages.warning(request, str(refusal))
    return redirect("ml_engine:run", uuid)
