"""Adjudication of a double reading: the own verdict first, then the readings, then one label."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from portal.labels.events import InvalidLabel, LabelChange
from portal.models import (
    Adjudication,
    AdjudicatorVerdict,
    AuditEvent,
    BlindedFilm,
    Consensus,
    CurrentLabel,
    Dataset,
    DoubleReading,
    Exposure,
    Image,
    LabelEvent,
    Role,
    ScreeningQueue,
    User,
)
from portal.people.blinding import is_withheld
from portal.people.exposure import has_seen_label, record_exposure
from portal.sets import adjudicating, consensus
from portal.sets.double_reading import DoubleReadingRefused
from tests.portal import factories
from tests.portal.double import adjudicator, begun, close, films_of, make, manager, read, read_all

pytestmark = [pytest.mark.django_db]
NORMAL, ABNORMAL = LabelChange(value="normal"), LabelChange(value="abnormal", findings=["nodule"], reason="seen twice")


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
    """Three films, closed: two disputed, one agreed."""
    factories.films(of, unlabelled=3)
    queue = begun(of, ann, ben)
    read_all(queue, {"ann": ["abnormal", "normal", "normal"], "ben": ["normal", "unsure", "normal"]})
    close(queue)
    return queue


def verdict(queue: ScreeningQueue, film: Image, person: User, change: LabelChange = NORMAL) -> AdjudicatorVerdict:
    return adjudicating.give_verdict(queue=queue, image=film, change=change, person=person)


def test_the_adjudicator_is_a_third_person_who_may_adjudicate(queue: ScreeningQueue, of: Dataset, ann: User) -> None:
    ada, maria = factories.user("ada", Role.ADJUDICATOR), manager()
    assert adjudicating.possible_adjudicators(queue) == [ada, maria]
    for person, sentence in ((ann, "is one of the readers"), (factories.curator("carl"), "may not adjudicate labels")):
        with pytest.raises(DoubleReadingRefused, match=sentence):
            adjudicating.name_adjudicator(queue=queue, adjudicator=person, author=maria)
    with pytest.raises(PermissionDenied):
        adjudicating.name_adjudicator(queue=queue, adjudicator=ada, author=ada)
    adjudicating.name_adjudicator(queue=queue, adjudicator=ada, author=maria)
    assert DoubleReading.objects.get().adjudicator == ada
    assert AuditEvent.objects.get(verb="name adjudicator").after == {"adjudicator": str(ada.uuid)}
    with pytest.raises(PermissionDenied, match="settled by another person"):
        adjudicating.begin_adjudication(queue=queue, person=maria)


def test_a_reading_that_is_open_is_not_adjudicated(of: Dataset, ann: User, ben: User) -> None:
    factories.film(of)
    queue = make(of, ann, ben)
    with pytest.raises(DoubleReadingRefused, match="not closed yet"):
        adjudicator(queue)


def test_disputed_films_are_withheld_from_the_beginning_until_the_own_verdict(queue: ScreeningQueue) -> None:
    first, second, agreed = films_of(queue)
    ada = adjudicator(queue)
    assert [is_withheld(ada, film) for film in (first, second, agreed)] == [True, True, False]
    verdict(queue, first, ada)
    assert [is_withheld(ada, film) for film in (first, second)] == [False, True]


def test_nothing_is_shown_before_the_own_verdict_and_looking_is_recorded(queue: ScreeningQueue) -> None:
    film = films_of(queue)[0]
    ada = adjudicator(queue)
    with pytest.raises(DoubleReadingRefused, match="own verdict first"):
        adjudicating.readings_to_settle(queue=queue, image=film, person=ada)
    with pytest.raises(DoubleReadingRefused, match="own verdict first"):
        adjudicating.settle(queue=queue, image=film, change=NORMAL, person=ada)
    verdict(queue, film, ada)
    assert not has_seen_label(ada, film)
    rows = adjudicating.readings_to_settle(queue=queue, image=film, person=ada)
    assert {row.value for row in rows} == {"abnormal", "normal"}
    assert has_seen_label(ada, film)


def test_readings_wait_for_the_patient_s_other_films(of: Dataset, ann: User, ben: User) -> None:
    for _ in range(2):
        factories.film(of, person="the same")
    queue = begun(of, ann, ben)
    read_all(queue, {"ann": ["abnormal", "normal"], "ben": ["normal", "unsure"]})
    close(queue)
    ada = adjudicator(queue)
    first, second = films_of(queue)
    verdict(queue, first, ada)
    with pytest.raises(DoubleReadingRefused, match="Another film of this patient"):
        adjudicating.readings_to_settle(queue=queue, image=first, person=ada)
    verdict(queue, second, ada)
    assert adjudicating.readings_to_settle(queue=queue, image=first, person=ada)


def test_an_own_verdict_is_given_once_by_who_has_begun_on_a_disputed_film(queue: ScreeningQueue) -> None:
    first, _, agreed = films_of(queue)
    ada = factories.user("ada", Role.ADJUDICATOR)
    adjudicating.name_adjudicator(queue=queue, adjudicator=ada, author=manager())
    with pytest.raises(DoubleReadingRefused, match="Begin the adjudication first"):
        verdict(queue, first, ada)
    adjudicating.begin_adjudication(queue=queue, person=ada)
    with pytest.raises(DoubleReadingRefused, match="not among the films to settle"):
        verdict(queue, agreed, ada)
    verdict(queue, first, ada)
    with pytest.raises(DoubleReadingRefused, match="is locked"):
        verdict(queue, first, ada, ABNORMAL)
    assert AdjudicatorVerdict.objects.get().value == "normal"
    with pytest.raises(InvalidLabel):
        verdict(queue, films_of(queue)[1], ada, LabelChange(value="perhaps"))


def test_a_verdict_says_what_the_adjudicator_had_been_shown(queue: ScreeningQueue) -> None:
    first, second, _ = films_of(queue)
    ada = adjudicator(queue)
    record_exposure(ada, Exposure.Kind.LABEL, [second.pk])
    assert [verdict(queue, film, ada).label_shown for film in (first, second)] == [False, True]


def test_settling_writes_one_label_whose_origin_can_be_traced(queue: ScreeningQueue, ann: User, ben: User) -> None:
    film = films_of(queue)[0]
    factories.event(film, "unsure", factories.curator("carl"))
    ada = adjudicator(queue)
    own = verdict(queue, film, ada)
    before = LabelEvent.objects.count()
    row = adjudicating.settle(queue=queue, image=film, change=ABNORMAL, person=ada)
    assert LabelEvent.objects.count() == before + 1
    label = CurrentLabel.objects.get(image=film)
    assert (label.value, label.source, label.findings) == ("abnormal", "adjudication", ["nodule"])
    assert {reading.reader for reading in row.readings.all()} == {ann, ben}
    settled = Adjudication.objects.get()
    assert (settled.label_event, settled.adjudicator, settled.reason) == (row.label_event, ada, "seen twice")
    assert (settled.own_verdict, settled.changed_own_verdict) == (own, True)
    assert set(settled.settles_readings) == {str(reading.uuid) for reading in row.readings.all()}
    assert settled.settles == [str(LabelEvent.objects.get(image=film, source="reader").uuid)]
    assert AuditEvent.objects.get(verb="settle double reading").after["value"] == "abnormal"


def test_a_film_is_settled_once(queue: ScreeningQueue) -> None:
    film = films_of(queue)[0]
    ada = adjudicator(queue)
    verdict(queue, film, ada)
    adjudicating.settle(queue=queue, image=film, change=NORMAL, person=ada)
    with pytest.raises(DoubleReadingRefused, match="settled already"):
        adjudicating.settle(queue=queue, image=film, change=ABNORMAL, person=ada)
    assert Consensus.objects.filter(image=film).count() == 1
    assert Adjudication.objects.get().reason == adjudicating.DEFAULT_REASON
    assert not Adjudication.objects.get().changed_own_verdict


def test_the_boxes_of_the_side_that_is_taken_are_kept(of: Dataset, ann: User, ben: User) -> None:
    factories.films(of, unlabelled=2)
    queue = begun(of, ann, ben)
    box = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "finding": "nodule"}
    for film in films_of(queue):
        read(queue, film, ann, "abnormal", "nodule", boxes=[box])
        read(queue, film, ben, "normal")
    close(queue)
    ada = adjudicator(queue)
    for film, change, boxes in zip(films_of(queue), (ABNORMAL, NORMAL), ([box], []), strict=True):
        verdict(queue, film, ada)
        assert adjudicating.settle(queue=queue, image=film, change=change, person=ada).label_event.boxes == boxes


def test_a_list_is_handed_back_expires_and_is_given_to_another(queue: ScreeningQueue) -> None:
    first, second, _ = films_of(queue)
    ada = adjudicator(queue)
    verdict(queue, first, ada)
    adjudicating.hand_back_adjudication(queue=queue, person=ada)
    assert not is_withheld(ada, second)
    with pytest.raises(DoubleReadingRefused, match="nothing to hand back"):
        adjudicating.hand_back_adjudication(queue=queue, person=ada)
    adjudicating.begin_adjudication(queue=queue, person=ada)
    adjudicating.begin_adjudication(queue=queue, person=ada)  # changes nothing
    assert [is_withheld(ada, film) for film in (first, second)] == [False, True]
    past = timezone.now() - timedelta(seconds=1)
    DoubleReading.objects.update(expires_at=past)
    with pytest.raises(DoubleReadingRefused, match="Begin the adjudication first"):
        verdict(queue, second, ada)
    adjudicating.begin_adjudication(queue=queue, person=ada)
    eve = adjudicator(queue, "eve")
    assert not BlindedFilm.objects.filter(person=ada, closed_at=None).exists()
    assert is_withheld(eve, first)
    with pytest.raises(PermissionDenied, match="settled by another person"):
        adjudicating.settle(queue=queue, image=first, change=NORMAL, person=ada)
    assert consensus.to_settle(queue) == [first, second]
