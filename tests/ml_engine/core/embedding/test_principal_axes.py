"""Principal components, compared with a singular value decomposition."""

import numpy as np
import pytest

from ml_engine.core.embedding import principal_axes
from ml_engine.core.embedding.principal_axes import principal_coordinates


def features(films: int, wide: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(films, wide)) @ np.diag(np.arange(wide, 0, -1.0))


def test_the_coordinates_are_those_of_the_singular_value_decomposition() -> None:
    x = features(40, 6)
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(principal_coordinates(x, 3)), np.abs(u[:, :3] * s[:3]), rtol=1e-9)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = features(40, 6)
    whole = principal_coordinates(x, 2)
    monkeypatch.setattr(principal_axes, "CHUNK", 7)
    np.testing.assert_allclose(principal_coordinates(x, 2), whole, rtol=1e-9)


def test_an_axis_points_where_its_largest_loading_is_positive() -> None:
    x = np.zeros((4, 3))
    x[:, 1] = [-5.0, 1.0, 2.0, 3.0]
    np.testing.assert_allclose(principal_coordinates(x, 1)[:, 0], x[:, 1] - x[:, 1].mean())


def test_axes_beyond_what_the_films_span_are_zero() -> None:
    assert principal_coordinates(features(2, 5), 3)[:, 1:].tolist() == [[0, 0], [0, 0]]
    assert principal_coordinates(features(1, 5), 2).tolist() == [[0, 0]]
