"""Adam compared with torch's, and its state with that of torch's checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor

from ml_engine.core.alignment.adam import Adam


def parameters() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in ((4, 3), (7,), (2, 3, 3, 3))]


def set_gradients(changed: list[Tensor], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in changed:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    changed[1].grad = None if step == 0 else changed[1].grad  # not every parameter has a gradient in every step


def test_steps_and_state_equal_torchs_to_the_bit() -> None:
    ours, theirs = parameters(), parameters()
    adam, peer = Adam(ours, learning_rate=0.01), torch.optim.Adam(theirs, lr=0.01)

    for step in range(6):
        for changed in (ours, theirs):
            set_gradients(changed, step)
        peer.param_groups[0]["lr"] = rate = 0.01 / (step + 1)
        adam.step(learning_rate=rate)
        peer.step()

    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for index, slot in peer.state_dict()["state"].items():
        assert {name: value.tolist() for name, value in adam.slots[index].items()} == {
            name: value.tolist() for name, value in slot.items()
        }


def test_it_continues_from_the_state_of_torchs() -> None:
    ours, theirs = parameters(), parameters()
    peer = torch.optim.Adam(theirs, lr=0.01)
    set_gradients(theirs, 1)
    peer.step()
    with torch.no_grad():
        for mine, other in zip(ours, theirs, strict=True):
            mine.copy_(other)
    adam = Adam(ours, learning_rate=0.01)

    adam.load({index: {k: v.clone() for k, v in slot.items()} for index, slot in peer.state_dict()["state"].items()})
    for changed, optimiser in ((ours, adam), (theirs, peer)):
        set_gradients(changed, 2)
        optimiser.step()

    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_zero_grad_forgets_the_gradients() -> None:
    ours = parameters()
    set_gradients(ours, 1)

    Adam(ours, learning_rate=0.01).zero_grad()

    assert all(parameter.grad is None for parameter in ours)
