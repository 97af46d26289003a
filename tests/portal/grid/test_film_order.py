"""Every order of the grid: stable, in pages without gaps or repeats, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.grid.film_order import (
    IMPORTED,
    ORDERS,
    FilmOrder,
    UnknownOrder,
    exact_order,
    films_beside,
    in_order,
    order_of,
    page_in_order,
    place_of,
)
from portal.models import Dataset, Image, Patient
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]

Key = Callable[[Image], Any]


def label_of(film: Image) -> str:
    label = getattr(film, "current_label", None)
    return label.value if label else ""


def findings_of(film: Image) -> str:
    label = getattr(film, "current_label", None)
    return label.finding_words if label else ""


KEYS: dict[str, Key] = {
    "": lambda film: 0,
    "imported": lambda film: 0,
    "patient": lambda film: film.patient.pseudonym,
    "age": lambda film: film.patient.age_band,
    "view": lambda film: film.view_position,
    "label": label_of,
    "finding": findings_of,
    "size": lambda film: film.rows * film.columns,
}


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    """Sixteen films with many equal values in every order, some of none."""
    of, other = factories.dataset(), factories.dataset("Other")
    for rows in (48, 12):
        factories.copy(factories.film(other), of, rows=rows)
    for number in range(14):
        film = factories.film(
            of,
            ("normal", "", "abnormal", "unsure")[number % 4],
            person=f"p {number * 5 % 7}",
            view=("PA", "AP", "")[number % 3],
        )
        if number % 4 == 2:
            factories.event(film, "abnormal", findings=["nodule" if number % 3 else "effusion"])
    for number, patient in enumerate(Patient.objects.order_by("pk")):
        Patient.objects.filter(pk=patient.pk).update(age_band=("40-49", "", "50-59")[number % 3])
    return of


def expected(of: Dataset, order: FilmOrder) -> list[int]:
    """By Python's own sort."""
    films = list(of.images.select_related("patient", "current_label").order_by("pk"))
    key = KEYS[order.name.removeprefix("-")]
    films.sort(key=lambda film: (key(film), film.pk), reverse=order.descending)
    return [film.pk for film in films]


@pytest.mark.parametrize("name", list(ORDERS))
def test_pages_follow_each_other_without_gap_or_repeat(of: Dataset, name: str) -> None:
    order, pages, start = ORDERS[name], [], ""
    while True:
        page = page_in_order(of.images.all(), start, among=of.images.all(), size=5, order=order)
        pages.append(page)
        if page.next is None:
            break
        start = str(page.next)
    assert [film.pk for page in pages for film in page.films] == expected(of, order)
    assert [len(page.films) for page in pages] == [5, 5, 5, 1]
    firsts = [page.films[0].uuid for page in pages]
    assert [page.previous for page in pages] == [None, *firsts[:-1]]
    assert [film.pk for film in in_order(of.images.all(), order)] == expected(of, order)


@pytest.mark.parametrize("name", list(ORDERS))
def test_neighbours_of_a_film_are_those_of_the_order(of: Dataset, name: str) -> None:
    order = ORDERS[name]
    line = expected(of, order)
    for number, pk in enumerate(line):
        place = place_of(Image.objects.get(pk=pk), order)
        ahead = films_beside(of.images.all(), place, order, 2)
        behind = films_beside(of.images.all(), place, order, 1, backwards=True)
        assert [film.pk for film in ahead] == line[number + 1 : number + 3]
        assert [film.pk for film in behind] == line[max(number - 1, 0) : number]


def test_the_number_of_queries_does_not_grow_with_the_page(of: Dataset, django_assert_max_num_queries: Any) -> None:
    last = Image.objects.get(pk=expected(of, ORDERS["label"])[-1])
    for uuid in ("", str(last.uuid)):
        with django_assert_max_num_queries(6):
            page_in_order(of.images.all(), uuid, among=of.images.all(), size=5, order=ORDERS["label"])


def test_an_unknown_film_or_order_begins_at_the_first_page(of: Dataset) -> None:
    first = of.images.order_by("pk").first()
    for uuid in ("nonsense", str(factories.somewhere())):
        assert page_in_order(of.images.all(), uuid, among=of.images.all(), size=5).films[0] == first
    ann = factories.curator()
    assert order_of({"sort": "mood"}, ann, of) is IMPORTED
    assert order_of({"sort": "-label"}, ann, of).words == "label, backwards"
    assert ORDERS["-size"].facts() == {"sort": "-size"}
    assert IMPORTED.facts() == {}


def test_a_client_is_told_that_there_is_no_such_order(of: Dataset) -> None:
    ann = factories.curator()
    with pytest.raises(UnknownOrder, match="There is no order 'mood': sort by -imported, patient, -patient"):
        exact_order({"sort": "mood"}, ann, of)
    assert exact_order({}, ann, of) is IMPORTED
