"""Labels, findings, boxes and readings of a dataset, a cohort or a split as files. The API answers with the same."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from tempfile import TemporaryFile
from typing import IO
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import FileResponse, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.reading.exported_readings import readings_csv, readings_json, require_readings
from portal.models import Cohort, Dataset, Split, User
from portal.people import audit
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible
from portal.people.signed_in import SignedInRequest
from portal.sets.label_export import FilmSet, exported_films, file_name, open_export
from portal.sets.label_files import FILES, KINDS

ALL = "labels.zip"
READINGS: Mapping[str, Callable[[FilmSet], Iterator[str]]] = {
    "readings.csv": readings_csv,
    "readings.json": readings_json,
}
NAMES = (*FILES, *READINGS, ALL)


class NoSuchExport(Exception):
    """A sentence for the user."""


@require_GET
@accepts_query("file")
def of_dataset(request: SignedInRequest, uuid: UUID) -> HttpResponseBase:
    return _page(request, dataset_of(request.user, uuid))


@require_GET
@accepts_query("file")
def of_cohort(request: SignedInRequest, uuid: UUID) -> HttpResponseBase:
    return _page(request, cohort_of(request.user, uuid))


@require_GET
@accepts_query("file")
def of_split(request: SignedInRequest, uuid: UUID) -> HttpResponseBase:
    return _page(request, split_of(request.user, uuid))


def dataset_of(person: User, uuid: UUID) -> Dataset:
    return get_visible(Dataset.objects.select_related("site"), person, uuid)


def cohort_of(person: User, uuid: UUID) -> Cohort:
    return get_visible(Cohort.objects.select_related("site"), person, uuid)


def split_of(person: User, uuid: UUID) -> Split:
    return get_visible(Split.objects.select_related("site"), person, uuid)


def _page(request: SignedInRequest, films: FilmSet) -> HttpResponseBase:
    """The list of files, or the one that is asked for."""
    request.hilum_site = films.site
    name = request.GET.get("file", "")
    if not name:
        context = {"room": "data", "films": films, "kind": type(films).__name__.lower(), "names": NAMES}
        return render(request, "analysis/label_exports.html", context)
    try:
        return export_response(request.user, films, name)
    except NoSuchExport as error:
        return HttpResponse(str(error), status=400, content_type="text/plain; charset=utf-8")


def export_response(person: User, films: FilmSet, name: str) -> HttpResponseBase:
    """The file for the person, to whom the labels count as shown. Raises NoSuchExport, and PermissionDenied where the
    person has yet to read one of the films blinded, or may not see what others read."""
    if name not in NAMES:
        raise NoSuchExport(f"There is no file {name[:40]!r}; the files are {', '.join(NAMES)}.")
    if name in READINGS:
        require_readings(person, films)
    with transaction.atomic():
        open_export(films, person)
        audit.record(verb="export labels", site=films.site, actor=person, target=films, after={"file": name})
    if name == ALL:
        response: HttpResponseBase = FileResponse(_zip(films, person), content_type="application/zip")
    else:
        content = READINGS[name](films) if name in READINGS else FILES[name](exported_films(films))
        response = StreamingHttpResponse(content, content_type=KINDS["." + name.rpartition(".")[2]])
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name(films, name)}"'
    return response


def _zip(films: FilmSet, person: User) -> IO[bytes]:
    """All files, the readings if the person may see them."""
    packed = TemporaryFile()  # noqa: SIM115 - the response closes it
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, make in FILES.items():
            with archive.open(name, "w", force_zip64=True) as file:
                for text in make(exported_films(films)):
                    file.write(text.encode())
        try:
            require_readings(person, films)
        except PermissionDenied as refusal:
            archive.writestr("no readings.txt", str(refusal))
        else:
            for name, make_readings in READINGS.items():
                archive.writestr(name, "".join(make_readings(films)))
    packed.seek(0)
    return packed
