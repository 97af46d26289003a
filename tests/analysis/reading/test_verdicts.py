"""Verdicts: readings that are stored, refused, or usable as a reference."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, IntegrityError, transaction

from analysis.models import HeatmapUse, Reading, WorklistReader
from analysis.reading import verdicts
from analysis.reading.verdicts import UNVERIFIED, ReadingRefused, agrees, usable_as_reference, why_no_reference
from analysis.reading.worklists import begin, hand_back
from portal.models import Adjudication, AuditEvent, Exposure, Role, User
from portal.people.blinding import is_withheld
from portal.people.exposure import record_exposure
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, new_reading, read, reader, worklist
from tests.portal import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def of(scored: Scored, analyst: User) -> Any:
    return worklist(scored, analyst)


@pytest.mark.parametrize(("flagged", "verdict", "answer"), [
    (True, "abnormal", True), (True, "normal", False), (False, "normal", True), (False, "abnormal", False),
    (True, "unsure", None), (False, "unsure", None),
])  # fmt: skip
def test_agreement_follows_from_verdict_and_flag(flagged: bool, verdict: str, answer: bool | None) -> None:
    assert agrees(flagged=flagged, verdict=verdict) is answer


def test_a_reading_stores_the_verdict_and_the_sampling_probability(of: Any) -> None:
    item = items(of, flagged=False)[0]
    box = {"x": 1, "y": 2, "width": 5, "height": 6, "finding": "nodule or mass"}
    kept = read(item, reader(), "abnormal", findings=["nodule or mass "], comment=" left ", boxes=[box])
    kept.refresh_from_db()
    assert (kept.verdict, kept.reason, kept.findings, kept.comment) == (
        "abnormal", "true finding", ["nodule or mass"], "left",
    )  # fmt: skip
    assert kept.boxes == [box]
    assert (kept.active_seconds, kept.total_seconds) == (8, 10)
    assert kept.sampling_probability == item.sampling_probability < 1
    assert kept.image_id == item.image_id
    assert kept.run_id == of.run_id


def test_a_later_reading_replaces_the_earlier_one_and_leaves_it(of: Any) -> None:
    item, person = items(of)[0], reader()
    first = read(item, person, "normal")
    second = read(item, person, "unsure")
    third = read(item, person, "normal")
    assert (second.replaces, third.replaces) == (first, second)
    assert list(Reading.objects.filter(replaced_by__isnull=True)) == [third]
    before = AuditEvent.objects.filter(verb="read film").order_by("pk").values_list("before", flat=True)
    assert list(before) == [
        None,
        {"reading": str(first.uuid), "verdict": "normal"},
        {"reading": str(second.uuid), "verdict": "unsure"},
    ]


def test_a_reading_sent_twice_is_stored_once(of: Any) -> None:
    item, person, name = items(of)[0], reader(), uuid.uuid4()
    first = read(item, person, uuid=name)
    read(item, person, "unsure")
    assert read(item, person, uuid=name) == first
    assert Reading.objects.count() == 2


def test_an_address_that_another_reading_has_is_refused(of: Any) -> None:
    first, second = items(of)[:2]
    person, name = reader(), uuid.uuid4()
    read(first, person, uuid=name)
    for item, by in ((second, person), (first, reader("another"))):
        with pytest.raises(ReadingRefused, match="Another reading already has this UUID"):
            read(item, by, uuid=name)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"verdict": "agree"}, "The verdict 'agree' is unknown"),
    ({"reason": "boredom"}, "The reason 'boredom' is unknown"),
    ({"verdict": "normal", "reason": "true finding"}, "A normal film has no true finding"),
    ({"verdict": "abnormal", "reason": ""}, "An abnormal film needs a reason"),
    ({"findings": ["a|b"]}, "The finding 'a|b' is blank, too long or holds"),
    ({"findings": ["x"] * 21}, "21 findings are named"),
    ({"comment": "x" * 2001}, "The comment has 2001 characters"),
    ({"comment": "a\0"}, "contains a NUL character"),
    ({"active_seconds": 11.0}, "active time is at most the total"),
    ({"active_seconds": -1.0}, "active time is at most the total"),
    ({"total_seconds": float("nan")}, "active time is at most the total"),
    ({"total_seconds": 1e9}, "the total at most a week"),
    ({"boxes": [{"x": 0, "y": 0, "width": 21, "height": 3}]}, "does not fit the film of 20 × 24 pixels"),
    ({"boxes": [{"x": 0, "y": 0, "width": 0, "height": 3}]}, "draw it inside the film"),
    ({"boxes": [{"x": "left"}]}, "A box needs x, y, width and height"),
    ({"boxes": [{"x": 0, "y": 0, "width": float("inf"), "height": 3}]}, "draw it inside the film"),
    ({"boxes": [{"x": 0, "y": 0, "width": 1, "height": 3}] * 51}, "51 boxes are drawn"),
])  # fmt: skip
def test_invalid_readings_are_refused_with_a_sentence(of: Any, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ReadingRefused, match=sentence):
        read(items(of)[0], reader(), **{"verdict": "normal", **changes})
    assert not Reading.objects.exists()


def test_a_worklist_is_begun_before_it_is_read(of: Any) -> None:
    with pytest.raises(ReadingRefused, match="You have not begun this worklist"):
        verdicts.record(item=items(of)[0], reader=reader(), new=new_reading())


@pytest.mark.parametrize(("ended", "sentence"), [
    ("handed back", "You handed this worklist back on 20"), ("expired", "Your time to read this worklist ended on 20"),
    ("begun before lists expired", "You have not begun this worklist since an upgrade"),
])  # fmt: skip
def test_a_reading_after_the_list_was_handed_back_or_expired_is_refused(of: Any, ended: str, sentence: str) -> None:
    """What is said about the films is not withheld any longer. A reading that is stored already may be sent again."""
    (first, second), person, stored = items(of)[:2], reader(), new_reading()
    begin(worklist=of, reader=person)
    kept = verdicts.record(item=first, reader=person, new=stored)
    if ended == "handed back":
        hand_back(worklist=of, reader=person)
    else:
        WorklistReader.objects.update(expires_at=datetime.now(UTC) if ended == "expired" else None)
    with pytest.raises(ReadingRefused, match=sentence) as refusal:
        verdicts.record(item=second, reader=person, new=new_reading())
    assert "Begin the worklist again on its page, then save the reading again." in str(refusal.value)
    assert verdicts.record(item=first, reader=person, new=stored) == kept
    assert Reading.objects.get() == kept
    assert read(second, person).replaces is None  # it begins again


def test_only_readers_read(of: Any, analyst: User) -> None:
    with pytest.raises(PermissionDenied):
        read(items(of)[0], analyst)
    assert not WorklistReader.objects.exists()


def test_the_database_keeps_readings_and_the_chain_of_corrections(of: Any) -> None:
    item, person = items(of)[0], reader()
    kept = read(item, person)
    with pytest.raises(DatabaseError), transaction.atomic():
        Reading.objects.filter(pk=kept.pk).update(verdict="abnormal")
    fields = {
        "image": item.image, "item": item, "reader": person, "verdict": "normal", "active_seconds": 1,
        "total_seconds": 1, "model_shown": True,
    }  # fmt: skip
    with pytest.raises(IntegrityError), transaction.atomic():  # a second first reading
        Reading.objects.create(**fields)
    with pytest.raises(IntegrityError), transaction.atomic():
        Reading.objects.create(**{**fields, "replaces": kept, "active_seconds": 2})
    with pytest.raises(IntegrityError), transaction.atomic():
        Reading.objects.create(**{**fields, "replaces": kept, "verdict": "agree"})


# What the model has to do with it -------------------------------------------------------------------


def test_a_confirming_verdict_counts_as_read_with_the_model(of: Any) -> None:
    kept = read(items(of)[0], reader())
    assert (kept.model_shown, kept.heatmap_shown) == (True, False)


def test_the_heatmap_is_recorded_by_the_server_once(of: Any) -> None:
    item, other, person = *items(of)[:2], reader()
    begin(worklist=of, reader=person)
    for _ in range(2):
        verdicts.show_heatmap(item=item, reader=person)
    assert HeatmapUse.objects.count() == 1
    assert read(item, person).heatmap_shown
    assert not read(other, person).heatmap_shown


def test_a_blinded_worklist_has_no_heatmap_and_its_verdicts_no_model(scored: Scored, analyst: User) -> None:
    blinded, person = worklist(scored, analyst, blinded=True), reader()
    item = items(blinded)[0]
    assert read(item, person).model_shown is False
    with pytest.raises(ReadingRefused, match="has no heatmap"):
        verdicts.show_heatmap(item=item, reader=person)


def test_a_film_once_read_with_the_model_is_never_blinded_again_for_its_reader(scored: Scored, analyst: User) -> None:
    assisted, blinded = worklist(scored, analyst), worklist(scored, analyst, name="Second", blinded=True)
    person, fresh = reader(), reader("fresh")
    film = items(assisted)[0]
    again = blinded.items.select_related("image", "worklist__run__site").get(image=film.image)
    read(film, person)
    assert read(again, person).model_shown is True
    assert read(again, fresh).model_shown is False


@pytest.mark.parametrize("kind", ["score", "map"])
def test_a_score_or_map_that_was_shown_before_makes_a_blinded_verdict_no_reference(
    scored: Scored, analyst: User, kind: str
) -> None:
    blinded, person, fresh = worklist(scored, analyst, blinded=True), reader(), reader("fresh")
    item = items(blinded)[0]
    record_exposure(person, Exposure.Kind(kind), [item.image_id], run=scored.run.uuid)
    influenced, unaided = read(item, person), read(item, fresh)
    assert (influenced.model_shown, influenced.label_shown, influenced.exposure_known) == (True, False, True)
    assert usable_as_reference([influenced, unaided]) == {unaided.pk}


def test_a_label_that_was_shown_counts_until_the_washout_has_passed(scored: Scored, analyst: User) -> None:
    blinded = worklist(scored, analyst, blinded=True, washout_days=10)
    person, first, second = reader(), *items(blinded)[:2]
    today = datetime.now(UTC).date()
    for item, days in ((first, 10), (second, 11)):
        Exposure.objects.create(person=person, image=item.image, kind="label", day=today - timedelta(days=days))
    within, after = read(first, person), read(second, person)
    assert (within.label_shown, after.label_shown) == (True, False)
    assert usable_as_reference([within, after]) == {after.pk}


@pytest.mark.parametrize(
    ("model", "label", "known", "words"),
    [
        (False, False, True, ""),
        (True, False, True, "model shown"),
        (False, True, True, "label shown"),
        (True, True, True, "model and label shown"),
        (False, False, False, UNVERIFIED),
        (True, False, False, f"model shown; {UNVERIFIED}"),
    ],
)
def test_the_reason_why_a_reading_is_no_reference_is_given(
    of: Any, model: bool, label: bool, known: bool, words: str
) -> None:
    item = items(of)[0]
    reading = Reading.objects.create(
        image=item.image, run=of.run, item=item, reader=reader(), verdict="normal", model_shown=model,
        label_shown=label, exposure_known=known, active_seconds=1, total_seconds=1,
    )  # fmt: skip
    usable = usable_as_reference([reading])
    assert bool(usable) is not (model or label)  # an unverified reading keeps its flag
    assert why_no_reference(reading, usable=bool(usable)) == words
    assert not why_no_reference(reading, usable=True).startswith(("model", "label"))  # confirmed by an adjudicator


def test_an_adjudicator_who_was_shown_the_score_confirms_nothing(of: Any) -> None:
    kept = read(items(of)[0], reader(), "abnormal")
    person = factories.user("adjudicator", Role.ADJUDICATOR)
    record_exposure(person, Exposure.Kind.SCORE, [kept.image_id], run=of.run.uuid)
    adjudicate(kept, person, "abnormal")
    assert usable_as_reference([kept]) == set()


def test_what_is_said_of_unread_films_is_withheld_until_the_verdict(scored: Scored, analyst: User) -> None:
    blinded, person = worklist(scored, analyst, blinded=True), reader()
    begin(worklist=blinded, reader=person)
    first, second = items(blinded)[:2]
    assert is_withheld(person, first.image)
    read(first, person)
    assert not is_withheld(person, first.image)
    assert is_withheld(person, second.image)


def adjudicate(reading: Reading, by: User, verdict: str) -> Adjudication:
    event = factories.event(reading.image, verdict, by, source="adjudication")
    return Adjudication.objects.create(
        image=reading.image, adjudicator=by, verdict=verdict, reason="seen", label_event=event
    )


def test_an_assisted_verdict_is_no_reference_until_a_blinded_adjudication_confirms_it(of: Any) -> None:
    item, person = items(of)[0], factories.user("both", Role.READER, Role.ADJUDICATOR)
    kept = read(item, person, "abnormal")
    assert usable_as_reference([kept]) == set()
    adjudicate(kept, person, "abnormal")  # has seen the model on this film
    adjudicate(kept, factories.user("differs", Role.ADJUDICATOR), "normal")
    assert usable_as_reference([kept]) == set()
    adjudicate(kept, factories.user("blinded", Role.ADJUDICATOR), "abnormal")
    assert usable_as_reference([kept]) == {kept.pk}


def test_an_adjudication_from_before_the_reading_confirms_nothing(of: Any) -> None:
    item = items(of)[0]
    event = factories.event(item.image, "abnormal", factories.user("early", Role.ADJUDICATOR), source="adjudication")
    Adjudication.objects.create(
        image=item.image, adjudicator=event.author, verdict="abnormal", reason="seen", label_event=event
    )
    assert usable_as_reference([read(item, reader(), "abnormal")]) == set()


def test_a_verdict_changes_no_label(of: Any) -> None:
    item = items(of)[0]
    before = item.image.label_events.count()
    read(item, reader(), "abnormal")
    assert item.image.label_events.count() == before


# What a reading sets off ------------------------------------------------------------------------------


def test_an_escalation_goes_to_the_broker_and_is_answered_once(of: Any) -> None:
    item, broker = items(of)[0], factories.user("broker", Role.BROKER)
    raised = verdicts.escalate(item=item, reader=reader(), reason=" pneumothorax ")
    assert raised.reason == "pneumothorax"
    answered = verdicts.answer_escalation(escalation=raised, broker=broker, action="ward informed")
    assert answered.broker == broker
    with pytest.raises(ReadingRefused, match="answered already"):
        verdicts.answer_escalation(escalation=raised, broker=broker, action="again")
    verbs = AuditEvent.objects.filter(target_uuid=raised.uuid).order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == ["escalate film", "answer escalation"]


def test_an_escalation_needs_words_and_its_words_stay_out_of_the_audit(of: Any) -> None:
    with pytest.raises(ReadingRefused, match="Write in a few words why"):
        verdicts.escalate(item=items(of)[0], reader=reader(), reason=" ")
    raised = verdicts.escalate(item=items(of)[0], reader=User.objects.get(username="reader"), reason="tension")
    event = AuditEvent.objects.get(target_uuid=raised.uuid)
    assert "tension" not in f"{event.before} {event.after} {event.reason}"


def test_only_the_broker_answers(of: Any, analyst: User) -> None:
    raised = verdicts.escalate(item=items(of)[0], reader=reader(), reason="tension")
    with pytest.raises(PermissionDenied):
        verdicts.answer_escalation(escalation=raised, broker=analyst, action="done")


def test_an_adjudication_is_proposed_once_and_for_the_current_reading(of: Any, analyst: User) -> None:
    item, person = items(of)[0], reader()
    first = read(item, person)
    second = read(item, person, "unsure")
    with pytest.raises(ReadingRefused, match="corrected this reading since"):
        verdicts.propose_adjudication(reading=first, author=analyst)
    proposal = verdicts.propose_adjudication(reading=second, author=analyst)
    assert verdicts.propose_adjudication(reading=second, author=analyst) == proposal
    assert AuditEvent.objects.filter(verb="propose adjudication").count() == 1
