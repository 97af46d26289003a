"""Reader studies: the draw, the order, and what may be read, stored and revealed when."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from analysis.models import HeatmapUse, Reading, Worklist, WorklistAssignment, WorklistReader
from analysis.reading import verdicts
from analysis.reading.reader_studies import draw_repeats, one_film_a_patient, tasks_of
from analysis.reading.verdicts import ReadingRefused, usable_as_reference
from analysis.reading.worklist_summary import summarise
from analysis.reading.worklists import WorklistRefused, begin, hand_back
from ml_engine.models import Score
from portal.models import Adjudication, Exposure, Image, LabelSource, LabelValue, Role, User
from portal.people.blinding import is_withheld, open_for
from portal.people.exposure import record_exposure
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, new_reading, read, read_stage, read_study, reader, study, worklist
from tests.portal import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def of(scored: Scored, analyst: User) -> Any:
    return study(scored, analyst)


def main_items(of: Worklist) -> list[Any]:
    return [item for item in items(of) if not item.repeat]


def single(of: Worklist) -> Any:
    """A film that is shown once."""
    twice = {item.image_id for item in items(of) if item.repeat}
    return next(item for item in items(of) if item.image_id not in twice)


# The draw and the order --------------------------------------------------------------------------------------


def another_film(scored: Scored) -> Image:
    """A further film of the patient of the first scored film, with the same score."""
    film = factories.film(scored.films[0].dataset, "normal", person="tune normal 0")
    assert film.patient_id == scored.films[0].patient_id
    score = Score.objects.get(run=scored.run, image=scored.films[0])
    values = {name: getattr(score, name) for name in ("global_score", "region_score", "fused_score")}
    Score.objects.create(run=scored.run, image=film, row=film.pk + 1000, **values)
    return film


def test_a_study_has_one_film_per_patient_and_stores_their_probabilities(scored: Scored, analyst: User) -> None:
    first = scored.films[0]
    films = {first.pk, another_film(scored).pk}
    drawn = study(scored, analyst, unflagged_share=0.9, repeat_share=0)
    assert set(Counter(item.image.patient_id for item in items(drawn)).values()) == {1}
    assert drawn.counts["left_out"] == {"further films of a patient": 1}
    (shared,) = (item for item in items(drawn) if item.image_id in films)  # with 90 % unflagged, all 24 are drawn
    others = {item.sampling_probability for item in items(drawn) if item.flagged == shared.flagged}
    assert others == {shared.sampling_probability, 2 * shared.sampling_probability}


def test_the_film_of_a_patient_is_drawn_at_random(scored: Scored) -> None:
    first = scored.films[0]
    films = [first.pk, another_film(scored).pk, another_film(scored).pk]
    drawn: Counter[int] = Counter()
    for seed in range(90):
        kept, chances = one_film_a_patient([(film, 0.0) for film in films], np.random.default_rng(seed))
        assert list(chances.values()) == [pytest.approx(1 / 3)]
        drawn[kept[0][0]] += 1
    assert set(drawn) == set(films)
    assert min(drawn.values()) > 15


def test_a_share_of_the_films_is_shown_twice(of: Any) -> None:
    mains = main_items(of)
    repeats = [item for item in items(of) if item.repeat]
    assert len(repeats) == of.counts["repeats"] == max(1, round(0.1 * len(mains)))
    assert {item.image_id for item in repeats} < {item.image_id for item in mains}
    generator = np.random.default_rng(0)
    assert [len(draw_repeats(films, 0.05, generator)) for films in (4, 100, 600)] == [1, 5, 30]
    assert draw_repeats(10, 0.0, generator) == []


def test_the_showing_that_counts_comes_well_after_the_other_and_each_reader_has_an_order(of: Any) -> None:
    orders = []
    for number in range(20):
        begun = begin(worklist=of, reader=reader(f"reader {number}"))
        order = [(task.item.image_id, task.item.repeat) for task in tasks_of(begun)]
        assert order == [(task.item.image_id, task.item.repeat) for task in tasks_of(begun)]
        for image, repeat in order:
            if repeat:
                assert order.index((image, 0)) - order.index((image, 1)) >= 2
        orders.append(order)
        assert sorted(order) == sorted(orders[0])
    assert len({tuple(order) for order in orders}) == 20


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"design": "parallel"}, "There is no design 'parallel': the designs are sequential, crossover"),
    ({"repeat_share": 2.0}, "The share of repeated films is 2; enter a number from 0 to 1"),
    ({"design": "crossover", "washout_days": 0}, "A crossover study needs a washout of at least one day"),
    ({"design": "", "repeat_share": 0.05}, "Only a reader study repeats films"),
])  # fmt: skip
def test_impossible_studies_are_refused(scored: Scored, analyst: User, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WorklistRefused, match=sentence):
        study(scored, analyst, **changes)
    assert not Worklist.objects.exists()


def test_a_study_is_assigned_when_it_is_made_or_not_made_at_all(scored: Scored, analyst: User) -> None:
    with pytest.raises(WorklistRefused, match="analyst may not read worklists"):
        study(scored, analyst, readers=[analyst])
    assert not Worklist.objects.exists()
    study(scored, analyst, readers=[reader()])
    assert WorklistAssignment.objects.count() == 1
    assert Worklist.objects.get().blinded


# Two stages --------------------------------------------------------------------------------------------------


def test_the_reading_without_the_model_is_locked_and_that_with_it_is_given_once(of: Any) -> None:
    item, person = single(of), reader()
    unaided = read_stage(item, person, "unaided", "normal", rating=20)
    with pytest.raises(ReadingRefused, match="Your reading of this film without the model is locked"):
        read_stage(item, person, "unaided", "abnormal")
    aided = read_stage(item, person, "aided", "abnormal", rating=80, agreement="agree", reason="true finding")
    with pytest.raises(ReadingRefused, match="Your reading of this film with the model is locked"):
        read_stage(item, person, "aided", "normal")
    assert (unaided.stage, unaided.confidence, unaided.model_shown, unaided.heatmap_shown) == (
        "unaided",
        20,
        False,
        False,
    )
    assert (aided.stage, aided.confidence, aided.model_shown, aided.heatmap_shown) == ("aided", 80, True, True)
    assert aided.agreement == "agree"
    assert usable_as_reference([unaided, aided]) == {unaided.pk}


def test_a_reading_with_the_model_is_no_reference_even_if_an_adjudicator_agrees(of: Any) -> None:
    item, person = single(of), reader()
    read_stage(item, person, "unaided", "normal")
    aided = read_stage(item, person, "aided", "abnormal")
    judge = factories.user("judge", Role.ADJUDICATOR)
    event = factories.event(item.image, LabelValue.ABNORMAL, judge, source=LabelSource.ADJUDICATION)
    Adjudication.objects.create(image=item.image, adjudicator=judge, verdict=LabelValue.ABNORMAL, label_event=event)
    assert usable_as_reference([aided]) == set()


def test_nothing_is_revealed_before_the_reading_without_the_model_is_stored(of: Any) -> None:
    item, person = single(of), reader()
    with pytest.raises(ReadingRefused, match="You have not begun this worklist"):
        verdicts.reveal(item=item, reader=person)
    begin(worklist=of, reader=person)
    with pytest.raises(ReadingRefused, match="Read this film without the model first"):
        verdicts.reveal(item=item, reader=person)
    with pytest.raises(ReadingRefused, match="Read this film without the model first"):
        verdicts.record(item=item, reader=person, new=new_reading(stage="aided", rating=5, agreement="agree"))
    assert not HeatmapUse.objects.exists()
    assert not Exposure.objects.exists()
    read_stage(item, person, "unaided")
    with pytest.raises(ReadingRefused, match="have not been shown to you yet"):
        verdicts.record(item=item, reader=person, new=new_reading(stage="aided", rating=5, agreement="agree"))
    for _ in range(2):
        verdicts.reveal(item=item, reader=person)
    kinds = Exposure.objects.filter(person=person, image=item.image, run=of.run.uuid).values_list("kind", flat=True)
    assert sorted(kinds) == ["map", "score"]
    assert HeatmapUse.objects.get().item == item


def test_a_film_stays_withheld_until_its_reading_with_the_model_is_stored(of: Any) -> None:
    item, person = single(of), reader()
    begin(worklist=of, reader=person)
    for stage, is_hidden in (("unaided", True), ("aided", False)):
        assert is_withheld(person, item.image)
        read_stage(item, person, stage)
        assert is_withheld(person, item.image) is is_hidden


def test_the_earlier_showing_of_a_repeated_film_reveals_nothing_and_comes_first(of: Any) -> None:
    person = reader()
    extra = next(item for item in items(of) if item.repeat)
    main = next(item for item in main_items(of) if item.image_id == extra.image_id)
    read_stage(main, person, "unaided")
    with pytest.raises(ReadingRefused, match="Read the films in your order"):
        verdicts.reveal(item=main, reader=person)
    read_stage(extra, person, "unaided")
    with pytest.raises(ReadingRefused, match="This showing of the film is read without the model only"):
        verdicts.reveal(item=extra, reader=person)
    with pytest.raises(ReadingRefused, match="A reading of this film is made 'unaided'; 'aided' was sent"):
        verdicts.record(item=extra, reader=person, new=new_reading(stage="aided", rating=5, agreement="agree"))
    assert is_withheld(person, main.image)
    read_stage(main, person, "aided")
    assert not is_withheld(person, main.image)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"stage": ""}, "made 'unaided' or 'aided'; 'no stage' was sent"),
    ({"rating": None}, "Rate the likelihood that the film is abnormal"),
    ({"rating": 101}, "a whole number from 0 to 100"),
    ({"agreement": "agree"}, "only and always in the reading with the model"),
    ({"stage": "aided"}, "only and always in the reading with the model"),
    ({"stage": "aided", "agreement": "perhaps"}, "The agreement 'perhaps' is unknown"),
    ({"stage": "aided", "agreement": "disagree"}, "A disagreement with the model needs a reason"),
])  # fmt: skip
def test_invalid_readings_of_a_study_are_refused(of: Any, changes: dict[str, Any], sentence: str) -> None:
    item, person = single(of), reader()
    begin(worklist=of, reader=person)
    fields = {"stage": "unaided", "rating": 30, **changes}
    with pytest.raises(ReadingRefused, match=sentence):
        verdicts.record(item=item, reader=person, new=new_reading(**fields))
    assert not Reading.objects.exists()


def test_an_abnormal_film_needs_no_reason_in_a_study(of: Any) -> None:
    assert read_stage(single(of), reader(), "unaided", "abnormal", reason="").verdict == "abnormal"


def test_other_worklists_have_no_stage_rating_or_reveal(scored: Scored, analyst: User) -> None:
    plain, person = worklist(scored, analyst), reader()
    for changes in ({"stage": "unaided"}, {"rating": 50}, {"agreement": "agree"}):
        with pytest.raises(ReadingRefused, match="This worklist is not a reader study: its readings have no stage"):
            read(items(plain)[0], person, **changes)
    with pytest.raises(ReadingRefused, match="it has nothing to reveal"):
        verdicts.reveal(item=items(plain)[0], reader=person)


def test_the_database_holds_the_rules_of_a_study(of: Any) -> None:
    item, person = single(of), reader()
    kept = read_stage(item, person, "unaided")
    fields = {
        "image": item.image, "item": item, "reader": person, "verdict": "normal", "active_seconds": 1,
        "total_seconds": 1, "model_shown": True, "stage": "aided", "confidence": 3, "agreement": "agree",
    }  # fmt: skip
    for wrong in (
        {"stage": "unaided", "agreement": ""},  # a second one
        {"replaces": kept},
        {"confidence": None},
        {"model_shown": False},
        {"agreement": ""},
        {"stage": "again"},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Reading.objects.create(**fields | wrong)
    Reading.objects.create(**fields)
    with pytest.raises(DatabaseError), transaction.atomic():
        Reading.objects.filter(pk=kept.pk).update(confidence=9)
    with pytest.raises(DatabaseError), transaction.atomic():
        Worklist.objects.filter(pk=of.pk).update(design="")
    with pytest.raises(DatabaseError), transaction.atomic():
        item.__class__.objects.filter(pk=item.pk).update(repeat=1)


def test_a_study_is_not_begun_by_people_from_whom_its_scores_are_hidden(of: Any, scored: Scored) -> None:
    curious = factories.user("both", Role.READER, Role.CURATOR)
    unlabelled = single(of).image
    factories.event(unlabelled, LabelValue.UNSURE)
    with pytest.raises(WorklistRefused, match="The score of 1 film of this study is hidden from you"):
        begin(worklist=of, reader=curious)
    person = reader()
    open_for(person=person, images=[unlabelled], source=of.run.uuid, words="another list", days=3)
    with pytest.raises(WorklistRefused, match="Do that first, or leave the study to another reader"):
        begin(worklist=of, reader=person)
    assert not WorklistReader.objects.exists()


def test_what_was_seen_before_the_study_never_forbids_a_reading_and_is_kept_with_it(of: Any) -> None:
    item, person = single(of), reader()
    record_exposure(person, Exposure.Kind.SCORE, [item.image_id], run=of.run.uuid)
    assert read_stage(item, person, "unaided").model_shown is True


def test_the_summary_counts_readings_without_the_model_once_a_film(of: Any) -> None:
    read_study(of, reader(), lambda item, stage: "abnormal" if item.flagged and stage == "unaided" else "normal")
    summary = summarise(of)
    assert summary["readings"] == len(main_items(of))
    assert summary["estimates"]["abnormal_among_flagged"]["value"] == 1


def test_a_study_that_was_handed_back_goes_on_where_it_was(of: Any) -> None:
    item, person = single(of), reader()
    read_stage(item, person, "unaided")
    assert hand_back(worklist=of, reader=person) == len(items(of))
    assert not is_withheld(person, item.image)
    read_stage(item, person, "aided")
    assert hand_back(worklist=of, reader=person) == len(items(of)) - 1


# Crossover ---------------------------------------------------------------------------------------------------


def test_half_of_the_readers_of_a_crossover_begin_with_the_model(scored: Scored, analyst: User) -> None:
    of = study(scored, analyst, design="crossover")
    firsts = [begin(worklist=of, reader=reader(f"reader {number}")).first_stage for number in range(6)]
    assert Counter(firsts) == {"unaided": 3, "aided": 3}
    assert all(Counter(firsts[:even]) == {"unaided": even / 2, "aided": even / 2} for even in (2, 4))


@pytest.mark.parametrize("first", ["unaided", "aided"])
def test_the_sessions_of_a_crossover_are_a_washout_apart(scored: Scored, analyst: User, first: str) -> None:
    of = study(scored, analyst, design="crossover", washout_days=10, days_to_read=5)
    person = reader()
    begun = begin(worklist=of, reader=person)
    WorklistReader.objects.update(first_stage=first)
    assert timedelta(days=19) < begun.expires_at - timezone.now() <= timedelta(days=20)
    begun.refresh_from_db()
    second = "aided" if first == "unaided" else "unaided"
    mains, everything = len(main_items(of)), len(items(of))
    tasks = tasks_of(begun)
    assert {task.stages for task in tasks} == {(first,)}
    assert len(tasks) == (everything if first == "unaided" else mains)
    item = single(of)
    wrong = new_reading(stage=second, rating=5, agreement="agree" if second == "aided" else "")
    with pytest.raises(ReadingRefused, match="In this session films are read with"):
        verdicts.record(item=item, reader=person, new=wrong)
    read_study(of, person, lambda item, stage: "normal")
    begun.refresh_from_db()
    assert begun.first_ended_at is not None
    with pytest.raises(ReadingRefused, match=r"Your second session opens on 20\d\d-.*, after the washout"):
        verdicts.record(item=item, reader=person, new=wrong)
    if second == "aided":
        with pytest.raises(ReadingRefused, match="after the washout"):
            verdicts.reveal(item=item, reader=person)
    assert is_withheld(person, item.image)
    WorklistReader.objects.update(first_ended_at=timezone.now() - timedelta(days=11))
    begun.refresh_from_db()
    assert {task.stages for task in tasks_of(begun)} == {(second,)}
    read_study(of, person, lambda item, stage: "abnormal")
    assert not is_withheld(person, item.image)
    stages = Counter(Reading.objects.filter(reader=person).values_list("stage", flat=True))
    assert stages == {"unaided": everything, "aided": mains}
    assert set(Reading.objects.filter(stage="unaided").values_list("model_shown", flat=True)) == {first == "aided"}
