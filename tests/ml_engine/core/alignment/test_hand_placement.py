from __future__ import annotations

import numpy as np
import pytest

from ml_engine.core.alignment.hand_placement import InvalidPlacement, fit_affine, frame_filled, project, usable

KNOWN = np.array([[5.2, 0.4, -30.0], [-0.3, 4.9, 12.0], [0, 0, 1]])
TARGETS = np.array([[100, 80], [350, 90], [220, 150], [90, 380], [360, 370], [225, 300], [220, 60.0]])


def test_landmarks_of_a_known_affine_give_it_back() -> None:
    fit = fit_affine(project(KNOWN, TARGETS).tolist(), TARGETS.tolist())
    np.testing.assert_allclose(fit.matrix, KNOWN, atol=1e-9)
    assert fit.rms_px < 1e-9


def test_noisy_landmarks_are_fitted_as_numpy_fits_each_axis_alone() -> None:
    points = project(KNOWN, TARGETS) + np.random.default_rng(1).normal(0, 8, TARGETS.shape)
    fit = fit_affine(points.tolist(), TARGETS.tolist())

    design = np.zeros((2 * len(TARGETS), 6))
    design[0::2, :2], design[0::2, 2] = TARGETS, 1
    design[1::2, 3:5], design[1::2, 5] = TARGETS, 1
    expected = np.linalg.lstsq(design, points.ravel(), rcond=None)[0].reshape(2, 3)
    np.testing.assert_allclose(fit.matrix[:2], expected, rtol=1e-9, atol=1e-9)

    linear, shift = expected[:, :2], expected[:, 2]
    back = np.linalg.solve(linear, (points - shift).T).T
    distances = [float(np.hypot(*miss)) for miss in back - TARGETS]
    assert fit.residuals_px == pytest.approx(distances)
    assert fit.rms_px == pytest.approx((sum(d * d for d in distances) / len(distances)) ** 0.5)


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (TARGETS[:5], "5 landmarks are marked: mark at least 6."),
        (np.column_stack([np.arange(7.0), np.arange(7.0)]), "The landmarks lie on a line: mark some beside it."),
        (TARGETS * [np.nan, 1], "A landmark's x or y is not a finite number: mark it again."),
    ],
)
def test_landmarks_that_determine_no_affine_are_refused(points: np.ndarray, sentence: str) -> None:
    with pytest.raises(InvalidPlacement, match=sentence):
        fit_affine(points.tolist(), TARGETS[: len(points)].tolist())


def test_landmarks_without_their_targets_are_refused() -> None:
    with pytest.raises(InvalidPlacement, match="Each landmark needs x and y on the film"):
        fit_affine(TARGETS.tolist(), TARGETS[:6].tolist())


def place(matrix: np.ndarray, **more: bool) -> np.ndarray:
    return usable(matrix.ravel().tolist(), side=448, film=(2240, 2240), **more)


FIT = np.diag([5.0, 5.0, 1.0])


def test_a_transform_is_scaled_to_end_in_one() -> None:
    tilted = FIT.copy()
    tilted[2] = [1e-4, -2e-4, 1]
    np.testing.assert_allclose(place(tilted * 3), tilted)


def test_the_film_fills_the_frame_that_it_covers() -> None:
    assert frame_filled(FIT, side=448, film=(2240, 2240)) == 1
    assert frame_filled(FIT, side=448, film=(2240, 1120)) == 0.5


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        (FIT * [[-1], [1], [1]], "The transform turns the film inside out"),
        (FIT + [[0, 0, 9000], [0, 0, 0], [0, 0, 0]], "The film fills less than 10% of the frame"),
        (np.diag([0.4, 0.4, 1]), "The frame shows less than 1% of the film"),
        (FIT + [[0, 0, 0], [0, 0, 0], [-0.002, 0, 0]], "The perspective folds the film over inside the frame"),
        (FIT * np.nan, "The transform must be nine finite numbers"),
        (np.zeros((3, 3)), "The transform must be nine finite numbers"),
    ],
)
def test_a_transform_that_places_nothing_is_refused(matrix: np.ndarray, sentence: str) -> None:
    with pytest.raises(InvalidPlacement, match=sentence):
        place(matrix)


def test_a_film_that_is_scored_takes_no_perspective() -> None:
    tilted = FIT + [[0, 0, 0], [0, 0, 0], [1e-5, 0, 0]]
    place(tilted)
    with pytest.raises(InvalidPlacement, match="placed by an affine only"):
        place(tilted, affine=True)
    np.testing.assert_array_equal(place(FIT, affine=True)[2], [0, 0, 1])
