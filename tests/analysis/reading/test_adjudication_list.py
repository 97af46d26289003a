"""Films proposed from worklists: the adjudicator's own verdict first, then the readings, then one label."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from analysis.models import Reading, Worklist
from analysis.reading import adjudication_list, verdicts
from analysis.reading.adjudication_list import AdjudicationRefused, ProposedFilm
from analysis.reading.verdicts import usable_as_reference
from portal.labels.events import InvalidLabel, LabelChange
from portal.models import (
    Adjudication,
    AdjudicatorVerdict,
    AuditEvent,
    BlindedFilm,
    CurrentLabel,
    Exposure,
    Image,
    Role,
    Site,
    User,
)
from portal.people import blinding
from portal.people.exposure import has_seen_label, record_exposure
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, read, reader, worklist
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
NORMAL, ABNORMAL = LabelChange(value="normal"), LabelChange(value="abnormal", findings=["nodule"], reason="seen twice")
BOX = {"x": 1, "y": 2, "width": 5, "height": 6, "finding": "nodule"}


@pytest.fixture
def of(scored: Scored, analyst: User) -> Worklist:
    return worklist(scored, analyst)


@pytest.fixture
def site(of: Worklist) -> Site:
    return of.run.site


@pytest.fixture
def proposed(of: Worklist, analyst: User) -> list[Reading]:
    """Two readings with the model, of films of two patients, proposed."""
    person = reader()
    first, second = items(of, flagged=True)[:2]
    rows = [
        read(first, person, "abnormal", findings=["nodule"], comment="a rare word", boxes=[BOX]),
        read(second, person, "normal"),
    ]
    for row in rows:
        verdicts.propose_adjudication(reading=row, author=analyst)
    return rows


@pytest.fixture
def ada(of: Worklist) -> User:
    return factories.user("ada", Role.ADJUDICATOR)


def films(rows: list[Reading]) -> list[Image]:
    return [Image.objects.select_related("dataset__site", "patient").get(pk=row.image_id) for row in rows]


def verdict(film: Image, person: User, change: LabelChange = NORMAL) -> AdjudicatorVerdict:
    return adjudication_list.give_verdict(image=film, change=change, person=person)


def settle(film: Image, person: User, change: LabelChange = NORMAL) -> Adjudication:
    return adjudication_list.settle(image=film, change=change, person=person)


def row_of(film: Image, person: User) -> ProposedFilm:
    return next(row for row in adjudication_list.proposed_films(film.dataset.site, person) if row.image == film)


def test_films_are_withheld_from_the_beginning_until_the_own_verdict(
    site: Site, proposed: list[Reading], ada: User
) -> None:
    first, second = films(proposed)
    assert not blinding.is_withheld(ada, first)  # looking at the list begins nothing
    assert adjudication_list.begin(site=site, person=ada) == 2
    assert [blinding.is_withheld(ada, film) for film in (first, second)] == [True, True]
    with pytest.raises(PermissionDenied, match="the adjudication list of Seoul"):
        blinding.refuse_withheld(ada, first)
    verdict(first, ada)
    assert [blinding.is_withheld(ada, film) for film in (first, second)] == [False, True]
    assert BlindedFilm.objects.get(person=ada, image=first).outcome == "read"
    days = (BlindedFilm.objects.get(person=ada, image=second).expires_at - timezone.now()).days
    assert days == adjudication_list.DAYS - 1


def test_nothing_is_shown_before_the_own_verdict_and_looking_is_recorded(
    site: Site, proposed: list[Reading], ada: User
) -> None:
    film = films(proposed)[0]
    adjudication_list.begin(site=site, person=ada)
    for too_early in (adjudication_list.readings_to_settle, lambda **who: settle(who["image"], who["person"])):
        with pytest.raises(AdjudicationRefused, match="own verdict first"):
            too_early(image=film, person=ada)
    verdict(film, ada)
    assert not has_seen_label(ada, film)
    assert adjudication_list.readings_to_settle(image=film, person=ada) == [proposed[0]]
    assert has_seen_label(ada, film)


def test_the_own_verdict_is_kept_with_what_had_been_shown_and_given_once(
    site: Site, proposed: list[Reading], ada: User
) -> None:
    first, second = films(proposed)
    record_exposure(ada, Exposure.Kind.SCORE, [second.pk], run=proposed[0].run.uuid)
    record_exposure(ada, Exposure.Kind.LABEL, [second.pk])
    adjudication_list.begin(site=site, person=ada)
    own = verdict(first, ada, LabelChange(value="normal", attributes=["device"], reason="a pacemaker"))
    assert (own.queue, own.value, own.attributes, own.comment) == (None, "normal", ["device"], "a pacemaker")
    assert (own.model_shown, own.label_shown) == (False, False)
    shown = verdict(second, ada)
    assert (shown.model_shown, shown.label_shown) == (True, True)
    with pytest.raises(AdjudicationRefused, match="is locked"):
        verdict(first, ada, ABNORMAL)
    assert AuditEvent.objects.filter(verb="give own verdict", actor=ada).count() == 2


def test_a_film_is_settled_by_one_label_and_the_own_verdict_is_linked(
    site: Site, proposed: list[Reading], ada: User
) -> None:
    film = films(proposed)[0]
    adjudication_list.begin(site=site, person=ada)
    own, before = verdict(film, ada), film.label_events.count()
    settled = settle(film, ada, ABNORMAL)
    assert (settled.own_verdict, settled.changed_own_verdict) == (own, True)
    assert (settled.verdict, settled.reason) == ("abnormal", "seen twice")
    assert settled.settles_readings == [str(proposed[0].uuid)]
    assert film.label_events.count() == before + 1
    label = CurrentLabel.objects.get(image=film)
    assert (label.value, label.findings, label.source) == ("abnormal", ["nodule"], "adjudication")
    assert settled.label_event.boxes == [BOX]  # of the reading that says so too
    with pytest.raises(AdjudicationRefused, match="settled already"):
        settle(film, ada, ABNORMAL)
    assert row_of(film, ada).is_settled
    assert adjudication_list.readings_to_settle(image=film, person=ada) == [proposed[0]]  # still to be looked at


def test_boxes_that_a_label_of_the_value_has_are_kept(site: Site, proposed: list[Reading], ada: User) -> None:
    film, held = films(proposed)[0], {"x": 3, "y": 3, "width": 2, "height": 2, "finding": "nodule"}
    factories.event(film, "abnormal", factories.curator(), boxes=[held])
    adjudication_list.begin(site=site, person=ada)
    verdict(film, ada, LabelChange(value="abnormal"))
    settled = settle(film, ada, LabelChange(value="abnormal"))
    assert (settled.label_event.boxes, settled.changed_own_verdict) == ([held], False)
    assert settled.reason == adjudication_list.DEFAULT_REASON


def test_a_finding_of_the_reading_may_be_taken_over_but_not_guessed(
    site: Site, proposed: list[Reading], ada: User
) -> None:
    film, site.findings = films(proposed)[0], ["effusion"]
    site.save()
    film = films(proposed)[0]
    adjudication_list.begin(site=site, person=ada)
    with pytest.raises(InvalidLabel, match="not among the findings"):
        verdict(film, ada, ABNORMAL)
    verdict(film, ada)
    assert settle(film, ada, ABNORMAL).label_event.findings == ["nodule"]


def test_a_film_is_called_normal_abnormal_or_unsure(site: Site, proposed: list[Reading], ada: User) -> None:
    film, exclude = films(proposed)[0], LabelChange(value="exclude")
    adjudication_list.begin(site=site, person=ada)
    with pytest.raises(AdjudicationRefused, match="'exclude' is unknown"):
        verdict(film, ada, exclude)
    verdict(film, ada)
    with pytest.raises(AdjudicationRefused, match="'exclude' is unknown"):
        settle(film, ada, exclude)


def test_readings_wait_for_the_patient_s_other_films(site: Site, analyst: User, ada: User) -> None:
    of = factories.dataset("Pairs")
    first, second = [factories.film(of, person="the same") for _ in range(2)]
    rows = [
        Reading.objects.create(
            image=film, reader=analyst, verdict="normal", model_shown=True, active_seconds=1, total_seconds=1
        )
        for film in (first, second)
    ]
    for row in rows:
        verdicts.propose_adjudication(reading=row, author=analyst)
    adjudication_list.begin(site=site, person=ada)
    verdict(first, ada)
    with pytest.raises(AdjudicationRefused, match="still waits for your own verdict"):
        adjudication_list.readings_to_settle(image=first, person=ada)
    verdict(second, ada)
    assert adjudication_list.readings_to_settle(image=first, person=ada) == rows[:1]


def test_nobody_settles_a_reading_of_their_own(of: Worklist, site: Site, analyst: User) -> None:
    both = factories.user("both", Role.READER, Role.ADJUDICATOR)
    kept = read(items(of, flagged=True)[0], both)
    verdicts.propose_adjudication(reading=kept, author=analyst)
    (film,) = films([kept])
    assert row_of(film, both).refusal == adjudication_list.OWN_READING
    with pytest.raises(AdjudicationRefused, match="nothing to begin"):
        adjudication_list.begin(site=site, person=both)
    with pytest.raises(AdjudicationRefused, match="Your own reading"):
        verdict(film, both)


def test_a_verdict_needs_a_list_that_was_begun_and_not_handed_back(
    site: Site, proposed: list[Reading], ada: User
) -> None:
    first, second = films(proposed)
    with pytest.raises(AdjudicationRefused, match="Begin the list first"):
        verdict(first, ada)
    with pytest.raises(AdjudicationRefused, match="nothing to hand back"):
        adjudication_list.hand_back(site=site, person=ada)
    adjudication_list.begin(site=site, person=ada)
    verdict(first, ada)
    assert adjudication_list.hand_back(site=site, person=ada) == 1
    assert not blinding.is_withheld(ada, second)
    with pytest.raises(AdjudicationRefused, match="Begin the list first"):
        verdict(second, ada)
    assert settle(first, ada).own_verdict is not None  # its verdict stays
    assert adjudication_list.begin(site=site, person=ada) == 1
    BlindedFilm.objects.update(expires_at=timezone.now())
    with pytest.raises(AdjudicationRefused, match="Begin the list first"):
        verdict(second, ada)


def test_only_adjudicators_begin_and_settle(site: Site, proposed: list[Reading], analyst: User) -> None:
    film = films(proposed)[0]
    for refused in (
        lambda: adjudication_list.begin(site=site, person=analyst),
        lambda: verdict(film, analyst),
        lambda: adjudication_list.readings_to_settle(image=film, person=analyst),
        lambda: settle(film, analyst),
    ):
        with pytest.raises(PermissionDenied, match="adjudicate labels"):
            refused()
    assert len(adjudication_list.proposed_films(site, analyst)) == 2


def test_a_film_that_another_adjudicator_settles_waits_for_nobody(
    site: Site, proposed: list[Reading], ada: User
) -> None:
    film, second = films(proposed)[0], factories.user("second", Role.ADJUDICATOR)
    for person in (ada, second):
        adjudication_list.begin(site=site, person=person)
    verdict(film, ada)
    settle(film, ada)
    assert not blinding.is_withheld(second, film)
    with pytest.raises(AdjudicationRefused, match="settled already"):
        verdict(film, second)


def test_what_is_read_blinded_elsewhere_is_not_on_the_list_meanwhile(
    of: Worklist, scored: Scored, site: Site, proposed: list[Reading], analyst: User
) -> None:
    both = factories.user("both", Role.READER, Role.ADJUDICATOR)
    film = films(proposed)[0]
    blinding.open_for(person=both, images=[film], source=of.uuid, words="the worklist Blinded", days=28)
    assert film not in {row.image for row in adjudication_list.proposed_films(site, both)}
    assert adjudication_list.begin(site=site, person=both) == 1
    with pytest.raises(AdjudicationRefused, match="blinded in another list"):
        verdict(film, both)


def test_a_film_that_was_never_proposed_is_not_on_the_list(of: Worklist, proposed: list[Reading], ada: User) -> None:
    other = next(item.image for item in items(of) if item.image_id not in {row.image_id for row in proposed})
    with pytest.raises(AdjudicationRefused, match="not on the adjudication list"):
        verdict(other, ada)


def test_a_film_that_is_proposed_again_waits_for_another_adjudicator(
    of: Worklist, site: Site, proposed: list[Reading], analyst: User, ada: User
) -> None:
    film = films(proposed)[0]
    adjudication_list.begin(site=site, person=ada)
    verdict(film, ada)
    settle(film, ada)
    item = next(item for item in items(of) if item.image_id == film.pk)
    again = read(item, factories.user("later", Role.READER), "abnormal")
    verdicts.propose_adjudication(reading=again, author=analyst)
    assert (row_of(film, ada).is_settled, row_of(film, ada).refusal) == (False, adjudication_list.SETTLED_BEFORE)
    with pytest.raises(AdjudicationRefused, match="settled this film before"):
        adjudication_list.readings_to_settle(image=film, person=ada)
    second = factories.user("second", Role.ADJUDICATOR)
    adjudication_list.begin(site=site, person=second)
    verdict(film, second)
    assert adjudication_list.readings_to_settle(image=film, person=second) == [again]
    assert settle(film, second).settles_readings == [str(again.uuid)]


def test_warnings_name_what_the_person_was_shown(of: Worklist, proposed: list[Reading], ada: User) -> None:
    first, second = films(proposed)
    both = factories.user("both", Role.READER, Role.ADJUDICATOR)
    read(next(item for item in items(of) if item.image_id == first.pk), both)
    record_exposure(both, Exposure.Kind.LABEL, [second.pk])
    assert [row_of(film, both).warning for film in (first, second)] == [
        adjudication_list.READ_WITH_MODEL,
        adjudication_list.WAS_SHOWN,
    ]
    assert [row_of(film, ada).warning for film in (first, second)] == ["", ""]


def test_the_own_verdict_confirms_a_reading_and_not_the_settled_one(
    site: Site, proposed: list[Reading], ada: User
) -> None:
    first, second = films(proposed)
    adjudication_list.begin(site=site, person=ada)
    verdict(first, ada, NORMAL)
    settle(first, ada, ABNORMAL)  # persuaded by the reading, which was abnormal
    verdict(second, ada, NORMAL)
    settle(second, ada, ABNORMAL)
    assert usable_as_reference(proposed) == {proposed[1].pk}
    record_exposure(ada, Exposure.Kind.SCORE, [second.pk], run=proposed[0].run.uuid)
    assert usable_as_reference(proposed) == {proposed[1].pk}  # the verdict was given before that


@pytest.mark.parametrize("kind", [Exposure.Kind.LABEL, Exposure.Kind.SCORE])
def test_an_own_verdict_after_a_label_or_score_confirms_nothing(
    site: Site, proposed: list[Reading], ada: User, kind: Exposure.Kind
) -> None:
    film = films(proposed)[1]
    record_exposure(ada, kind, [film.pk])
    adjudication_list.begin(site=site, person=ada)
    verdict(film, ada, NORMAL)
    settle(film, ada, NORMAL)
    assert usable_as_reference(proposed) == set()


def test_an_own_verdict_from_before_the_reading_confirms_nothing(
    of: Worklist, site: Site, proposed: list[Reading], ada: User
) -> None:
    film = films(proposed)[1]
    adjudication_list.begin(site=site, person=ada)
    verdict(film, ada, NORMAL)
    item = next(item for item in items(of) if item.image_id == film.pk)
    later = read(item, factories.user("later", Role.READER), "normal")
    settle(film, ada, NORMAL)
    assert usable_as_reference([*proposed, later]) == {proposed[1].pk}


def test_nobody_confirms_a_reading_of_their_own(proposed: list[Reading], ada: User) -> None:
    film = films(proposed)[1]
    shown_the_label = Reading.objects.create(
        image=film, reader=ada, verdict="normal", model_shown=False, label_shown=True, active_seconds=1, total_seconds=1
    )
    for person in (ada, factories.user("second", Role.ADJUDICATOR)):
        assert usable_as_reference([shown_the_label]) == set()
        own = AdjudicatorVerdict.objects.create(
            image=film, adjudicator=person, value="normal", model_shown=False, label_shown=False
        )
        event = factories.event(film, "normal", person, source="adjudication")
        Adjudication.objects.create(
            image=film, adjudicator=person, verdict="normal", reason="x", label_event=event, own_verdict=own
        )
    assert usable_as_reference([shown_the_label]) == {shown_the_label.pk}


def test_the_waiting_proposals_are_those_without_a_later_adjudication(
    site: Site, proposed: list[Reading], ada: User
) -> None:
    film: Any = films(proposed)[0]
    assert adjudication_list.waiting_proposals(site).count() == 2
    adjudication_list.begin(site=site, person=ada)
    verdict(film, ada)
    settle(film, ada)
    assert [row.reading for row in adjudication_list.waiting_proposals(site)] == proposed[1:]
    assert set(adjudication_list.all_proposed(site)) == set(films(proposed))
