"""Reader studies: which showings of which films a reader reads, in which order and stage, and when a stage is due.

In a sequential study a film is read without the model, then at once with it. In a crossover study there are two
sessions, one without and one with the model, at least `washout_days` apart; half of the readers begin with each. Some
films are shown twice (`WorklistItem.repeat`): the earlier showing is without the model, so that the agreement of a
reader with themselves is not an effect of the model. A study has one film per patient, so that revealing a film says
nothing about another one that is still to be read.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.utils import timezone

from analysis.models import HeatmapUse, Reading, Stage, StudyDesign, Worklist, WorklistItem, WorklistReader
from portal.models import Image

REPEAT_SHARE = 0.05
EARLIEST_SECOND = 0.25  # a second showing is at least this share of the list after the first


@dataclass(frozen=True)
class ReadingTask:
    """A showing of a film, and the stages in which the reader reads it in the current session."""

    item: WorklistItem
    stages: tuple[Stage, ...]


def stages_of(worklist: Worklist, item: WorklistItem) -> tuple[Stage, ...]:
    """The stages in which each reader reads a showing, over all sessions."""
    return (Stage.UNAIDED,) if item.repeat else (Stage.UNAIDED, Stage.AIDED)


def readings_needed(films: int, repeats: int) -> int:
    """How many readings each reader gives in a study."""
    return 2 * films + repeats


# The draw --------------------------------------------------------------------------------------------------


def one_film_a_patient(
    scores: Sequence[tuple[int, float]], generator: np.random.Generator
) -> tuple[list[tuple[int, float]], dict[int, float]]:
    """From (image id, score) of all films: those of one film per patient, drawn at random, in the order of `scores`;
    and the probability with which each of them was drawn among its patient's films, by image id."""
    patient_of = dict(Image.objects.filter(pk__in=[image for image, _ in scores]).values_list("pk", "patient_id"))
    of_patient: dict[int, list[int]] = defaultdict(list)
    for image, _ in scores:
        of_patient[patient_of[image]].append(image)
    chosen = {films[int(generator.integers(len(films)))]: 1 / len(films) for _, films in sorted(of_patient.items())}
    return [(image, score) for image, score in scores if image in chosen], chosen


def draw_repeats(films: int, share: float, generator: np.random.Generator) -> list[int]:
    """Indices of the films that are shown a second time: the share of `films`, at least one unless the share is 0."""
    count = min(films, max(1, round(share * films))) if share else 0
    return sorted(generator.choice(films, size=count, replace=False).tolist()) if count else []


# The order -------------------------------------------------------------------------------------------------


def order_of(items: Sequence[WorklistItem], seed: int) -> list[WorklistItem]:
    """The showings in a random order. The showing that counts comes at least a quarter of the list after the earlier
    one of the same film."""
    generator = np.random.Generator(np.random.PCG64(seed))
    repeated = {item.image_id for item in items if item.repeat}
    if not repeated:
        return [items[index] for index in generator.permutation(len(items))]
    places = dict(zip([(item.image_id, item.repeat) for item in items], generator.random(len(items)), strict=True))
    for image in repeated:
        first = places[image, 1] / 2
        places[image, 1] = first
        places[image, 0] = first + EARLIEST_SECOND + places[image, 0] / 4
    return sorted(items, key=lambda item: (places[item.image_id, item.repeat], item.position))


def tasks_of(begun: WorklistReader) -> list[ReadingTask]:
    """What the reader reads in the current session, in their order, read or not."""
    worklist = begun.worklist
    items = list(worklist.items.select_related("image"))
    if worklist.design == StudyDesign.SEQUENTIAL:
        return [ReadingTask(item, stages_of(worklist, item)) for item in order_of(items, begun.seed)]
    stage = current_stage(begun)
    if stage == Stage.AIDED:
        items = [item for item in items if not item.repeat]
    seed = begun.seed if stage == begun.first_stage else begun.seed ^ 1
    return [ReadingTask(item, (stage,)) for item in order_of(items, seed)]


# Sessions ----------------------------------------------------------------------------------------------------


def first_stage_of(worklist: Worklist, seed: int) -> Stage:
    """The stage with which the next reader of a crossover study begins: that with which fewer have begun; for as many,
    one by the reader's seed."""
    begun = list(worklist.readers.exclude(first_stage="").values_list("first_stage", flat=True))
    unaided, aided = begun.count(Stage.UNAIDED), begun.count(Stage.AIDED)
    if unaided == aided:
        return Stage.AIDED if seed % 2 else Stage.UNAIDED
    return Stage.UNAIDED if unaided < aided else Stage.AIDED


def current_stage(begun: WorklistReader) -> Stage:
    """The stage of a crossover study that the reader reads now, or will read after the washout."""
    first = Stage(begun.first_stage)
    if begun.first_ended_at is None:
        return first
    return Stage.UNAIDED if first == Stage.AIDED else Stage.AIDED


