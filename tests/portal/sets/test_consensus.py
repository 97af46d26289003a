"""From readings to labels: closing, consensus, who may see results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, IntegrityError, transaction

from portal.labels.events import LabelChange
from portal.models import (
    Adjudication,
    AuditEvent,
    BlindedFilm,
    Consensus,
    CurrentLabel,
    Dataset,
    Exposure,
    LabelEvent,
    QueueReading,
    Role,
    ScreeningQueue,
    User,
)
from portal.people.exposure import record_exposure
from portal.sets import adjudicating, consensus, double_reading
from portal.sets.double_reading import DoubleReadingRefused
from tests.portal import factories
from tests.portal.double import adjudicator, begun, close, films_of, manager, read, read_all

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
    """Four films: agreed on abnormal, agreed on normal, disputed, and read by one person only."""
    factories.films(of, unlabelled=4)
    queue = begun(of, ann, ben)
    read_all(queue, {"ann": ["abnormal", "normal", "normal", "normal"], "ben": ["abnormal", "normal", "unsure"]})
    return queue


def values() -> dict[int, tuple[str, str]]:
    return {label.image_id: (label.value, label.source) for label in CurrentLabel.objects.all()}


def test_closing_labels_what_readers_agree_on_and_leaves_the_rest(queue: ScreeningQueue, ann: User, ben: User) -> None:
    abnormal, normal, disputed, _ = films_of(queue)
    assert consensus.preview_of(queue) == consensus.Closing(agreed=2, differing=1, shown_first=0, unread=1)
    assert consensus.to_settle(queue) == []  # not before it is closed
    assert close(queue) == consensus.Closing(agreed=2, differing=1, shown_first=0, unread=1)
    assert values() == {abnormal.pk: ("abnormal", "consensus"), normal.pk: ("normal", "consensus")}
    assert LabelEvent.objects.count() == 2
    assert consensus.to_settle(queue) == [disputed]
    row = Consensus.objects.get(image=abnormal)
    assert {reading.reader for reading in row.readings.all()} == {ann, ben}
    assert (row.label_event.author, row.label_event.queue) == (manager(), queue)
    assert row.label_event.reason == "Double reading Pairs: ann, ben agree."
    event = AuditEvent.objects.get(verb="close double reading")
    assert event.after == {"agreed": 2, "differing": 1, "shown first": 0, "not read by all": 1}


@pytest.mark.parametrize("kind", ["label", "score", "map"])
def test_agreement_after_a_score_or_label_was_shown_is_no_consensus(
    of: Dataset, ann: User, ben: User, kind: str
) -> None:
    """The film goes to the adjudicator, whose own verdict comes first."""
    factories.films(of, unlabelled=2)
    queue = begun(of, ann, ben)
    shown, plain = films_of(queue)
    record_exposure(ben, Exposure.Kind(kind), [shown.pk])
    read_all(queue, {"ann": ["normal", "normal"], "ben": ["normal", "normal"]})
    expected = consensus.Closing(agreed=1, differing=0, shown_first=1, unread=0)
    assert consensus.preview_of(queue) == expected
    assert close(queue) == expected
    assert values() == {plain.pk: ("normal", "consensus")}
    assert AuditEvent.objects.get(verb="close double reading").after["shown first"] == 1
    assert consensus.to_settle(queue) == [shown]
    assert consensus.is_to_settle(queue, shown)
    assert not consensus.is_finished(queue)
    ada = adjudicator(queue)
    adjudicating.give_verdict(queue=queue, image=shown, change=LabelChange(value="normal"), person=ada)
    adjudicating.settle(queue=queue, image=shown, change=LabelChange(value="normal"), person=ada)
    assert values()[shown.pk] == ("normal", "adjudication")
    assert consensus.is_finished(queue)


def test_a_label_seen_before_the_washout_and_a_reading_that_was_replaced_do_not_count(
    of: Dataset, ann: User, ben: User
) -> None:
    factories.films(of, unlabelled=2)
    queue = begun(of, ann, ben)
    old, corrected = films_of(queue)
    long_ago = datetime.now(UTC).date() - timedelta(days=29)
    Exposure.objects.create(person=ben, image=old, kind=Exposure.Kind.LABEL, day=long_ago)
    QueueReading.objects.create(queue=queue, image=corrected, reader=ben, value="normal", label_shown=True)
    read_all(queue, {"ann": ["normal", "normal"], "ben": ["normal", "normal"]})
    assert close(queue) == consensus.Closing(agreed=2, differing=0, shown_first=0, unread=0)


def test_a_closed_reading_stays_closed(queue: ScreeningQueue, ann: User, ben: User) -> None:
    act = read(queue, films_of(queue)[0], ann, "abnormal")
    close(queue)
    assert not BlindedFilm.objects.filter(closed_at=None).exists()  # ben's last film is handed back
    with pytest.raises(DoubleReadingRefused, match="is closed already"):
        close(queue)
    with pytest.raises(DoubleReadingRefused, match="nothing is read in it any more"):
        double_reading.begin(queue=queue, person=ben)
    with pytest.raises(PermissionDenied, match="nothing is read in it any more"):
        read(queue, films_of(queue)[3], ben, "normal")
    with pytest.raises(PermissionDenied, match="nothing is read in it any more"):
        double_reading.undo_reading(queue=queue, act=act, reader=ann)
    assert LabelEvent.objects.count() == 2


def test_there_must_be_something_to_close_and_a_manager_closes(of: Dataset, ann: User, ben: User) -> None:
    factories.film(of)
    queue = begun(of, ann, ben)
    with pytest.raises(DoubleReadingRefused, match="nothing to close"):
        close(queue)
    with pytest.raises(PermissionDenied, match="close double readings"):
        consensus.close(queue=queue, person=ann)


def test_a_consensus_holds_what_any_reader_found_and_the_latest_boxes(of: Dataset, ann: User, ben: User) -> None:
    factories.films(of, unlabelled=2)
    queue = begun(of, ann, ben)
    film, normal = films_of(queue)
    boxes = [[{"x": x, "y": 1.0, "width": 3.0, "height": 4.0, "finding": "nodule"}] for x in (1.0, 2.0)]
    read(queue, film, ann, "abnormal", "nodule", "effusion", boxes=boxes[0])
    read(queue, film, ben, "abnormal", "nodule", "cavity", boxes=boxes[1])
    read(queue, normal, ann, "normal", attributes=["variant"])
    read(queue, normal, ben, "normal", attributes=["device"])
    close(queue)
    event = LabelEvent.objects.get(image=film)
    assert (event.findings, event.boxes) == (["nodule", "effusion", "cavity"], boxes[1])
    assert CurrentLabel.objects.get(image=normal).attributes == ["device", "variant"]


def test_a_consensus_overrides_labels_of_single_people_and_a_later_adjudication_overrides_it(
    queue: ScreeningQueue, ann: User
) -> None:
    film = films_of(queue)[1]
    carl = factories.curator("carl")
    factories.event(film, "abnormal", carl)
    close(queue)
    assert values()[film.pk] == ("normal", "consensus")
    factories.event(film, "abnormal", ann)
    assert values()[film.pk] == ("normal", "consensus")
    factories.event(film, "unsure", factories.user("ada", Role.ADJUDICATOR), source="adjudication")
    assert values()[film.pk] == ("unsure", "adjudication")


def test_the_database_refuses_a_second_consensus_and_a_change(queue: ScreeningQueue, ann: User) -> None:
    close(queue)
    row = Consensus.objects.earliest("pk")
    event = factories.event(row.image, "normal", ann)
    with pytest.raises(IntegrityError), transaction.atomic():
        Consensus.objects.create(queue=queue, image=row.image, label_event=event)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        row.readings.clear()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        row.delete()


def test_who_may_see_results(queue: ScreeningQueue, ann: User, ben: User) -> None:
    assert [consensus.may_see_results(queue, person) for person in (ann, ben, manager())] == [False, False, True]
    assert not consensus.may_see_results(queue, factories.curator("carl"))
    close(queue)
    ada = adjudicator(queue)
    assert not any(consensus.may_see_results(queue, person) for person in (ann, ben, ada))
    film = films_of(queue)[2]
    adjudicating.give_verdict(queue=queue, image=film, change=LabelChange(value="normal"), person=ada)
    assert not consensus.is_finished(queue)
    adjudicating.settle(queue=queue, image=film, change=LabelChange(value="normal"), person=ada)
    assert consensus.is_finished(queue)
    assert all(consensus.may_see_results(queue, person) for person in (ann, ben, ada))
    assert Adjudication.objects.count() == 1


def test_a_manager_who_reads_is_no_exception(of: Dataset, ann: User) -> None:
    factories.films(of, unlabelled=1)
    maria = manager()
    queue = begun(of, ann, maria)
    assert not consensus.may_see_results(queue, maria)
