"""Perspectives from landmarks, for the canonical image only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ml_engine.core.alignment.canonical import mean_of_aligned
from ml_engine.core.alignment.fit_landmarks import canonical_by_landmarks
from ml_engine.core.alignment.landmarks import InvalidLandmarks, Points, place
from ml_engine.core.alignment.perspective import normalised_perspective, place_in_perspective
from ml_engine.core.alignment.sampling import sample
from tests.ml_engine.core.alignment.blobs import small_config, thorax

SIZE = 48
ATLAS = {"a": (10.0, 9.0), "b": (38.0, 8.0), "c": (24.0, 20.0), "d": (7.0, 40.0), "e": (41.0, 38.0)}


def bent(matrix: np.ndarray, points: Points = ATLAS) -> dict[str, tuple[float, float]]:
    projected = {}
    for name, (x, y) in points.items():
        u, v, w = matrix @ [x, y, 1]
        projected[name] = (float(u / w), float(v / w))
    return projected


def matrices(count: int) -> np.ndarray:
    """film_from_canonical (count, 3, 3) in pixels."""
    rng = np.random.default_rng(3)
    matrix = np.tile(np.eye(3), (count, 1, 1))
    matrix[:, :2] += rng.normal(size=(count, 2, 3)) * [[0.04, 0.04, 1.5]]
    matrix[:, 2, :2] = rng.uniform(-0.003, 0.003, (count, 2))
    return matrix


def test_an_exact_perspective_is_recovered_where_an_affine_is_not_enough() -> None:
    for matrix in matrices(5):
        placed = place_in_perspective(bent(matrix), ATLAS, size=SIZE)
        np.testing.assert_allclose(placed.input_from_canonical.numpy(), matrix, atol=1e-6)
        affine = place(bent(matrix), ATLAS)
        assert placed.residual is not None and affine.residual is not None
        assert placed.residual < 1e-6 < 0.05 < affine.residual


def test_noisy_landmarks_are_fitted_by_least_squares_of_the_distances() -> None:
    rng = np.random.default_rng(0)
    names = [f"{row}{column}" for row in range(4) for column in range(4)]
    grid = {name: (6.0 + 12 * int(name[0]), 6.0 + 12 * int(name[1])) for name in names}
    film = {name: (x + rng.normal(), y + rng.normal()) for name, (x, y) in bent(matrices(1)[0], grid).items()}
    fitted = place_in_perspective(film, grid, size=SIZE).input_from_canonical.numpy()

    def loss(matrix: np.ndarray) -> float:
        there = bent(matrix, grid)
        return sum((there[name][0] - film[name][0]) ** 2 + (there[name][1] - film[name][1]) ** 2 for name in names)

    for at in range(8):
        for step in (-1e-4, 1e-4):
            moved = fitted.copy()
            moved.flat[at] += step * (0.01 if at in (6, 7) else 1)
            assert loss(moved) > loss(fitted)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ({}, "it has no landmarks"),
        ({name: ATLAS[name] for name in "abd"}, "it has 3 of the canonical landmarks, and 4 are needed for a persp"),
        (bent(np.diag([1.0, -1.0, 1.0])), "a perspective that folds over within the frame"),
        (bent(np.array([[1, 0, 0], [0, 1, 0], [0.018, 0, 1]])) | {"e": (-60.0, -50.0)}, "folds over within the frame"),
    ],
)
def test_landmarks_that_determine_no_perspective_have_a_reason(points: Points, reason: str) -> None:
    placed = place_in_perspective(points, ATLAS, size=SIZE)
    assert reason in placed.reason
    assert placed.residual is None
    np.testing.assert_array_equal(placed.input_from_canonical, np.eye(3))


def test_three_landmarks_on_a_line_determine_no_perspective() -> None:
    line = {"a": (10.0, 10.0), "b": (20.0, 20.0), "c": (30.0, 30.0), "d": (10.0, 40.0)}
    moved = {name: (x * 1.1, y + 1) for name, (x, y) in line.items()}
    placed = place_in_perspective(moved, line, size=SIZE)
    assert placed.reason == "three of its four landmarks lie on a line"


def test_sampling_in_perspective_equals_a_calculation_by_pixel() -> None:
    image = torch.rand(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    matrix = matrices(1)[0]
    sampled = sample(image, normalised_perspective(torch.from_numpy(matrix)[None], SIZE).float())
    for row, column in ((20, 20), (30, 11), (15, 33)):
        u, v, w = matrix @ [column + 0.5, row + 0.5, 1]
        x, y = u / w - 0.5, v / w - 0.5
        left, top = int(np.floor(x)), int(np.floor(y))
        corner = image[0, 0, top : top + 2, left : left + 2].numpy()
        expected = np.array([1 - (y - top), y - top]) @ corner @ np.array([1 - (x - left), x - left])
        assert sampled[0, 0, row, column].item() == pytest.approx(float(expected), abs=1e-4)


def test_films_aligned_in_perspective_average_to_a_sharp_canonical_image() -> None:
    """Films are perspective views of an atlas; aligned, their mean is the atlas."""
    truth = matrices(6)
    still = thorax(SIZE)
    films = torch.cat(
        [
            sample(still, normalised_perspective(torch.from_numpy(np.linalg.inv(matrix))[None], SIZE).float())
            for matrix in truth
        ]
    )
    points = [bent(matrix) for matrix in truth]
    valid = torch.ones(6, 1, SIZE, SIZE, dtype=torch.bool)
    residuals = {}
    for fit in ("affine", "perspective"):
        config = small_config(canonical="landmarks", canonical_fit=fit, size=32)
        _, report = canonical_by_landmarks(films, valid=valid, points=points, config=config)
        assert (report.fit, report.aligned) == (fit, 6)
        residuals[fit] = report.residual_most_px
    assert residuals["perspective"] < 0.1 * residuals["affine"]
    there = torch.stack([place_in_perspective(film, ATLAS, size=SIZE).input_from_canonical for film in points])
    canonical = mean_of_aligned(films, valid.float(), normalised_perspective(there, SIZE).float()).image
    assert torch.allclose(
        canonical[..., 8:-8, 8:-8], still[..., 8:-8, 8:-8], atol=0.015
    )  # with affines the difference is 0.024


def test_films_without_a_perspective_are_refused() -> None:
    films = torch.rand(3, 1, SIZE, SIZE)
    config = small_config(canonical="landmarks", canonical_fit="perspective", size=32)
    points = [{name: ATLAS[name] for name in "abd"}] * 3
    with pytest.raises(
        InvalidLandmarks, match=r"None of 3 films has landmarks that determine a perspective: mark four"
    ):
        canonical_by_landmarks(films, valid=torch.ones_like(films).bool(), points=points, config=config)
