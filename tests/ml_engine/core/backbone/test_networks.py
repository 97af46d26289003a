"""Each kind of backbone compared with its library's own network, run whole and unfolded in float64."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import timm
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from torch import Tensor

from ml_engine.core import architectures
from ml_engine.core.architectures import HALF, IMAGENET_STATISTICS, XRV
from ml_engine.core.backbone import networks
from ml_engine.core.backbone.efficientnet_lite import SHAPES
from ml_engine.core.backbone.features import FeatureExtractor
from ml_engine.core.bank.memory_bank import places_of
from ml_engine.core.config import BACKBONES, PipelineConfig
from ml_engine.core.detector.in_memory import Detector
from ml_engine.core.errors import InvalidConfig

BASE = PipelineConfig.from_preset("default").replace(weights="random", batch=2, grid=2, pool=1)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    backbone: str
    size: int
    modules: tuple[tuple[str, str], ...]  # layer, the module of the library's network behind it

    @property
    def config(self) -> PipelineConfig:
        return BASE.replace(backbone=self.backbone, size=self.size, layers="+".join(layer for layer, _ in self.modules))


CASES = [
    Case("densenet121", 64, (("layer2", "features.denseblock2"), ("layer3", "features.denseblock3"))),
    Case(XRV, 64, (("layer1", "features.denseblock1"), ("layer2", "features.denseblock2"))),
    Case("timm:convnext_tiny", 64, (("layer1", "stages.0"), ("layer2", "stages.1"))),
    Case("timm:efficientnet_b0", 64, (("layer2", "blocks.2"), ("layer3", "blocks.4"))),
    Case("timm:vit_small_patch14_dinov2", 56, (("block1", "blocks.1"), ("block2", "blocks.2"))),
    Case("timm:vit_small_patch14_reg4_dinov2", 70, (("block0", "blocks.0"),)),
    Case("timm:vit_tiny_patch16_224", 32, (("block2", "blocks.2"), ("last", "blocks.11"))),
]


def films(count: int, size: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed))


def state_of(name: str) -> dict[str, Tensor]:
    """Random weights whose normalisations and layer scales are far from the identity."""
    state = networks.random_state(name, 0)
    generator = torch.Generator().manual_seed(1)
    for key, value in state.items():
        if "running_mean" in key or (key.endswith("bias") and value.ndim == 1):
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
        if "running_var" in key or "gamma" in key or ("norm" in key and key.endswith("weight")):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return state


def plain_network(case: Case, state: dict[str, Tensor]) -> nn.Module:
    """The library's own network for films of the size, its position embedding interpolated here."""
    state = dict(state)
    if case.backbone == XRV:
        network = torchvision.models.densenet121(num_classes=18)
        network.features.conv0 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    elif not case.backbone.startswith("timm:"):
        network = torchvision.models.get_model(case.backbone, weights=None)
    elif "pos_embed" not in state:
        network = timm.create_model(case.backbone[5:], num_classes=0)
    else:
        network = timm.create_model(case.backbone[5:], num_classes=0, img_size=case.size)
        embedding = state["pos_embed"]
        side = int((embedding.shape[1]) ** 0.5)
        first, grid = embedding[:, : embedding.shape[1] - side**2], embedding[:, embedding.shape[1] - side**2 :]
        image = grid.reshape(1, side, side, -1).permute(0, 3, 1, 2)
        now = (case.config.patches,) * 2
        image = F.interpolate(image, now, mode="bicubic", antialias=True, align_corners=False)
        state["pos_embed"] = torch.cat([first, image.flatten(2).transpose(1, 2)], 1)
    network.load_state_dict(state)
    return network.eval().double()


def normalised(case: Case, images: Tensor) -> Tensor:
    if case.backbone == XRV:
        return (2 * images.double() - 1) * 1024  # torchxrayvision.datasets.normalize
    facts = timm.get_pretrained_cfg(case.backbone[5:]) if case.backbone.startswith("timm:") else None
    mean = facts.mean if facts else (0.485, 0.456, 0.406)
    std = facts.std if facts else (0.229, 0.224, 0.225)
    channels = [(images[:, 0].double() - m) / s for m, s in zip(mean, std, strict=True)]
    return torch.stack(channels, 1)


