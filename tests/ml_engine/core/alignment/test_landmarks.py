"""Canonical landmarks, the affine of each film, and the reason where a film has too few landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from ml_engine.core.alignment.landmarks import InvalidLandmarks, Points, mean_landmarks, place, scaled

NAMES = ("apex left", "apex right", "carina", "angle left", "angle right")
ATLAS = np.array([[20.0, 15.0], [44.0, 16.0], [32.0, 28.0], [14.0, 50.0], [51.0, 49.0]])


def marked(at: np.ndarray, names: tuple[str, ...] = NAMES) -> Points:
    return {name: (float(x), float(y)) for name, (x, y) in zip(names, at, strict=True)}


def drawn(count: int, *, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (count, 5, 2) of films, and the affines (count, 2, 3) that took the atlas there."""
    rng = np.random.default_rng(5)
    affines = np.eye(2, 3) + rng.normal(size=(count, 2, 3)) * [[0.08, 0.08, 4.0]]
    at = np.einsum("nij,lj->nli", affines[:, :, :2], ATLAS) + affines[:, None, :, 2]
    return at + noise * rng.normal(size=at.shape), affines


def test_a_films_affine_solves_the_normal_equations() -> None:
    at = drawn(1, noise=1.0)[0][0]
    placed = place(marked(at), marked(ATLAS))
    design = np.c_[ATLAS, np.ones(5)]
    expected = np.linalg.solve(design.T @ design, design.T @ at).T
    np.testing.assert_allclose(placed.input_from_canonical.numpy(), expected, atol=1e-9)
    back = np.linalg.inv(np.vstack([expected, [0, 0, 1]]))
    misses = (back @ np.c_[at, np.ones(5)].T)[:2].T - ATLAS
    assert placed.residual == pytest.approx(np.sqrt((misses**2).sum() / 5), rel=1e-9)
    assert placed.reason == ""


def test_exact_films_have_no_residual() -> None:
    canonical = mean_landmarks([marked(at) for at in drawn(6)[0]])
    placed = [place(marked(at), canonical) for at in drawn(6)[0]]
    assert max(film.residual or 0.0 for film in placed) < 1e-6
    mean = np.mean([film.input_from_canonical.numpy() for film in placed], axis=0)
    np.testing.assert_allclose(mean, np.eye(2, 3), atol=1e-6)


def test_the_canonical_landmarks_equal_those_of_a_factorisation() -> None:
    """With all landmarks on all films, the least-squares fit is the best approximation of rank 2."""
    at = drawn(7, noise=1.5)[0]
    canonical = mean_landmarks([marked(film) for film in at])
    rows = at.transpose(0, 2, 1).reshape(14, 5)
    beyond = np.linalg.svd(rows - rows.mean(1, keepdims=True), compute_uv=False)[2:]
    total = 0.0
    for film in at:
        affine = place(marked(film), canonical).input_from_canonical.numpy()
        seen = np.array([canonical[name] for name in NAMES]) @ affine[:, :2].T + affine[:, 2]
        total += ((film - seen) ** 2).sum()
    assert total == pytest.approx((beyond**2).sum(), rel=1e-6)


def test_films_may_lack_landmarks() -> None:
    at = drawn(6)[0]
    films = [dict(marked(film)) for film in at]
    for k, film in enumerate(films[:5]):
        del film[NAMES[k]]
    canonical = mean_landmarks(films)
    assert set(canonical) == set(NAMES)
    placed = [place(film, canonical) for film in films]
    assert max(film.residual or 0.0 for film in placed) < 1e-4
    mean = np.mean([film.input_from_canonical.numpy() for film in placed], axis=0)
    np.testing.assert_allclose(mean, np.eye(2, 3), atol=1e-4)


def test_a_landmark_of_a_single_film_is_left_out() -> None:
    films = [dict(marked(film)) for film in drawn(3)[0]]
    films[0]["extra"] = (1.0, 2.0)
    assert "extra" not in mean_landmarks(films)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ({}, "it has no landmarks"),
        (marked(ATLAS[:2], NAMES[:2]), "it has 2 of the canonical landmarks, and 3 are needed"),
        ({"a": (1, 2), "b": (3, 4), "c": (9, 4), "carina": (5, 5)}, "it has 1 of the canonical landmarks"),
        (marked(np.array([[5.0, 5], [10, 10], [20, 20.1]]), NAMES[:3]), "its landmarks lie on a line"),
    ],
)
def test_a_film_with_too_few_landmarks_is_not_moved(points: Points, reason: str) -> None:
    placed = place(points, marked(ATLAS))
    assert reason in placed.reason
    assert placed.residual is None
    np.testing.assert_array_equal(placed.input_from_canonical.numpy(), np.eye(2, 3))


def test_films_that_share_too_few_landmarks_are_refused() -> None:
    films = [marked(ATLAS), {}, marked(ATLAS[:2], NAMES[:2])]
    with pytest.raises(InvalidLandmarks, match=r"0 of 3 films share 3 landmarks.*mark the same landmarks"):
        mean_landmarks(films)


def test_landmarks_scale_with_their_frame() -> None:
    assert scaled({"a": (2.0, 3.0)}, 1.5) == {"a": (3.0, 4.5)}
