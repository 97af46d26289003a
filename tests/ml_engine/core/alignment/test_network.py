"""Φ_A and its three initialisations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ml_engine.core.alignment.network import AlignmentNetwork, residual_theta
from tests.ml_engine.core.alignment.blobs import poses, small_config


def network(initialisation: str, *, seed: int = 0) -> AlignmentNetwork:
    config = small_config(initialisation=initialisation)
    return AlignmentNetwork(config, generator=torch.Generator().manual_seed(seed)).eval()


def y0(count: int = 7) -> torch.Tensor:
    return torch.rand(count, 6, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4


def test_every_pool_is_an_average_and_the_head_has_no_bias() -> None:
    parts = list(network("paper").modules())
    assert not any(isinstance(part, nn.MaxPool2d | nn.AdaptiveMaxPool2d) for part in parts)
    heads = [part for part in parts if isinstance(part, nn.Linear)]
    assert [head.bias for head in heads] == [None]


def test_equations_3_and_4_against_numpy() -> None:
    net, outputs = network("paper"), y0()
    net.freeze_range(outputs)
    y = outputs.double().numpy()
    low, high = y.min(axis=0), y.max(axis=0)  # Eq. 3
    expected = ((y - low) / ((high - low) * 10.0)).reshape(-1, 2, 3) + [[1, 0, 0], [0, 1, 0]]  # Eq. 4
    np.testing.assert_allclose(net.theta(outputs).numpy(), expected, rtol=0, atol=1e-5)


def test_paper_offsets_start_between_0_and_1_over_alpha() -> None:
    net = network("paper")
    films = torch.rand(9, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        net.freeze_range(net.outputs(films))
        offsets = net(films) - torch.eye(2, 3)
    assert offsets.min() >= -1e-6
    assert offsets.max() <= 0.1 + 1e-5
    assert torch.allclose(offsets.amax(0), torch.full((2, 3), 0.1), atol=1e-4)


def test_centred_offsets_reach_as_far_below_as_above() -> None:
    net, outputs = network("centred"), y0()
    net.freeze_range(outputs)
    offsets = net.theta(outputs) - torch.eye(2, 3)
    assert torch.allclose(offsets.amin(0), torch.full((2, 3), -0.05), atol=1e-5)
    assert torch.allclose(offsets.amax(0), torch.full((2, 3), 0.05), atol=1e-5)


def test_residual_starts_at_the_identity_exactly() -> None:
    with torch.no_grad():
        theta = network("residual-bounded")(torch.rand(2, 1, 64, 64))
    assert torch.equal(theta, torch.eye(2, 3).expand(2, 2, 3))


def test_residual_stays_bounded_and_never_flips() -> None:
    unit = torch.tensor([[1.0, -1, 1, -1, 1, -1], [-1, 1, -1, 1, -1, 1], [1, 1, 1, 1, 1, 1]])
    theta = residual_theta(unit)
    assert (torch.linalg.det(theta[:, :, :2]) > 0).all()
    assert theta[:, :, 2].abs().max() <= 0.5
    assert torch.linalg.svdvals(theta[:, :, :2]).max() < 2


@pytest.mark.parametrize("initialisation", ["paper", "centred"])
def test_equal_outputs_for_all_films_do_not_divide_by_zero(initialisation: str) -> None:
    net = network(initialisation)
    same = torch.full((4, 6), 0.5)
    net.freeze_range(same)
    assert torch.isfinite(net.theta(same)).all()


def test_range_travels_with_the_weights() -> None:
    net = network("paper")
    net.freeze_range(y0())
    other = network("paper", seed=5)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.low, net.low)
    assert torch.equal(other.high, net.high)


def test_same_seed_same_weights_and_the_global_state_does_not_change() -> None:
    before = torch.get_rng_state()
    first, second, other = network("paper"), network("paper"), network("paper", seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.backbone.conv1.weight, other.backbone.conv1.weight)


def test_the_poses_of_the_tests_reach_their_stated_limits() -> None:
    shift = poses(500)[:, :, 2]
    assert 0.15 < shift.abs().max() <= 0.16
