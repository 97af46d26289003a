"""The results of a reader study, against direct calls of the statistics and plain counts."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from analysis.models import Worklist
from analysis.reading.assignments import assign
from analysis.reading.reader_studies import tasks_of
from analysis.reading.study_reference import reference_labels, state_reference
from analysis.reading.study_results import require_study, study_data, study_results
from analysis.reading.worklists import begin, hand_back
from analysis.statistics import multi_reader_difference
from ml_engine.models import Score
from portal.models import Role, User
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, read_stage, read_study, reader, study
from tests.portal import factories

pytestmark = [pytest.mark.django_db]

VERDICTS = {0.0: "normal", 1.0: "abnormal"}


def truth_of(item: Any) -> int:
    return int(item.image.label_events.get().value == "abnormal")


def played(of: Worklist, names: list[str], seed: int = 0) -> dict[tuple[str, int, str], tuple[str, int]]:
    """Readers who are better with the model. (verdict, rating) by (reader, image, stage) of the showing that counts."""
    generator = np.random.default_rng(seed)
    given: dict[tuple[str, int, str], tuple[str, int]] = {}
    for name in names:
        person = reader(name)
        for task in tasks_of(begin(worklist=of, reader=person)):
            item = of.items.select_related("image__dataset", "worklist__run__site").get(pk=task.item.pk)
            for stage in task.stages:
                spread = 25 if stage == "unaided" else 15
                rating = int(np.clip(generator.normal(40 + 25 * truth_of(item), spread), 0, 100))
                verdict = "unsure" if 48 <= rating <= 52 else "abnormal" if rating > 50 else "normal"
                read_stage(item, person, stage, verdict, rating=rating)
                if not item.repeat:
                    given[name, item.image_id, stage] = (verdict, rating)
    return given


@pytest.fixture
def of(scored: Scored, analyst: User) -> Any:
    return study(scored, analyst, unflagged_share=0.6)


def stated(of: Worklist, author: User) -> None:
    state_reference(worklist=of, source="follow-up", statement="records of two years", author=author)


def test_five_readers_against_direct_calls_and_counts(of: Any, analyst: User) -> None:
    names = [f"reader {number}" for number in range(5)]
    given = played(of, names)
    stated(of, analyst)
    results = study_results(of)
    films = [item for item in items(of) if not item.repeat]
    truth = np.array([truth_of(item) for item in films])
    ratings = {
        stage: np.array([[given[name, item.image_id, stage][1] for name in names] for item in films])
        for stage in ("unaided", "aided")
    }
    direct = multi_reader_difference(truth, ratings["aided"], ratings["unaided"])
    found = results["with_reference"]
    assert found["mean"]["readers"] == "random"
    for name in ("value", "low", "high", "p_value"):
        assert found["mean"][name] == pytest.approx(getattr(direct.random, name))
    for column, row in enumerate(found["readers"]):
        for stage in ("unaided", "aided"):
            assert row[stage]["auroc"] == pytest.approx(roc_auc_score(truth, ratings[stage][:, column]))
    scores = [Score.objects.get(run=of.run, image=item.image).fused_score for item in films]
    assert found["model"]["auroc"] == pytest.approx(roc_auc_score(truth, scores))
    # what changed, counted one by one
    counts = {"kept_right": 0, "right_to_wrong": 0, "wrong_to_right": 0, "kept_wrong": 0, "unsure": 0}
    wrongly_lost = 0
    for item in films:
        for name in names:
            pair = [given[name, item.image_id, stage][0] for stage in ("unaided", "aided")]
            if "unsure" in pair:
                counts["unsure"] += 1
                continue
            before, after = (verdict == VERDICTS[float(truth_of(item))] for verdict in pair)
            key = "kept_right" if before and after else "kept_wrong" if not before and not after else (
                "right_to_wrong" if before else "wrong_to_right"
            )  # fmt: skip
            counts[key] += 1
            wrongly_lost += key == "right_to_wrong" and item.flagged != truth_of(item)
    assert {key: found["bias"]["all"][key] for key in counts if key != "unsure"} | {
        "unsure": found["bias"]["left_out"]
    } == counts
    assert counts["unsure"] > 0
    assert found["bias"]["model_wrong"]["right_to_wrong"] == wrongly_lost
    # agreement of a pair, by scikit-learn
    pair = next(row for row in results["agreement"]["aided"]["pairs"] if row["readers"] == names[:2])
    columns = [[given[name, item.image_id, "aided"][0] for item in films] for name in names[:2]]
    assert pair["kappa"] == pytest.approx(cohen_kappa_score(*columns))
    json.dumps(results, allow_nan=False)


def test_below_five_readers_are_fixed_and_it_says_so(of: Any, analyst: User) -> None:
    played(of, ["one", "two"])
    stated(of, analyst)
    found = study_results(of)["with_reference"]
    assert (found["mean"]["readers"], found["random"]["low"]) == ("fixed", None)
    assert "With 2 of at least 5 readers" in found["random"]["reason"]


def test_without_a_reference_or_a_complete_reader_there_are_no_results(of: Any, analyst: User) -> None:
    results = study_results(of)
    assert (results["with_reference"], results["reference"]) == (None, None)
    assert results["why_not"].startswith("State first")
    stated(of, analyst)
    read_stage(next(item for item in items(of) if not item.repeat), reader("begun"), "unaided")
    results = study_results(of)
    assert results["with_reference"] is None
    assert results["why_not"] == "No reader has read all films yet, without and with the model."
    assert results["reference"]["source"] == "Follow-up"
    json.dumps(results, allow_nan=False)


def test_films_without_a_label_of_the_reference_are_left_out(of: Any, analyst: User) -> None:
    played(of, ["one"])
    film = next(item for item in items(of) if not item.repeat).image
    factories.event(film, "exclude", factories.curator())
    stated(of, analyst)
    results = study_results(of)
    assert results["reference"]["left_out"] == {"labelled exclude": 1}
    found = results["with_reference"]
    assert found["model"]["positives"] + found["model"]["negatives"] == results["films"] - 1


def test_a_reference_without_a_usable_label_has_reasons_instead_of_numbers(of: Any, analyst: User) -> None:
    played(of, ["one"])
    state_reference(worklist=of, source="people", statement="nobody yet", author=analyst)
    found = study_results(of)["with_reference"]
    assert found["mean"]["value"] is None
    assert found["readers"][0]["point_aided"]["sensitivity"]["value"] is None
    json.dumps(found, allow_nan=False)


def test_progress_lists_those_who_are_assigned_read_or_handed_back(of: Any, analyst: User) -> None:
    people = [reader(name) for name in ("a complete", "b reading", "c handed back", "d assigned")]
    assign(worklist=of, readers=people, author=analyst)
    read_study(of, people[0], lambda item, stage: "normal")
    for person in people[1:3]:
        read_stage(next(item for item in items(of) if not item.repeat), person, "unaided", active_seconds=4)
    hand_back(worklist=of, reader=people[2])
    rows = study_results(of)["progress"]
    assert [row["state"] for row in rows] == ["complete", "reading", "handed back", "not begun"]
    assert rows[0]["readings"] == rows[0]["needed"] == 2 * study_results(of)["films"] + of.counts["repeats"]
    assert rows[1]["median_seconds"] == {"unaided": 4, "aided": None}


def test_readers_see_how_they_agree_with_themselves_from_thirty_repeats(scored: Scored, analyst: User) -> None:
    few = study(scored, analyst, repeat_share=1.0, unflagged_share=0.9)
    read_study(few, reader(), lambda item, stage: "abnormal" if (item.image_id + item.repeat) % 3 == 0 else "normal")
    (row,) = study_results(few)["repeat_kappa"]
    assert (row["kappa"], row["films"]) == (None, 24)
    assert row["reason"] == "Films read twice: 24. The agreement of a reader with themselves needs 30."


def test_the_results_are_refused_while_a_person_still_has_to_read(of: Any) -> None:
    person = factories.user("both", Role.READER, Role.ANALYST)
    require_study(person, of)
    assign(worklist=of, readers=[person], author=person)
    with pytest.raises(PermissionDenied, match="This study is assigned to you, and its results show the others"):
        require_study(person, of)
    begin(worklist=of, reader=person)
    with pytest.raises(PermissionDenied, match="left to read"):
        require_study(person, of)
    read_study(of, person, lambda item, stage: "normal")
    require_study(person, of)
    with pytest.raises(PermissionDenied):
        require_study(reader("only reads"), of)


def test_the_arrays_hold_the_showing_that_counts(of: Any, analyst: User) -> None:
    given = played(of, ["one"])
    stated(of, analyst)
    data = study_data(of, reference_labels(of.references.get())[0])
    rows = {str(item.image.uuid): item for item in items(of) if not item.repeat}
    assert set(data.images) == set(rows)
    for row, image in enumerate(data.images):
        item = rows[image]
        assert data.labels[row] == truth_of(item)
        for k, stage in enumerate(("unaided", "aided")):
            verdict, rating = given["one", item.image_id, stage]
            assert data.ratings[row, 0, k] == rating
            call = data.calls[row, 0, k]
            assert math.isnan(call) if verdict == "unsure" else VERDICTS[call] == verdict
