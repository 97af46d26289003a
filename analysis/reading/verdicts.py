"""Verdicts on the films of a worklist, and what a reader may set off from one: an escalation, an adjudication.

A reader says normal, abnormal or unsure of a film. Whether that agrees with the model is worked out here: to ask for
agreement would tell which films were flagged. A verdict given with the model at hand carries `model_shown`, and is no
reference unless an adjudicator who never saw the model on that film came to the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from analysis.models import (
    AdjudicationProposal,
    Escalation,
    EscalationAnswer,
    HeatmapUse,
    Reading,
    Reason,
    Verdict,
    WorklistItem,
    WorklistReader,
)
from portal.models import Adjudication, Image, User
from portal.people import audit
from portal.people.access import require

LONGEST_COMMENT = 2000
LONGEST_FINDING = 100
LONGEST_REASON = 500
MOST_FINDINGS = 20
MOST_BOXES = 50
LONGEST_SECONDS = 7 * 24 * 3600.0


class ReadingRefused(Exception):
    """A sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class NewReading:
    """What a reader says of a film. `uuid` is made by whoever sends it, so that sending it twice keeps it once."""

    uuid: UUID
    verdict: str
    reason: str = ""
    findings: Sequence[str] = ()
    comment: str = ""
    boxes: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    active_seconds: float = 0.0
    total_seconds: float = 0.0


def agrees(*, flagged: bool, verdict: str) -> bool | None:
    """Whether a verdict agrees with the model; None of an unsure one."""
    return None if verdict == Verdict.UNSURE else flagged == (verdict == Verdict.ABNORMAL)


def record(*, item: WorklistItem, reader: User, given: NewReading) -> Reading:
    """Keep a reading; it replaces the reader's earlier one of this item. Raises ReadingRefused."""
    worklist = item.worklist
    site = require(reader, "read worklists", worklist.run.site)
    boxes = _checked(given, item.image)
    with transaction.atomic():
        begun = WorklistReader.objects.select_for_update().filter(worklist=worklist, reader=reader).first()
        if begun is None:
            raise ReadingRefused("You have not begun this worklist; open its page first.")
        known = Reading.objects.filter(uuid=given.uuid).first()
        if known is not None:
            return _sent_again(known, item, reader)
        earlier = Reading.objects.filter(item=item, reader=reader, replaced_by__isnull=True).first()
        heatmap = HeatmapUse.objects.filter(item=item, reader=reader).exists()
        reading = Reading.objects.create(
            uuid=given.uuid,
            image=item.image,
            run=worklist.run,
            item=item,
            reader=reader,
            replaces=earlier,
            verdict=given.verdict,
            reason=given.reason,
            findings=[finding.strip() for finding in given.findings],
            comment=given.comment.strip(),
            boxes=boxes,
            active_seconds=given.active_seconds,
            total_seconds=given.total_seconds,
            model_shown=heatmap or not worklist.blinded or _has_seen_the_model(reader, item.image),
            heatmap_shown=heatmap,
            sampling_probability=item.sampling_probability,
        )
        audit.record(
            verb="read film",
            site=site,
            actor=reader,
            target=reading,
            before={"reading": str(earlier.uuid), "verdict": earlier.verdict} if earlier else None,
            after={"verdict": reading.verdict, "reason": reading.reason, "model_shown": reading.model_shown},
        )
    return reading


def _sent_again(known: Reading, item: WorklistItem, reader: User) -> Reading:
    if known.item_id != item.pk or known.reader_id != reader.pk:
        raise ReadingRefused("Another reading has this address already; load the page again and read the film anew.")
    return known


def _has_seen_the_model(reader: User, image: Image) -> bool:
    """Whether the model was at hand when this person read the film before."""
    return Reading.objects.filter(image=image, reader=reader, model_shown=True).exists()


def _checked(given: NewReading, image: Image) -> list[dict[str, Any]]:
    """The boxes as they are kept. Raises ReadingRefused for anything that no reading may hold."""
    if given.verdict not in Verdict.values:
        raise ReadingRefused(f"The verdict {given.verdict!r} is unknown; use one of {', '.join(Verdict.values)}.")
    if given.reason and given.reason not in Reason.values:
        raise ReadingRefused(f"The reason {given.reason!r} is unknown; use one of {', '.join(Reason.values)}.")
    if given.verdict == Verdict.NORMAL and given.reason == Reason.TRUE_FINDING:
        raise ReadingRefused("A normal film has no true finding: choose abnormal, or another reason.")
    if given.verdict == Verdict.ABNORMAL and not given.reason:
        raise ReadingRefused("An abnormal film needs a reason; choose one, such as true finding.")
    _check_words(given)
    times = (given.active_seconds, given.total_seconds)
    if not all(math.isfinite(time) for time in times) or not 0 <= times[0] <= times[1] <= LONGEST_SECONDS:
        raise ReadingRefused(
            f"The times are {times[0]:g} s active of {times[1]:g} s; active time is at most the total, and that a week."
        )
    if len(given.boxes) > MOST_BOXES:
        raise ReadingRefused(f"{len(given.boxes)} boxes are drawn; at most {MOST_BOXES} are kept.")
    return [_box(box, image) for box in given.boxes]


