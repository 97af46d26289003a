"""The checks of affines, and the measurements of an alignment."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ml_engine.core.alignment.canonical import Canonical, mean_of_aligned, recentred, with_gauge
from ml_engine.core.alignment.checks import Checks, correlation, measure, measured, valid_area
from ml_engine.core.alignment.checks import check as check_affines
from ml_engine.core.alignment.sampling import sample, unaligned
from tests.ml_engine.core.alignment.blobs import films, poses


def theta(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers).reshape(1, 2, 3)


WHOLE = torch.ones(1, 1, 32, 32)


def check(thetas: torch.Tensor, valid: torch.Tensor, *, least_valid_area: float = 0.8) -> Checks:
    return check_affines(thetas, valid, least_valid_area=least_valid_area)


def test_the_identity_passes_every_check() -> None:
    assert not check(unaligned(1), WHOLE).failed.any()


def test_a_mirrored_film_is_flipped() -> None:
    checks = check(theta(-1, 0, 0, 0, 1, 0), WHOLE)
    assert checks.flipped.all() and not checks.out_of_scale.any()


@pytest.mark.parametrize(("scale", "bad"), [(0.69, True), (0.71, False), (1.1, False), (1.41, True)])
def test_scale_outside_its_range(scale: float, bad: bool) -> None:
    assert check(theta(scale, 0, 0, 0, 1, 0), WHOLE).out_of_scale.tolist() == [bad]


@pytest.mark.parametrize(("shift", "bad"), [(0.3, False), (0.5, True)])
def test_valid_area_below_80_percent(shift: float, bad: bool) -> None:
    # a shift of 0.3 of the half frame leaves 85 % of it, 0.5 leaves 75 %
    assert check(theta(1, 0, shift, 0, 1, 0), WHOLE).out_of_frame.tolist() == [bad]


@pytest.mark.parametrize("scale", [0.75, 1.3])
def test_a_film_that_is_correctly_shrunk_or_enlarged_passes(scale: float) -> None:
    assert not check(theta(scale, 0, 0, 0, scale, 0), WHOLE).failed.any()


def test_a_small_film_that_leaves_the_frame_fails() -> None:
    # at 1.3 it reaches to 1/1.3 of the half frame; moved by 0.6, over a quarter of it lies outside
    assert check(theta(1.3, 0, 0.6 * 1.3, 0, 1.3, 0), WHOLE).out_of_frame.tolist() == [True]


def test_the_valid_area_equals_a_count_of_points() -> None:
    valid, thetas = torch.zeros(6, 1, 64, 64), poses(6, seed=4, strength=2.0)
    valid[:, :, 10:58, 4:60] = 1
    at = (np.arange(400) + 0.5) / 200 - 1
    points = np.stack([*np.meshgrid(at * 3, at * 3), np.ones((400, 400))])  # a wide square around the frame
    in_frame = (np.abs(points[:2]) <= 1).all(0)
    for k, area in enumerate(valid_area(thetas, valid)):
        x, y = np.einsum("ij,jkl->ikl", thetas[k].double().numpy(), points)
        in_film = (x >= 4 / 32 - 1) & (x <= 60 / 32 - 1) & (y >= 10 / 32 - 1) & (y <= 58 / 32 - 1)
        expected = (in_film & in_frame).sum() / min(in_film.sum(), in_frame.sum())
        assert float(area) == pytest.approx(expected, abs=0.05)  # half a pixel of each edge is not counted


def test_the_report_holds_how_much_of_the_frame_is_filled() -> None:
    images, thetas = torch.rand(2, 1, 32, 32), torch.cat([unaligned(1), theta(1, 0, 1.0, 0, 1, 0)])
    canonical = Canonical(images[:1], torch.ones(1, 1, 32, 32))
    checks = check(thetas, WHOLE.expand(2, -1, -1, -1))
    numbers = measured(images, torch.ones_like(images), thetas, canonical=canonical, unchecked=checks)
    assert (numbers.frame_filled, numbers.frame_filled_least) == (0.75, 0.5)


def test_the_least_valid_area_is_a_setting() -> None:
    assert not check(theta(1, 0, 0.5, 0, 1, 0), WHOLE, least_valid_area=0.7).failed.any()


def test_padding_does_not_count_against_the_valid_area() -> None:
    half = WHOLE.clone()
    half[..., :8] = half[..., -8:] = 0
    assert float(valid_area(unaligned(1), half)) == pytest.approx(1)


def test_nan_fails() -> None:
    assert check(torch.full((1, 2, 3), float("nan")), WHOLE).failed.all()


def test_shares_count_films() -> None:
    mixed = torch.cat([unaligned(3), theta(-1, 0, 0, 0, 1, 0)])
    shares = check(mixed, WHOLE.expand(4, -1, -1, -1)).shares()
    assert shares["share_determinant_not_positive"] == 0.25
    assert shares["share_flagged"] == 0.25


def test_correlation_equals_numpys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1, 9, 9)), rng.random((2, 1, 9, 9))
    weight = np.zeros((2, 1, 9, 9))
    weight[:, :, 2:7, 1:8] = 1
    correlations = correlation(*(torch.from_numpy(x) for x in (a, b, weight)))
    for k in range(2):
        inside = weight[k] == 1
        assert float(correlations[k]) == pytest.approx(np.corrcoef(a[k][inside], b[k][inside])[0, 1], abs=1e-12)


def test_stack_variance_equals_numpys() -> None:
    images = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    canonical = Canonical(images.mean(0, keepdim=True), torch.ones(1, 1, 16, 16))
    numbers = measure(images, torch.ones_like(images), unaligned(5), canonical=canonical)
    assert numbers["stack_variance"] == pytest.approx(images.numpy().var(axis=0).mean(), abs=1e-6)


def test_stack_variance_of_films_without_overlap_is_none() -> None:
    images, nothing = torch.rand(2, 1, 16, 16), torch.zeros(2, 1, 16, 16)
    canonical = Canonical(images[:1], torch.ones(1, 1, 16, 16))
    assert measure(images, nothing, unaligned(2), canonical=canonical)["stack_variance"] is None


def test_true_poses_sharpen_the_stack() -> None:
    shown, valid, atlas_from_film = films(12)
    linear = torch.linalg.inv(atlas_from_film[:, :, :2])
    truth = torch.cat([linear, -linear @ atlas_from_film[:, :, 2:]], -1)
    mean = mean_of_aligned(shown, valid.float(), truth)
    before = measure(shown, valid.float(), unaligned(12), canonical=mean)
    after = measure(shown, valid.float(), truth, canonical=mean)
    assert after["stack_variance"] < 0.1 * before["stack_variance"]  # type: ignore[operator]
    assert after["ncc"] > 0.99 > before["ncc"]  # type: ignore[operator]


def test_recentring_makes_the_mean_transform_the_identity() -> None:
    thetas = poses(30, seed=3)
    thetas[:, 0, 2] += 0.2
    mean = with_gauge(thetas, recentred(thetas)).mean(0)
    assert torch.allclose(mean, torch.eye(2, 3), atol=1e-6)


def test_each_pixel_is_averaged_over_the_films_that_cover_it() -> None:
    images = torch.stack([torch.full((1, 8, 8), 0.2), torch.full((1, 8, 8), 0.6)])
    valid = torch.ones_like(images)
    valid[1, :, :, :4] = 0
    mean = mean_of_aligned(images, valid, unaligned(2))
    assert torch.allclose(mean.image[..., :4], torch.tensor(0.2))
    assert torch.allclose(mean.image[..., 4:], torch.tensor(0.4))
    assert mean.support.all()


def test_mean_and_support_are_0_where_fewer_than_a_tenth_of_the_films_lie() -> None:
    valid = torch.ones(20, 1, 8, 8)
    valid[1:, ..., :3] = 0  # one film of twenty
    valid[2:, ..., 3] = 0  # two
    mean = mean_of_aligned(torch.full((20, 1, 8, 8), 0.5), valid, unaligned(20))
    assert mean.support[0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert torch.allclose(mean.image[0, 0, 0], 0.5 * mean.support[0, 0, 0])


def test_the_gauge_moves_all_films_together() -> None:
    shown, _, _ = films(1)
    shift = torch.tensor([[1.0, 0, 0.25], [0, 1, 0]])
    moved = sample(shown, with_gauge(unaligned(1), shift))
    assert torch.allclose(moved[..., :-8], shown[..., 8:], atol=1e-5)
