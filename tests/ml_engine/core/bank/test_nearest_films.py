"""DN2 and SPADE compared with scikit-learn's nearest neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from ml_engine.core.bank import memory_bank, nearest_films
from ml_engine.core.bank.memory_bank import Source
from ml_engine.core.bank.nearest_films import NearestFilmsScorer
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EmptyBank, IncompatibleModel, InvalidConfig

CPU = torch.device("cpu")
FILMS, WIDE = 7, 6
CONFIG = PipelineConfig(size=64, detector="spade", film_neighbours=3, neighbours=2)


def keep() -> np.ndarray:
    mask = np.ones((8, 8), dtype=bool)
    mask[:, :5] = False
    return mask


def draw_features(films: int = FILMS) -> tuple[torch.Tensor, Source]:
    places = memory_bank.places_of(keep())
    features = torch.randn(films * len(places), WIDE, generator=torch.Generator().manual_seed(0))
    return features + torch.arange(films).repeat_interleave(len(places))[:, None] / 3, Source(
        places, torch.arange(films)
    )


def film() -> torch.Tensor:
    return torch.randn(24, WIDE, generator=torch.Generator().manual_seed(5)) + 0.7


def expected(config: PipelineConfig) -> tuple[float, np.ndarray]:
    """The distance of the film and those of its patches, in float64."""
    features, _ = draw_features()
    by_film = features.view(FILMS, -1, WIDE).double().numpy()
    query = film().double().numpy()
    near = NearestNeighbors(n_neighbors=config.film_neighbours).fit(by_film.mean(1))
    distances, which = near.kneighbors(query.mean(0)[None])
    patches = NearestNeighbors(n_neighbors=config.neighbours).fit(by_film[which[0]].reshape(-1, WIDE))
    patch_distances, _ = patches.kneighbors(query)
    if config.distance == "squared":
        return float((distances**2).mean()), (patch_distances**2).mean(1)
    return float(distances.mean()), patch_distances.mean(1)


@pytest.mark.parametrize("distance", ["l2", "squared"])
def test_spade_compares_with_the_nearest_films_and_their_patches(distance: str) -> None:
    config = CONFIG.replace(distance=distance)
    features, source = draw_features()

    maps = NearestFilmsScorer(nearest_films.fit(features, source, config), keep(), config, CPU).maps(film())

    whole, patches = expected(config)
    np.testing.assert_allclose(maps[0][keep()], whole, rtol=1e-5)
    np.testing.assert_allclose(maps[1][keep()], patches, rtol=1e-5)
    assert np.isnan(maps[:, ~keep()]).all()


def test_dn2_compares_with_the_nearest_films_only() -> None:
    config = CONFIG.replace(detector="dn2")
    features, source = draw_features()
    model = nearest_films.fit(features, source, config)

    maps = NearestFilmsScorer(model, keep(), config, CPU).maps(film())

    np.testing.assert_allclose(maps[:, keep()], expected(config)[0], rtol=1e-5)
    assert model.patches.numel() == 0


@pytest.mark.parametrize(("detector", "count"), [("dn2", 2), ("spade", 5)])
def test_the_published_number_of_films_is_used_or_all_films(detector: str, count: int) -> None:
    config = CONFIG.replace(detector=detector, film_neighbours=0)
    features, source = draw_features(5)

    scorer = NearestFilmsScorer(nearest_films.fit(features, source, config), keep(), config, CPU)

    assert len(scorer.nearest_films(film())[0]) == count


def test_a_fit_film_is_at_distance_zero_of_itself() -> None:
    config = CONFIG.replace(film_neighbours=1, neighbours=1)
    features, source = draw_features()
    scorer = NearestFilmsScorer(nearest_films.fit(features, source, config), keep(), config, CPU)

    assert np.abs(scorer.maps(features[:24])[:, keep()]).max() == 0


def test_a_gallery_of_some_films_keeps_their_rows() -> None:
    features, source = draw_features()

    some = nearest_films.fit(features, source, CONFIG, films=torch.tensor([2, 5]))

    assert some.rows.tolist() == [2, 5]
    assert torch.equal(some.patches, features.view(FILMS, -1, WIDE)[[2, 5]])


def test_what_cannot_be_fitted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    features, source = draw_features()
    with pytest.raises(EmptyBank, match="No patch is left to compare films by"):
        nearest_films.fit(features[:0], Source(source.places[:0], source.films), CONFIG)
    with pytest.raises(IncompatibleModel, match="SPADE detector's places are not those"):
        NearestFilmsScorer(nearest_films.fit(features, source, CONFIG), ~keep(), CONFIG, CPU)
    monkeypatch.setattr(nearest_films, "LARGEST", 1000)
    with pytest.raises(InvalidConfig, match=r"keeps all patches of 7 films, here 0\.0 GiB"):
        nearest_films.fit(features, source, CONFIG)
    assert len(nearest_films.fit(features, source, CONFIG.replace(detector="dn2")).films) == FILMS
