"""The table of published weight files."""

from __future__ import annotations

import pytest
import torchvision

from ml_engine.core import published_weights
from ml_engine.core.config import BACKBONES


@pytest.mark.parametrize(("name", "theirs"), [("imagenet", "IMAGENET1K_V1"), ("imagenet-v2", "IMAGENET1K_V2")])
def test_the_table_is_torchvisions(name: str, theirs: str) -> None:
    for architecture, known in published_weights.SETS[name].items():
        listed = torchvision.models.get_model_weights(architecture)[theirs].url

        assert known.url == listed
        assert listed.endswith(f"-{known.digest[:8]}.pth")


def test_every_published_file_is_for_a_backbone_and_has_a_name_of_its_own() -> None:
    known = published_weights.all_known()

    assert {file.architecture for file in known} <= {*BACKBONES, "vgg19"}
    assert len({file.stored_name for file in known}) == len({file.digest for file in known}) == len(known)
    assert published_weights.sets_of("wide_resnet50_2") == ("imagenet", "imagenet-v2")
    assert published_weights.sets_of("timm:vit_base_patch14_dinov2") == ("dinov2",)
    assert published_weights.sets_of("timm:convnext_tiny") == ()
