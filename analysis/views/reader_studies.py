"""Pages of reader studies: the heatmap after the reveal; assignments, reference, results and exports."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from analysis import figures, statistics
from analysis.evaluation.looks import CannotEvaluate, note_of
from analysis.evaluation.run_results import results_of
from analysis.figures.palette import Theme
from analysis.models import ReferenceSource, Worklist, WorklistItem
from analysis.reading.assignments import (
    AssignmentRefused,
    assign,
    possible_readers,
    readers_named,
    require_reader,
    unassign,
)
from analysis.reading.reader_studies import is_revealed, why_not_revealed
from analysis.reading.study_reference import (
    ReferenceRefused,
    current_reference,
    reference_labels,
    shows_test,
    state_reference,
)
from analysis.reading.study_results import StudyData, name_of, require_study, study_data, study_results
from analysis.reading.worklist_summary import require_summary
from analysis.report.study_tables import Layout, study_csv
from analysis.views.film import maps_response, overlay_of
from analysis.views.query_parameters import theme_of
from ml_engine.models import Score
from portal.models import Exposure, Image, Part, User
from portal.people.access import get_visible
from portal.people.blinding import refuse_file, refuse_withheld
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest


@require_GET
def revealed_overlay(request: SignedInRequest, uuid: UUID, item_uuid: UUID) -> JsonResponse:
    """The facts with which the viewer draws the heatmap of a film that was revealed to this reader. Everything else
    about the film stays withheld from them until the reading with the model is stored."""
    score = _revealed_score(request, uuid, item_uuid)
    if score.error:
        return JsonResponse({"error": f"This film has no heatmap: {score.error}"}, status=410)
    try:
        with results_of(score.run) as folder:
            drawn = overlay_of(folder, score.row, maps_url=reverse("analysis:revealed-maps", args=[uuid, item_uuid]))
    except CannotEvaluate as error:
        return JsonResponse({"error": str(error)}, status=410)
    lock = {"weight_locked": True, "weight_locked_reason": "In a reader study the weight stays at the run's."}
    return JsonResponse(drawn | lock | {"random_weights": score.run.random_weights})


@require_GET
def revealed_maps(request: SignedInRequest, uuid: UUID, item_uuid: UUID) -> HttpResponse:
    """As `analysis.views.film.maps`, of a film that was revealed to this reader."""
    score = _revealed_score(request, uuid, item_uuid)
    try:
        with results_of(score.run) as folder:
            return maps_response(folder.maps_of(score.row))
    except CannotEvaluate as error:
        return JsonResponse({"error": str(error)}, status=410)


def _revealed_score(request: SignedInRequest, uuid: UUID, item_uuid: UUID) -> Score:
    worklist = get_visible(Worklist.objects.select_related("run__site", "run__detector"), request.user, uuid)
    require_reader(worklist, request.user)
    item = WorklistItem.objects.select_related("image").filter(worklist=worklist, uuid=item_uuid).first()
    score = Score.objects.filter(run=worklist.run, image=item.image_id).first() if item is not None else None
    if item is None or score is None:
        raise Http404("The worklist has no such film.")
    if not worklist.design or not is_revealed(item=item, reader_id=request.user.pk):
        raise PermissionDenied("The heatmap of this film has not been revealed to you.")
    begun = worklist.readers.get(reader=request.user)  # who was shown the film has begun
    begun.worklist = worklist
    if refusal := why_not_revealed(begun=begun, item=item):
        raise PermissionDenied(refusal)
    refuse_withheld(request.user, item.image, revealed_in=worklist.uuid)
    score.run = worklist.run
    return score


@require_GET
def reader_study(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    worklist = _study(request, uuid)
    request.hilum_site = worklist.run.site
    results = study_results(worklist)
    context = {
        "room": "reading",
        "worklist": worklist,
        "run": worklist.run,
        "results": results,
        "sources": ReferenceSource.choices,
        "test": shows_test(worklist),
        "pairs": list(zip(*(results["agreement"][stage]["pairs"] for stage in ("unaided", "aided")), strict=True)),
        "figure": None,
        **assignment_context(worklist),
    }
    reference = current_reference(worklist)
    if results["with_reference"] is not None and reference is not None:
        data = study_data(worklist, reference_labels(reference)[0]).labelled()
        context["figure"] = _figure(worklist, data, theme=theme_of(request.user), test=bool(context["test"]))
    return render(request, "analysis/reader_study.html", context)


def assignment_context(worklist: Worklist) -> dict[str, Any]:
    """What the list of assigned readers needs, on the pages of studies and of other worklists."""
    assigned = list(worklist.assignments.select_related("reader"))
    begun = set(worklist.readers.values_list("reader_id", flat=True))
    for assignment in assigned:
        assignment.has_begun = assignment.reader_id in begun  # type: ignore[attr-defined]
    others = possible_readers(worklist.run.site).exclude(pk__in=[assignment.reader_id for assignment in assigned])
    return {"assigned": assigned, "others": list(others)}


def _figure(worklist: Worklist, data: StudyData, *, theme: Theme, test: bool) -> dict[str, Any]:
    points = [statistics.reader_points(data.labels, data.calls[:, :, k], data.patients) for k in (0, 1)]
    drawn = figures.reader_study_figure(
        statistics.roc_curve(data.labels, data.scores),
        statistics.auroc_interval(data.labels, data.scores, data.patients),
        [
            figures.ReaderMarks(name_of(reader), points[0][column], points[1][column])
            for column, reader in enumerate(data.readers)
        ],
        theme=theme,
        random_weights=worklist.run.random_weights,
    )
    assert worklist.run.detector is not None
    note = note_of(worklist.run.detector.split, Part.TEST) if test else ""
    return figures.with_note(figures.as_json(drawn), note)


@require_POST
def set_reference(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    worklist = _study(request, uuid)
    source, statement = request.POST.get("source", ""), request.POST.get("statement", "")
    try:
        state_reference(worklist=worklist, source=source, statement=statement, author=request.user)
    except ReferenceRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("analysis:reader-study", worklist.uuid)


@require_GET
def study_table(request: SignedInRequest, uuid: UUID, layout: Layout) -> HttpResponse:
    """The ratings for R packages. Refused to those who have yet to read one of the films blinded."""
    worklist = _study(request, uuid)
    return study_file(request.user, worklist, layout)


def study_file(user: User, worklist: Worklist, layout: Layout) -> HttpResponse:
    """The CSV, also for the API."""
    films = Image.objects.filter(pk__in=worklist.items.values("image_id"))
    refuse_file(user, films)
    try:
        text = study_csv(worklist, layout)
    except ReferenceRefused as refusal:
        return HttpResponse(str(refusal), status=400, content_type="text/plain; charset=utf-8")
    record_exposure(user, Exposure.Kind.LABEL, films.values_list("pk", flat=True))
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    notice = "random-weights-not-for-evaluation" if worklist.run.random_weights else "research-use-only"
    response.headers["Content-Disposition"] = f'attachment; filename="{layout}-{notice}-{worklist.uuid}.csv"'
    return response


@require_POST
def assign_readers(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Assign the worklist to the people named by `reader` (repeated), or, with `remove`, take it from one."""
    worklist = get_visible(Worklist.objects.select_related("run__site"), request.user, uuid)
    require_summary(request.user, worklist)
    removed = request.POST.get("remove")
    try:
        if removed:
            unassign(worklist=worklist, reader=_person(worklist, removed), author=request.user)
        else:
            named = readers_named(worklist.run.site, request.POST.getlist("reader"))
            assign(worklist=worklist, readers=named, author=request.user)
    except AssignmentRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("analysis:reader-study" if worklist.design else "analysis:worklist", worklist.uuid)


def _person(worklist: Worklist, username: str) -> User:
    assignment = worklist.assignments.filter(reader__username=username).select_related("reader").first()
    if assignment is None:
        raise AssignmentRefused(f"This worklist is not assigned to {username}.")
    return assignment.reader


def _study(request: SignedInRequest, uuid: UUID) -> Worklist:
    rows = Worklist.objects.select_related("run__site", "run__detector__split", "created_by")
    worklist = get_visible(rows, request.user, uuid)
    require_study(request.user, worklist)
    if not worklist.design:
        raise Http404("This worklist is not a reader study.")
    return worklist
