"""Each ResNet compared with torchvision's of the same name."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn
import torchvision

from ml_engine.core.resnet import ResNet
from tests.ml_engine.core.compared import assert_same_network, untrained

NAMES = ("resnet18", "resnet50", "wide_resnet50_2")


@pytest.mark.parametrize("name", NAMES)
def test_untrained_weights_are_torchvisions_by_name_and_value(name: str) -> None:
    ours = untrained(lambda: ResNet(name)).state_dict()
    theirs = untrained(lambda: torchvision.models.get_model(name, weights=None)).state_dict()

    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_equal_torchvisions_to_the_bit(name: str) -> None:
    assert_same_network(ResNet(name), torchvision.models.get_model(name, weights=None))


def test_gradients_equal_torchvisions() -> None:
    """The alignment's network is trained."""
    theirs = untrained(lambda: torchvision.models.resnet18(weights=None))
    ours = untrained(lambda: ResNet("resnet18"))
    for network in (ours, theirs):
        network.train()
        network(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))).square().sum().backward()

    gradients = dict(theirs.named_parameters())
    for key, parameter in ours.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradients[key].grad, rtol=1e-5, atol=1e-6)
    assert isinstance(ours, nn.Module)
