from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ml_engine.core.alignment.sampling import sample, sample_both, sample_valid, unaligned


def films() -> Tensor:
    return torch.rand(3, 1, 20, 30, generator=torch.Generator().manual_seed(0))


def thetas(rows: int) -> Tensor:
    moved = torch.randn(3, rows, 3, generator=torch.Generator().manual_seed(1)) * 0.05
    return torch.eye(rows, 3) + moved


def torchs(films: Tensor, theta: Tensor) -> Tensor:
    shape = list(films.shape)
    grid = F.affine_grid(theta[:, :2], shape, align_corners=False)
    if theta.shape[1] == 3:
        grid = grid / F.affine_grid(theta[:, [2, 2]], shape, align_corners=False)
    return F.grid_sample(films, grid, align_corners=False)


@pytest.mark.parametrize("rows", [2, 3])
def test_films_are_sampled_where_torch_places_the_pixels_and_so_are_the_slopes(rows: int) -> None:
    theta = thetas(rows).double().requires_grad_()
    weight = torch.rand(3, 1, 20, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    pictures = [sampling(films().double(), theta) for sampling in (sample, torchs)]
    slopes = [torch.autograd.grad((picture * weight).sum(), theta)[0] for picture in pictures]
    torch.testing.assert_close(*pictures)
    torch.testing.assert_close(*slopes)


def test_films_that_are_not_moved_keep_their_pixels() -> None:
    assert torch.allclose(sample(films(), unaligned(3)), films(), atol=1e-5)


@pytest.mark.parametrize("rows", [2, 3])
def test_without_a_gradient_the_values_are_the_same(rows: int) -> None:
    plain, followed = sample(films(), thetas(rows)), sample(films(), thetas(rows).requires_grad_())
    assert torch.equal(plain, followed.detach())
    assert followed.requires_grad and not plain.requires_grad


def test_films_and_their_area_are_sampled_at_once_as_they_are_alone() -> None:
    valid = (torch.rand(3, 1, 20, 30, generator=torch.Generator().manual_seed(3)) > 0.2).float()
    aligned, weight = sample_both(films(), valid, thetas(2))
    assert torch.equal(aligned, sample(films(), thetas(2)))
    assert torch.equal(weight, sample_valid(valid, thetas(2)))


def test_films_that_nothing_moves_are_their_own_samples() -> None:
    valid = (torch.rand(3, 1, 20, 30, generator=torch.Generator().manual_seed(3)) > 0.2).float()
    aligned, weight = sample_both(films(), valid, unaligned(3))
    assert torch.equal(aligned, films())
    assert torch.equal(weight, sample_valid(valid, unaligned(3)))
    moved = torch.cat([unaligned(2), thetas(2)[:1]])
    assert not torch.equal(sample_both(films(), valid, moved)[0], films())
