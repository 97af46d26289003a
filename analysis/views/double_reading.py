"""The page and the table of a double reading: agreement, disputed films, readings and consensus."""

from uuid import UUID

from django.core.paginator import InvalidPage, Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from analysis.reading.label_agreement import (
    COLUMNS,
    VALUES,
    label_agreement,
    read_films,
    readers_of_queue,
    readings_table,
    require_results,
)
from analysis.report.csv_tables import Table, as_csv, sentences
from portal.models import Exposure, Image, ScreeningQueue, User
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible
from portal.people.blinding import omitted, refuse_file, withheld_patients
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest

FILMS_A_PAGE = 100


@require_GET
@never_cache
@accepts_query("page")
def double_reading(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """How far the readers agree, and the films on which they do not or that were settled, with what each reader said.
    Films that the person has yet to read blinded elsewhere are omitted from the list."""
    queue = _queue(request.user, uuid)
    require_results(queue, request.user)
    request.hilum_site = queue.site
    films, withheld = read_films(queue), withheld_patients(request.user)
    shown = [film for film in films if film.image.patient_id not in withheld]
    to_settle = [film for film in shown if film.is_disputed or film.was_shown_first]
    try:
        page = Paginator(to_settle, FILMS_A_PAGE).page(request.GET.get("page") or 1)
    except InvalidPage as fault:
        raise Http404("The list has no such page.") from fault
    record_exposure(request.user, Exposure.Kind.LABEL, [film.image.pk for film in page.object_list])
    readers = readers_of_queue(queue)
    context = {
        "room": "data",
        "queue": queue,
        "results": label_agreement(queue, films),
        "readers": readers,
        "values": VALUES,
        "page": page,
        "rows": [
            {"film": film, "readings": [film.readings.get(reader.pk) for reader in readers]}
            for film in page.object_list
        ],
        "omitted": omitted(len(films) - len(shown)),
    }
    return render(request, "analysis/double_reading.html", context)


@require_GET
def table(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    return readings_file(request.user, _queue(request.user, uuid))


def readings_file(user: User, queue: ScreeningQueue) -> HttpResponse:
    """Readings and consensus as CSV, also for the API. Refused whole to those who have yet to read one of the films
    blinded."""
    require_results(queue, user)
    films = Image.objects.filter(queue_readings__queue=queue).distinct()
    refuse_file(user, films)
    rows = readings_table(queue)
    record_exposure(user, Exposure.Kind.LABEL, films.values_list("pk", flat=True))
    text = as_csv(Table(COLUMNS, rows), notice=sentences(random_weights=False))
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="double-reading-{queue.uuid}.csv"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _queue(user: User, uuid: UUID) -> ScreeningQueue:
    """A blinded queue; 404 for any other."""
    return get_visible(ScreeningQueue.objects.filter(blinded=True).select_related("site"), user, uuid)
