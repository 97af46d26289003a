"""Two people label the same film: unseen labels are not overwritten, and the history has every accepted act."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, IntegrityError, connections, transaction

from portal.labels.disagreements import ChangedAgain, adjudicate, merge
from portal.labels.events import InvalidLabel, LabelChange, Labelled, label_as_seen, undo
from portal.models import Adjudication, AdjudicatorVerdict, AuditEvent, CurrentLabel, Image, LabelEvent, Role, User
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def film() -> Image:
    return factories.film(factories.dataset(), "normal")


@pytest.fixture
def ann() -> User:
    return factories.curator("ann")


@pytest.fixture
def ben() -> User:
    return factories.curator("ben")


def label(films: Any, value: str, author: User, seen: int | dict[int, int], **fields: Any) -> Labelled:
    films = [films] if isinstance(films, Image) else films
    events_seen = seen if isinstance(seen, dict) else {film.pk: seen for film in films}
    act = fields.pop("act", None) or uuid.uuid4()
    return label_as_seen(
        images=films,
        seen=events_seen,
        change=LabelChange(value=value, **fields),
        act=act,
        author=author,
        site=factories.site(),
    )


def settle(film: Image, choice: str, value: str, author: User, seen: int) -> Any:
    change = LabelChange(value=value)
    return merge(
        image=film, choice=choice, change=change, seen=seen, act=uuid.uuid4(), author=author, site=film.dataset.site
    )


def current(film: Image) -> str:
    return CurrentLabel.objects.get(image=film).value


# Labels seen -----------------------------------------------------------------------------------------------


def test_a_label_on_the_state_that_was_seen_is_accepted(film: Image, ann: User) -> None:
    done = label(film, "abnormal", ann, seen=1)
    assert (done.labelled, done.changed) == ((film.pk,), ())
    assert current(film) == "abnormal"


def test_a_film_that_another_person_labelled_since_is_not_labelled(film: Image, ann: User, ben: User) -> None:
    label(film, "abnormal", ann, seen=1)
    done = label(film, "unsure", ben, seen=1)
    assert (done.labelled, done.changed) == ((), (film.pk,))
    assert current(film) == "abnormal"
    assert AuditEvent.objects.filter(verb="label films").count() == 1


def test_an_undo_by_another_person_is_a_change_too(film: Image, ann: User, ben: User) -> None:
    act = label(film, "abnormal", ann, seen=1).act
    undo(act=act, author=ann, site=film.dataset.site)
    assert label(film, "unsure", ben, seen=2).changed == (film.pk,)


def test_own_labels_and_imports_do_not_count_as_changes(film: Image, ann: User) -> None:
    label(film, "abnormal", ann, seen=1)
    factories.event(film, "normal")
    assert label(film, "unsure", ann, seen=1).changed == ()  # keys do not wait for the previous response


def test_a_bulk_act_skips_and_names_changed_films(ann: User, ben: User) -> None:
    films = factories.films(factories.dataset(), unlabelled=4)
    label(films[1], "abnormal", ben, seen=0)
    done = label(films, "normal", ann, seen=0)
    assert done.changed == (films[1].pk,)
    assert [current(film) for film in films] == ["normal", "abnormal", "normal", "normal"]
    assert AuditEvent.objects.latest("pk").after["left to others"] == 1


def test_an_act_that_is_sent_twice_is_stored_once(film: Image, ann: User, ben: User) -> None:
    act = uuid.uuid4()
    first = label(film, "abnormal", ann, seen=1, act=act)
    label(film, "normal", ben, seen=2)
    assert label(film, "abnormal", ann, seen=1, act=act) == first
    assert film.label_events.count() == 3
    with pytest.raises(InvalidLabel, match="belongs to another person"):
        label(film, "abnormal", ben, seen=3, act=act)
    with pytest.raises(InvalidLabel, match="or to other films"):
        label(factories.film(film.dataset), "abnormal", ann, seen=0, act=act)


# Merging ------------------------------------------------------------------------------------------------------


def test_both_labels_may_remain_unresolved(film: Image, ann: User, ben: User) -> None:
    label(film, "abnormal", ann, seen=1)
    settle(film, "unresolved", "normal", ben, seen=2)
    assert current(film) == "unresolved"


def test_accepting_theirs_reverts_the_own_label(film: Image, ann: User, ben: User) -> None:
    label(film, "normal", ben, seen=1)
    label(film, "abnormal", ann, seen=2)
    assert current(film) == "unresolved"
    settle(film, "theirs", "unsure", ben, seen=3)
    assert current(film) == "abnormal"
    assert not film.label_events.filter(author=ben, value="abnormal").exists()  # no label is added in their name


def test_accepting_theirs_without_an_own_label_writes_nothing(film: Image, ann: User, ben: User) -> None:
    label(film, "abnormal", ann, seen=1)
    settle(film, "theirs", "normal", ben, seen=2)
    assert film.label_events.count() == 2


def test_only_adjudicators_keep_a_conflicting_label(film: Image, ann: User, ben: User) -> None:
    label(film, "abnormal", ann, seen=1)
    with pytest.raises(PermissionDenied, match="adjudicate labels"):
        settle(film, "mine", "normal", ben, seen=2)
    judge = factories.user("judge", Role.CURATOR, Role.ADJUDICATOR)
    settle(film, "mine", "normal", judge, seen=2)
    assert current(film) == "normal"
    adjudication = Adjudication.objects.get()
    assert adjudication.settles == [str(film.label_events.get(author=ann).uuid)]
    assert adjudication.label_event.source == "adjudication"
    assert AuditEvent.objects.get(verb="adjudicate label").actor == judge


def test_mine_that_agrees_with_theirs_is_a_second_label(film: Image, ann: User, ben: User) -> None:
    label(film, "abnormal", ann, seen=1)
    assert settle(film, "mine", "abnormal", ben, seen=2) is None
    assert (current(film), film.label_events.filter(value="abnormal").count()) == ("abnormal", 2)


def test_a_curators_label_does_not_reopen_an_adjudication(film: Image, ann: User, ben: User) -> None:
    factories.event(film, "abnormal", factories.user("judge", Role.ADJUDICATOR), source="adjudication")
    assert label(film, "abnormal", ben, seen=1).changed == (film.pk,)
    with pytest.raises(PermissionDenied):
        settle(film, "mine", "abnormal", ben, seen=2)


def test_a_choice_is_refused_after_a_third_label(film: Image, ann: User, ben: User) -> None:
    label(film, "abnormal", ann, seen=1)
    label(film, "unsure", factories.curator("cho"), seen=2)
    for choice in ("mine", "theirs", "unresolved"):
        with pytest.raises(ChangedAgain):
            settle(film, choice, "normal", ben, seen=2)
    assert film.label_events.count() == 3


def test_an_unknown_choice_is_refused(film: Image, ann: User) -> None:
    with pytest.raises(InvalidLabel, match="'both' is unknown"):
        settle(film, "both", "normal", ann, seen=1)


BOX = {"x": 2.0, "y": 3.0, "width": 5.0, "height": 6.0, "finding": "nodule"}


def test_mine_keeps_the_findings_and_boxes_of_the_side_it_takes(film: Image, ann: User, ben: User) -> None:
    judge = factories.user("judge", Role.CURATOR, Role.ADJUDICATOR)
    factories.event(film, "abnormal", ann, findings=["nodule"], boxes=[BOX])
    assert settle(film, "mine", "abnormal", ben, seen=2) is None  # agrees: a second label
    assert film.label_events.latest("pk").boxes == [BOX]
    factories.event(film, "normal", factories.curator("cho"))
    settle(film, "mine", "abnormal", judge, seen=4)
    event = film.label_events.latest("pk")
    assert (event.source, event.findings, event.boxes) == ("adjudication", ["nodule"], [BOX])
    assert CurrentLabel.objects.get(image=film).findings == ["nodule"]


# Interleavings --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_in_any_order_the_history_has_exactly_the_accepted_writes(seed: int) -> None:
    """250 random views, labels, undos and merges of three people on four films, each with the state they saw last."""
    dice = random.Random(seed)
    films = factories.films(factories.dataset(), unlabelled=4)
    people = [factories.curator(name) for name in ("ann", "ben", "cho")]
    seen: dict[tuple[int, int], int] = Counter()
    written: Counter[int] = Counter()  # film -> accepted writes
    others_since: dict[tuple[int, int], bool] = dict.fromkeys(((p.pk, f.pk) for p in people for f in films), False)
    acts: dict[int, list[tuple[uuid.UUID, int]]] = {person.pk: [] for person in people}

    def wrote(person: User, film: Image) -> None:
        written[film.pk] += 1
        for other in people:
            if other != person:
                others_since[other.pk, film.pk] = True

    for _ in range(250):
        person, film = dice.choice(people), dice.choice(films)
        key, value = (person.pk, film.pk), dice.choice(["normal", "abnormal", "unsure"])
        step = dice.choice(["look", "label", "label", "undo", "merge"])
        if step == "look":
            seen[key], others_since[key] = film.label_events.count(), False
        elif step == "label":
            done = label(film, value, person, seen=seen[key])
            assert bool(done.changed) is others_since[key]
            if done.labelled:
                acts[person.pk].append((done.act, film.pk))
                wrote(person, film)
        elif step == "undo" and acts[person.pk]:
            act, of = acts[person.pk].pop()
            try:
                undo(act=act, author=person, site=film.dataset.site)
                wrote(person, next(candidate for candidate in films if candidate.pk == of))
            except InvalidLabel:  # a merge has already reverted it
                assert LabelEvent.objects.filter(batch=act, reverted_by__isnull=False).exists()
        elif step == "merge":
            choice = dice.choice(["theirs", "unresolved"])
            mine = film.label_events.filter(author=person, value__gt="", reverted_by__isnull=True).count()
            try:
                settle(film, choice, value, person, seen=seen[key])
            except ChangedAgain:
                assert others_since[key]
                continue
            assert not others_since[key]
            for _ in range(mine if choice == "theirs" else 1):
                wrote(person, film)
    assert {film.pk: film.label_events.count() for film in films} == {film.pk: written[film.pk] for film in films}


@pytest.mark.django_db(transaction=True)
def test_only_one_of_many_simultaneous_labels_is_accepted(film: Image) -> None:
    people = [factories.curator(f"person {number}") for number in range(4)]
    rounds = 6
    accepted: list[int] = []
    faults: list[BaseException] = []
    start = threading.Barrier(len(people))

    def label_in_rounds(person: User) -> None:
        try:
            for _ in range(rounds):
                start.wait()
                seen = film.label_events.count()
                start.wait()  # all have looked before anybody labels
                accepted.extend(label(film, "normal", person, seen=seen).labelled)
        except BaseException as error:  # for the main thread of the test
            faults.append(error)
            start.abort()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=label_in_rounds, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert len(accepted) == rounds
    assert film.label_events.count() == 1 + rounds


def own_verdict(film: Image, by: User, value: str = "normal") -> AdjudicatorVerdict:
    return AdjudicatorVerdict.objects.create(
        image=film, adjudicator=by, value=value, model_shown=False, label_shown=False
    )


def test_an_adjudication_keeps_the_own_verdict_and_the_readings_it_settles(film: Image) -> None:
    judge, reading = factories.user("judge", Role.ADJUDICATOR), uuid.uuid4()
    verdict = own_verdict(film, judge)
    change = LabelChange(value="abnormal", findings=["nodule"])
    row = adjudicate(
        image=film, change=change, author=judge, site=film.dataset.site, own_verdict=verdict, readings=[reading]
    )
    assert (row.own_verdict, row.changed_own_verdict, row.settles_readings) == (verdict, True, [str(reading)])
    assert AuditEvent.objects.get(verb="adjudicate label").after["settles readings"] == [str(reading)]
    kept = adjudicate(image=film, change=change, author=judge, site=film.dataset.site)
    assert (kept.own_verdict, kept.changed_own_verdict, kept.settles_readings) == (None, None, [])


def test_an_own_verdict_on_a_proposed_film_is_given_once_and_never_changes(film: Image) -> None:
    judge = factories.user("judge", Role.ADJUDICATOR)
    verdict = own_verdict(film, judge)
    with pytest.raises(IntegrityError), transaction.atomic():
        own_verdict(film, judge, "abnormal")
    own_verdict(film, factories.user("second", Role.ADJUDICATOR))
    verdict.value = "abnormal"
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        verdict.save()
