"""Films decoded ahead by several threads; what is decoded is tested with each reader and each run."""

from __future__ import annotations

import warnings
from threading import Barrier

import pytest

from ml_engine.core.errors import UnreadableImage
from ml_engine.engine.decode_films import ahead


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_and_refusals_come_in_the_order_of_the_films(workers: int) -> None:
    def read(film: int) -> int:
        if film == 3:
            raise UnreadableImage("The file is not there.")
        return film * film

    results: list[int | str] = []
    for film in ahead(read, 6, workers=workers):
        try:
            results.append(film())
        except UnreadableImage as problem:
            results.append(str(problem))

    assert results == [0, 1, 4, "The file is not there.", 16, 25]
    assert list(ahead(read, 0, workers=workers)) == []


def test_films_are_decoded_at_the_same_time() -> None:
    both = Barrier(2, timeout=60)  # broken unless two threads wait for each other

    results = [film() for film in ahead(lambda _: both.wait(), 4, workers=2)]

    assert sorted(results) == [0, 0, 1, 1]


def test_no_more_films_are_begun_than_there_are_threads_and_one_more() -> None:
    begun: list[int] = []
    films = ahead(begun.append, 100, workers=3)

    next(films)()

    assert len(begun) <= 4
    films.close()  # type: ignore[attr-defined]
    assert len(begun) <= 4


def test_warnings_of_the_readers_are_silent_and_the_filters_come_back() -> None:
    filters = list(warnings.filters)

    for film in ahead(lambda film: warnings.warn(f"value {film}", UserWarning, stacklevel=1), 3, workers=2):
        film()

    assert list(warnings.filters) == filters
