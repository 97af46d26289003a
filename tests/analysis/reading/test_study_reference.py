"""The reference of a reader study: whose labels count."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.utils import timezone

from analysis.models import StudyReference, TestLook
from analysis.reading.assignments import assign
from analysis.reading.study_reference import (
    ReferenceRefused,
    current_reference,
    reference_labels,
    shows_test,
    state_reference,
)
from portal.models import AuditEvent, Exposure, Image, LabelValue, Role, User
from portal.people.exposure import record_exposure
from portal.sets import double_reading
from portal.sets.screening_queues import queue_films
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, reader, study, worklist
from tests.portal import factories
from tests.portal.double import close, films_of, read

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def of(scored: Scored, analyst: User) -> Any:
    return study(scored, analyst, repeat_share=0)


def state(of: Any, author: User, source: str = "people", **changes: Any) -> StudyReference:
    return state_reference(worklist=of, source=source, author=author, **{"statement": "two experts"} | changes)


def curator(name: str) -> User:
    return factories.user(name, Role.CURATOR)


def test_labels_by_people_are_those_of_people_outside_the_study(of: Any, analyst: User) -> None:
    first, second, third, fourth = (item.image for item in items(of)[:4])
    inside, outside = factories.user("inside", Role.READER, Role.CURATOR), curator("outside")
    assign(worklist=of, readers=[inside], author=analyst)
    factories.event(first, LabelValue.ABNORMAL, outside)
    factories.event(second, LabelValue.NORMAL, outside)
    factories.event(second, LabelValue.ABNORMAL, inside)  # would make it unresolved
    factories.event(third, LabelValue.ABNORMAL, inside)
    factories.event(fourth, LabelValue.NORMAL, outside)
    factories.event(fourth, LabelValue.ABNORMAL, factories.user("judge", Role.ADJUDICATOR), source="adjudication")
    labels, left_out = reference_labels(state(of, analyst))
    assert labels == {first.pk: 1, second.pk: 0, fourth.pk: 1}
    assert left_out == {"without such a label": len(items(of)) - 3}  # imported labels are not by people


def test_a_consensus_counts_unless_one_of_its_readers_is_inside_or_saw_the_model(of: Any, analyst: User) -> None:
    films = [item.image for item in items(of)[:3]]
    inside, outside, other = (factories.user(name, Role.READER, Role.CURATOR) for name in ("inside", "out", "other"))
    assign(worklist=of, readers=[inside], author=analyst)
    record_exposure(outside, Exposure.Kind.SCORE, [films[2].pk], run=of.run.uuid)
    for name, readers, film in (
        ("counts", (outside, other), films[0]),
        ("inside", (outside, inside), films[1]),
        ("saw the model", (outside, other), films[2]),
    ):
        queue = queue_films(
            site=of.run.site, name=name, images=Image.objects.filter(pk=film.pk), author=outside, source="",
            order="imported", readers=readers,
        )  # fmt: skip
        for person in readers:
            double_reading.begin(queue=queue, person=person)
            read(queue, films_of(queue)[0], person, "abnormal")
        close(queue)
    assert reference_labels(state(of, analyst))[0] == {films[0].pk: 1}


def test_films_without_one_label_are_left_out_by_reason(of: Any, analyst: User) -> None:
    first, second, third = (item.image for item in items(of)[:3])
    factories.event(first, LabelValue.UNSURE, curator("one"))
    factories.event(second, LabelValue.NORMAL, curator("two"))
    factories.event(second, LabelValue.ABNORMAL, curator("three"))
    factories.event(third, LabelValue.NORMAL, curator("late"))
    reference = state(of, analyst, cutoff=timezone.now() - timedelta(hours=1))
    assert reference_labels(reference) == ({}, {"without such a label": len(items(of))})
    _, left_out = reference_labels(state(of, analyst))
    assert left_out == {
        "labelled unsure": 1,
        "labelled differently by several people": 1,
        "without such a label": len(items(of)) - 3,
    }


def test_a_label_given_after_seeing_the_model_is_no_reference_by_people(of: Any, analyst: User) -> None:
    before, after = (item.image for item in items(of)[:2])
    person = curator("person")
    factories.event(before, LabelValue.ABNORMAL, person)
    for film in (before, after):
        record_exposure(person, Exposure.Kind.SCORE, [film.pk], run=of.run.uuid)
    factories.event(after, LabelValue.ABNORMAL, person)
    assert reference_labels(state(of, analyst))[0] == {before.pk: 1}
    assert reference_labels(state(of, analyst, "ct"))[0][after.pk] == 1  # CT is not influenced


def test_a_label_that_was_withdrawn_does_not_come_back(of: Any, analyst: User) -> None:
    film = items(of)[0].image
    inside, outside = factories.user("inside", Role.READER, Role.CURATOR), curator("outside")
    assign(worklist=of, readers=[inside], author=analyst)
    given = factories.event(film, LabelValue.ABNORMAL, outside)
    factories.event(film, "", inside, reverts=given)
    assert film.pk not in reference_labels(state(of, analyst))[0]


def test_follow_up_and_ct_may_be_imported(of: Any, analyst: User) -> None:
    labels, left_out = reference_labels(state(of, analyst, "follow-up"))
    imported = {item.image_id: int(item.image.label_events.get().value == "abnormal") for item in items(of)}
    assert (labels, left_out) == (imported, {})


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"source": "guess"}, "There is no source 'guess'; use one of people, follow-up, ct"),
    ({"statement": "  "}, "Say in 1 to 500 characters who labelled the films"),
    ({"statement": "x" * 501}, "Say in 1 to 500 characters"),
    ({"cutoff": timezone.now() + timedelta(days=1)}, "lies in the future"),
])  # fmt: skip
def test_what_is_no_statement_is_refused(of: Any, analyst: User, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ReferenceRefused, match=sentence):
        state(of, analyst, **changes)
    assert not StudyReference.objects.exists()


def test_only_a_study_has_a_reference_and_only_makers_state_it(of: Any, scored: Scored, analyst: User) -> None:
    with pytest.raises(ReferenceRefused, match="This worklist is not a reader study, so it has no reference"):
        state(worklist(scored, analyst), analyst)
    with pytest.raises(PermissionDenied):
        state(of, reader())


def test_the_latest_statement_counts_and_all_are_kept(of: Any, analyst: User) -> None:
    first, second = state(of, analyst), state(of, analyst, "ct", statement="CT within a week")
    assert current_reference(of) == second
    with pytest.raises(DatabaseError), transaction.atomic():
        StudyReference.objects.filter(pk=first.pk).update(source="ct")
    verbs = AuditEvent.objects.filter(verb="state reference").order_by("pk")
    assert [event.after["source"] for event in verbs] == ["people", "ct"]


def test_a_statement_is_a_look_at_test_if_the_study_shows_test(scored: Scored, analyst: User) -> None:
    on_tune, on_all = study(scored, analyst, name="Tune", parts=["tune"]), study(scored, analyst, name="All")
    assert (shows_test(on_tune), shows_test(on_all)) == (False, True)
    assert reasons() == ["worklist All"]
    state(on_tune, analyst)
    assert reasons() == ["worklist All"]
    state(on_all, analyst)
    assert reasons() == ["worklist All", "reader study All"]


def reasons() -> list[str]:
    return list(TestLook.objects.order_by("pk").values_list("reason", flat=True))
