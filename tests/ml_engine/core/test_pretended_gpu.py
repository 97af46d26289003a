"""What the processor does, on a device that it is not: no tensor of one meets those of the other. See `pretended_gpu`;
tests/gpu compares numbers where there is a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ml_engine.core.backbone import feature_file, networks
from ml_engine.core.backbone.feature_file import FeatureFile, Features
from ml_engine.core.backbone.features import FeatureExtractor
from ml_engine.core.bank import changes, detectors, memory_bank
from ml_engine.core.bank.coreset import k_center
from ml_engine.core.bank.memory_bank import Banks, Source, places_of
from ml_engine.core.bank.nearest_search import NearestSearch, scores_at
from ml_engine.core.config import PipelineConfig
from tests.ml_engine.pretended_gpu import numbers, pretended_gpu

CONFIG = PipelineConfig.from_preset("default").replace(size=64, grid=2, rate=0.1, weights="random")
CPU = torch.device("cpu")
FILMS, WIDE = 9, 16


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_tensor_of_the_processor_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = draw(5, 3)
    with pretended_gpu(monkeypatch) as gpu:
        theirs = ours.to(gpu)
        assert theirs.device == gpu
        assert torch.equal(numbers((theirs + 1)[torch.tensor([0, 2])].cpu()), (ours + 1)[[0, 2]])
        for mixed in (
            lambda: theirs + ours,
            lambda: theirs.index_select(0, torch.tensor([1])),
            lambda: torch.cat([theirs, ours]),
            lambda: theirs.numpy(),
        ):
            with pytest.raises(RuntimeError):
                mixed()


@pytest.mark.parametrize("exact_limit", [0.0, 1e12])
def test_a_coreset_is_selected_there(exact_limit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    features = draw(1500, 48)
    features[700:800] = features[:100]
    ours = k_center(features, 120, exact_limit=exact_limit, dimensions=24)
    with pretended_gpu(monkeypatch) as gpu:
        theirs = k_center(features.to(gpu), 120, exact_limit=exact_limit, dimensions=24)
    assert torch.equal(theirs.indices, ours.indices)
    np.testing.assert_allclose(theirs.radius, ours.radius, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 9, 400])
@pytest.mark.parametrize("reweight", [0, 5])
def test_neighbours_are_searched_there(k: int, reweight: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bank, queries = draw(400, 24, seed=1), draw(60, 24, seed=2)
    bank[50:60], queries[:5], queries[7, 3] = bank[0], bank[:5], float("nan")
    options = {"neighbours": (1, k), "distance": "l2", "reweight": reweight}
    ours = NearestSearch(bank).squared_distances(queries, k)
    scored = scores_at(queries, NearestSearch(bank), **options)  # type: ignore[arg-type]
    with pretended_gpu(monkeypatch) as gpu:
        search = NearestSearch(bank.to(gpu))
        theirs = [numbers(value) for value in search.squared_distances(queries.to(gpu), k)]
        scored_there = numbers(scores_at(queries.to(gpu), search, **options))  # type: ignore[arg-type]
    torch.testing.assert_close(theirs[0], ours[0], rtol=1e-5, atol=0, equal_nan=True)
    assert torch.equal(theirs[1], ours[1])
    torch.testing.assert_close(scored_there, scored, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("kind", ["patchcore", "padim", "spade", "dn2"])
@pytest.mark.parametrize("exact_limit", [0.0, 2e8])
@pytest.mark.parametrize("is_file", [False, True])
@pytest.mark.parametrize("some", [None, [0, 3, 4, 7]])
def test_each_kind_of_detector_is_fitted_and_scores_there(
    kind: str,
    exact_limit: float,
    is_file: bool,
    some: list[int] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From features in memory and on disk, of all films and of some, and for PatchCore from shared integers."""
    config = CONFIG.replace(detector=kind, coreset_exact_limit=exact_limit, coreset_dimensions=8, neighbours=2)
    keep = np.ones((config.patches, config.patches), dtype=np.bool_)
    keep[:2] = False
    source = Source(places_of(keep), torch.arange(FILMS))
    features = draw(FILMS * len(source.places), WIDE)
    feature_file.write(tmp_path / "features.npy", (len(features), WIDE), [features])
    here: Features = FeatureFile(tmp_path / "features.npy") if is_file else features
    films = None if some is None else torch.tensor(some)
    shown = draw(3, len(source.places), WIDE, seed=1)

    for shared in (False, True) if kind == "patchcore" else (False,):
        grid = memory_bank.shared_grid(here, source) if shared else None
        model = detectors.fit_model(here, source, config, films=films, grid=grid)
        maps = detectors.scorer_of(model, keep, config, CPU).film_maps(shown)
        with pretended_gpu(monkeypatch) as gpu:
            there = here.to(gpu)
            grid = memory_bank.shared_grid(there, source) if shared else None
            model_there = detectors.fit_model(there, source, config, films=films, grid=grid)
            tensors = detectors.to_tensors(model_there)
            assert {value.device for value in tensors.values()} == {CPU}  # as the file of a detector takes them
            kept = {name: numbers(value) for name, value in tensors.items()}
            scorer = detectors.scorer_of(detectors.from_tensors(kept, config), keep, config, gpu)
            maps_there = scorer.film_maps(shown)
        np.testing.assert_allclose(maps_there, maps, rtol=1e-4, atol=1e-5)


def test_a_bank_is_extended_there(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(places_of(np.ones((CONFIG.patches, CONFIG.patches), dtype=np.bool_)), torch.arange(FILMS))
    model = detectors.fit_model(draw(FILMS * len(source.places), WIDE), source, CONFIG)
    assert isinstance(model, Banks)
    new, more = draw(2 * len(source.places), WIDE, seed=1), Source(source.places, torch.tensor([FILMS, FILMS + 1]))
    ours = changes.extend(model, new, more, CONFIG, films_before=FILMS)
    with pretended_gpu(monkeypatch) as gpu:
        theirs = changes.extend(model, new.to(gpu), more, CONFIG, films_before=FILMS)
    assert torch.equal(numbers(theirs.whole.vectors), ours.whole.vectors)


@pytest.mark.parametrize("backbone", ["resnet18", "tf_efficientnet_lite0", "densenet121"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_are_computed_there(backbone: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.replace(backbone=backbone, precision=precision, batch=4)
    state, shown = networks.random_state(backbone, 0), torch.rand(5, 1, config.size, config.size)
    places = places_of(np.ones((config.patches, config.patches), dtype=np.bool_))
    ours = FeatureExtractor(config, state, CPU).patches(shown, places)
    monkeypatch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
    with pretended_gpu(monkeypatch) as gpu:
        extractor = FeatureExtractor(config, state, gpu)
        assert {value.device for value in extractor.trunk.parameters()} == {gpu}
        theirs = numbers(extractor.patches(shown, places))
    torch.testing.assert_close(theirs, ours, rtol=1e-2, atol=1e-3)
