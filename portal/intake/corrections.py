"""Taking or dismissing what later files with the same pixels state otherwise (portal.intake.header_differences).

A frozen split is never changed: a film that moves to another patient stays in it where it was, and the split says so
(portal.sets.moved_films). Where the split then has one person in two parts, moving the film takes a second word.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.imaging.acquisition import shifted_day
from portal.intake import film_files
from portal.intake.header_facts import HEADER_KEYS, PIXEL_KEYS, Fact
from portal.intake.pseudonym_key import site_key
from portal.models import HeaderDifference, Image, Patient, SplitImage, SplitMember, Study, Upload, User
from portal.people import audit, blinding
from portal.people.access import require

State = HeaderDifference.State
_DISPLAY = {Fact.WINDOW, Fact.GRAY}  # a window has the units of the gray scale: they are taken together
_TO_SITE = "image__dataset__site"
# Why a new fact still waits.
TWO_PARTS = "a frozen split would have one person in two parts"
BLINDED = "you have yet to read films of the patient blinded"
NO_PATIENT = "a film that is its own patient has no day of acquisition; take its new patient too"


@dataclass
class CorrectionOutcome:
    """What taking or dismissing did: `films` changed or dismissed, `facts` of them by name, and differences that still
    wait, by the reason."""

    films: int = 0
    facts: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)

    def sentences(self, verb: str) -> list[str]:
        """`verb`: taken or dismissed."""
        if not self.facts and not self.left:
            return [f"Nothing waits for a decision any more, so nothing was {verb}."]
        facts = ", ".join(f"{fact} {count}" for fact, count in self.facts.items())
        lines = [f"New facts of {self.films} film{'' if self.films == 1 else 's'} {verb}: {facts}."] if facts else []
        waits = [f"{count} new fact{' still waits' if count == 1 else 's still wait'}" for count in self.left.values()]
        return [*lines, *(f"{words}: {why}." for words, why in zip(waits, self.left, strict=True))]


def take(rows: QuerySet[HeaderDifference], *, actor: User | None, despite_splits: bool = False) -> CorrectionOutcome:
    """Give the films these new facts; what they had before stays in the rows. `despite_splits`: move a film to its new
    patient even where a frozen split then has one person in two parts. Raises PermissionDenied."""
    outcome = CorrectionOutcome()
    by_film: dict[int, set[int]] = defaultdict(set)
    for pk, image_id in rows.filter(state=State.PENDING).order_by("image", "pk").values_list("pk", "image_id"):
        by_film[image_id].add(pk)
    for image_id, chosen in by_film.items():
        _take_of_film(image_id, chosen, actor, outcome, despite_splits=despite_splits)
    return outcome


def dismiss(rows: QuerySet[HeaderDifference], *, actor: User | None) -> CorrectionOutcome:
    """Keep the films as they are; these new values are not asked about again. Raises PermissionDenied."""
    with transaction.atomic():
        held = list(rows.filter(state=State.PENDING).select_for_update(of=("self",)).select_related(_TO_SITE))
        outcome = CorrectionOutcome(len({row.image_id for row in held}), Counter(row.fact for row in held))
        for site in {row.image.dataset.site for row in held}:
            if actor is not None:
                require(actor, "import films", site)
            of_site = [row for row in held if row.image.dataset.site_id == site.pk]
            counts = Counter(row.fact for row in of_site)
            audit.record(verb="dismiss corrected facts", site=site, actor=actor, after=dict(counts))
        HeaderDifference.objects.filter(pk__in=[row.pk for row in held]).update(
            state=State.DISMISSED, decided_by=actor, decided_at=timezone.now()
        )
    return outcome


def _take_of_film(
    image_id: int, chosen: set[int], actor: User | None, outcome: CorrectionOutcome, *, despite_splits: bool
) -> None:
    with transaction.atomic():
        image = Image.objects.select_for_update(of=("self",)).get(pk=image_id)
        site = image.dataset.site
        if actor is not None:
            require(actor, "import films", site)
        there = {row.fact: row for row in image.header_differences.filter(state=State.PENDING).select_for_update()}
        rows = {fact: row for fact, row in there.items() if row.pk in chosen}
        if rows.keys() & _DISPLAY:
            rows |= {fact: row for fact, row in there.items() if fact in _DISPLAY}
        for fact, reason in _refused(image, rows, actor, despite_splits=despite_splits).items():
            outcome.left[reason] += 1
            del rows[fact]
        if not rows:
            return
        fields = _new_fields(image, rows)
        old = {fact: _current(image, fact, row.old) for fact, row in rows.items()}
        now = timezone.now()
        for fact, row in rows.items():
            row.old, row.state, row.decided_by, row.decided_at = old[fact], State.TAKING, actor, now
            row.save(update_fields=["old", "state", "decided_by", "decided_at"])
        Image.objects.filter(pk=image.pk).update(**fields)
        HeaderDifference.objects.filter(pk__in=[row.pk for row in rows.values()]).update(state=State.TAKEN)
        after = {"facts": sorted(rows), "differences": [str(row.uuid) for row in rows.values()]}
        audit.record(verb="take corrected facts", site=site, actor=actor, target=image, after=after)
        if rows.keys() & PIXEL_KEYS.keys():  # it is made again on the next request
            transaction.on_commit(lambda: film_files.preview_path(image).unlink(missing_ok=True))
    outcome.films += 1
    outcome.facts.update(str(fact) for fact in rows)


def _refused(
    image: Image, rows: Mapping[str, HeaderDifference], actor: User | None, *, despite_splits: bool
) -> dict[str, str]:
    """The facts that cannot be taken now, with the reasons."""
    refused = {}
    identity = [fact for fact in (Fact.PATIENT, Fact.STUDY) if fact in rows]
    if identity and actor is not None and blinding.is_withheld(actor, image):  # it would not be withheld any more
        refused = {str(fact): BLINDED for fact in identity}
    elif Fact.PATIENT in rows and not despite_splits and parts_in_two(image, rows[Fact.PATIENT].new["pseudonym"]):
        refused = {str(Fact.PATIENT): TWO_PARTS}
    moves = Fact.PATIENT in rows and Fact.PATIENT not in refused
    if Fact.ACQUIRED in rows and not image.patient.identified and not moves:
        refused[Fact.ACQUIRED] = NO_PATIENT
    return refused


def parts_in_two(image: Image, pseudonym: str) -> list[str]:
    """The names of the splits that have the film in one part, and this patient in another."""
    named = []
    for row in SplitImage.objects.filter(image=image).select_related("member__split"):
        others = SplitMember.objects.filter(split=row.member.split, patient__pseudonym=pseudonym)
        if others.exclude(part=row.member.part).exists():
            named.append(row.member.split.name)
    return named


def _current(image: Image, fact: str, old: Any) -> Any:
    """What the film has now, in the form of the difference, which another decision may have changed since."""
    if fact == Fact.PATIENT:
        return {"pseudonym": image.patient.pseudonym}
    if fact == Fact.STUDY:
        return {"pseudonym": image.study.pseudonym if image.study else ""}
    if fact == Fact.ACQUIRED:
        return {"day": image.acquired_day.isoformat() if image.acquired_day else None}
    if fact in PIXEL_KEYS:
        more = {"shows_nothing": image.shows_nothing} if fact == Fact.WINDOW else {}
        return {key: image.facts.get(key) for key in PIXEL_KEYS[Fact(fact)]} | more
    return old


def _new_fields(image: Image, rows: Mapping[str, HeaderDifference]) -> dict[str, Any]:
    """The columns of the film that change."""
    new = {fact: row.new for fact, row in rows.items()}
    fields: dict[str, Any] = {}
    header, facts = dict(image.header), dict(image.facts)
    if Fact.VIEW in new:
        fields["view_position"] = header["view_position"] = new[Fact.VIEW]
    if Fact.LATERALITY in new:
        fields["laterality"] = header["laterality"] = new[Fact.LATERALITY]
    header |= {key: new[fact] for fact, key in HEADER_KEYS.items() if fact in new}
    for fact, keys in PIXEL_KEYS.items():
        facts |= {key: new[fact][key] for key in keys} if fact in new else {}
    if Fact.WINDOW in new:
        fields["shows_nothing"] = new[Fact.WINDOW]["shows_nothing"]
    if Fact.WARNINGS in new:
        fields["warning"] = new[Fact.WARNINGS]
    fields |= {"header": header} if header != image.header else {}
    fields |= {"facts": facts} if facts != image.facts else {}
    return fields | _new_identity(image, new)


def _new_identity(image: Image, new: Mapping[str, Any]) -> dict[str, Any]:
    if not {Fact.PATIENT, Fact.STUDY, Fact.ACQUIRED} & new.keys():
        return {}
    patient, study = image.patient, image.study.pseudonym if image.study else ""
    if of := new.get(Fact.PATIENT):
        defaults = {"sex": of["sex"], "age_band": of["age_band"], "identified": True}
        patient, _ = Patient.objects.get_or_create(
            site=image.dataset.site, pseudonym=of["pseudonym"], defaults=defaults
        )
    if Fact.STUDY in new:
        study = new[Fact.STUDY]["pseudonym"]
    day, shifted_by = image.acquired_day, image.patient.pseudonym
    if Fact.ACQUIRED in new:
        day, shifted_by = date.fromisoformat(new[Fact.ACQUIRED]["day"]), new[Fact.ACQUIRED]["patient"]
    return {
        "patient": patient,
        "study": Study.objects.get_or_create(patient=patient, pseudonym=study)[0] if study else None,
        "acquired_day": shifted_again(day, image, shifted_by, patient.pseudonym),
    }


def shifted_again(day: date | None, image: Image, one: str, other: str) -> date | None:
    """A day that is shifted as the days of one patient, shifted as those of the other."""
    key, any_day = site_key(image.dataset.site), "2000-01-01"
    days = [shifted_day(key, pseudonym, any_day) for pseudonym in (one, other)]
    if day is None or days[0] is None or days[1] is None:
        return None
    moved: timedelta = days[1] - days[0]
    return day + moved


def take_of_upload(upload: Upload, *, actor: User | None) -> CorrectionOutcome:
    """Take everything that this upload brought and that waits."""
    return take(HeaderDifference.objects.filter(upload=upload), actor=actor)
