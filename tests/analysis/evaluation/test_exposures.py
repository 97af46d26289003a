"""The record of what a page or file of results shows of many films."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from analysis.evaluation.exposures import LABEL, MAP, SCORE, films_in, record_shown
from portal.models import Dataset, Exposure, Image, Role
from tests.portal import factories

pytestmark = pytest.mark.django_db
RUNS = [uuid.UUID(int=5), uuid.UUID(int=6)]


@pytest.fixture
def films() -> list[Image]:
    of: Dataset = factories.dataset()
    return [factories.film(of) for _ in range(3)]


def test_each_kind_is_recorded_for_each_film_and_run_and_a_label_for_no_run(films: list[Image]) -> None:
    person = factories.user("reader", Role.READER)
    record_shown(person, [film.uuid for film in films[:2]], [LABEL, SCORE], runs=RUNS)
    rows = set(Exposure.objects.values_list("person", "image", "kind", "run"))
    assert rows == {
        (person.pk, film.pk, kind, run)
        for film in films[:2]
        for kind, run in ((LABEL, Exposure.NO_RUN), (SCORE, RUNS[0]), (SCORE, RUNS[1]))
    }


def test_films_without_a_name_and_unknown_films_are_left_out(films: list[Image]) -> None:
    person = factories.user("reader", Role.READER)
    record_shown(person, [None, str(uuid.uuid4())], [MAP], runs=RUNS)
    record_shown(person, [], [MAP], runs=RUNS)
    assert not Exposure.objects.exists()


def test_showing_the_same_again_writes_nothing(films: list[Image], django_assert_num_queries: Any) -> None:
    person = factories.user("reader", Role.READER)
    shown = [film.uuid for film in films]
    with django_assert_num_queries(3):  # the films, what is known, one insert
        record_shown(person, shown, [SCORE, MAP], runs=RUNS[:1])
    with django_assert_num_queries(2):
        record_shown(person, shown, [SCORE, MAP], runs=RUNS[:1])
    record_shown(person, shown, [SCORE, MAP], runs=RUNS[1:])
    assert Exposure.objects.count() == 12


def test_figures_name_films_by_their_points() -> None:
    figures = {
        "roc": {"data": [{"customdata": ["a", None]}, {"name": "chance"}]},
        "histogram": {"data": [{"customdata": []}, {"customdata": ("b",)}]},
    }
    assert list(films_in(figures)) == ["a", "b"]
