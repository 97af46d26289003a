"""The acts of reviewing burned-in text, for page and API."""

from __future__ import annotations

from django.db.models import QuerySet

from ml_engine.runs.blacked_out_films import black_out_film
from portal.imaging.black_out import InvalidBlackOut, checked_boxes
from portal.intake.text_decisions import InvalidTextDecision, Verdict, decide_no_text, exclude
from portal.labels.events import InvalidLabel
from portal.models import Dataset, Image, TextDecision, User
from portal.people import blinding

REFUSED = (InvalidTextDecision, InvalidBlackOut, InvalidLabel)


def films_for(person: User, dataset: Dataset) -> QuerySet[Image]:
    """The films of the dataset without those of patients whom the person reads blinded."""
    return blinding.without_withheld(dataset.images.all(), person)


def decide(
    film: Image, *, verdict: str, boxes: object, pixels_seen: str, events_seen: int, author: User
) -> list[TextDecision]:
    """`boxes` are parsed JSON, and count for a black-out only. Raises the exceptions of `REFUSED`, and
    PermissionDenied."""
    if verdict == Verdict.NO_TEXT:
        return [decide_no_text(image=film, pixels_seen=pixels_seen, author=author)]
    if verdict == Verdict.EXCLUDED:
        return [exclude(image=film, pixels_seen=pixels_seen, events_seen=events_seen, author=author)]
    if verdict == Verdict.BLACKED_OUT:
        drawn = checked_boxes(boxes, rows=film.rows, columns=film.columns)
        return black_out_film(image=film, boxes=drawn, pixels_seen=pixels_seen, author=author)
    raise InvalidTextDecision(f"The verdict is {verdict[:20]!r}; expected {', '.join(Verdict.values)}.")
