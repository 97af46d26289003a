from __future__ import annotations

import numpy as np

from ml_engine.engine.prepared_films import Input, PreparedFilms


def film(value: float) -> Input:
    return np.full((8, 8), value, np.float32), np.array([0, 0, 8, 8]), np.eye(2, 3)


def test_each_film_is_given_once() -> None:
    films, kept = PreparedFilms(), film(0.5)
    films.keep(("a", 224), kept)
    assert films.take(("b", 224)) is None
    assert films.take(("a", 224)) is kept
    assert films.take(("a", 224)) is None


def test_no_more_are_kept_than_there_is_room_for_and_a_film_taken_makes_room() -> None:
    films = PreparedFilms(most_bytes=2 * film(0)[0].nbytes)
    for key in range(3):
        films.keep(key, film(key))
    assert films.take(2) is None
    assert films.take(0) is not None
    films.keep(3, film(3))
    assert films.take(3) is not None
    assert films.take(1) is not None
