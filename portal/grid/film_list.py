"""Films of the grid as a CSV: what their tiles and pages show, a line for each."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from portal.grid.film_order import IMPORTED, FilmOrder, in_order, with_score
from portal.grid.tags import tags_by_film
from portal.models import Dataset, Exposure, Image, User
from portal.people import audit, blinding
from portal.people.access import require
from portal.people.exposure import record_exposure
from portal.sets.label_files import csv_lines

COLUMNS = (
    *("image", "filename", "patient", "sex", "age_band", "view", "laterality", "columns", "rows", "spacing_mm"),
    *("label", "findings", "attributes", "label_source", "label_origin", "tags", "warning", "imported"),
)
_CHUNK = 500


def export_films(
    *, dataset: Dataset, images: QuerySet[Image], person: User, order: FilmOrder = IMPORTED, words: str = ""
) -> Iterator[str]:
    """The films in the order, as a CSV, to a person to whom their labels count as shown. `words` say for the audit
    which they are. Raises PermissionDenied while the person has yet to read a film of the dataset blinded, whichever
    films are asked for: a list without it would say that it is not among them."""
    require(person, "see the site", dataset.site)
    blinding.refuse_file(person, dataset.images.all(), what="The dataset")
    with transaction.atomic():
        films = in_order(images.filter(dataset=dataset), order)
        ids = list(films.values_list("pk", flat=True))
        record_exposure(person, Exposure.Kind.LABEL, ids)
        if order.run:
            scored = with_score(films).values_list("pk", flat=True)
            record_exposure(person, Exposure.Kind.SCORE, scored, run=order.run)
        after = {"films": len(ids), "which": words or "all films"}
        audit.record(verb="export films", site=dataset.site, actor=person, target=dataset, after=after)
    return csv_lines(COLUMNS, _rows(ids))


def _rows(ids: Sequence[int]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        films = Image.objects.select_related("patient", "current_label").defer("extra").in_bulk(chunk)
        tags = tags_by_film(films.values())
        for pk in chunk:
            if pk in films:  # unless its patient was erased meanwhile
                yield _row(films[pk], tags.get(pk, []))


def _row(film: Image, tags: Sequence[str]) -> Sequence[Any]:
    label = getattr(film, "current_label", None)
    patient = str(film.patient.uuid) if film.patient.identified else ""
    spacing = film.facts.get("spacing_mm")
    of_label = [""] * 5
    if label:
        of_label = [label.value, "|".join(label.findings), "|".join(label.attributes), label.source, label.origin]
    return [
        *(str(film.uuid), film.original_name, patient, film.patient.sex, film.patient.age_band),
        *(film.view_position, film.laterality, film.columns, film.rows),
        " ".join(repr(float(side)) for side in spacing) if spacing else "",
        *of_label,
        *("|".join(tags), film.warning, film.created_at.isoformat()),
    ]


def file_name(dataset: Dataset) -> str:
    """Without the dataset's name, which is a user's text."""
    return f"hilum-dataset-{dataset.uuid}-films.csv"
