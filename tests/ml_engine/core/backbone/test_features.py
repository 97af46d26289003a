from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision

from ml_engine.core.backbone.features import FeatureExtractor, random_state
from ml_engine.core.bank.memory_bank import places_of
from ml_engine.core.config import PipelineConfig

SMALL = PipelineConfig.from_preset("default").replace(size=64, backbone="resnet18", weights="random", batch=4)
CPU = torch.device("cpu")


def films(n: int, size: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(seed))


def state_with_statistics(name: str) -> dict[str, torch.Tensor]:
    """Random weights whose batch normalisation is not the identity, so that folding it is tested."""
    state = random_state(name, 0)
    generator = torch.Generator().manual_seed(1)
    for key, value in state.items():
        if "running_mean" in key or (key.endswith("bias") and value.ndim == 1):
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
        if "running_var" in key or ("bn" in key and key.endswith("weight")):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return state


def plain_features(config: PipelineConfig, state: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """torchvision's own network with hooks, and the pooling written out in loops; (B, D, h, w)."""
    network = torchvision.models.get_model(config.backbone, weights=None).eval()
    network.load_state_dict(state)
    caught: dict[str, torch.Tensor] = {}
    for name in config.layer_names:
        getattr(network, name).register_forward_hook(lambda _m, _i, out, name=name: caught.update({name: out}))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        network((images.repeat(1, 3, 1, 1) - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
    averaged = []
    for name in config.layer_names:
        maps = caught[name]
        out = torch.empty_like(maps)
        for r in range(maps.shape[2]):
            for c in range(maps.shape[3]):
                inside = maps[:, :, max(0, r - 1) : r + 2, max(0, c - 1) : c + 2]
                count = 9 if config.pool_padding == "counted" else inside[0, 0].numel()
                out[:, :, r, c] = inside.sum((2, 3)) / count
        averaged.append(out)
    side = averaged[0].shape[-2:]
    return torch.cat([F.interpolate(m, side, mode="bilinear", align_corners=False) for m in averaged], 1)


@pytest.mark.parametrize("padding", ["excluded", "counted"])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_features_equal_those_of_the_plain_network(backbone: str, padding: str) -> None:
    """In the frame of patches at the edge, too."""
    config = SMALL.replace(backbone=backbone, pool_padding=padding)
    state = state_with_statistics(backbone)

    grids = FeatureExtractor(config, state, CPU).grids(films(2))

    expected = plain_features(config, state, films(2))
    assert grids.shape == expected.shape
    np.testing.assert_allclose(grids.numpy(), expected.numpy(), rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_wide_resnet_gives_1536_numbers_on_28_by_28_patches() -> None:
    config = PipelineConfig.from_preset("paper").replace(weights="random")

    grids = FeatureExtractor(config, random_state(config.backbone, 0), CPU).grids(films(1, 224))

    assert grids.shape == (1, 1536, 28, 28)


def test_patches_are_taken_at_their_places() -> None:
    extractor = FeatureExtractor(SMALL, random_state("resnet18", 0), CPU)
    keep = np.random.default_rng(0).random((8, 8)) < 0.5
    places = places_of(keep)

    patches = extractor.patches(films(3), places)

    grid = extractor.grids(torch.cat([films(3), torch.zeros(1, 1, 64, 64)]))
    for film in range(3):
        for p, (r, c) in enumerate(places.tolist()):
            assert torch.equal(patches[film, p], grid[film, :, r, c].half().float())  # as they are kept


@pytest.mark.parametrize("size", [64, 96])
def test_a_films_features_do_not_depend_on_the_others(size: int) -> None:
    config = SMALL.replace(size=size)
    extractor = FeatureExtractor(config, random_state("resnet18", 0), CPU)
    places = places_of(np.ones((size // 8, size // 8), dtype=bool))
    many = films(11, size)

    together = extractor.patches(many, places)

    alone = torch.cat([extractor.patches(film[None], places) for film in many])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("backbone", ["resnet18", "tf_efficientnet_lite0"])
def test_bfloat16_rounds_the_networks_numbers_only(backbone: str) -> None:
    """Its features are float32, close to those in float32, and as independent of the other films."""
    config = SMALL.replace(backbone=backbone, batch=2)
    state = state_with_statistics(backbone)
    places = places_of(np.ones((8, 8), dtype=bool))
    exact = FeatureExtractor(config, state, CPU).patches(films(3), places)

    rounding = FeatureExtractor(config.replace(precision="bfloat16"), state, CPU)
    rounded = rounding.patches(films(3), places)

    assert rounded.dtype == torch.float32
    assert 1e-4 < float((rounded - exact).norm() / exact.norm()) < 0.03
    assert torch.equal(rounded, torch.cat([rounding.patches(film[None], places) for film in films(3)]))


def test_random_weights_follow_the_seed_and_leave_the_global_state_alone() -> None:
    before = torch.random.get_rng_state()

    first, again, other = random_state("resnet18", 1), random_state("resnet18", 1), random_state("resnet18", 2)

    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        FeatureExtractor(SMALL.replace(backbone="resnet50"), random_state("resnet18", 0), CPU)
