"""What a person has been shown of a film: recorded where it is shown, and asked when the person reads the film.

Exposure never forbids a reading. A score or map that was seen before, or a label that was seen within the washout,
decides what the reading may be used for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Count, Q

from portal.models import Exposure, Image, User

WASHOUT_DAYS = 28
_BATCH = 1000


@dataclass(frozen=True)
class ShownTo:
    """The numbers of people who were shown a film's label, and a score or map of it."""

    label: int
    model: int


def record_exposure(person: User, kind: Exposure.Kind, images: Iterable[int], *, run: UUID = Exposure.NO_RUN) -> None:
    """Record, in bulk, that the person is shown this about the films with these ids. Call it where the page, file or
    response is made."""
    record_exposures(person, [(kind, image, run) for image in images])


def record_exposures(person: User, shown: Iterable[tuple[Exposure.Kind, int, UUID]]) -> None:
    """Record several kinds or runs at once: (kind, id of the film, run, which is NO_RUN for a label)."""
    day = datetime.now(UTC).date()
    Exposure.objects.bulk_create(
        [
            Exposure(person_id=person.pk, image_id=image, kind=kind, run=run, day=day)
            for kind, image, run in sorted(set(shown))
        ],
        batch_size=_BATCH,
        ignore_conflicts=True,
    )


def has_seen_model(person: User, image: Image) -> bool:
    """Whether the person was ever shown a score or a map of the film."""
    kinds = [Exposure.Kind.SCORE, Exposure.Kind.MAP]
    return Exposure.objects.filter(person=person, image=image, kind__in=kinds).exists()


def has_seen_label(person: User, image: Image, *, washout_days: int = WASHOUT_DAYS) -> bool:
    """Whether the person was shown the film's label, or another reader's verdict, within the washout."""
    since = datetime.now(UTC).date() - timedelta(days=washout_days)
    seen = Exposure.objects.filter(person=person, image=image, kind=Exposure.Kind.LABEL, day__gte=since)
    return seen.exists()


def shown_to(films: Sequence[Image]) -> dict[int, ShownTo]:
    """By film id; films that nobody was shown anything of are missing (a single query)."""
    rows = Exposure.objects.filter(image__in=[film.pk for film in films]).order_by().values_list("image")
    counts = rows.annotate(
        label=Count("person", distinct=True, filter=Q(kind=Exposure.Kind.LABEL)),
        model=Count("person", distinct=True, filter=Q(kind__in=[Exposure.Kind.SCORE, Exposure.Kind.MAP])),
    )
    return {image: ShownTo(label, model) for image, label, model in counts}
