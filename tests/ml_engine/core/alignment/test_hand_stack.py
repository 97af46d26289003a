"""Mean and variance of hand-aligned films, against torch's sampling and NumPy's mean and variance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ml_engine.core.alignment.canonical import mean_of_aligned
from ml_engine.core.alignment.hand_stack import LEVELS, Stack, layer
from ml_engine.core.alignment.perspective import normalised_perspective
from ml_engine.core.alignment.sampling import sample, sample_valid
from ml_engine.core.film.preprocess import valid_area

SIDE = 48


def films(count: int) -> list[tuple[NDArray[np.float32], tuple[int, int, int, int], NDArray[np.float64]]]:
    """Random films with padding, and a perspective for each."""
    draw = np.random.default_rng(3)
    made = []
    for _ in range(count):
        top, left = draw.integers(0, 6, 2)
        box = (int(top), int(left), SIDE - int(top), SIDE - int(left))
        image = np.zeros((SIDE, SIDE), dtype=np.float32)
        image[box[0] : box[2], box[1] : box[3]] = draw.random((box[2] - box[0], box[3] - box[1]), dtype=np.float32)
        matrix = np.eye(3) + draw.normal(0, 0.03, (3, 3)) * [[1, 1, 60], [1, 1, 60], [0.02, 0.02, 0]]
        made.append((image, box, matrix))
    return made


def by_torch(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The aligned films (N, S, S) and which pixels they cover, by grid_sample."""
    made = films(count)
    images = torch.from_numpy(np.stack([image for image, _, _ in made]))[:, None]
    mask = valid_area(np.array([box for _, box, _ in made]), SIDE).float()
    thetas = normalised_perspective(torch.from_numpy(np.stack([matrix for *_, matrix in made])), SIDE).float()
    aligned = sample(images, thetas, mode="bicubic").clamp(0, 1)[:, 0].double().numpy()
    return aligned, sample_valid(mask, thetas)[:, 0].double().numpy()


def test_mean_and_variance_are_those_of_numpy_on_torchs_samples() -> None:
    stack = Stack.empty(SIDE)
    for film in films(7):
        stack = stack.plus(layer(*film))
    aligned, covered = by_torch(7)
    seen = np.where(covered > 0, aligned, np.nan)

    same_cover = stack.sums[0] == covered.sum(0)
    assert same_cover.mean() > 0.995  # a sample at the very edge of a film may fall to either side
    often = same_cover & (covered.sum(0) >= 2)
    assert often.mean() > 0.9
    np.testing.assert_allclose(stack.mean()[often], np.nanmean(seen[:, often], 0), atol=2e-4)
    np.testing.assert_allclose(stack.variance()[often], np.nanvar(seen[:, often], 0), atol=2e-4)
    assert stack.mean_variance() == pytest.approx(float(np.nanvar(seen[:, covered.sum(0) >= 3.5], 0).mean()), rel=0.02)


def test_the_mean_is_that_of_the_engines_canonical_image() -> None:
    made = films(5)
    stack = Stack.empty(SIDE)
    for film in made:
        stack = stack.plus(layer(*film))
    images = torch.from_numpy(np.stack([image for image, _, _ in made]))[:, None]
    mask = valid_area(np.array([box for _, box, _ in made]), SIDE).float()
    thetas = normalised_perspective(torch.from_numpy(np.stack([matrix for *_, matrix in made])), SIDE).float()

    expected = mean_of_aligned(images, mask, thetas).image[0, 0].numpy()
    assert np.quantile(np.abs(stack.mean() - expected), 0.99) < 2e-4


def test_an_unmoved_film_is_its_own_mean() -> None:
    image, _, _ = films(1)[0]
    only = Stack.empty(SIDE).plus(layer(image, (0, 0, SIDE, SIDE), np.eye(3)))
    np.testing.assert_allclose(only.mean(), image, atol=1 / LEVELS)
    assert only.variance().max() == 0
    assert only.mean_variance() is None


def test_a_film_taken_out_leaves_the_sums_as_they_were() -> None:
    first, second, third = (layer(*film) for film in films(3))
    before = Stack.empty(SIDE).plus(first).plus(second)
    after = before.plus(third).minus(second).plus(second).minus(third)
    assert after.films == 2
    assert after.sums.tobytes() == before.sums.tobytes()


def test_what_lies_behind_a_perspective_is_not_covered() -> None:
    image, box, _ = films(1)[0]
    assert layer(image, box, np.eye(3))[0].sum() > 0
    assert layer(image, box, -np.eye(3))[0].sum() == 0  # the same points, at a depth of -1
