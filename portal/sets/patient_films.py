"""The other films of a film's patient, in order of acquisition where it is known.

Everything here may be shown to a person who reads blinded: no label, finding, file name or dataset is part of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from portal.models import Image, User
from portal.people.access import visible

MOST = 12


@dataclass(frozen=True)
class OtherFilm:
    """`days` from the film to this one, negative if it is earlier; None if that is not known."""

    image: Image
    days: int | None
    same_study: bool

    @property
    def when(self) -> str:
        """Such as "412 days before"; blank if it is not known."""
        if self.days is None:
            return ""
        if self.days == 0:
            return "same date"
        return f"{abs(self.days):,} day{'s' * (abs(self.days) > 1)} {'before' if self.days < 0 else 'after'}"


@dataclass(frozen=True)
class OtherFilms:
    """`note` says in which order they are."""

    films: tuple[OtherFilm, ...]
    note: str


def other_films(film: Image, person: User) -> OtherFilms:
    """Return the patient's other films that the person may see, oldest first if dates tell the order, otherwise as
    imported; without further copies of the same pixels, and at most MOST of them, those nearest in time."""
    of_patient = visible(Image.objects.filter(patient=film.patient_id), person).exclude(pixel_sha256=film.pixel_sha256)
    images = _without_copies(of_patient.defer("facts", "header", "extra").order_by("pk"))
    days = {image.pk: _days_between(film, image) for image in images}
    if not any(days.values()):  # one date for all films, as a tool that removes dates writes it, tells nothing either
        note = "The order of acquisition is not known; films are in order of import."
        return _listed(film, images, {}, note)
    dated = sorted((image for image in images if days[image.pk] is not None), key=lambda image: days[image.pk] or 0)
    undated = [image for image in images if days[image.pk] is None]
    note = "Oldest to newest."
    if undated:
        which = "1 film without a date is" if len(undated) == 1 else f"{len(undated)} films without a date are"
        note = f"Oldest to newest; {which} last."
    return _listed(film, [*dated, *undated], days, note)


def _without_copies(images: Iterable[Image]) -> list[Image]:
    first: dict[str, Image] = {}
    for image in images:
        first.setdefault(image.pixel_sha256, image)
    return list(first.values())


def _days_between(film: Image, other: Image) -> int | None:
    if film.acquired_day is None or other.acquired_day is None:
        return None
    return (other.acquired_day - film.acquired_day).days


def _listed(film: Image, images: Sequence[Image], days: dict[int, int | None], note: str) -> OtherFilms:
    others = [
        OtherFilm(image, days.get(image.pk), film.study_id is not None and image.study_id == film.study_id)
        for image in images
    ]
    if len(others) > MOST:
        nearest = sorted(others, key=lambda other: (other.days is None, abs(other.days or 0)))[:MOST]
        others = [other for other in others if other in nearest]
        note = f"{note} {len(images) - MOST} more are not listed."
    return OtherFilms(tuple(others), note)
