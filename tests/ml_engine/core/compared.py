"""A network of ours compared with its library's."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn as nn


def untrained(build: Callable[[], nn.Module]) -> nn.Module:
    """The network as built after a fixed seed; the global random state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return build()


@torch.no_grad()
def assert_same_network(ours: nn.Module, theirs: nn.Module, *, side: int = 64, channels: int = 3) -> None:
    """Both give the same bytes with the same weights, whose normalisation is far from the identity."""
    generator = torch.Generator().manual_seed(1)
    state = theirs.state_dict()
    for key, value in state.items():
        if "running_mean" in key or (key.endswith("bias") and value.ndim == 1):
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
        if "running_var" in key:
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    ours.load_state_dict(state, strict=True)
    images = torch.rand(2, channels, side, side, generator=generator)

    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=0, atol=0)
