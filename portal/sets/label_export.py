"""What is known of the labels of a dataset, a cohort or a split, film by film: the label that counts with its findings
and boxes, and the history of all label events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from portal.labels.resolving import counted_events, differ
from portal.models import Cohort, CurrentLabel, Dataset, Exposure, Image, LabelEvent, Split, SplitImage, User
from portal.people import blinding
from portal.people.exposure import record_exposure

FilmSet = Dataset | Cohort | Split
_CHUNK = 500


@dataclass(frozen=True)
class ExportedLabel:
    """`reader`: the code of a reader of a published dataset, whose label this is; a film has one for each of them."""

    value: str
    findings: Sequence[str] = ()
    attributes: Sequence[str] = ()
    boxes: Sequence[Mapping[str, Any]] = ()
    source: str = ""
    origin: str = ""
    reader: str = ""


@dataclass(frozen=True)
class ExportedFilm:
    """`labels`: those that count: one, none, or one for each reader of a published dataset. `patient` is blank for a
    film that counts as its own patient."""

    image: Image
    name: str
    split: str
    labels: Sequence[ExportedLabel]
    is_unresolved: bool
    history: Sequence[LabelEvent]

    @property
    def patient(self) -> str:
        return str(self.image.patient.uuid) if self.image.patient.identified else ""


def films_of(films: FilmSet) -> QuerySet[Image]:
    """In the order of their import."""
    if isinstance(films, Dataset):
        of_set = films.images.all()
    elif isinstance(films, Cohort):
        of_set = Image.objects.filter(cohort_images__cohort=films)
    else:
        of_set = Image.objects.filter(split_images__member__split=films)
    return of_set.order_by("pk")


def open_export(films: FilmSet, person: User) -> QuerySet[Image]:
    """The films for a person, to whom their labels count as shown. Raises PermissionDenied where the person has yet to
    read one of them blinded."""
    of_set = films_of(films)
    blinding.refuse_file(person, of_set, what="The export of labels")
    record_exposure(person, Exposure.Kind.LABEL, list(of_set.values_list("pk", flat=True)))
    return of_set


def exported_films(films: FilmSet) -> Iterator[ExportedFilm]:
    """A few hundred at a time. Films are named as in the table that they were imported with if each has a name of its
    own there, otherwise as in the archive of a run."""
    ids = list(films_of(films).values_list("pk", flat=True))
    names = list(films_of(films).values_list("original_name", flat=True))
    has_own = all(names) and len(set(names)) == len(names)
    parts: dict[int, str] = {}
    if isinstance(films, Split):
        members = SplitImage.objects.filter(member__split=films)
        parts = dict(members.values_list("image_id", "member__part"))
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        images = Image.objects.select_related("patient").filter(pk__in=chunk).defer("facts", "extra").order_by("pk")
        events = _events(chunk)
        for image in images:
            name = image.original_name if has_own else f"files/{image.uuid}.u16.gz"
            yield _film(image, name, parts.get(image.pk, image.csv_split), events[image.pk])


def _events(ids: Sequence[int]) -> dict[int, list[LabelEvent]]:
    events: dict[int, list[LabelEvent]] = defaultdict(list)
    rows = LabelEvent.objects.filter(image_id__in=ids).select_related("author", "criteria", "reverts")
    for event in rows.order_by("created_at", "pk"):
        events[event.image_id].append(event)
    return events


def _film(image: Image, name: str, split: str, events: Sequence[LabelEvent]) -> ExportedFilm:
    counted = counted_events(events)
    is_unresolved = bool(counted) and differ(counted)
    of_readers = any(event.reader for event in counted)
    used = counted if of_readers else [] if is_unresolved else counted[-1:]
    labels = [_label(event) for event in used]
    return ExportedFilm(image, name, split, labels=labels, is_unresolved=is_unresolved, history=events)


def _label(event: LabelEvent) -> ExportedLabel:
    return ExportedLabel(
        value=event.value,
        findings=event.findings,
        attributes=event.attributes,
        boxes=event.boxes,
        source=event.source,
        origin=event.origin,
        reader=event.reader,
    )


def value_of_film(film: ExportedFilm) -> str:
    """A LabelValue, `unresolved`, or blank for a film without a label."""
    if film.is_unresolved:
        return CurrentLabel.UNRESOLVED
    return film.labels[-1].value if film.labels else ""


def file_name(films: FilmSet, file: str) -> str:
    """Without the name of the set, which is a user's text."""
    kind = type(films).__name__.lower()
    uuid: UUID = films.uuid
    return f"hilum-{kind}-{uuid}-{file}"
