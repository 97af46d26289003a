"""Double reading: what readers begin, read, take back and hand back, and what is withheld from them meanwhile."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.utils import timezone

from portal.labels.events import InvalidLabel, LabelChange
from portal.models import (
    AuditEvent,
    BlindedFilm,
    CurrentLabel,
    Dataset,
    Exposure,
    LabelEvent,
    QueueReader,
    QueueReading,
    Role,
    ScreeningQueue,
    User,
)
from portal.people.blinding import is_withheld
from portal.people.exposure import record_exposure
from portal.sets import double_reading
from portal.sets.double_reading import DoubleReadingRefused
from portal.sets.screening_queues import InvalidQueue, queue_films
from tests.portal import factories
from tests.portal.double import begun, films_of, make, read

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


@pytest.fixture
def ann(of: Dataset) -> User:
    return factories.curator("ann")


@pytest.fixture
def ben(of: Dataset) -> User:
    return factories.curator("ben")


@pytest.fixture
def queue(of: Dataset, ann: User, ben: User) -> ScreeningQueue:
    factories.films(of, unlabelled=3)
    return make(of, ann, ben)


@pytest.mark.parametrize(("names", "sentence"), [
    (["ann"], "needs two or more different people"),
    (["ann", "ann"], "needs two or more different people"),
    (["ann", "rita"], "rita may not label films at Seoul"),
])  # fmt: skip
def test_a_double_reading_needs_two_people_who_may_label(
    of: Dataset, ann: User, names: list[str], sentence: str
) -> None:
    factories.film(of)
    factories.user("rita", Role.READER)
    with pytest.raises(InvalidQueue, match=sentence):
        make(of, *(User.objects.get(username=name) for name in names))
    assert not ScreeningQueue.objects.exists()


def test_an_order_that_shows_which_films_have_a_label_is_refused(of: Dataset, ann: User, ben: User) -> None:
    factories.film(of)
    with pytest.raises(InvalidQueue, match="would show the readers which films have a label"):
        queue_films(
            site=of.site, name="n", images=of.images.all(), author=ann, source="", order="unlabelled",
            readers=[ann, ben],
        )  # fmt: skip


def test_what_is_said_is_withheld_from_the_beginning_until_the_own_reading(
    queue: ScreeningQueue, ann: User, ben: User
) -> None:
    film, other = films_of(queue)[:2]
    assert not is_withheld(ann, film)
    double_reading.begin(queue=queue, person=ann)
    assert is_withheld(ann, film)
    assert not is_withheld(ben, film)  # has not begun
    read(queue, film, ann, "normal")
    assert not is_withheld(ann, film)
    assert is_withheld(ann, other)
    assert {row.source_words for row in BlindedFilm.objects.all()} == {"the queue Pairs"}
    assert BlindedFilm.objects.get(image=film).outcome == BlindedFilm.Outcome.READ


def test_only_the_named_people_begin_and_read(queue: ScreeningQueue, ann: User) -> None:
    film, carl = films_of(queue)[0], factories.curator("carl")
    with pytest.raises(DoubleReadingRefused, match="read by other people"):
        double_reading.begin(queue=queue, person=carl)
    with pytest.raises(PermissionDenied, match="read by other people"):
        read(queue, film, carl, "normal")
    with pytest.raises(PermissionDenied, match="begin it on its page first"):
        read(queue, film, ann, "normal")
    assert not QueueReading.objects.exists()


def test_an_ordinary_queue_is_no_double_reading(of: Dataset, ann: User) -> None:
    factories.film(of)
    queue = queue_films(site=of.site, name="n", images=of.images.all(), author=ann, source="", order="imported")
    with pytest.raises(DoubleReadingRefused, match="is no double reading"):
        double_reading.begin(queue=queue, person=ann)


def test_a_reading_is_no_label(queue: ScreeningQueue, ann: User, ben: User) -> None:
    film = films_of(queue)[0]
    for person in (ann, ben):
        double_reading.begin(queue=queue, person=person)
        read(queue, film, person, "abnormal", "nodule")
    assert not LabelEvent.objects.exists()
    assert not CurrentLabel.objects.exists()
    assert set(double_reading.read_by_all(queue)) == {film.pk}
    assert [(row.person.username, row.read, row.state) for row in double_reading.progress_of(queue)] == [
        ("ann", 1, "reading"),
        ("ben", 1, "reading"),
    ]


def test_nothing_of_a_label_or_of_another_reader_carries_over(queue: ScreeningQueue, ann: User, ben: User) -> None:
    film = films_of(queue)[0]
    box = {"x": 1, "y": 2, "width": 3, "height": 4, "finding": "nodule"}
    factories.event(film, "abnormal", findings=["effusion"], boxes=[box])
    for person in (ann, ben):
        double_reading.begin(queue=queue, person=person)
    read(queue, film, ann, "abnormal", "nodule", boxes=[box])
    act = uuid.uuid4()
    unstated = LabelChange(value="abnormal")
    rows = double_reading.read_blinded(queue=queue, images=[film], change=unstated, act=act, reader=ben)
    assert (rows[0].findings, rows[0].boxes) == ([], [])
    assert double_reading.reading_losses(rows) == {}


def test_what_is_not_stated_is_kept_from_the_own_reading(queue: ScreeningQueue, ann: User) -> None:
    film = films_of(queue)[0]
    double_reading.begin(queue=queue, person=ann)
    box = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "finding": "nodule"}
    read(queue, film, ann, "abnormal", "nodule", boxes=[box])
    for value, findings, boxes, gone in [
        ("abnormal", ["nodule"], [box], False),
        ("unsure", [], [], True),
    ]:
        rows = double_reading.read_blinded(
            queue=queue, images=[film], change=LabelChange(value=value), act=uuid.uuid4(), reader=ann
        )
        assert (rows[0].findings, rows[0].boxes) == (findings, boxes)
        assert bool(double_reading.reading_losses(rows)) == gone


def test_a_finding_that_only_the_film_s_label_has_is_unknown_to_a_reader(
    of: Dataset, queue: ScreeningQueue, ann: User
) -> None:
    of.site.findings = ["nodule"]
    of.site.save()
    film = films_of(queue)[0]
    factories.event(film, "abnormal", findings=["effusion"])
    double_reading.begin(queue=queue, person=ann)
    with pytest.raises(InvalidLabel, match="not among the findings of Seoul"):
        read(queue, film, ann, "abnormal", "effusion")


def test_a_reading_says_what_its_reader_had_been_shown(queue: ScreeningQueue, ann: User) -> None:
    unseen, labelled, scored = films_of(queue)
    double_reading.begin(queue=queue, person=ann)
    record_exposure(ann, Exposure.Kind.LABEL, [labelled.pk])
    record_exposure(ann, Exposure.Kind.SCORE, [scored.pk])
    for film in (unseen, labelled, scored):
        read(queue, film, ann, "normal")
    shown = QueueReading.objects.order_by("pk").values_list("label_shown", "model_shown")
    assert list(shown) == [(False, False), (True, False), (False, True)]


def test_a_reading_names_the_criteria_in_force(queue: ScreeningQueue, ann: User) -> None:
    criteria = factories.criteria("nothing at all")
    double_reading.begin(queue=queue, person=ann)
    read(queue, films_of(queue)[0], ann, "normal")
    assert QueueReading.objects.get().criteria == criteria


def test_an_act_that_is_sent_twice_is_stored_once_and_belongs_to_its_reader(
    queue: ScreeningQueue, ann: User, ben: User
) -> None:
    film = films_of(queue)[0]
    for person in (ann, ben):
        double_reading.begin(queue=queue, person=person)
    act, change = uuid.uuid4(), LabelChange(value="normal")
    for _ in range(2):
        double_reading.read_blinded(queue=queue, images=[film], change=change, act=act, reader=ann)
    assert QueueReading.objects.count() == 1
    with pytest.raises(InvalidLabel, match="belongs to another person or to another queue"):
        double_reading.read_blinded(queue=queue, images=[film], change=change, act=act, reader=ben)


def test_the_audit_does_not_say_what_was_read(queue: ScreeningQueue, ann: User) -> None:
    double_reading.begin(queue=queue, person=ann)
    read(queue, films_of(queue)[0], ann, "unsure", "nodule")
    event = AuditEvent.objects.get(verb="read film of double reading")
    assert "unsure" not in f"{event.before} {event.after} {event.reason}"
    assert "nodule" not in f"{event.before} {event.after} {event.reason}"


def test_an_undone_reading_is_withheld_again(queue: ScreeningQueue, ann: User, ben: User) -> None:
    film = films_of(queue)[0]
    double_reading.begin(queue=queue, person=ann)
    double_reading.begin(queue=queue, person=ben)
    act = read(queue, film, ann, "normal")
    assert double_reading.queue_of_act(act) == queue
    with pytest.raises(InvalidLabel, match="nothing to undo: the act is not yours"):
        double_reading.undo_reading(queue=queue, act=act, reader=ben)
    assert double_reading.undo_reading(queue=queue, act=act, reader=ann) == 1
    assert is_withheld(ann, film)
    assert double_reading.own_readings(queue, ann) == {}
    read(queue, film, ann, "abnormal")
    assert not is_withheld(ann, film)
    with pytest.raises(InvalidLabel, match="already undone"):
        double_reading.undo_reading(queue=queue, act=act, reader=ann)


def test_an_earlier_reading_of_a_film_withholds_nothing_when_a_later_one_is_undone(
    queue: ScreeningQueue, ann: User
) -> None:
    film = films_of(queue)[0]
    double_reading.begin(queue=queue, person=ann)
    read(queue, film, ann, "normal")
    act = read(queue, film, ann, "abnormal")
    double_reading.undo_reading(queue=queue, act=act, reader=ann)
    assert double_reading.own_readings(queue, ann)[film.pk].value == "normal"
    assert not is_withheld(ann, film)


def test_a_queue_is_handed_back_and_continued(queue: ScreeningQueue, ann: User) -> None:
    film, other = films_of(queue)[:2]
    with pytest.raises(DoubleReadingRefused, match="nothing to hand back"):
        double_reading.hand_back(queue=queue, person=ann)
    double_reading.begin(queue=queue, person=ann)
    double_reading.begin(queue=queue, person=ann)  # changes nothing
    read(queue, film, ann, "normal")
    assert double_reading.hand_back(queue=queue, person=ann) == 2
    assert not is_withheld(ann, other)
    assert [row.state for row in double_reading.progress_of(queue)] == ["handed back", "not begun"]
    with pytest.raises(PermissionDenied, match="begin it on its page first"):
        read(queue, other, ann, "normal")
    double_reading.begin(queue=queue, person=ann)
    assert is_withheld(ann, other)
    assert not is_withheld(ann, film)
    assert list(AuditEvent.objects.order_by("pk").values_list("verb", flat=True)) == [
        *("make queue", "ask for double reading", "begin double reading", "read film of double reading"),
        *("hand back double reading", "begin double reading"),
    ]


def test_reading_expires(queue: ScreeningQueue, ann: User) -> None:
    film = films_of(queue)[0]
    double_reading.begin(queue=queue, person=ann)
    past = timezone.now() - timedelta(seconds=1)
    QueueReader.objects.update(expires_at=past)
    BlindedFilm.objects.update(expires_at=past)
    assert double_reading.progress_of(queue)[0].state == "expired"
    assert not is_withheld(ann, film)
    with pytest.raises(PermissionDenied, match="begin it on its page first"):
        read(queue, film, ann, "normal")
    double_reading.begin(queue=queue, person=ann)
    assert is_withheld(ann, film)


def test_those_who_are_done_are_called_so(queue: ScreeningQueue, ann: User) -> None:
    double_reading.begin(queue=queue, person=ann)
    for film in films_of(queue):
        read(queue, film, ann, "normal")
    assert [row.state for row in double_reading.progress_of(queue)] == ["done", "not begun"]
    assert not BlindedFilm.objects.filter(closed_at=None).exists()


def test_three_people_may_read(of: Dataset, ann: User, ben: User) -> None:
    factories.film(of)
    carl = factories.curator("carl")
    queue = begun(of, ann, ben, carl)
    film = films_of(queue)[0]
    for person in (ann, ben):
        read(queue, film, person, "normal")
    assert double_reading.read_by_all(queue) == {}
    read(queue, film, carl, "normal")
    assert len(double_reading.read_by_all(queue)[film.pk]) == 3


def test_rows_never_change(queue: ScreeningQueue, ann: User) -> None:
    """The guards of queues and labels came back after the migration that changed their tables."""
    double_reading.begin(queue=queue, person=ann)
    read(queue, films_of(queue)[0], ann, "normal")
    factories.event(films_of(queue)[0], "normal", ann)
    for rows, rule in (
        (ScreeningQueue.objects.all(), "frozen"),
        (QueueReading.objects.all(), "append-only"),
        (LabelEvent.objects.all(), "append-only"),
    ):
        with pytest.raises(DatabaseError, match=rule), transaction.atomic():
            rows.update(created_at=timezone.now())
