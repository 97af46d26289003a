from __future__ import annotations

import torch
import torchvision

from ml_engine.core import vgg
from tests.ml_engine.core.compared import assert_same_network


def test_layers_equal_torchvisions_up_to_relu5_4() -> None:
    theirs = torchvision.models.vgg19(weights=None).features

    assert_same_network(vgg.vgg19_layers(), theirs)
    assert [type(layer).__name__ for layer in theirs[: vgg.RELU5_4]][-2:] == ["Conv2d", "ReLU"]
    assert isinstance(theirs[vgg.RELU5_4], torch.nn.MaxPool2d)


def test_the_whole_networks_tensors_have_torchvisions_names_and_shapes() -> None:
    with torch.device("meta"):
        ours, theirs = vgg.vgg19().state_dict(), torchvision.models.vgg19(weights=None).state_dict()

    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}
