"""PaDiM against scikit-learn's covariance and scipy's distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import EmpiricalCovariance
from torch.utils._python_dispatch import TorchDispatchMode

from ml_engine.core.bank import memory_bank, padim
from ml_engine.core.bank.memory_bank import Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EmptyBank, IncompatibleModel

CPU = torch.device("cpu")
CONFIG = PipelineConfig(size=64, detector="padim", padim_dimensions=5, mask_keep=None)
FILMS, WIDE = 9, 12


def keep() -> np.ndarray:
    mask = np.ones((8, 8), dtype=bool)
    mask[:3] = False
    return mask


def made(films: int = FILMS) -> tuple[torch.Tensor, Source]:
    places = memory_bank.places_of(keep())
    features = torch.randn(films * len(places), WIDE, generator=torch.Generator().manual_seed(0)) * 3 + 1
    return features, Source(places, torch.arange(films))


@pytest.mark.parametrize("chunk", [1, 2**24])
def test_distances_are_those_of_scipy(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(padim, "CHUNK_VALUES", chunk)
    features, source = made()
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
    """How many values the largest tensor has that is made inside, views of ``source`` aside."""

    def __init__(self, source: torch.Tensor) -> None:
        super().__init__()
        self.source, self.values = source.untyped_storage().data_ptr(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.untyped_storage().data_ptr() != self.source:
            self.values = max(self.values, made.numel())
        return made


def test_no_more_of_the_features_is_held_than_the_module_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a film's dimensions would be gigabytes where few are drawn."""
    monkeypatch.setattr(padim, "CHUNK_VALUES", 500)
    places = memory_bank.places_of(keep())
    features = torch.randn(20 * len(places), 400, generator=torch.Generator().manual_seed(0))

    with Largest(features) as largest:
        padim.fit(features, Source(places, torch.arange(20)), CONFIG.replace(padim_dimensions=2))

    assert largest.values <= 500


def test_dimensions_are_drawn_by_the_seed_and_no_more_than_there_are() -> None:
    features, source = made()

    first, again, other = (padim.fit(features, source, CONFIG.replace(seed=seed)).dimensions for seed in (0, 0, 1))

    assert first.tolist() == again.tolist() != other.tolist()
    assert len(set(first.tolist())) == 5
    assert len(padim.fit(features, source, CONFIG.replace(padim_dimensions=100)).dimensions) == WIDE


def test_some_films_alone_are_fitted_as_if_they_were_all() -> None:
    features, source = made()
    some = padim.fit(features, source, CONFIG, films=torch.tensor([1, 4, 6]))
    copy = features.view(FILMS, -1, WIDE)[[1, 4, 6]].flatten(0, 1)

    alone = padim.fit(copy, Source(source.places, torch.tensor([1, 4, 6])), CONFIG)

    assert torch.equal(some.factor, alone.factor)
    assert torch.equal(some.mean, alone.mean)


def test_one_film_gives_finite_distances() -> None:
    features, source = made(1)

    maps = padim.PadimScorer(padim.fit(features, source, CONFIG), keep(), CONFIG, CPU).maps(features)

    assert np.abs(maps[:, keep()]).max() < 1e-3


def test_nothing_left_and_another_mask_are_sentences() -> None:
    features, source = made()
    with pytest.raises(EmptyBank, match="No patch is left to fit PaDiM on"):
        padim.fit(features[:0], Source(source.places[:0], source.films), CONFIG)
    with pytest.raises(IncompatibleModel, match="places are not those of its mask"):
        padim.PadimScorer(padim.fit(features, source, CONFIG), ~keep(), CONFIG, CPU)
