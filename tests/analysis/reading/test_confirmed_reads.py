"""What people agree on for the films of a scored run, and the chance with which each film was read."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.models import Worklist, WorklistItem
from analysis.reading.confirmed_reads import DIFFER, UNSURE, gather, reading_probabilities
from ml_engine.models import ReadSource, Score
from ml_engine.runs import confirmed_reads
from ml_engine.runs.confirmed_reads import LABELS, READINGS, ConfirmedRead
from portal.models import Image, User
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, read, read_stage, reader, study, worklist
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


def by_film(scored: Scored, *sources: str) -> dict[int, ConfirmedRead]:
    return {each.image: each for each in gather(scored.run, sources or (READINGS,)).reads}


def item_of(of: Worklist, film: Image | int) -> WorklistItem:
    pk = film if isinstance(film, int) else film.pk
    return of.items.select_related("image__dataset", "worklist__run__site").get(image=pk, repeat=0)


def test_the_app_gathers_readings_for_a_head(scored: Scored, analyst: User) -> None:
    item = items(worklist(scored, analyst))[0]
    read(item, reader(), "abnormal")
    assert [each.image for each in confirmed_reads.reads_of(scored.run, [READINGS]).reads] == [item.image_id]


def test_verdicts_say_whether_the_model_was_at_hand(scored: Scored, analyst: User) -> None:
    assisted = items(worklist(scored, analyst))
    blinded = items(worklist(scored, analyst, name="Blinded", blinded=True))
    first, second = reader("first"), reader("second")
    read(assisted[0], first, "abnormal")
    other = next(item for item in blinded if item.image_id != assisted[0].image_id)
    read(other, second, "normal")

    reads = by_film(scored)

    assert (reads[assisted[0].image_id].source, reads[assisted[0].image_id].model_shown) == (ReadSource.ASSISTED, True)
    assert (reads[other.image_id].source, reads[other.image_id].model_shown) == (ReadSource.BLINDED, False)
    assert {image: each.verdict for image, each in reads.items()} == {
        assisted[0].image_id: "abnormal",
        other.image_id: "normal",
    }


def test_a_film_that_one_reader_read_blinded_counts_as_read_without_the_model(scored: Scored, analyst: User) -> None:
    assisted = items(worklist(scored, analyst))[0]
    blinded = item_of(worklist(scored, analyst, name="Blinded", blinded=True, unflagged_share=0.5), assisted.image)
    read(assisted, reader("first"), "abnormal")
    read(blinded, reader("second"), "abnormal")
    assert not by_film(scored)[assisted.image_id].model_shown


def test_a_correction_counts_and_not_the_reading_that_it_replaces(scored: Scored, analyst: User) -> None:
    item = items(worklist(scored, analyst))[0]
    by = reader()
    read(item, by, "normal")
    read(item, by, "abnormal")
    assert by_film(scored)[item.image_id].verdict == "abnormal"


def test_films_on_which_people_differ_or_nobody_is_sure_are_left_out(scored: Scored, analyst: User) -> None:
    first, second, third = items(worklist(scored, analyst))[:3]
    a, b = reader("a"), reader("b")
    for item, verdicts in ((first, ("abnormal", "normal")), (second, ("unsure",)), (third, ("abnormal", "unsure"))):
        for by, verdict in zip((a, b), verdicts, strict=False):
            read(item, by, verdict, **({"reason": "other"} if verdict == "unsure" else {}))

    gathered = gather(scored.run, [READINGS])

    assert [each.image for each in gathered.reads] == [third.image_id]
    assert gathered.left_out == {DIFFER: 1, UNSURE: 1}


def test_labels_count_only_if_they_are_asked_for_and_settle_nothing(scored: Scored, analyst: User) -> None:
    item = next(item for item in items(worklist(scored, analyst)) if label_of(item.image) == "normal")
    read(item, reader(), "abnormal")
    assert by_film(scored)[item.image_id].verdict == "abnormal"

    gathered = gather(scored.run, [READINGS, LABELS])

    assert item.image_id not in {each.image for each in gathered.reads}
    assert gathered.left_out == {DIFFER: 1}
    labelled = [each for each in gathered.reads if each.source == ReadSource.LABEL]
    assert len(labelled) == 23
    assert {each.weight for each in labelled} == {1.0}
    assert not any(each.model_shown for each in labelled)


def label_of(film: Image) -> str:
    return film.label_events.get().value


def test_a_study_counts_each_readers_last_stage(scored: Scored, analyst: User) -> None:
    item = item_of(study(scored, analyst), items(study(scored, analyst, name="Other"))[0].image)
    by = reader()
    read_stage(item, by, "unaided", "normal")
    read_stage(item, by, "aided", "abnormal")
    assert by_film(scored)[item.image_id].verdict == "abnormal"


# The chance of being read --------------------------------------------------------------------------------


def test_a_weight_is_the_inverse_of_the_chance_to_be_drawn_and_read(scored: Scored, analyst: User) -> None:
    of = worklist(scored, analyst, value=0.5, most=4, unflagged_share=0.5)
    by = reader()
    flagged = items(of, flagged=True)
    read(flagged[0], by, "abnormal")  # half of the two flagged films that were drawn
    unflagged = items(of, flagged=False)
    for item in unflagged:
        read(item, by, "normal")

    reads = by_film(scored)

    counts = of.counts
    assert len(flagged) == 2 and counts["flagged"]["films"] > 2
    assert reads[flagged[0].image_id].weight == pytest.approx(counts["flagged"]["films"] / 1)
    assert reads[unflagged[0].image_id].weight == pytest.approx(counts["unflagged"]["films"] / len(unflagged))


def test_two_lists_give_a_film_two_chances(scored: Scored, analyst: User) -> None:
    """Compared with a loop over all pairs of outcomes of the two draws."""
    first = worklist(scored, analyst, value=0.5, most=6, unflagged_share=0.5)
    second = worklist(scored, analyst, name="Second", value=0.8, most=8, unflagged_share=0.5, seed=3)
    by = reader()
    for item in [*items(first), *items(second)]:
        read(item, by, "normal")
    scores = dict(Score.objects.filter(run=scored.run).values_list("image_id", "fused_score"))

    chances = reading_probabilities(list(scores))

    for image, score in scores.items():
        expected = 0.0
        for in_first in (True, False):
            for in_second in (True, False):
                if in_first or in_second:
                    expected += outcome(first, score, in_first) * outcome(second, score, in_second)
        assert chances[image] == pytest.approx(expected)


def outcome(of: Worklist, score: float, drawn: bool) -> float:
    counts = of.counts["flagged" if score >= of.threshold else "unflagged"]
    chance = counts["drawn"] / counts["films"]
    return chance if drawn else 1 - chance


def test_weights_estimate_the_number_of_films_without_bias(scored: Scored, analyst: User) -> None:
    """Over many draws, the weights of the films read add up to the number of films that could be read."""
    totals = []
    for seed in range(12):
        of = worklist(scored, analyst, name=f"List {seed}", value=0.5, most=6, unflagged_share=0.5, seed=seed)
        chances = {item.image_id: item.sampling_probability for item in items(of)}
        totals.append(sum(1 / chance for chance in chances.values()))
    assert np.mean(totals) == pytest.approx(len(scored.films))


def test_a_study_reads_one_film_of_a_patient(scored: Scored, analyst: User) -> None:
    twin = factories.film(scored.films[0].dataset, "", person="test abnormal 5")
    Score.objects.create(run=scored.run, image=twin, row=100, fused_score=50.0)
    patient_films = Image.objects.filter(patient=twin.patient)
    of = study(scored, analyst, repeat_share=0.0)
    by = reader()
    for item in items(of):
        read_stage(item, by, "unaided", "normal")
    own = {item.image_id: item for item in items(of)}
    chances = reading_probabilities([film.pk for film in patient_films])
    assert len(patient_films) == 2
    drawn, other = sorted(patient_films, key=lambda film: film.pk not in own)
    assert chances[drawn.pk] == pytest.approx(own[drawn.pk].sampling_probability)
    assert 0 < chances[other.pk] <= 0.5
