"""What readers of a study are compared with: labels at a cut-off that none of them gave, and where they come from."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from analysis.evaluation.looks import CannotEvaluate, look
from analysis.models import Reading, ReferenceSource, StudyReference, Worklist, WorklistReader
from portal.labels.resolving import resolve
from portal.models import (
    CurrentLabel,
    Exposure,
    LabelEvent,
    LabelSource,
    LabelValue,
    Part,
    QueueReading,
    SplitImage,
    User,
)
from portal.people import audit
from portal.people.access import require

LONGEST_STATEMENT = 500
_CHUNK = 500  # films in a query
_CALLS = {LabelValue.NORMAL: 0, LabelValue.ABNORMAL: 1}
WITHOUT_LABEL = "without such a label"


class ReferenceRefused(Exception):
    """The message is a sentence for the user."""


def state_reference(
    *, worklist: Worklist, source: str, statement: str, author: User, cutoff: datetime | None = None
) -> StudyReference:
    """State the reference of a study; it replaces an earlier statement, which is kept. Results with films of test are a
    look at test, which is counted here. Raises ReferenceRefused."""
    site = require(author, "make worklists", worklist.run.site)
    words = statement.strip()
    if not worklist.design:
        raise ReferenceRefused("This worklist is not a reader study, so it has no reference.")
    if source not in ReferenceSource.values:
        raise ReferenceRefused(f"There is no source {source!r}; use one of {', '.join(ReferenceSource.values)}.")
    if not words or len(words) > LONGEST_STATEMENT or "\0" in words:
        raise ReferenceRefused(
            f"Say in 1 to {LONGEST_STATEMENT} characters who labelled the films and from what, without NUL."
        )
    at = cutoff or timezone.now()
    if at > timezone.now():
        raise ReferenceRefused("The cut-off of the labels lies in the future; choose an earlier time.")
    try:
        with transaction.atomic():
            reference = StudyReference.objects.create(
                worklist=worklist, source=source, statement=words, label_cutoff=at, stated_by=author
            )
            if shows_test(worklist):
                assert worklist.run.detector is not None
                look(
                    split=worklist.run.detector.split,
                    author=author,
                    reason=f"reader study {worklist.name}"[:200],
                    run=worklist.run,
                )
            audit.record(
                verb="state reference",
                site=site,
                actor=author,
                target=worklist,
                after={"source": source, "statement": words, "label_cutoff": at.isoformat()},
            )
    except CannotEvaluate as error:
        raise ReferenceRefused(str(error)) from error
    return reference


def current_reference(worklist: Worklist) -> StudyReference | None:
    return worklist.references.select_related("stated_by").last()


def shows_test(worklist: Worklist) -> bool:
    """Whether the study has films of the test part of the detector's split."""
    if worklist.run.detector is None:
        return False
    of_test = SplitImage.objects.filter(
        member__split_id=worklist.run.detector.split_id,
        member__part=Part.TEST,
        image__in=worklist.items.values("image_id"),
    )
    return of_test.exists()


def readers_of(worklist: Worklist) -> set[int]:
    """Everybody who reads, has read or is to read the study."""
    begun = WorklistReader.objects.filter(worklist=worklist).values_list("reader_id", flat=True)
    return {*begun, *worklist.assignments.values_list("reader_id", flat=True)}


def reference_labels(reference: StudyReference) -> tuple[dict[int, int], dict[str, int]]:
    """0 (normal) or 1 (abnormal) by image id, and the number of the study's other films, by reason."""
    worklist = reference.worklist
    films = list(worklist.items.filter(repeat=0).order_by("position").values_list("image_id", flat=True))
    events = _counted_events(reference, films)
    labels: dict[int, int] = {}
    left_out: Counter[str] = Counter()
    for film in films:
        label = resolve(events[film])
        value = label.value if label is not None else ""
        if value in _CALLS:
            labels[film] = _CALLS[LabelValue(value)]
        else:
            left_out["labelled differently by several people" if value == CurrentLabel.UNRESOLVED
                     else f"labelled {value}" if value else WITHOUT_LABEL] += 1  # fmt: skip
    return labels, dict(left_out)


def _counted_events(reference: StudyReference, films: list[int]) -> dict[int, list[LabelEvent]]:
    """By film, oldest first: the events of people outside the study. For labels by people also without imported ones,
    and without those that an author gave after seeing a score or map of the film."""
    inside = readers_of(reference.worklist)
    by_people = reference.source == ReferenceSource.PEOPLE
    shown = _first_shown(films) if by_people else {}

    behind = _readings_behind(films) if by_people else {}

    def counts(event: LabelEvent) -> bool:
        if not event.value:  # it reverts another one
            return True
        if event.source == LabelSource.IMPORT:
            return not by_people
        if event.source == LabelSource.CONSENSUS:  # its author only closed the reading
            readings = behind.get(event.pk, [])
            return not any(reader in inside or model_shown for reader, model_shown in readings)
        seen = shown.get((event.image_id, event.author_id or 0))
        return event.author_id not in inside and (seen is None or seen > event.created_at)

    events: dict[int, list[LabelEvent]] = defaultdict(list)
    for chunk in _chunks(films):
        of_chunk = LabelEvent.objects.filter(image_id__in=chunk, created_at__lte=reference.label_cutoff)
        for event in of_chunk.defer("boxes", "reason").order_by("created_at", "pk"):
            if counts(event):
                events[event.image_id].append(event)
    return events


def _readings_behind(films: list[int]) -> dict[int, list[tuple[int, bool]]]:
    """By label event of a double reading: who read the film, and whether they had been shown a score or map."""
    behind: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for chunk in _chunks(films):
        rows = QueueReading.objects.filter(image_id__in=chunk, consensus__isnull=False)
        for event, reader, model_shown in rows.values_list("consensus__label_event", "reader_id", "model_shown"):
            behind[event].append((reader, model_shown))
    return behind


def _first_shown(films: list[int]) -> dict[tuple[int, int], datetime]:
    """When a person was first shown a score or map of a film, or read it with the model, by (image, person)."""
    first: dict[tuple[int, int], datetime] = {}
    for chunk in _chunks(films):
        kinds = [Exposure.Kind.SCORE, Exposure.Kind.MAP]
        seen = Exposure.objects.filter(image_id__in=chunk, kind__in=kinds)
        read = Reading.objects.filter(image_id__in=chunk, model_shown=True)
        for image, person, at in [
            *seen.values_list("image_id", "person_id", "created_at"),
            *read.values_list("image_id", "reader_id", "created_at"),
        ]:
            first[image, person] = min(at, first.get((image, person), at))
    return first


def _chunks(films: list[int]) -> Iterable[list[int]]:
    return (films[start : start + _CHUNK] for start in range(0, len(films), _CHUNK))
