"""Verdicts on the films of a worklist, and what can follow from them: an escalation, an adjudication.

A reader calls a film normal, abnormal or unsure. Agreement with the model is derived here: asking readers for it would
reveal which films were flagged. A verdict with the model at hand is stored with `model_shown`, and is no reference
unless an adjudicator who had not seen the model on that film gives the same verdict, where they give one of their own
before they see this one. In a reader study the verdict without the model is locked before score and heatmap are
revealed; the one with them is never a reference.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from analysis.models import (
    AdjudicationProposal,
    Agreement,
    Escalation,
    EscalationAnswer,
    HeatmapUse,
    Reading,
    Reason,
    Stage,
    Verdict,
    Worklist,
    WorklistItem,
    WorklistReader,
)
from analysis.reading.assignments import require_reader
from analysis.reading.reader_studies import end_first_session, is_revealed, stages_of, why_not_now, why_not_revealed
from analysis.reading.worklists import why_reading_is_over
from portal.labels.boxes import LONGEST_FINDING, InvalidBox, checked_boxes
from portal.models import Adjudication, Exposure, Image, User
from portal.people import audit, blinding
from portal.people.access import require
from portal.people.exposure import has_seen_label, has_seen_model, record_exposure

LONGEST_COMMENT = 2000
LONGEST_REASON = 500
MOST_FINDINGS = 20
LONGEST_SECONDS = 7 * 24 * 3600.0
UNVERIFIED = "unverified: read before it was recorded what readers had been shown"


class ReadingRefused(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class NewReading:
    """A reader's verdict on a film, as sent. The sender makes the `uuid`, so that a repeated request is stored once.

    Only in a reader study: `stage`, `rating` (the likelihood of abnormality, 0 to 100), and in the stage with the model
    `agreement` with it.
    """

    uuid: UUID
    verdict: str
    stage: str = ""
    rating: int | None = None
    agreement: str = ""
    reason: str = ""
    findings: Sequence[str] = ()
    comment: str = ""
    boxes: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    active_seconds: float = 0.0
    total_seconds: float = 0.0


def agrees(*, flagged: bool, verdict: str) -> bool | None:
    """Whether a verdict agrees with the model; None if it is unsure."""
    return None if verdict == Verdict.UNSURE else flagged == (verdict == Verdict.ABNORMAL)


def record(*, item: WorklistItem, reader: User, new: NewReading) -> Reading:
    """Store a reading; it replaces the reader's earlier reading of this item, except in a reader study. Raises
    ReadingRefused."""
    worklist = item.worklist
    site = require_reader(worklist, reader)
    boxes = _checked(new, worklist, item.image)
    with transaction.atomic():
        begun = WorklistReader.objects.select_for_update().filter(worklist=worklist, reader=reader).first()
        if begun is None:
            raise ReadingRefused("You have not begun this worklist; open its page first.")
        known = Reading.objects.filter(uuid=new.uuid).first()
        if known is not None:
            return _sent_again(known, item, reader)
        if over := why_reading_is_over(begun):
            raise ReadingRefused(over)
        earlier = None
        if worklist.design:
            begun.worklist = worklist
            heatmap = _check_stage(begun, item, new)
        else:
            earlier = Reading.objects.filter(item=item, reader=reader, replaced_by__isnull=True).first()
            heatmap = HeatmapUse.objects.filter(item=item, reader=reader).exists()
        reading = Reading.objects.create(
            uuid=new.uuid,
            image=item.image,
            run=worklist.run,
            item=item,
            reader=reader,
            replaces=earlier,
            stage=new.stage,
            verdict=new.verdict,
            confidence=new.rating,
            agreement=new.agreement,
            reason=new.reason,
            findings=[finding.strip() for finding in new.findings],
            comment=new.comment.strip(),
            boxes=boxes,
            active_seconds=new.active_seconds,
            total_seconds=new.total_seconds,
            model_shown=heatmap or not worklist.blinded or has_had_the_model(reader, item.image),
            heatmap_shown=heatmap,
            label_shown=has_seen_label(reader, item.image, washout_days=worklist.washout_days),
            sampling_probability=item.sampling_probability,
        )
        if not worklist.blinded:  # the film is on the list because of its score, which a double reading has to know too
            record_exposure(reader, Exposure.Kind.SCORE, [item.image_id], run=worklist.run.uuid)
        if worklist.design:
            end_first_session(begun)
        if _is_fully_read(item, reader):
            blinding.close_read(person=reader, image=item.image, source=worklist.uuid)
        audit.record(
            verb="read film",
            site=site,
            actor=reader,
            target=reading,
            before={"reading": str(earlier.uuid), "verdict": earlier.verdict} if earlier else None,
            after={
                "verdict": reading.verdict,
                "reason": reading.reason,
                "model_shown": reading.model_shown,
                "label_shown": reading.label_shown,
                **({"stage": reading.stage, "rating": reading.confidence} if reading.stage else {}),
            },
        )
    return reading


def _check_stage(begun: WorklistReader, item: WorklistItem, new: NewReading) -> bool:
    """Whether the reader reads with the model. Raises ReadingRefused."""
    refusal = why_not_now(begun=begun, item=item, stage=new.stage)
    if refusal:
        raise ReadingRefused(refusal)
    is_aided = new.stage == Stage.AIDED
    if is_aided and not is_revealed(item=item, reader_id=begun.reader_id):
        raise ReadingRefused("Score and heatmap of this film have not been shown to you yet; load the page again.")
    return is_aided


def _is_fully_read(item: WorklistItem, reader: User) -> bool:
    """Whether what is said about the film need not be withheld from the reader any longer."""
    if not item.worklist.design:
        return True
    if item.repeat:
        return False
    read = Reading.objects.filter(item=item, reader=reader).values_list("stage", flat=True)
    return set(stages_of(item.worklist, item)) <= set(read)


def _sent_again(known: Reading, item: WorklistItem, reader: User) -> Reading:
    if known.item_id != item.pk or known.reader_id != reader.pk:
        raise ReadingRefused("Another reading already has this UUID; load the page again and read the film again.")
    return known


def has_had_the_model(reader: User, image: Image) -> bool:
    """Whether the person was shown a score or a map of the film, or read it with the model at hand before."""
    before = Reading.objects.filter(image=image, reader=reader, model_shown=True)
    return has_seen_model(reader, image) or before.exists()


def _checked(new: NewReading, worklist: Worklist, image: Image) -> list[dict[str, Any]]:
    """The boxes to store. Raises ReadingRefused for an invalid reading."""
    _check_study(new, worklist)
    if new.verdict not in Verdict.values:
        raise ReadingRefused(f"The verdict {new.verdict!r} is unknown; use one of {', '.join(Verdict.values)}.")
    if new.reason and new.reason not in Reason.values:
        raise ReadingRefused(f"The reason {new.reason!r} is unknown; use one of {', '.join(Reason.values)}.")
    if new.verdict == Verdict.NORMAL and new.reason == Reason.TRUE_FINDING:
        raise ReadingRefused("A normal film has no true finding: choose abnormal, or another reason.")
    if new.verdict == Verdict.ABNORMAL and not new.reason and not worklist.design:
        raise ReadingRefused("An abnormal film needs a reason; choose one, such as true finding.")
    _check_words(new)
    times = (new.active_seconds, new.total_seconds)
    if not all(math.isfinite(time) for time in times) or not 0 <= times[0] <= times[1] <= LONGEST_SECONDS:
        raise ReadingRefused(
            f"The times are {times[0]:g} s active of {times[1]:g} s in total; active time is at most the total, "
            "and the total at most a week."
        )
    try:
        return checked_boxes(new.boxes, image)
    except InvalidBox as error:
        raise ReadingRefused(str(error)) from error


def _check_study(new: NewReading, worklist: Worklist) -> None:
    if not worklist.design:
        if new.stage or new.rating is not None or new.agreement:
            raise ReadingRefused(
                "This worklist is not a reader study: its readings have no stage, rating or agreement."
            )
        return
    if new.rating is None or not 0 <= new.rating <= 100:
        raise ReadingRefused("Rate the likelihood that the film is abnormal: a whole number from 0 to 100.")
    if new.agreement and new.agreement not in Agreement.values:
        raise ReadingRefused(f"The agreement {new.agreement!r} is unknown; use one of {', '.join(Agreement.values)}.")
    if (new.stage == Stage.AIDED) != bool(new.agreement):
        raise ReadingRefused(
            "Say whether you agree with the model, once it is shown: only and always in the reading with the model."
        )
    if new.agreement == Agreement.DISAGREE and not new.reason:
        raise ReadingRefused("A disagreement with the model needs a reason; choose one, such as device.")


def _check_words(new: NewReading) -> None:
    if len(new.findings) > MOST_FINDINGS:
        raise ReadingRefused(f"{len(new.findings)} findings are named; name at most {MOST_FINDINGS}.")
    for finding in new.findings:
        if not finding.strip() or "|" in finding or len(finding) > LONGEST_FINDING:
            raise ReadingRefused(
                f"The finding {finding[:LONGEST_FINDING]!r} is blank, too long or holds a '|'; enter each separately."
            )
    if len(new.comment) > LONGEST_COMMENT:
        raise ReadingRefused(
            f"The comment has {len(new.comment)} characters; shorten it to {LONGEST_COMMENT} or fewer."
        )
    if any("\0" in text for text in (new.comment, *new.findings)):  # PostgreSQL cannot store one in text
        raise ReadingRefused("The comment or a finding contains a NUL character; remove it.")


def show_heatmap(*, item: WorklistItem, reader: User) -> None:
    """Record that the reader saw the heatmap of this item. Raises ReadingRefused if the worklist has none."""
    require_reader(item.worklist, reader)
    if item.worklist.blinded:
        raise ReadingRefused("This worklist is read without the model, so it has no heatmap.")
    if not WorklistReader.objects.filter(worklist=item.worklist, reader=reader).exists():
        raise ReadingRefused("You have not begun this worklist; open its page first.")
    HeatmapUse.objects.get_or_create(item=item, reader=reader)
    record_exposure(reader, Exposure.Kind.MAP, [item.image_id], run=item.worklist.run.uuid)


def reveal(*, item: WorklistItem, reader: User) -> None:
    """Record that the reader of a study is shown the film's score and heatmap. Raises ReadingRefused as long as the
    reading without the model has to come first, and PermissionDenied while they read the film blinded elsewhere."""
    worklist = item.worklist
    require_reader(worklist, reader)
    if not worklist.design:
        raise ReadingRefused("This worklist is not a reader study, so it has nothing to reveal.")
    begun = WorklistReader.objects.filter(worklist=worklist, reader=reader).first()
    if begun is None:
        raise ReadingRefused("You have not begun this worklist; open its page first.")
    begun.worklist = worklist
    refusal = why_not_revealed(begun=begun, item=item)
    if refusal:
        raise ReadingRefused(refusal)
    blinding.refuse_withheld(reader, item.image, revealed_in=worklist.uuid)
    with transaction.atomic():
        HeatmapUse.objects.get_or_create(item=item, reader=reader)
        for kind in (Exposure.Kind.SCORE, Exposure.Kind.MAP):
            record_exposure(reader, kind, [item.image_id], run=worklist.run.uuid)


# What can follow from a reading --------------------------------------------------------------------------


def escalate(*, item: WorklistItem, reader: User, reason: str) -> Escalation:
    """Report a film that needs action outside research to the honest broker. Raises ReadingRefused."""
    site = require_reader(item.worklist, reader)
    words = _sentence(reason, "Write in a few words why the film needs action outside research.")
    with transaction.atomic():
        escalation = Escalation.objects.create(image=item.image, item=item, reader=reader, reason=words)
        audit.record(verb="escalate film", site=site, actor=reader, target=escalation)
    return escalation


def answer_escalation(*, escalation: Escalation, broker: User, action: str) -> EscalationAnswer:
    """Raises ReadingRefused."""
    site = require(broker, "answer escalations", escalation.image.dataset.site)
    words = _sentence(action, "Write in a few words what was done, without a name.")
    try:
        with transaction.atomic():
            answer = EscalationAnswer.objects.create(escalation=escalation, broker=broker, action=words)
            audit.record(verb="answer escalation", site=site, actor=broker, target=escalation)
    except IntegrityError as error:
        raise ReadingRefused("This escalation has been answered already; load the page again.") from error
    return answer


def propose_adjudication(*, reading: Reading, author: User) -> AdjudicationProposal:
    """Propose the film of a reading for a blinded adjudication. Raises ReadingRefused."""
    site = require(author, "propose adjudications", reading.image.dataset.site)
    if Reading.objects.filter(replaces=reading).exists():
        raise ReadingRefused("The reader has corrected this reading since; propose the newer reading.")
    with transaction.atomic():
        proposal, is_new = AdjudicationProposal.objects.get_or_create(reading=reading, defaults={"proposed_by": author})
        if is_new:
            audit.record(verb="propose adjudication", site=site, actor=author, target=proposal)
    return proposal


def _sentence(text: str, what_to_do: str) -> str:
    words = text.strip()
    if not words or len(words) > LONGEST_REASON or "\0" in words:
        raise ReadingRefused(
            f"{what_to_do} The text has {len(words)} characters; write 1 to {LONGEST_REASON}, without NUL."
        )
    return words


# What a reading may be used for ----------------------------------------------------------------------


def usable_as_reference(readings: Sequence[Reading]) -> set[int]:
    """The primary keys of the readings that may be used as reference labels: made before the reader was shown the
    model's score or map, and without a label within the washout; or confirmed later by an adjudicator. What confirms is
    the adjudicator's own verdict, if neither the model nor a label had been shown to them; where they decided with the
    labels in view, the label that they gave, if they were never shown the model's score or map of the film. Nobody
    confirms a reading of their own, and a reading of a study with the model never is usable."""
    films = {reading.image_id for reading in readings if _was_influenced(reading)}
    adjudications: dict[int, list[Adjudication]] = {}
    for adjudication in Adjudication.objects.filter(image_id__in=films).select_related("own_verdict"):
        adjudications.setdefault(adjudication.image_id, []).append(adjudication)
    assisted = _first_with_the_model(films)
    of_films = Exposure.objects.filter(image_id__in=films, kind__in=[Exposure.Kind.SCORE, Exposure.Kind.MAP])
    shown = set(of_films.values_list("image_id", "person_id"))

    def confirms(adjudication: Adjudication, reading: Reading) -> bool:
        own = adjudication.own_verdict
        given = own or adjudication
        pair = (adjudication.image_id, adjudication.adjudicator_id)
        if own is None:
            was_shown = pair in assisted or pair in shown
        else:
            was_shown = own.model_shown or own.label_shown or (pair in assisted and assisted[pair] < own.created_at)
        value = own.value if own else adjudication.verdict
        is_later = given.created_at > reading.created_at and adjudication.adjudicator_id != reading.reader_id
        return value == reading.verdict and is_later and not was_shown

    def confirmed(reading: Reading) -> bool:
        return any(confirms(adjudication, reading) for adjudication in adjudications.get(reading.image_id, []))

    return {
        reading.pk
        for reading in readings
        if reading.stage != Stage.AIDED and (not _was_influenced(reading) or confirmed(reading))
    }


def _first_with_the_model(films: Iterable[int]) -> dict[tuple[int, int], datetime]:
    """When each person first read each of the films with the model, or opened its heatmap: by film and person."""
    ids = list(films)
    rows = [
        *Reading.objects.filter(image_id__in=ids, model_shown=True).values_list("image_id", "reader_id", "created_at"),
        *HeatmapUse.objects.filter(item__image_id__in=ids).values_list("item__image_id", "reader_id", "created_at"),
    ]
    first: dict[tuple[int, int], datetime] = {}
    for image_id, reader_id, at in rows:
        first[image_id, reader_id] = min(at, first.get((image_id, reader_id), at))
    return first


def _was_influenced(reading: Reading) -> bool:
    return reading.model_shown or reading.label_shown


def why_no_reference(reading: Reading, *, usable: bool) -> str:
    """In a few words, why the reading is no reference label, or what is not known about it; blank for neither. `usable`
    is whether it is in `usable_as_reference`."""
    reasons = []
    if not usable:
        shown = [word for word, was in (("model", reading.model_shown), ("label", reading.label_shown)) if was]
        reasons.append(f"{' and '.join(shown)} shown" if shown else "read with the model")
    if not reading.exposure_known:
        reasons.append(UNVERIFIED)
    return "; ".join(reasons)
