"""Blinded adjudication of the films that analysts propose from worklists.

An adjudicator begins the site's list; from then on what is said about its films is withheld from them. On each film
they give a verdict of their own, which is locked; then they see the readings that led to the proposal, and settle the
film with one label event. The own verdict, not the settled one, confirms a reading (analysis.reading.verdicts).
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from analysis.models import AdjudicationProposal, Reading, Verdict
from analysis.reading.verdicts import has_had_the_model
from portal.labels.disagreements import adjudicate
from portal.labels.events import LabelChange, check, events_by_film, hold
from portal.labels.resolving import carried
from portal.models import Adjudication, AdjudicatorVerdict, Exposure, Image, Site, User
from portal.people import audit, blinding
from portal.people.access import require
from portal.people.exposure import WASHOUT_DAYS, record_exposure
from portal.sets.adjudicating import store_own_verdict

DAYS = 28
DEFAULT_REASON = "Settled after an own verdict, with the readings of the worklist in view."
OWN_READING = "Your own reading of this film is to be settled: leave it to another adjudicator."
SETTLED_BEFORE = "You settled this film before, and it has been proposed again: leave it to another adjudicator."
READ_WITH_MODEL = "you have read it with the model: leave it to another adjudicator"
WAS_SHOWN = "you have been shown a score, map or label of it: leave it to another adjudicator"


class AdjudicationRefused(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class ProposedFilm:
    """A film of the list, as one person meets it."""

    image: Image
    is_settled: bool
    is_open: bool  # withheld from the person until their own verdict
    verdict: AdjudicatorVerdict | None
    refusal: str  # why this person does not adjudicate the film; blank if they may
    warning: str  # why their verdict would confirm nothing; blank if it would, or once it is given

    @property
    def can_begin(self) -> bool:
        return not (self.is_settled or self.verdict or self.refusal)


def source_of(site: Site) -> UUID:
    """The source of the films that the list withholds from a person."""
    return uuid5(site.uuid, "adjudication list")


def waiting_proposals(site: Site) -> QuerySet[AdjudicationProposal]:
    """Those whose film has not been adjudicated since."""
    later = Adjudication.objects.filter(image=OuterRef("reading__image"), created_at__gt=OuterRef("created_at"))
    return AdjudicationProposal.objects.filter(~Exists(later), reading__image__dataset__site=site)


def all_proposed(site: Site) -> QuerySet[Image]:
    return Image.objects.filter(
        pk__in=AdjudicationProposal.objects.filter(reading__image__dataset__site=site).values("reading__image")
    )


def patients_elsewhere(site: Site, person: User) -> set[int]:
    """The patients whose films another list withholds from the person: they are not on the person's list meanwhile."""
    rows = blinding.open_films(person).exclude(source=source_of(site))
    return set(rows.values_list("image__patient_id", flat=True))


def proposed_films(site: Site, person: User) -> list[ProposedFilm]:
    films = all_proposed(site).exclude(patient__in=patients_elsewhere(site, person)).select_related("dataset__site")
    images = list(films.order_by("pk"))
    ids = [image.pk for image in images]
    readers: dict[int, set[int]] = defaultdict(set)
    for image_id, reader_id in waiting_proposals(site).values_list("reading__image", "reading__reader"):
        readers[image_id].add(reader_id)
    verdicts = _verdicts_of(person, ids)
    still_open = set(blinding.open_films(person).filter(source=source_of(site)).values_list("image_id", flat=True))
    warnings = _warnings(person, ids)
    return [
        ProposedFilm(
            image=image,
            is_settled=image.pk not in readers,
            is_open=image.pk in still_open,
            verdict=verdicts.get(image.pk),
            refusal=_refusal(readers[image.pk], verdicts.get(image.pk), person) if image.pk in readers else "",
            warning="" if image.pk in verdicts else warnings.get(image.pk, ""),
        )
        for image in images
    ]


def _verdicts_of(person: User, ids: Iterable[int]) -> dict[int, AdjudicatorVerdict]:
    rows = AdjudicatorVerdict.objects.filter(queue__isnull=True, adjudicator=person, image__in=list(ids))
    return {row.image_id: row for row in rows.select_related("adjudication")}


def _refusal(readers: set[int], verdict: AdjudicatorVerdict | None, person: User) -> str:
    if person.pk in readers:
        return OWN_READING
    return SETTLED_BEFORE if verdict is not None and hasattr(verdict, "adjudication") else ""


def _warnings(person: User, ids: list[int]) -> dict[int, str]:
    shown = Exposure.objects.filter(person=person, image__in=ids)
    since = datetime.now(UTC).date() - timedelta(days=WASHOUT_DAYS)
    seen = shown.exclude(kind=Exposure.Kind.LABEL, day__lt=since).values_list("image_id", flat=True)
    read = Reading.objects.filter(reader=person, image__in=ids, model_shown=True).values_list("image_id", flat=True)
    return dict.fromkeys(seen, WAS_SHOWN) | dict.fromkeys(read, READ_WITH_MODEL)


def begin(*, site: Site, person: User) -> int:
    """Begin, or continue: what is said about the films that wait for the person's own verdict is withheld from now on.
    Returns their number. Raises AdjudicationRefused and PermissionDenied."""
    require(person, "adjudicate labels", site)
    with transaction.atomic():
        films = [film.image for film in proposed_films(site, person) if film.can_begin]
        if not films:
            raise AdjudicationRefused("No film of the list waits for your own verdict, so there is nothing to begin.")
        words = f"the adjudication list of {site.name}"
        blinding.open_for(person=person, images=films, source=source_of(site), words=words, days=DAYS)
        audit.record(verb="begin adjudication", site=site, actor=person, target=site, after={"films": len(films)})
    return len(films)


