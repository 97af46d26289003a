"""Records which films' labels, scores and maps a page or file of results shows; see `portal.people.exposure`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from portal.models import Exposure, Image, User
from portal.people.exposure import record_exposures

LABEL, SCORE, MAP = Exposure.Kind.LABEL, Exposure.Kind.SCORE, Exposure.Kind.MAP
_BATCH = 1000


def record_shown(
    person: User, images: Iterable[str | UUID | None], kinds: Sequence[Exposure.Kind], *, runs: Sequence[UUID] = ()
) -> None:
    """Record that the person is shown these kinds about the films with these UUIDs, by each of the runs. What is
    recorded today already is looked up first, since figures show thousands of films again and again."""
    uuids = sorted({str(image) for image in images if image is not None})
    wanted = [(kind, run) for kind in kinds for run in ([Exposure.NO_RUN] if kind == LABEL else runs)]
    day = datetime.now(UTC).date()
    for start in range(0, len(uuids), _BATCH):
        ids = set(Image.objects.filter(uuid__in=uuids[start : start + _BATCH]).values_list("pk", flat=True))
        known = set(
            Exposure.objects.filter(
                person=person, day=day, image_id__in=ids, kind__in=kinds, run__in={run for _, run in wanted}
            ).values_list("kind", "image_id", "run")
        )
        shown = {(kind, image, run) for image in ids for kind, run in wanted}
        record_exposures(person, shown - known)


def record_whole_set(person: User, films: Iterable[int], kind: Exposure.Kind, *, run: UUID = Exposure.NO_RUN) -> None:
    """As `record_shown`, for so many films with these ids that all that was recorded today is looked up at once."""
    today = Exposure.objects.filter(person=person, day=datetime.now(UTC).date(), kind=kind, run=run)
    known = set(today.values_list("image_id", flat=True))
    record_exposures(person, [(kind, film, run) for film in films if film not in known])


def films_in(figures: Mapping[str, Any]) -> Iterator[str]:
    """The UUIDs of the films that figures, as JSON for Plotly, name or mark."""
    for figure in figures.values():
        for trace in figure["data"]:
            yield from (image for image in trace.get("customdata") or () if image is not None)
