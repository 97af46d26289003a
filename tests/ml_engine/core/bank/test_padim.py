"""PaDiM compared with scikit-learn's covariance and scipy's Mahalanobis distance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import EmpiricalCovariance
from torch.utils._python_dispatch import TorchDispatchMode

from ml_engine.core.bank import memory_bank, padim
from ml_engine.core.bank.memory_bank import Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EmptyBank, IncompatibleModel, UnusableFeatures

CPU = torch.device("cpu")
CONFIG = PipelineConfig(size=64, detector="padim", padim_dimensions=5, mask_keep=None)
FILMS, WIDE = 9, 12


def keep() -> np.ndarray:
    mask = np.ones((8, 8), dtype=bool)
    mask[:3] = False
    return mask


def draw_features(films: int = FILMS) -> tuple[torch.Tensor, Source]:
    places = memory_bank.places_of(keep())
    features = torch.randn(films * len(places), WIDE, generator=torch.Generator().manual_seed(0)) * 3 + 1
    return features, Source(places, torch.arange(films))


@pytest.mark.parametrize("chunk", [1, 2**24])
def test_distances_are_those_of_scipy(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(padim, "CHUNK_VALUES", chunk)
    features, source = draw_features()
    model = padim.fit(features, source, CONFIG)
    film = torch.randn(len(source.places), WIDE, generator=torch.Generator().manual_seed(1)) * 4

    maps = padim.PadimScorer(model, keep(), CONFIG, CPU).maps(film)

    by_film = features.view(FILMS, -1, WIDE).double().numpy()[..., model.dimensions.numpy()]
    for place, (row, column) in enumerate(source.places.tolist()):
        covariance = EmpiricalCovariance().fit(by_film[:, place]).covariance_ * FILMS / (FILMS - 1)
        inverse = np.linalg.inv(covariance + 0.01 * np.eye(5))
        query = film[place].double().numpy()[model.dimensions.numpy()]
        expected = mahalanobis(query, by_film[:, place].mean(0), inverse)
        assert maps[0, row, column] == pytest.approx(expected, rel=1e-4)
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.isnan(maps[:, ~keep()]).all()


class Largest(TorchDispatchMode):
    """Records the number of values in the largest tensor created within the block, except for views of ``source``."""

    def __init__(self, source: torch.Tensor) -> None:
        super().__init__()
        self.source, self.values = source.untyped_storage().data_ptr(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.untyped_storage().data_ptr() != self.source:
            self.values = max(self.values, result.numel())
        return result


def test_no_tensor_exceeds_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copying all dimensions of the features, of which few are drawn, would take gigabytes."""
    monkeypatch.setattr(padim, "CHUNK_VALUES", 500)
    places = memory_bank.places_of(keep())
    features = torch.randn(20 * len(places), 400, generator=torch.Generator().manual_seed(0))

    with Largest(features) as largest:
        padim.fit(features, Source(places, torch.arange(20)), CONFIG.replace(padim_dimensions=2))

    assert largest.values <= 500


def test_dimensions_are_drawn_by_the_seed_and_no_more_than_there_are() -> None:
    features, source = draw_features()

    first, again, other = (padim.fit(features, source, CONFIG.replace(seed=seed)).dimensions for seed in (0, 0, 1))

    assert first.tolist() == again.tolist() != other.tolist()
    assert len(set(first.tolist())) == 5
    assert len(padim.fit(features, source, CONFIG.replace(padim_dimensions=100)).dimensions) == WIDE


def test_a_fit_can_be_restricted_to_some_films() -> None:
    features, source = draw_features()
    some = padim.fit(features, source, CONFIG, films=torch.tensor([1, 4, 6]))
    copy = features.view(FILMS, -1, WIDE)[[1, 4, 6]].flatten(0, 1)

    alone = padim.fit(copy, Source(source.places, torch.tensor([1, 4, 6])), CONFIG)

    assert torch.equal(some.factor, alone.factor)
    assert torch.equal(some.mean, alone.mean)


def test_a_single_film_gives_finite_distances() -> None:
    features, source = draw_features(1)

    maps = padim.PadimScorer(padim.fit(features, source, CONFIG), keep(), CONFIG, CPU).maps(features)

    assert np.abs(maps[:, keep()]).max() < 1e-3


def test_no_patches_and_another_mask_are_refused() -> None:
    features, source = draw_features()
    with pytest.raises(EmptyBank, match="No patch is left to fit PaDiM on"):
        padim.fit(features[:0], Source(source.places[:0], source.films), CONFIG)
    with pytest.raises(IncompatibleModel, match="places are not those of its mask"):
        padim.PadimScorer(padim.fit(features, source, CONFIG), ~keep(), CONFIG, CPU)


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_features_without_a_covariance_are_refused(factor: float) -> None:
    features, source = draw_features()
    with pytest.raises(UnusableFeatures):
        padim.fit(features * factor, source, CONFIG)
