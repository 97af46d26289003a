"""From a scored run to a worklist: the threshold, the draw, the probabilities, the order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.management.commands.demo import offer_reading
from analysis.models import Reading, TestLook, Worklist, WorklistItem, WorklistReader
from analysis.reading.worklists import WorklistRefused, begin, begun_by, hand_back, in_order, operating_point
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import Score
from ml_engine.runs.paths import run_folder
from portal.models import AuditEvent, Part, Role, User
from portal.people.blinding import withheld_patients
from tests.analysis.headed import with_head
from tests.analysis.scored import Scored
from tests.analysis.worklists import calibrated, items, read, reader, worklist
from tests.pages import one_line
from tests.portal import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both]


def scores(scored: Scored, *, part: str = "", label: str = "") -> np.ndarray:
    """Fused scores at the run's weight, of the films of a part and label."""
    rows = [
        k
        for k, film in enumerate(scored.films)
        if (not part or film.csv_split == part) and (not label or film.label_events.get().value == label)
    ]
    return scored.sweep[rows, 60].astype(float)


def test_the_threshold_of_a_sensitivity_is_the_tune_score_that_reaches_it(scored: Scored, analyst: User) -> None:
    drawn = worklist(scored, analyst, value=0.5)
    abnormal = np.sort(scores(scored, part="tune", label="abnormal"))[::-1]
    assert drawn.threshold == pytest.approx(abnormal[3])  # the 4th of 6, ceil(0.5 * 7)
    assert drawn.operating_point["words"] == "sensitivity 0.5 on 6 abnormal films of tune"


def test_the_threshold_of_a_specificity_lies_just_above_the_normals_it_spares(scored: Scored, analyst: User) -> None:
    normal = np.sort(scores(scored, part="tune", label="normal"))
    point = operating_point(scored.run, point="tune specificity", value=0.8)
    assert (normal < point.threshold).sum() == 6  # ceil(0.8 * 7)
    assert point.threshold == pytest.approx(normal[5])
    assert (point.films, point.patients, point.promised) == (6, 6, None)


def test_calibrate_gives_the_threshold_of_the_run_s_own_normals(scored: Scored, analyst: User) -> None:
    calibrated(scored.run, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0], list(range(10)))
    drawn = worklist(scored, analyst, point="calibrate specificity", value=0.4)
    assert drawn.threshold == pytest.approx(5.0)  # the 5th of 10, ceil(0.4 * 11)
    assert drawn.operating_point["promised"]["expected"] == pytest.approx(6 / 11)
    assert "54.5 % of new normal films are called abnormal on average" in drawn.operating_point["promise"]
    calibrated(scored.run, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0], [0, 1, 2, 3, 4, 5, 6, 7, 0, 0])
    by_patient = operating_point(scored.run, point="calibrate specificity", value=0.4)
    assert (by_patient.threshold, by_patient.patients) == (pytest.approx(5.0), 8)  # the 4th of 2, 3, 4, 5, 6, 7, 8, 10
    assert {item.flagged for item in items(drawn)} == {True, False}


def test_flagged_films_are_those_at_or_above_the_threshold(scored: Scored, analyst: User) -> None:
    drawn = worklist(scored, analyst)
    by_image = dict(Score.objects.filter(run=scored.run).values_list("image_id", "fused_score"))
    assert all(item.flagged == (by_image[item.image_id] >= drawn.threshold) for item in items(drawn))
    assert drawn.counts["flagged"]["films"] == sum(score >= drawn.threshold for score in by_image.values())


def test_all_flagged_films_are_drawn_and_a_share_of_the_others(scored: Scored, analyst: User) -> None:
    drawn = worklist(scored, analyst)
    flagged, unflagged = drawn.counts["flagged"], drawn.counts["unflagged"]
    assert flagged["drawn"] == flagged["films"]
    assert unflagged["drawn"] == round(flagged["drawn"] / 4)  # 20 % of the whole
    chances = {item.flagged: item.sampling_probability for item in items(drawn)}
    assert chances == {True: 1.0, False: unflagged["drawn"] / unflagged["films"]}


def test_a_cap_samples_the_flagged_films_too(scored: Scored, analyst: User) -> None:
    drawn = worklist(scored, analyst, most=5)
    flagged = drawn.counts["flagged"]
    assert len(items(drawn)) == 5
    assert flagged["drawn"] == 4 < flagged["films"]
    assert {item.sampling_probability for item in items(drawn, flagged=True)} == {4 / flagged["films"]}


def test_a_worklist_can_be_of_one_part(scored: Scored, analyst: User) -> None:
    drawn = worklist(scored, analyst, parts=[Part.TEST])
    assert {item.image.csv_split for item in items(drawn)} == {"test"}
    assert drawn.counts["left_out"] == {"in another part": 12}


