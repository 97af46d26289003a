"""Blinded reading: what a person may not see while films wait for their own verdict.

Until the verdict on an open blinded film is in, everything that the model or other people have said about the films of
its patient is withheld from that person: pages omit these films and say how many, files that hold one are refused
whole. A film stays open until it is read, handed back, or expired. Superusers are no exception.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.utils import timezone

from portal.models import BlindedFilm, Image, User

M = TypeVar("M", bound=Model)
_BATCH = 1000


def open_films(person: User) -> QuerySet[BlindedFilm]:
    """The films that the person has yet to read blinded."""
    return BlindedFilm.objects.filter(person_id=person.pk, closed_at__isnull=True, expires_at__gt=timezone.now())


def withheld_patients(person: User) -> set[int]:
    """The ids of the patients about whose films the person may be shown nothing (a single query)."""
    return set(open_films(person).values_list("image__patient_id", flat=True))


def withheld_images(person: User) -> QuerySet[Image]:
    """All films of those patients."""
    return Image.objects.filter(patient__in=open_films(person).values("image__patient_id"))


def is_withheld(person: User, image: Image) -> bool:
    return open_films(person).filter(image__patient_id=image.patient_id).exists()


def without_withheld(rows: QuerySet[M], person: User, *, film: str = "") -> QuerySet[M]:
    """The rows whose film is not withheld. `film` is the lookup from a row to its film, blank for films themselves."""
    prefix = f"{film}__" if film else ""
    patients = withheld_patients(person)
    return rows.exclude(**{f"{prefix}patient_id__in": patients}) if patients else rows


def omitted(films: int) -> str:
    """How many films a page omits, as a sentence; blank for none. Count over all films that the page could show, not
    over those of a filter: how many films with a given label are withheld would reveal their labels."""
    if not films:
        return ""
    which = "1 film is" if films == 1 else f"{films} films are"
    return f"{which} omitted: you have yet to read {'it' if films == 1 else 'them'}, or others of the patient, blinded."


def omitted_among(films: QuerySet[Image], person: User) -> str:
    """`omitted` for these films, which must be all that the page could show."""
    patients = withheld_patients(person)
    return omitted(films.filter(patient_id__in=patients).count()) if patients else ""


def left_out(person: User) -> str:
    """That a page leaves films out, without a number, for pages on which a film's presence itself says something about
    it: a cohort of normals, the least normal films. Depends only on whether the person has open films."""
    if not withheld_patients(person):
        return ""
    return "Films that you have yet to read blinded, and others of these patients, are left out here and not counted."


def refuse_withheld(person: User, image: Image, *, revealed_in: UUID | None = None) -> None:
    """Raises PermissionDenied if the film is withheld from the person. `revealed_in` is a reader study whose own rows
    do not count: it reveals score and map of a film after the verdict without them."""
    rows = open_films(person).filter(image__patient_id=image.patient_id)
    row = (rows.exclude(source=revealed_in) if revealed_in else rows).first()
    if row is not None:
        raise PermissionDenied(
            f"You read films of this patient blinded in {row.source_words}: labels, scores and maps stay hidden from "
            "you until your verdict is in. Read the film first, or hand back what is left of the list."
        )


def refuse_file(person: User, films: QuerySet[Image], *, what: str = "This file") -> None:
    """Raises PermissionDenied if a file would hold what is said about a withheld film. `what` names the file."""
    patients = withheld_patients(person)
    count = films.filter(patient_id__in=patients).count() if patients else 0
    if count:
        row = open_films(person).first()
        words = row.source_words if row is not None else "a worklist"
        which = "a film that" if count == 1 else f"{count} films that"
        raise PermissionDenied(
            f"{what} holds {which} you have yet to read blinded, for example in {words}. Read them first, or hand "
            "back what is left of the list."
        )


def open_for(*, person: User, images: Iterable[Image], source: UUID, words: str, days: int) -> None:
    """Withhold the films from the person until they are read, at most for `days`. Rows that expired are closed as
    handed back and opened again. `words` names the source in sentences."""
    now = timezone.now()
    lapsed = BlindedFilm.objects.filter(person=person, source=source, closed_at__isnull=True, expires_at__lte=now)
    lapsed.update(closed_at=now, outcome=BlindedFilm.Outcome.HANDED_BACK)
    BlindedFilm.objects.bulk_create(
        [
            BlindedFilm(
                person=person,
                image=image,
                source=source,
                source_words=words[:200],
                expires_at=now + timedelta(days=days),
            )
            for image in images
        ],
        batch_size=_BATCH,
        ignore_conflicts=True,
    )


def close_read(*, person: User, image: Image, source: UUID) -> None:
    """The person's verdict on the film is in."""
    _close(BlindedFilm.objects.filter(person=person, source=source, image=image), BlindedFilm.Outcome.READ)


def hand_back(*, person: User, source: UUID) -> int:
    """Close what the person has not read of the source. Returns the number of films."""
    return _close(BlindedFilm.objects.filter(person=person, source=source), BlindedFilm.Outcome.HANDED_BACK)


def close_settled(*, image: Image, source: UUID) -> int:
    """Close the film for all who have not read it: nobody's verdict on it is awaited any longer. Returns their
    number."""
    return _close(BlindedFilm.objects.filter(image=image, source=source), BlindedFilm.Outcome.HANDED_BACK)


def is_withheld_elsewhere(person: User, image: Image, *, source: UUID) -> bool:
    """Whether the film, or another of its patient, is withheld from the person by another source."""
    return open_films(person).exclude(source=source).filter(image__patient_id=image.patient_id).exists()


def _close(rows: QuerySet[BlindedFilm], outcome: BlindedFilm.Outcome) -> int:
    return rows.filter(closed_at__isnull=True).update(closed_at=timezone.now(), outcome=outcome)


def left_to_read(person: User, sources: Sequence[UUID]) -> dict[UUID, int]:
    """The number of open films of each source; sources without one are missing."""
    counts: dict[UUID, int] = {}
    for source in open_films(person).filter(source__in=sources).values_list("source", flat=True):
        counts[source] = counts.get(source, 0) + 1
    return counts