def _check_words(given: NewReading) -> None:
    if len(given.findings) > MOST_FINDINGS:
        raise ReadingRefused(f"{len(given.findings)} findings are named; at most {MOST_FINDINGS} are kept.")
    for finding in given.findings:
        if not finding.strip() or "|" in finding or len(finding) > LONGEST_FINDING:
            raise ReadingRefused(
                f"The finding {finding[:LONGEST_FINDING]!r} is blank, too long or holds a '|'; name each by itself."
            )
    if len(given.comment) > LONGEST_COMMENT:
        raise ReadingRefused(f"The comment has {len(given.comment)} characters; at most {LONGEST_COMMENT} are kept.")
    if any("\0" in text for text in (given.comment, *given.findings)):  # PostgreSQL keeps none in text
        raise ReadingRefused("The comment or a finding holds a NUL character; write it without.")


def _box(box: Mapping[str, Any], image: Image) -> dict[str, Any]:
    try:
        x, y, width, height = (float(box[name]) for name in ("x", "y", "width", "height"))
    except (KeyError, TypeError, ValueError):
        raise ReadingRefused("A box has no x, y, width and height in film pixels; draw it again.") from None
    inside = x >= 0 and y >= 0 and x + width <= image.columns and y + height <= image.rows
    if not all(math.isfinite(side) for side in (x, y, width, height)) or not inside or width <= 0 or height <= 0:
        raise ReadingRefused(
            f"A box reaches from ({x:g}, {y:g}) by {width:g} × {height:g}, and the film has {image.columns} × "
            f"{image.rows} pixels; draw it inside the film."
        )
    finding = str(box.get("finding") or "")
    if len(finding) > LONGEST_FINDING or "\0" in finding:
        raise ReadingRefused(f"The finding of a box is at most {LONGEST_FINDING} characters; shorten it.")
    return {"x": x, "y": y, "width": width, "height": height, "finding": finding}


def show_heatmap(*, item: WorklistItem, reader: User) -> None:
    """Keep that the reader asked for the heatmap of this item. Raises ReadingRefused where it is read without."""
    require(reader, "read worklists", item.worklist.run.site)
    if item.worklist.blinded:
        raise ReadingRefused("This worklist is read without the model, so it has no heatmap.")
    if not WorklistReader.objects.filter(worklist=item.worklist, reader=reader).exists():
        raise ReadingRefused("You have not begun this worklist; open its page first.")
    HeatmapUse.objects.get_or_create(item=item, reader=reader)


# What a reading may set off --------------------------------------------------------------------------


def escalate(*, item: WorklistItem, reader: User, reason: str) -> Escalation:
    """Hand a film that needs action outside research to the honest broker. Raises ReadingRefused."""
    site = require(reader, "read worklists", item.worklist.run.site)
    words = _sentence(reason, "Say in a few words why the film needs action outside research.")
    with transaction.atomic():
        escalation = Escalation.objects.create(image=item.image, item=item, reader=reader, reason=words)
        audit.record(verb="escalate film", site=site, actor=reader, target=escalation)
    return escalation


def answer_escalation(*, escalation: Escalation, broker: User, action: str) -> EscalationAnswer:
    """Raises ReadingRefused."""
    site = require(broker, "answer escalations", escalation.image.dataset.site)
    words = _sentence(action, "Say in a few words what was done, without a name.")
    try:
        with transaction.atomic():
            answer = EscalationAnswer.objects.create(escalation=escalation, broker=broker, action=words)
            audit.record(verb="answer escalation", site=site, actor=broker, target=escalation)
    except IntegrityError as error:
        raise ReadingRefused("This escalation has been answered already; load the page again.") from error
    return answer


def propose_adjudication(*, reading: Reading, author: User) -> AdjudicationProposal:
    """Ask for a blinded adjudication of the film of a reading. Raises ReadingRefused."""
    site = require(author, "propose adjudications", reading.image.dataset.site)
    if Reading.objects.filter(replaces=reading).exists():
        raise ReadingRefused("The reader has corrected this reading since; propose the newer one.")
    with transaction.atomic():
        proposal, made = AdjudicationProposal.objects.get_or_create(reading=reading, defaults={"proposed_by": author})
        if made:
            audit.record(verb="propose adjudication", site=site, actor=author, target=proposal)
    return proposal


def _sentence(text: str, what_to_do: str) -> str:
    words = text.strip()
    if not words or len(words) > LONGEST_REASON or "\0" in words:
        raise ReadingRefused(f"{what_to_do} At most {LONGEST_REASON} characters are kept; {len(words)} were sent.")
    return words


# What a reading may be used for ----------------------------------------------------------------------


def usable_as_reference(readings: Sequence[Reading]) -> set[int]:
    """The keys of those readings that may stand as reference labels: made without the model, or confirmed since by an
    adjudicator who never had the model at hand on that film."""
    films = {reading.image_id for reading in readings if reading.model_shown}
    adjudications: dict[int, list[Adjudication]] = {}
    for adjudication in Adjudication.objects.filter(image_id__in=films):
        adjudications.setdefault(adjudication.image_id, []).append(adjudication)
    assisted = set(Reading.objects.filter(image_id__in=films, model_shown=True).values_list("image_id", "reader_id"))
    assisted |= set(HeatmapUse.objects.filter(item__image_id__in=films).values_list("item__image_id", "reader_id"))

    def confirmed(reading: Reading) -> bool:
        return any(
            one.verdict == reading.verdict
            and one.created_at > reading.created_at
            and (one.image_id, one.adjudicator_id) not in assisted
            for one in adjudications.get(reading.image_id, [])
        )

    return {reading.pk for reading in readings if not reading.model_shown or confirmed(reading)}
