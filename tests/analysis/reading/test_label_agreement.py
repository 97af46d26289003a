"""The numbers of a double reading, by a count on paper, and who may see them."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from analysis.reading.label_agreement import COLUMNS, label_agreement, read_films, readings_table, require_results
from portal.labels.events import LabelChange
from portal.models import Dataset, Exposure, ScreeningQueue, User
from portal.people.exposure import record_exposure
from portal.sets import adjudicating
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
def queue(of: Dataset, ann: User) -> ScreeningQueue:
    """Five films: three agreed, one disputed, one read by ann only."""
    factories.films(of, unlabelled=5)
    queue = begun(of, ann, factories.curator("ben"))
    read_all(
        queue, {"ann": ["normal", "normal", "abnormal", "normal"], "ben": ["normal", "normal", "abnormal", "unsure"]}
    )
    read(queue, films_of(queue)[4], ann, "normal")
    return queue


def settled(queue: ScreeningQueue) -> User:
    close(queue)
    ada = adjudicator(queue)
    film = films_of(queue)[3]
    adjudicating.give_verdict(queue=queue, image=film, change=LabelChange(value="normal"), person=ada)
    adjudicating.settle(
        queue=queue, image=film, change=LabelChange(value="unsure", reason="=faint"), person=ada
    )  # fmt: skip
    return ada


def test_counts_and_measures_of_two_readers(queue: ScreeningQueue) -> None:
    results = label_agreement(queue, read_films(queue))
    assert (results["films"], results["read_by_all"], results["agreed"], results["disputed"]) == (5, 4, 3, 1)
    assert not results["closed"]
    assert results["agreement"]["share"]["value"] == 0.75
    # po = 3/4; pe = 3/4 · 2/4 + 1/4 · 1/4 = 7/16, so that kappa = (12 - 7) / (16 - 7)
    assert results["agreement"]["kappa"]["value"] == pytest.approx(5 / 9)
    # four films of two readings: n = 8, 5 normal, 2 abnormal, 1 unsure; Do = 2/8, De = (64 - 25 - 4 - 1) / 56
    assert results["agreement"]["alpha"]["value"] == pytest.approx(1 - (2 / 8) / (34 / 56))
    assert results["agreement"]["left_out"] == 1
    assert results["table"] == {
        "first": "ann",
        "second": "ben",
        "values": ["normal", "abnormal", "unsure"],
        "rows": [
            {"value": "normal", "counts": [2, 0, 1]},
            {"value": "abnormal", "counts": [0, 1, 0]},
            {"value": "unsure", "counts": [0, 0, 0]},
        ],
    }


def test_what_the_films_ended_with(queue: ScreeningQueue) -> None:
    settled(queue)
    results = label_agreement(queue, read_films(queue))
    assert (results["labelled_by_consensus"], results["settled"], results["closed"]) == (3, 1, True)
    assert results["own_verdicts"] == {"settled": 1, "changed": 1}
    ann, ben = results["readers"]
    assert (ann["read"], ann["ended"], ann["as_consensus"]) == (5, 4, 3)
    assert (ben["read"], ben["ended"], ben["as_consensus"]) == (4, 4, 4)
    assert ann["values"] == {"normal": 4, "abnormal": 1, "unsure": 0, "exclude": 0}


def test_readings_after_seeing_something_are_counted(of: Dataset, ann: User) -> None:
    film = factories.film(of)
    queue = begun(of, ann, factories.curator("ben"))
    record_exposure(ann, Exposure.Kind.MAP, [film.pk])
    read(queue, film, ann, "normal")
    row = label_agreement(queue, read_films(queue))["readers"][0]
    assert (row["after_seeing_the_model"], row["after_seeing_a_label"]) == (1, 0)
    read(queue, film, User.objects.get(username="ben"), "normal")
    results = label_agreement(queue, read_films(queue))
    assert (results["agreed"], results["agreed_after_being_shown"]) == (1, 1)


def test_three_readers_have_an_alpha_and_no_table(of: Dataset, ann: User) -> None:
    factories.films(of, unlabelled=2)
    queue = begun(of, ann, factories.curator("ben"), factories.curator("carl"))
    read_all(queue, {"ann": ["normal", "abnormal"], "ben": ["normal", "abnormal"], "carl": ["normal", "normal"]})
    results = label_agreement(queue, read_films(queue))
    assert results["table"] is None
    assert results["agreement"]["kappa"] is None
    assert results["agreement"]["share"]["value"] == pytest.approx((1 + 1 / 3) / 2)


def test_the_table_has_a_row_for_each_reading_with_what_its_film_ended_with(queue: ScreeningQueue) -> None:
    settled(queue)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in readings_table(queue)]
    assert len(rows) == 9
    disputed = [row for row in rows if row["position"] == 4]
    assert [(row["reader"], row["value"], row["consensus"], row["consensus origin"]) for row in disputed] == [
        ("ann", "normal", "unsure", "adjudication"),
        ("ben", "unsure", "unsure", "adjudication"),
    ]
    assert {(row["settled by"], row["own verdict of the adjudicator"], row["reason"]) for row in disputed} == {
        ("ada", "normal", "=faint")
    }
    (agreed,) = {(row["consensus origin"], row["settled by"]) for row in rows if row["position"] < 4}
    assert agreed == ("consensus", None)
    assert [row["consensus"] for row in rows if row["position"] == 5] == [None]


def test_results_are_refused_to_those_who_take_part(queue: ScreeningQueue, ann: User) -> None:
    require_results(queue, manager())
    with pytest.raises(PermissionDenied, match="once every film is settled"):
        require_results(queue, ann)
    ada = settled(queue)
    for person in (ann, ada):
        require_results(queue, person)
