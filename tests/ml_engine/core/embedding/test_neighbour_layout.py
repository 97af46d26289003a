"""The layout keeps neighbours together: measured by scikit-learn's trustworthiness on a set with known groups."""

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from ml_engine.core.embedding.neighbour_layout import joined_graph, membership_strengths, neighbour_layout
from ml_engine.core.embedding.neighbours import NearestFilms, centred_directions, nearest_films
from ml_engine.core.embedding.principal_axes import principal_coordinates


def groups(each: int = 30, count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Films of several groups in 20 dimensions: more groups than two axes can show apart."""
    draws = np.random.default_rng(0)
    centres = draws.normal(0, 4, size=(count, 20))
    which = np.repeat(np.arange(count), each)
    return (centres[which] + draws.normal(size=(len(which), 20))).astype(np.float32), which


def laid_out(x: np.ndarray, *, seed: int = 0, epochs: int = 60) -> np.ndarray:
    nearest = nearest_films(centred_directions(x), 10)
    return neighbour_layout(nearest, principal_coordinates(x, 2), seed=seed, epochs=epochs)


def test_neighbours_stay_neighbours_better_than_on_two_axes() -> None:
    x, which = groups()
    places = laid_out(x)
    assert trustworthiness(x, places, n_neighbors=10) > 0.93
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + np.diag(np.full(len(x), np.inf))
    assert (which[distances.argmin(1)] == which).mean() > 0.98


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    x, _ = groups(10)
    assert laid_out(x, epochs=20).tobytes() == laid_out(x, epochs=20).tobytes()
    assert laid_out(x, epochs=20).tobytes() != laid_out(x, epochs=20, seed=1).tobytes()


def test_strengths_of_a_film_add_up_to_the_logarithm_of_their_number() -> None:
    distances = np.sort(np.random.default_rng(2).uniform(0.1, 1, size=(5, 8)), axis=1)
    strengths = membership_strengths(distances)
    np.testing.assert_allclose(strengths.sum(1), np.log2(8), rtol=1e-6)
    np.testing.assert_allclose(strengths[:, 0], 1)


def test_the_graph_is_symmetric_and_joins_both_directions() -> None:
    x, _ = groups(5)
    graph = joined_graph(nearest_films(centred_directions(x), 4)).toarray()
    np.testing.assert_allclose(graph, graph.T)
    assert graph.max() <= 1 and graph.diagonal().sum() == 0


def test_equal_films_part_from_each_other_and_stay_finite() -> None:
    places = laid_out(np.ones((12, 4), dtype=np.float32), epochs=20)
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == 12


@pytest.mark.parametrize("films", [1, 2, 3])
def test_fewer_than_four_films_stay_at_the_start(films: int) -> None:
    start = np.arange(films * 2.0).reshape(films, 2)
    empty = NearestFilms(np.zeros((films, 0), np.int32), np.zeros((films, 0), np.float32))
    places = neighbour_layout(empty, start, seed=0, epochs=10)
    np.testing.assert_allclose(places * np.abs(start).max(), 10 * start)