def plain_features(case: Case, state: dict[str, Tensor], images: Tensor) -> Tensor:
    """Float64 (B, D, h, w) by hooks on the whole network."""
    network = plain_network(case, state)
    caught: dict[str, Tensor] = {}
    for _, name in case.modules:
        network.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: caught.update({name: out}))
    with torch.no_grad():
        network(normalised(case, images))
        maps = [_as_map(network, caught[name], case.config.patches) for _, name in case.modules]
    side = maps[0].shape[-2:]
    return torch.cat([F.interpolate(m, side, mode="bilinear", align_corners=False) for m in maps], 1)


def _as_map(network: nn.Module, output: Tensor, side: int) -> Tensor:
    if output.ndim == 4:
        return output
    tokens = network.norm(output)
    out = output.new_empty(len(output), tokens.shape[-1], side, side)
    first = tokens.shape[1] - side * side  # class and register tokens
    for r in range(side):
        for c in range(side):
            out[:, :, r, c] = tokens[:, first + r * side + c]
    return out


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Such small networks are slower with two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class BuiltCase:
    case: Case
    state: dict[str, Tensor]
    extractor: FeatureExtractor


@pytest.fixture(scope="module", params=CASES, ids=[case.backbone for case in CASES])
def built(request: pytest.FixtureRequest) -> BuiltCase:
    case: Case = request.param
    state = state_of(case.backbone)
    return BuiltCase(case, state, FeatureExtractor(case.config, state, CPU))


def test_features_equal_those_of_the_library(built: BuiltCase) -> None:
    case, images = built.case, films(2, built.case.size)

    grids = built.extractor.grids(images)

    expected = plain_features(case, built.state, images)
    assert grids.shape == expected.shape
    assert grids.shape[-2:] == (case.config.patches, case.config.patches)
    assert grids.dtype == torch.float32
    np.testing.assert_allclose(grids.numpy(), expected.numpy(), rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_films_features_do_not_depend_on_the_others_and_are_finite(built: BuiltCase) -> None:
    side, size = built.case.config.patches, built.case.size
    places = places_of(np.ones((side, side), dtype=np.bool_))
    many = torch.cat([films(1, size), torch.zeros(1, 1, size, size), torch.ones(1, 1, size, size)])

    together = built.extractor.patches(many, places)

    alone = torch.cat([built.extractor.patches(film[None], places) for film in many])
    assert torch.equal(together, alone)
    assert torch.isfinite(together).all()


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, 224) for name in BACKBONES), ("densenet121", 448), ("timm:vit_small_patch14_dinov2", 448)],
)
def test_each_layers_map_has_the_side_of_the_table(name: str, size: int) -> None:
    layers = "block0+last" if architectures.find(name).kind == "tokens" else "layer1+layer2+layer3+layer4"
    config = BASE.replace(backbone=name, layers=layers, size=size)
    trunk = networks.trunk(networks.on_meta(name), config)

    with torch.inference_mode():
        maps = trunk(torch.empty(1, 1 if name == XRV else 3, size, size, device="meta"))

    sides = [size // architectures.find(name).stride(layer) for layer in config.layer_names]
    assert [tuple(layer.shape[-2:]) for layer in maps] == [(side, side) for side in sides]
    assert sides[0] == config.patches


@pytest.mark.parametrize("name", BACKBONES)
def test_the_tables_normalisation_is_the_librarys(name: str) -> None:
    ours = architectures.find(name).normalisation
    assert ours is not None
    if name.startswith("timm:"):
        facts = timm.get_pretrained_cfg(name.removeprefix("timm:"))
        assert (ours.mean, ours.std) == (tuple(facts.mean), tuple(facts.std))
    elif name in SHAPES:
        facts = timm.get_pretrained_cfg(name)
        assert (ours.mean, ours.std) == (tuple(facts.mean), tuple(facts.std))
    elif name == XRV:
        low, high = ((torch.tensor([0.0, 1.0]) - ours.mean[0]) / ours.std[0]).tolist()
        assert (low, high) == (-1024, 1024)
    else:
        transforms = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
        assert (list(ours.mean), list(ours.std)) == (transforms.mean, transforms.std)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("timm:vit_tiny_patch16_224", HALF), ("timm:vit_small_patch8_224.dino", IMAGENET_STATISTICS)],
)
def test_outside_the_table_timm_gives_the_normalisation(name: str, expected: architectures.Normalisation) -> None:
    assert networks.normalisation(architectures.find(name), networks.on_meta(name)) == expected