def test_an_unreadable_film_is_left_out_and_counted(scored: Scored, analyst: User) -> None:
    broken = Score.objects.filter(run=scored.run).first()
    Score.objects.filter(pk=broken.pk).update(fused_score=None, error="It cannot be read.")
    drawn = worklist(scored, analyst)
    assert broken.image_id not in {item.image_id for item in items(drawn)}
    assert drawn.counts["left_out"] == {"unreadable": 1}


def test_the_same_seed_draws_the_same_films_and_another_seed_others(scored: Scored, analyst: User) -> None:
    drawn = [
        [item.image_id for item in items(worklist(scored, analyst, name=name, seed=seed, most=8))]
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) != set(drawn[2])


def test_each_reader_has_an_order_of_their_own_that_stays(scored: Scored, analyst: User) -> None:
    drawn = worklist(scored, analyst)
    first, second = reader("one"), reader("two")
    orders = {
        person.username: [item.pk for item in in_order(begin(worklist=drawn, reader=person))]
        for person in (first, second, first)
    }
    again = [item.pk for item in in_order(begin(worklist=drawn, reader=first))]
    assert again == orders["one"] != orders["two"]
    assert sorted(again) == sorted(item.pk for item in items(drawn))
    assert AuditEvent.objects.filter(verb="begin worklist", actor=first).count() == 1


def test_a_worklist_that_was_handed_back_or_expired_can_be_continued_in_the_same_order(
    scored: Scored, analyst: User
) -> None:
    drawn, person = worklist(scored, analyst, blinded=True, days_to_read=3), reader()
    order = in_order(begin(worklist=drawn, reader=person))
    assert len(withheld_patients(person)) == len({item.image.patient_id for item in order})
    kept = read(order[0], person)
    assert hand_back(worklist=drawn, reader=person) == len(order) - 1
    assert begun_by(drawn, person) is None
    assert withheld_patients(person) == set()
    with pytest.raises(WorklistRefused, match="You are not reading this worklist"):
        hand_back(worklist=drawn, reader=person)
    assert in_order(begin(worklist=drawn, reader=person)) == order
    assert order[0].image.patient_id not in withheld_patients(person)
    WorklistReader.objects.update(expires_at=timezone.now())
    assert begun_by(drawn, person) is None
    assert Reading.objects.get() == kept
    begun = begin(worklist=drawn, reader=person)
    assert timedelta(days=2) < begun.expires_at - timezone.now() <= timedelta(days=3)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"days_to_read": 0}, "The time to read is 0 days; enter a whole number from 1 to 3650"),
    ({"washout_days": 5000}, "The washout is 5000 days; enter a whole number from 0 to 3650"),
])  # fmt: skip
def test_impossible_days_are_refused(scored: Scored, analyst: User, changes: dict[str, int], sentence: str) -> None:
    with pytest.raises(WorklistRefused, match=sentence):
        worklist(scored, analyst, **changes)


