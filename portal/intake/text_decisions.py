"""What a person decides of a film that may show text: that it shows none, to exclude it, or to black the text out.

A black-out gives a film other pixels for good. It is the one exception from films being write-once: the pixels before
show an identifier, so they are not kept, and what is kept is who blacked out which boxes and when, with the hashes of
the pixels before and after. Files of runs are `ml_engine.runs.blacked_out_films`, which has the act as a whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.db import transaction

from portal.imaging.black_out import PixelBox, black_out
from portal.imaging.errors import UnusableFile
from portal.imaging.film import Film, pack, pixel_sha256
from portal.imaging.film_warnings import WARNINGS
from portal.intake import film_files
from portal.intake.stored_files import FileGone
from portal.intake.text_looks import film_of
from portal.labels.events import LabelChange, label_as_seen
from portal.models import FilmFingerprint, Image, TextDecision, TextLook, User
from portal.people import audit
from portal.people.access import require
from portal.people.blinding import refuse_withheld

Verdict = TextDecision.Verdict
REASON = "text burned in"  # of the label that excludes a film


class InvalidTextDecision(Exception):
    """The message is shown to the user."""


def decide_no_text(*, image: Image, pixels_seen: str, author: User) -> TextDecision:
    """The film shows no text that names anybody. Raises InvalidTextDecision and PermissionDenied."""
    require_decision(image, author)
    with transaction.atomic():
        held = _held(image, pixels_seen)
        return _record(held, Verdict.NO_TEXT, author, pixels_after=held.pixel_sha256)


def exclude(*, image: Image, pixels_seen: str, events_seen: int, author: User) -> TextDecision:
    """Label the film *exclude*, so that no split or run takes it. `events_seen`: the number of its label events that
    the author knows of. Raises InvalidTextDecision, InvalidLabel and PermissionDenied."""
    require_decision(image, author)
    with transaction.atomic():
        held = _held(image, pixels_seen)
        labelled = label_as_seen(
            images=[held],
            seen={held.pk: events_seen},
            change=LabelChange(value="exclude", reason=REASON),
            act=uuid.uuid4(),
            author=author,
            site=held.dataset.site,
        )
        if labelled.changed:
            raise InvalidTextDecision(
                "Another person labelled this film while its page was open; reload the page, and decide again."
            )
        return _record(held, Verdict.EXCLUDED, author, pixels_after=held.pixel_sha256)


def black_out_copies(*, image: Image, boxes: Sequence[PixelBox], pixels_seen: str, author: User) -> list[TextDecision]:
    """Black the boxes out on the film and on all films of its site with equal pixels. Raises InvalidTextDecision,
    InvalidBlackOut and PermissionDenied, changing nothing."""
    require_decision(image, author)
    if image.pixel_sha256 != pixels_seen:
        raise _outdated()
    try:
        film = black_out(film_of(image), boxes)
    except (OSError, UnusableFile):
        raise InvalidTextDecision(
            "The pixels of this film are missing from the data folder or damaged; restore them from a backup first."
        ) from None
    after = pixel_sha256(film.stored)
    if after == pixels_seen:
        raise InvalidTextDecision("The boxes are as dark as that already, so nothing would change; draw them anew.")
    keep_film_pixels(film, after)
    try:
        with transaction.atomic():
            return _give_pixels(image, boxes, author, before=pixels_seen, after=after)
    except BaseException:
        film_files.remove_unused_pixels(after)
        raise


def require_decision(image: Image, person: User) -> None:
    """Raises PermissionDenied for a person who may not decide, or reads films of the patient blinded."""
    require(person, "review text on films", image.dataset.site)
    refuse_withheld(person, image)


def keep_film_pixels(film: Film, name: str) -> None:
    film_files.write_pixels(name, pack(film.stored))


def _give_pixels(
    image: Image, boxes: Sequence[PixelBox], author: User, *, before: str, after: str
) -> list[TextDecision]:
    site = image.dataset.site
    of_site = Image.objects.filter(dataset__site=site)
    films = list(of_site.filter(pixel_sha256=before).select_for_update(of=("self",)).select_related("dataset__site"))
    if image.pk not in {film.pk for film in films}:
        raise _outdated()
    if of_site.filter(pixel_sha256=after, dataset__in=[film.dataset_id for film in films]).exists():
        raise InvalidTextDecision("The dataset has a film with exactly these boxes blacked out; exclude this one.")
    drawn = [box.to_json() for box in boxes]
    decisions = []
    for film in films:
        decisions.append(_record(film, Verdict.BLACKED_OUT, author, pixels_after=after, boxes=drawn))
        Image.objects.filter(pk=film.pk).update(
            pixel_sha256=after,
            header=film.header | ({"burned_in": "NO"} if "burned_in" in film.header else {}),
            warning=film.warning.replace(WARNINGS["burned_in"].sentence, "").strip(),
        )
    try:
        film_files.require_pixels(after)
    except FileGone:
        raise InvalidTextDecision("The new pixels were removed before they were stored; black out again.") from None
    keys = [film.pk for film in films]
    TextLook.objects.filter(image__in=keys).delete()
    FilmFingerprint.objects.filter(image__in=keys).delete()  # computed from the preview
    transaction.on_commit(lambda: _forget_pixels(films, before))
    return decisions


def _forget_pixels(films: Sequence[Image], before: str) -> None:
    """Previews are made again on the next request; pixels that a film of another site has stay theirs."""
    for film in films:
        film_files.preview_path(film).unlink(missing_ok=True)
    film_files.remove_unused_pixels(before)


def forget_left_pixels() -> None:
    """Remove pixels that a black-out replaced, where its process was killed before it could."""
    before = TextDecision.objects.filter(verdict=Verdict.BLACKED_OUT).values_list("pixels_before", flat=True)
    for pixels in set(before):
        film_files.remove_unused_pixels(pixels)


def _held(image: Image, pixels_seen: str) -> Image:
    """The film, locked, if it still has the pixels that the author saw."""
    held = Image.objects.select_for_update(of=("self",)).select_related("dataset__site").get(pk=image.pk)
    if held.pixel_sha256 != pixels_seen:
        raise _outdated()
    return held


def _outdated() -> InvalidTextDecision:
    return InvalidTextDecision(
        "The film has other pixels than you saw: text was blacked out meanwhile. Reload the page."
    )


def _record(
    image: Image, verdict: str, author: User, *, pixels_after: str, boxes: list[dict[str, int]] | None = None
) -> TextDecision:
    look = TextLook.objects.filter(image=image).first()
    decision = TextDecision.objects.create(
        image=image,
        verdict=verdict,
        boxes=boxes or [],
        suspected=look.lines if look else [],
        pixels_before=image.pixel_sha256,
        pixels_after=pixels_after,
        author=author,
    )
    after: dict[str, Any] = {"decision": str(decision.uuid), "verdict": str(verdict), "boxes": boxes or []}
    hashes = {"before": image.pixel_sha256, "after": pixels_after} if boxes else {}
    site = image.dataset.site
    audit.record(verb="decide on burned-in text", site=site, actor=author, target=image, after=after | hashes)
    return decision