def test_only_normalisation_after_a_convolution_is_folded() -> None:
    config = BASE.replace(backbone="densenet121", layers="layer2")

    remaining = [
        m for m in networks.trunk(networks.build("densenet121"), config).modules() if isinstance(m, nn.BatchNorm2d)
    ]

    assert len(remaining) == 6 + 12 + 1  # the first of each dense layer, and the transition's


def test_a_vit_file_keeps_the_grid_that_it_was_trained_with() -> None:
    """As OmniRad's: at its own size the position embedding is used as it is, not resampled to timm's size and back."""
    name, size = "timm:vit_tiny_patch16_224", 64
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=size).eval()
    state = {key: torch.randn(value.shape) * 0.1 for key, value in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    assert state["pos_embed"].shape == (1, 17, 192)
    assert networks.own_grid(name, state) == 4
    assert networks.own_grid(name, networks.random_state(name, 0)) == 0

    grids = FeatureExtractor(BASE.replace(backbone=name, size=size, layers="last"), state, CPU).grids(films(1, size))

    with torch.no_grad():
        expected = theirs.forward_features(films(1, size).expand(-1, 3, -1, -1) * 2 - 1)[:, 1:]
    torch.testing.assert_close(grids.flatten(2).transpose(1, 2), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [XRV, "timm:vit_tiny_patch16_224"])
def test_random_weights_follow_the_seed_and_leave_the_global_state_alone(name: str) -> None:
    before = torch.random.get_rng_state()

    first, again, other = (networks.random_state(name, seed) for seed in (1, 1, 2))

    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_timm_builds_networks_without_internet_access(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("timm used the internet")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    config = BASE.replace(backbone="timm:vit_tiny_patch16_224.augreg_in21k", layers="last", size=64)

    networks.require(config)
    FeatureExtractor(config, networks.random_state(config.backbone, 0), CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "timm:convnext_tyny"}, "has no network of this name; near it are timm:convnext_tiny"),
        ({"backbone": "timm:convnext_tiny.mine"}, "has no network of this name; near it are timm:convnext_tiny."),
        ({"backbone": "timm:vit_tiny_patch16_224", "layers": "block12"}, "each at most once; write some of them"),
        ({"backbone": "timm:vit_tiny_patch16_224", "layers": "block11+last"}, "each at most once"),
        ({"backbone": "timm:inception_v3"}, "which cannot be used for patch features: its map layer2 has the shape"),
        ({"backbone": "timm:visformer_tiny", "layers": "layer1"}, "has no stage with a stride of 4 pixels"),
        ({"backbone": "timm:mixer_b16_224"}, "cannot be used for patch features"),
    ],
)
def test_an_unusable_network_is_refused_before_the_run(changes: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidConfig) as refusal:
        networks.require(BASE.replace(**changes))

    assert message in str(refusal.value)


def test_without_timm_the_refusal_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(InvalidConfig, match="the package timm is not installed here: run pip install"):
        networks.require(BASE.replace(backbone="timm:convnext_tiny"))
    networks.require(BASE)


@pytest.mark.parametrize(
    ("backbone", "layers", "side"), [("timm:vit_tiny_patch16_224", "block0+block1", 4), (XRV, "layer2", 8)]
)
def test_a_detector_is_fitted_on_their_features(backbone: str, layers: str, side: int) -> None:
    config = PipelineConfig.from_preset("default").replace(
        backbone=backbone, layers=layers, size=64, weights="random", grid=2, rate=0.2, align="none", mask=False
    )
    normals = films(4, 64)[:, 0]

    detector = Detector.fit(normals, config.replace(device="cpu", threads=1))

    maps = detector.maps(films(2, 64, seed=3)[:, 0])
    assert maps.shape == (2, 2, side, side)
    assert np.isfinite(maps).all()
    assert maps.min() > 0
    assert detector.weights == {"name": "random", "sha256": None}