def hand_back(*, site: Site, person: User) -> int:
    """Stop. Own verdicts stay, and the films wait for others. Returns the number of films without a verdict. Raises
    AdjudicationRefused."""
    require(person, "see the site", site)
    with transaction.atomic():
        left = blinding.hand_back(person=person, source=source_of(site))
        if not left:
            raise AdjudicationRefused("You have not begun the list, or given every verdict: nothing to hand back.")
        audit.record(verb="hand back adjudication", site=site, actor=person, target=site, after={"films": left})
    return left


def film_for(*, image: Image, person: User) -> ProposedFilm:
    """The film as this person meets it on the list. Raises AdjudicationRefused if it is not there, and
    PermissionDenied."""
    site = require(person, "adjudicate labels", image.dataset.site)
    if blinding.is_withheld_elsewhere(person, image, source=source_of(site)):
        raise AdjudicationRefused(  # before it is said whether the list has the film
            "You read films of this patient blinded in another list; read them there first, or hand that list back."
        )
    row = next((row for row in proposed_films(site, person) if row.image.pk == image.pk), None)
    if row is None:
        raise AdjudicationRefused("This film is not on the adjudication list.")
    return row


def _film_to_settle(image: Image, person: User) -> ProposedFilm:
    row = film_for(image=image, person=person)
    if row.is_settled:
        raise AdjudicationRefused("This film is settled already.")
    if row.refusal:
        raise AdjudicationRefused(row.refusal)
    return row


def give_verdict(*, image: Image, change: LabelChange, person: User) -> AdjudicatorVerdict:
    """Store the adjudicator's own verdict, before they see the readings. It is given once. Raises AdjudicationRefused,
    InvalidLabel and PermissionDenied."""
    site = require(person, "adjudicate labels", image.dataset.site)
    with transaction.atomic():
        hold([image.pk])
        row = _film_to_settle(image, person)
        if row.verdict is not None:
            raise AdjudicationRefused("Your own verdict on this film is locked; settle the film with it in view.")
        if not row.is_open:
            raise AdjudicationRefused("Begin the list first; its films are withheld from you from then on.")
        _check_value(change)
        model_shown = has_had_the_model(person, image)
        return store_own_verdict(
            image=image, change=change, person=person, model_shown=model_shown, source=source_of(site)
        )


def _check_value(change: LabelChange) -> None:
    if change.value not in Verdict.values:
        raise AdjudicationRefused(f"The verdict {change.value!r} is unknown; use one of {', '.join(Verdict.values)}.")


def readings_to_settle(*, image: Image, person: User) -> list[Reading]:
    """The readings that led to the proposal, in an order that does not tell who they are from; recorded as shown. All
    that were ever proposed, if the film is settled. Raises AdjudicationRefused while the own verdict, or one on another
    film of the patient, is missing."""
    row = film_for(image=image, person=person)
    if row.verdict is None:
        raise AdjudicationRefused("Give your own verdict first; the readings appear after it.")
    if row.refusal:
        raise AdjudicationRefused(row.refusal)
    if blinding.is_withheld(person, image):
        raise AdjudicationRefused(
            "Another film of this patient still waits for your own verdict; the readings appear after it."
        )
    proposals = AdjudicationProposal.objects.all() if row.is_settled else waiting_proposals(image.dataset.site)
    rows = Reading.objects.filter(image=image, adjudication_proposal__in=proposals).order_by("uuid")
    record_exposure(person, Exposure.Kind.LABEL, [image.pk])
    return list(rows)


def settle(*, image: Image, change: LabelChange, person: User) -> Adjudication:
    """Settle a film, by a single label event that overrides all other labels. A label of this value keeps its boxes;
    where it has none, they are those of the latest reading of this value that has any. Raises AdjudicationRefused,
    InvalidLabel and PermissionDenied."""
    site = require(person, "adjudicate labels", image.dataset.site)
    with transaction.atomic():
        hold([image.pk])
        _film_to_settle(image, person)
        rows = readings_to_settle(image=image, person=person)
        verdict = _verdicts_of(person, [image.pk])[image.pk]
        _check_value(change)
        label = getattr(image, "current_label", None)
        own = {*verdict.findings, *(label.findings if label else ()), *(text for row in rows for text in row.findings)}
        change = check(images=[image], change=change, author=person, site=site, own=own)
        kept = carried(events_by_film([image.pk])[image.pk], change.value, person)
        change = replace(
            change,
            boxes=None if kept.boxes else _latest_boxes(rows, change.value),
            reason=change.reason or DEFAULT_REASON,
        )
        settled = adjudicate(
            image=image,
            change=change,
            author=person,
            site=site,
            own_verdict=verdict,
            readings=[row.uuid for row in rows],
        )
        blinding.close_settled(image=image, source=source_of(site))
    return settled


def _latest_boxes(rows: list[Reading], value: str) -> list[dict[str, float]]:
    of_value = sorted((row for row in rows if row.verdict == value), key=lambda row: -row.pk)
    return next((list(row.boxes) for row in of_value if row.boxes), [])
