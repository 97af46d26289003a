"""Affines and warps compared with numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from ml_engine.core import geometry


def some_affines(count: int, *, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    linear = np.eye(2) + rng.uniform(-0.3, 0.3, (count, 2, 2))
    return torch.from_numpy(np.concatenate([linear, rng.uniform(-9, 9, (count, 2, 1))], axis=2))


def homogeneous(affine: torch.Tensor) -> np.ndarray:
    return np.vstack([affine.numpy(), [0, 0, 1]])


def test_compose_is_the_product_of_homogeneous_matrices() -> None:
    a, b = some_affines(2)
    expected = (homogeneous(a) @ homogeneous(b))[:2]
    np.testing.assert_allclose(geometry.compose(a, b), expected, rtol=0, atol=1e-12)


def test_compose_broadcasts_one_affine_over_many() -> None:
    many, single = some_affines(5), some_affines(1, seed=1)[0]
    expected = torch.stack([geometry.compose(each, single) for each in many])
    assert torch.equal(geometry.compose(many, single), expected)


def test_inverse_round_trip() -> None:
    affines = some_affines(20)
    identity = geometry.identity(20)
    assert torch.allclose(geometry.compose(affines, geometry.invert(affines)), identity, rtol=0, atol=1e-12)
    assert torch.allclose(geometry.invert(geometry.invert(affines)), affines, rtol=0, atol=1e-12)


def test_invert_refuses_a_singular_affine() -> None:
    with pytest.raises(ValueError, match="determinant 0"):
        geometry.invert(torch.zeros(2, 3))


def test_apply_takes_points_as_x_y() -> None:
    shift_x = torch.tensor([[1.0, 0, 5], [0, 1, 0]])
    assert geometry.apply(shift_x, np.array([[2.0, 3.0]])).tolist() == [[7.0, 3.0]]


@pytest.mark.parametrize("affine", [np.eye(3), np.zeros((2, 2)), np.zeros(3)])
def test_only_2x3_is_an_affine(affine: np.ndarray) -> None:
    with pytest.raises(ValueError, match="shape"):
        geometry.as_affine(affine)


def test_resize_affine_maps_corners_to_corners() -> None:
    affine = geometry.resize_affine(original_size=(300, 200), resized_size=(60, 50))
    points = geometry.apply(affine, np.array([[0.0, 0.0], [50.0, 60.0]]))
    assert points.tolist() == [[0.0, 0.0], [200.0, 300.0]]


def test_resize_affine_with_padding_keeps_the_aspect_and_the_centre() -> None:
    affine = geometry.resize_affine(original_size=(300, 200), resized_size=(60, 60), keep_aspect=True)
    assert geometry.apply(affine, np.array([[30.0, 30.0]])).tolist() == [[100.0, 150.0]]
    assert geometry.apply(affine, np.array([[10.0, 0.0], [50.0, 60.0]])).tolist() == [[0.0, 0.0], [200.0, 300.0]]


def test_resize_affine_squares_oblong_pixels() -> None:
    # 200 wide, 100 high, pixels twice as high as wide: a square film
    affine = geometry.resize_affine(original_size=(100, 200), resized_size=(50, 50), keep_aspect=True, pixel_aspect=2.0)
    assert geometry.apply(affine, np.array([[0.0, 0.0], [50.0, 50.0]])).tolist() == [[0.0, 0.0], [200.0, 100.0]]


def test_normalised_theta_and_back() -> None:
    affines = some_affines(4)
    theta = geometry.normalised_theta(affines, (40, 30), (20, 25))
    assert torch.allclose(geometry.pixel_affine(theta, (40, 30), (20, 25)), affines, rtol=0, atol=1e-12)


def test_warp_agrees_with_torch_affine_grid() -> None:
    images = torch.rand(3, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    affines = some_affines(3)
    theta = geometry.normalised_theta(affines, (20, 30), (16, 24)).float()
    grid = torch.nn.functional.affine_grid(theta, [3, 1, 16, 24], align_corners=False)
    expected = torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    warped, valid = geometry.warp(images, affines, (16, 24))
    assert torch.allclose(warped, expected * valid, atol=1e-5)


def scipy_warp(image: np.ndarray, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The same resampling by scipy, whose points are (row, column) with pixel centres at integers."""
    linear = affine[::-1, 1::-1]
    shift = affine[::-1, 2] + linear @ [0.5, 0.5] - 0.5
    return ndimage.affine_transform(image, linear, offset=shift, output_shape=size, order=1, mode="nearest")


def test_warp_agrees_with_scipy() -> None:
    images = np.random.default_rng(3).random((5, 1, 41, 33))
    affines = some_affines(5, seed=4)
    warped, valid = geometry.warp(torch.from_numpy(images), affines, (36, 30))
    for image, affine, result, inside in zip(images, affines, warped, valid, strict=True):
        expected = scipy_warp(image[0], affine.numpy(), (36, 30))
        assert inside.float().mean() > 0.3
        np.testing.assert_allclose(result[0].numpy(), expected * inside[0].numpy(), rtol=0, atol=1e-9)


def test_warp_by_the_identity_changes_nothing() -> None:
    images = torch.rand(2, 3, 9, 7)
    warped, valid = geometry.warp(images, geometry.identity(2), (9, 7))
    assert valid.all()
    assert torch.allclose(warped, images, atol=1e-6)


def test_warp_marks_pixels_outside_the_input_invalid() -> None:
    shift = torch.tensor([[[1.0, 0, 3], [0, 1, 0]]])
    warped, valid = geometry.warp(torch.ones(1, 1, 6, 6), shift, (6, 6))
    assert valid[0, 0, 0].tolist() == [True, True, True, False, False, False]
    assert warped[0, 0, 0].tolist() == [1, 1, 1, 0, 0, 0]


def test_warp_requires_one_affine_per_image() -> None:
    with pytest.raises(ValueError, match="2 images need as many affines"):
        geometry.warp(torch.rand(2, 1, 4, 4), geometry.identity(3), (4, 4))


def test_affine_from_points_recovers_the_affine() -> None:
    affine = some_affines(1, seed=9)[0]
    source = torch.rand(6, 2, dtype=torch.float64) * 100
    recovered = geometry.affine_from_points(geometry.apply(affine, source), source)
    assert torch.allclose(recovered, affine, rtol=0, atol=1e-9)


def test_affine_from_points_refuses_points_on_a_line() -> None:
    line = torch.tensor([[0.0, 0], [1, 1], [2, 2]])
    with pytest.raises(ValueError, match="not on one line"):
        geometry.affine_from_points(line, line)