def test_making_a_worklist_is_audited_with_its_draw(scored: Scored, analyst: User) -> None:
    drawn = worklist(scored, analyst, seed=7)
    event = AuditEvent.objects.get(verb="make worklist")
    assert event.target_uuid == drawn.uuid
    assert event.after["seed"] == 7
    assert event.after["counts"] == drawn.counts


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"point": "test sensitivity"}, "There is no operating point 'test sensitivity'"),
    ({"value": 1.0}, "The sensitivity is 1; enter a number between 0 and 1."),
    ({"unflagged_share": 1.0}, "The share of unflagged films is 1; enter a number from 0 to 0.9"),
    ({"most": 1}, "The worklist is limited to 1 films"),
    ({"name": "  "}, "Enter a name of 1 to 100 characters"),
    ({"name": "a\0b"}, "contains a NUL character"),
    ({"seed": -1}, "The seed is -1"),
    ({"parts": ["train"]}, "There is no part 'train'"),
    ({"point": "calibrate specificity"}, "has no score of a normal film of calibrate"),
    ({"point": "tune specificity", "value": 0.9}, "patients than the 6 of tune; choose 0.857 or less"),
    ({"parts": ["fit"]}, "reaches the threshold"),
])  # fmt: skip
def test_invalid_requests_are_refused_with_a_sentence(
    scored: Scored, analyst: User, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(WorklistRefused, match=sentence.replace("(", r"\(")):
        worklist(scored, analyst, **changes)
    assert not Worklist.objects.exists()


def test_a_name_is_given_once_a_run(scored: Scored, analyst: User) -> None:
    worklist(scored, analyst)
    with pytest.raises(WorklistRefused, match="has a worklist 'First' already"):
        worklist(scored, analyst)


def test_only_analysts_and_managers_make_worklists(scored: Scored) -> None:
    with pytest.raises(PermissionDenied):
        worklist(scored, factories.user("someone", Role.READER, Role.CURATOR, Role.ADJUDICATOR))


def test_the_database_keeps_a_worklist_as_it_was_drawn(scored: Scored, analyst: User) -> None:
    drawn = worklist(scored, analyst)
    for act in (
        lambda: WorklistItem.objects.filter(worklist=drawn).update(flagged=True),
        lambda: WorklistItem.objects.filter(worklist=drawn).delete(),
        lambda: Worklist.objects.filter(pk=drawn.pk).update(threshold=0),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            act()


def test_the_form_says_what_calibrate_promises_for_its_run(as_analyst: Client, scored: Scored) -> None:
    address = reverse("analysis:new-worklist")
    page = one_line(as_analyst.get(address, {"run": scored.run.uuid}))
    assert "At a specificity of 0.9 on calibrate: The run" in page
    assert "has no score of a normal film of calibrate" in page
    calibrated(scored.run, np.linspace(0, 1, 39).tolist(), list(range(39)))
    page = one_line(as_analyst.get(address, {"run": scored.run.uuid}))
    assert "and between 2.9 and 20.9 % in 95 % of such draws." in page
    assert "At a specificity" not in one_line(as_analyst.get(address))


# By the combined score of a semi-supervised head -----------------------------------------------------------


def test_a_worklist_by_the_combined_score_flags_by_it_and_says_which_score_would(scored: Scored, analyst: User) -> None:
    head = with_head(scored, trained=scored.films[6:8])
    drawn = worklist(scored, analyst, score="combined", point="tune specificity", value=0.7, unflagged_share=0.5)

    normals = sorted(head.tune[str(film.uuid)][2] for film in scored.films[:6])
    assert drawn.threshold == pytest.approx(normals[4])  # the 5th of 6, ceil(0.7 * 7), by heads without the film
    one_class = np.sort(scores(scored, part="tune", label="normal"))[4]
    rows = {score.image_id: score for score in Score.objects.filter(run=scored.run)}
    assert drawn.counts["flagged"]["films"] == sum(row.combined_score >= drawn.threshold for row in rows.values())
    for item in items(drawn):
        row = rows[item.image_id]
        assert item.flagged == (row.combined_score >= drawn.threshold)
        expected = {(True, True): "both", (True, False): "one-class", (False, True): "combined", (False, False): ""}
        assert (
            item.flagged_by == expected[bool(row.fused_score > one_class), item.flagged]
        )  # just above that normal film
    assert {item.flagged_by for item in items(drawn)} >= {"both", "combined"}


def test_the_combined_score_is_calibrated_on_its_own_normals(scored: Scored, analyst: User) -> None:
    with_head(scored)
    point = operating_point(scored.run, point="calibrate specificity", value=0.9, score="combined")
    normals = ScoredFolder(run_folder(scored.run.uuid)).semi_supervised.summary.calibration_combined
    assert point.threshold == pytest.approx(sorted(normals)[18])  # the 19th of 20, ceil(0.9 * 21)
    assert point.promised is not None


def test_a_run_without_a_head_has_no_worklist_by_the_combined_score(scored: Scored, analyst: User) -> None:
    with pytest.raises(WorklistRefused, match="has no semi-supervised head, so its films have no combined score"):
        worklist(scored, analyst, score="combined")


def test_form_page_and_csv_name_the_score(scored: Scored, as_analyst: Client) -> None:
    with_head(scored)
    fields = {
        "run": str(scored.run.uuid), "name": "Combined", "score": "combined", "point": "tune sensitivity",
        "value": "0.5", "unflagged_percent": "20", "seed": "0",
    }  # fmt: skip
    answer = as_analyst.post(reverse("analysis:new-worklist"), fields)
    assert answer.status_code == 302
    drawn = Worklist.objects.get(name="Combined")
    assert drawn.score == "combined"
    read(items(drawn, flagged=True)[0], reader(), "normal")
    page = one_line(as_analyst.get(reverse("analysis:worklist", args=[drawn.uuid])).text)
    assert "Semi-supervised: one-class and head combined" in page
    csv = as_analyst.get(reverse("analysis:readings-table", args=[drawn.uuid])).text
    assert "semi-supervised combined" in csv


# The demo --------------------------------------------------------------------------------------------


def test_the_demo_has_a_worklist_of_tune_waiting(scored: Scored, analyst: User) -> None:
    assert offer_reading(scored.run, author=analyst).startswith("No worklist was made: ")  # nothing is calibrated
    calibrated(scored.run, [number / 10 for number in range(40)])
    assert offer_reading(scored.run, author=analyst) == ""
    of = Worklist.objects.get()
    assert of.parts == ["tune"]
    assert of.items.exists()
    assert not TestLook.objects.exists()
    assert offer_reading(scored.run, author=analyst) == ""
    assert Worklist.objects.count() == 1