def second_session_from(begun: WorklistReader) -> datetime | None:
    """When the second session of a crossover study may begin; None while the first one lasts, and in other designs."""
    if begun.first_ended_at is None:
        return None
    return begun.first_ended_at + timedelta(days=begun.worklist.washout_days)


def why_session_waits(begun: WorklistReader) -> str:
    """Why the reader cannot read a crossover study now, as a sentence: the washout lasts; blank if they can."""
    opens = second_session_from(begun)
    return (
        f"Your second session opens on {opens:%Y-%m-%d}, after the washout." if opens and opens > timezone.now() else ""
    )


def days_until_expiry(worklist: Worklist) -> int:
    """From beginning to expiry: two sessions and the washout between them in a crossover study."""
    if worklist.design == StudyDesign.CROSSOVER:
        return 2 * worklist.days_to_read + worklist.washout_days
    return worklist.days_to_read


def unread_items(begun: WorklistReader) -> list[WorklistItem]:
    """The showings that lack a reading of this reader in one of their stages, over all sessions."""
    read = set(
        Reading.objects.filter(item__worklist_id=begun.worklist_id, reader_id=begun.reader_id).values_list(
            "item_id", "stage"
        )
    )
    worklist = begun.worklist
    return [
        item
        for item in worklist.items.select_related("image")
        if any((item.pk, stage) not in read for stage in stages_of(worklist, item))
    ]


# What may be stored and revealed -----------------------------------------------------------------------------


def why_not_now(*, begun: WorklistReader, item: WorklistItem, stage: str) -> str:
    """Why the reader may not read the showing in this stage now, as a sentence; blank if they may."""
    if stage not in stages_of(begun.worklist, item):
        return f"A reading of this film is made {_ways(begun.worklist, item)}; {stage or 'no stage'!r} was sent."
    own = dict(Reading.objects.filter(item=item, reader=begun.reader).values_list("stage", "pk"))
    if stage in own:
        which = "without the model" if stage == Stage.UNAIDED else "with the model"
        return f"Your reading of this film {which} is locked: in a reader study it cannot be replaced."
    if begun.worklist.design == StudyDesign.CROSSOVER:
        return _why_not_this_session(begun, stage)
    if stage == Stage.AIDED and Stage.UNAIDED not in own:
        return "Read this film without the model first: the score is shown once that reading is stored."
    return ""


def _ways(worklist: Worklist, item: WorklistItem) -> str:
    return " or ".join(f"{stage.value!r}" for stage in stages_of(worklist, item))


def _why_not_this_session(begun: WorklistReader, stage: str) -> str:
    waits = why_session_waits(begun)
    if waits:
        return waits
    if stage != current_stage(begun):
        now = "without" if current_stage(begun) == Stage.UNAIDED else "with"
        return f"In this session films are read {now} the model."
    return ""


def why_not_revealed(*, begun: WorklistReader, item: WorklistItem) -> str:
    """Why score and heatmap of the showing stay hidden from the reader, as a sentence; blank if they may be shown."""
    if Stage.AIDED not in stages_of(begun.worklist, item):
        return "This showing of the film is read without the model only."
    if begun.worklist.design == StudyDesign.CROSSOVER and _has_yet_to_read_without(begun, item):
        return "The session with the model is over: read this film without the model first."
    if Reading.objects.filter(item=item, reader=begun.reader, stage=Stage.AIDED).exists():
        return ""
    refusal = why_not_now(begun=begun, item=item, stage=Stage.AIDED)
    if refusal or begun.worklist.design == StudyDesign.CROSSOVER:
        return refusal
    others = begun.worklist.items.filter(image=item.image_id, repeat__gt=0)
    read = Reading.objects.filter(item__in=others, reader=begun.reader).count()
    return "" if read == others.count() else "Read the films in your order: load the page again."


def _has_yet_to_read_without(begun: WorklistReader, item: WorklistItem) -> bool:
    """Whether the session with the model came first and has ended, and a showing of the film still lacks its reading
    without the model."""
    if begun.first_stage != Stage.AIDED or begun.first_ended_at is None:
        return False
    showings = begun.worklist.items.filter(image=item.image_id)
    read = Reading.objects.filter(item__in=showings, reader=begun.reader, stage=Stage.UNAIDED)
    return read.count() < showings.count()


def is_revealed(*, item: WorklistItem, reader_id: int) -> bool:
    return HeatmapUse.objects.filter(item=item, reader_id=reader_id).exists()


def end_first_session(begun: WorklistReader) -> None:
    """Note the end of the first session of a crossover study once its last reading is stored."""
    if begun.worklist.design != StudyDesign.CROSSOVER or begun.first_ended_at is not None:
        return
    items = begun.worklist.items.all()
    due = items.count() if begun.first_stage == Stage.UNAIDED else items.filter(repeat=0).count()
    read = Reading.objects.filter(
        item__worklist_id=begun.worklist_id, reader_id=begun.reader_id, stage=begun.first_stage
    ).count()
    if read >= due:
        begun.first_ended_at = timezone.now()
        begun.save(update_fields=["first_ended_at"])
