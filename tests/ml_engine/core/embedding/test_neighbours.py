"""Exact nearest films by cosine, compared with a loop written out."""

import numpy as np
import pytest
import torch

from ml_engine.core.embedding import neighbours
from ml_engine.core.embedding.neighbours import centred_directions, nearest_films


def features(films: int = 30) -> np.ndarray:
    return np.random.default_rng(3).normal(5.0, 1.0, size=(films, 8)).astype(np.float32)


def test_the_neighbours_are_those_of_a_loop_over_all_films() -> None:
    x = features()
    centred = x - x.mean(0)
    for film, near in enumerate(nearest_films(centred_directions(x), 5).films.tolist()):
        cosines = {
            other: centred[film] @ centred[other] / np.linalg.norm(centred[film]) / np.linalg.norm(centred[other])
            for other in range(len(x))
            if other != film
        }
        assert near == sorted(cosines, key=lambda other: -cosines[other])[:5]


def test_similarities_are_cosines_of_the_features_less_their_mean() -> None:
    x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]], dtype=np.float32) + 7
    nearest = nearest_films(centred_directions(x), 3)
    np.testing.assert_allclose(nearest.similarities[0], [0, 0, -1], atol=1e-6)
    assert nearest.films[0].tolist() == [2, 3, 1]  # of equally near films the lowest comes first


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = nearest_films(centred_directions(features()), 6)
    monkeypatch.setattr(neighbours, "CHUNK_VALUES", 100)
    seen: list[tuple[int, int]] = []
    parts = nearest_films(centred_directions(features()), 6, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(parts.films, whole.films)
    assert len(seen) == 10 and seen[-1] == (30, 30)


@pytest.mark.parametrize(("films", "kept"), [(1, 0), (2, 1), (4, 3)])
def test_a_small_set_has_fewer_neighbours(films: int, kept: int) -> None:
    assert nearest_films(centred_directions(features(films)), 5).films.shape == (films, kept)


def test_equal_films_have_no_direction_and_no_error() -> None:
    x = np.ones((3, 4), dtype=np.float32)
    assert centred_directions(x).abs().sum() == 0
    assert torch.isfinite(torch.from_numpy(nearest_films(centred_directions(x), 2).similarities)).all()
