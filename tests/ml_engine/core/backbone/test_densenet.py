from __future__ import annotations

import torch
import torchvision

from ml_engine.core.backbone.densenet import DenseNet121
from tests.ml_engine.core.compared import assert_same_network, untrained


def test_untrained_weights_are_torchvisions_by_name_and_value() -> None:
    ours = untrained(DenseNet121).state_dict()
    theirs = untrained(lambda: torchvision.models.densenet121(weights=None)).state_dict()

    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_outputs_equal_torchvisions_to_the_bit() -> None:
    assert_same_network(DenseNet121(), torchvision.models.densenet121(weights=None))
    assert_same_network(DenseNet121(classes=18), torchvision.models.densenet121(weights=None, num_classes=18))
