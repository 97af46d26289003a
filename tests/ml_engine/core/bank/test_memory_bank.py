from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ml_engine.core.bank import coreset, memory_bank
from ml_engine.core.bank.memory_bank import MapScorer, Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EmptyBank, IncompatibleModel

CONFIG = PipelineConfig.from_preset("default").replace(size=64, grid=4, rate=0.1)
CPU = torch.device("cpu")


def keep(masked: int = 9) -> np.ndarray:
    """A mask over 8 x 8 patches that masks one whole cell of the 4 x 4 grid and part of others."""
    mask = np.ones((8, 8), dtype=bool)
    mask[:2, :2] = False
    mask[7, :masked] = False
    return mask


def draw_features(films: int = 6, wide: int = 12, seed: int = 0) -> tuple[Tensor, Source]:
    places = memory_bank.places_of(keep())
    features = torch.randn(films * len(places), wide, generator=torch.Generator().manual_seed(seed))
    return features, Source(places, torch.arange(films) * 10 + 3)


def test_cells_are_squares_of_patches() -> None:
    places = torch.cartesian_prod(torch.arange(28), torch.arange(28))

    cells = memory_bank.cell_of(places, patches=28, grid=4)

    for (r, c), cell in zip(places.tolist(), cells.tolist(), strict=True):
        assert cell == (r // 7) * 4 + c // 7
    assert torch.bincount(cells).tolist() == [49] * 16


def test_a_grid_that_does_not_divide_the_patches_still_covers_them() -> None:
    places = torch.cartesian_prod(torch.arange(7), torch.arange(7))

    counts = torch.bincount(memory_bank.cell_of(places, patches=7, grid=4))

    assert len(counts) == 16
    assert counts.min() >= 1
    assert counts.sum() == 49


@pytest.mark.parametrize(("patches", "rate", "size"), [(1000, 0.01, 10), (1001, 0.01, 11), (3, 0.01, 1), (50, 1, 50)])
def test_bank_size_is_the_share_rounded_up(patches: int, rate: float, size: int) -> None:
    assert memory_bank.bank_size(patches, rate) == size


def test_a_bank_has_at_most_so_many_vectors_and_they_are_its_first() -> None:
    features, source = draw_features()
    banks = memory_bank.build(features, source, CONFIG)
    capped = memory_bank.build(features, source, CONFIG.replace(bank_most=7))
    assert len(banks.whole.vectors) > 7
    assert torch.equal(capped.whole.vectors, banks.whole.vectors[:7])
    for bank, short in zip(banks.cells, capped.cells, strict=True):
        assert (bank is None) == (short is None)
        assert bank is None or (short is not None and torch.equal(short.vectors, bank.vectors[:7]))
    shortened = memory_bank.at_rate(banks, source.places, CONFIG.replace(bank_most=7), rate=0.1, films=6)
    assert torch.equal(shortened.whole.vectors, capped.whole.vectors)
    uncapped = memory_bank.build(features, source, CONFIG.replace(bank_most=10**6))
    assert torch.equal(uncapped.whole.vectors, banks.whole.vectors)


def neighbours(place: int, halo: int) -> range:
    """The rows or columns of the 8 x 8 grid at most ``halo`` away."""
    return range(max(0, place - halo), min(8, place + halo + 1))


@pytest.mark.parametrize("grid", [1, 3, 4, 7])
def test_without_a_halo_a_place_is_near_its_own_cell_only(grid: int) -> None:
    places = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    own = memory_bank.cell_of(places, patches=7, grid=grid)

    for cell in range(grid**2):
        near = memory_bank.is_near_cell(places, cell, patches=7, grid=grid, halo=0)
        assert torch.equal(near, own == cell)


@pytest.mark.parametrize("halo", [0, 1, 3])
def test_banks_are_the_coresets_of_all_patches_and_of_each_cell(halo: int) -> None:
    features, source = draw_features()

    banks = memory_bank.build(features, source, CONFIG.replace(halo=halo))

    whole = coreset.k_center(features, math.ceil(0.1 * len(features)))
    assert torch.equal(banks.whole.vectors, features[whole.indices])
    np.testing.assert_array_equal(banks.whole.radius.astype(np.float32), whole.radius)
    for k, bank in enumerate(banks.cells):
        inside = [
            film * len(source.places) + p
            for film in range(6)
            for p, (r, c) in enumerate(source.places.tolist())
            if any((i // 2) * 4 + j // 2 == k for i in neighbours(r, halo) for j in neighbours(c, halo))
        ]
        if k == 0:  # this cell is wholly masked
            assert bank is None
            continue
        own = coreset.k_center(features[inside], math.ceil(0.1 * len(inside)))
        assert bank is not None
        assert torch.equal(bank.vectors, features[inside][own.indices])
    assert banks.cells[0] is None
    assert sum(bank is None for bank in banks.cells) == 1


def test_provenance_leads_back_to_film_and_patch() -> None:
    features, source = draw_features()

    banks = memory_bank.build(features, source, CONFIG)

    cells = [bank for bank in banks.cells if bank is not None]
    for bank in (banks.whole, *cells):
        for vector, (row, r, c) in zip(bank.vectors, bank.provenance.tolist(), strict=True):
            film = source.films.tolist().index(row)
            patch = source.places.tolist().index([r, c])
            assert torch.equal(vector, features[film * len(source.places) + patch])


@pytest.mark.slow
def test_banks_are_the_same_whether_their_patches_are_gathered_first_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    features, source = draw_features(films=40)
    gathered = memory_bank.to_tensors(memory_bank.build(features, source, CONFIG, films=torch.arange(1, 30)))
    monkeypatch.setattr(memory_bank, "GATHERED_VALUES", 0)
    read = memory_bank.to_tensors(memory_bank.build(features, source, CONFIG, films=torch.arange(1, 30)))
    torch.testing.assert_close(gathered, read, rtol=0, atol=0, equal_nan=True)


def test_banks_can_be_restricted_to_some_films() -> None:
    features, source = draw_features()
    per_film = len(source.places)

    some = memory_bank.build(features, source, CONFIG, films=torch.tensor([1, 4]))

    copy = torch.cat([features[per_film : 2 * per_film], features[4 * per_film : 5 * per_film]])
    alone = memory_bank.build(copy, Source(source.places, source.films[[1, 4]]), CONFIG)
    assert torch.equal(some.whole.vectors, alone.whole.vectors)
    assert torch.equal(some.whole.provenance, alone.whole.provenance)


def test_banks_of_some_films_are_selected_from_the_integers_of_all() -> None:
    features, source = draw_features()
    grid = memory_bank.shared_grid(features, source)
    assert grid is not None

    banks = memory_bank.build(features, source, CONFIG, films=torch.tensor([1, 4]), grid=grid)

    per_film = len(source.places)
    rows = torch.cat([torch.arange(per_film) + film * per_film for film in (1, 4)])
    picks = coreset.greedy(grid[rows], len(banks.whole.vectors))
    assert torch.equal(banks.whole.vectors, features[rows[picks]])
    np.testing.assert_allclose(banks.whole.radius[-1], torch.cdist(features[rows], banks.whole.vectors).amin(1).max())


def test_from_shared_integers_as_from_their_own_where_features_are_integers() -> None:
    features, source = draw_features()
    features = (40 * features).round()
    grid = memory_bank.shared_grid(torch.cat([features, features[:5]]), source)  # rows of a further film

    shared = memory_bank.build(features, source, CONFIG, films=torch.tensor([0, 2, 5]), grid=grid)

    own = memory_bank.build(features, source, CONFIG, films=torch.tensor([0, 2, 5]))
    for name, tensor in memory_bank.to_tensors(own).items():
        torch.testing.assert_close(memory_bank.to_tensors(shared)[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_integers_are_not_shared_where_they_take_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    features, source = draw_features()
    monkeypatch.setattr(memory_bank, "SHARED_BYTES", 2 * features.numel())
    assert memory_bank.shared_grid(features, source) is not None
    monkeypatch.setattr(memory_bank, "SHARED_BYTES", 2 * features.numel() - 1)
    assert memory_bank.shared_grid(features, source) is None


@pytest.mark.parametrize("halo", [0, 1])
def test_banks_at_a_smaller_rate_equal_those_selected_at_it(halo: int) -> None:
    features, source = draw_features()
    high, low = CONFIG.replace(rate=0.5, rate_tried="0.07", halo=halo), CONFIG.replace(rate=0.07, halo=halo)

    shortened = memory_bank.at_rate(memory_bank.build(features, source, high), source.places, high, rate=0.07, films=6)

    selected = memory_bank.build(features, source, low)
    for left, right in zip((shortened.whole, *shortened.cells), (selected.whole, *selected.cells), strict=True):
        assert (left is None) == (right is None)
        if left is not None and right is not None:
            assert torch.equal(left.vectors, right.vectors)
            assert torch.equal(left.provenance, right.provenance)
            np.testing.assert_allclose(left.radius, right.radius)


def test_the_first_pick_follows_the_seed_only_with_a_seeded_start() -> None:
    features, source = draw_features()

    def first(**values: object) -> list[int]:
        banks = memory_bank.build(features, source, CONFIG.replace(**values))
        return banks.whole.provenance[0].tolist()

    assert first(seed=1) == first(seed=2) == [3, *source.places[0].tolist()]
    assert first(coreset_start="seeded", seed=1) != first(coreset_start="seeded", seed=2)


def test_no_patches_are_refused() -> None:
    features, source = draw_features()

    with pytest.raises(EmptyBank, match="hard mask"):
        memory_bank.build(features[:0], Source(source.places[:0], source.films), CONFIG)


def test_banks_round_trip_through_tensors() -> None:
    features, source = draw_features()
    banks = memory_bank.build(features, source, CONFIG)

    again = memory_bank.from_tensors(memory_bank.to_tensors(banks))

    assert torch.equal(again.whole.vectors, banks.whole.vectors)
    for left, right in zip(banks.cells, again.cells, strict=True):
        assert (left is None) == (right is None)
        if left and right:
            assert torch.equal(left.vectors, right.vectors)
            assert torch.equal(left.provenance, right.provenance)
            np.testing.assert_array_equal(left.radius, right.radius)


def test_missing_or_short_tensors_are_refused() -> None:
    features, source = draw_features()
    tensors = memory_bank.to_tensors(memory_bank.build(features, source, CONFIG))

    with pytest.raises(IncompatibleModel, match=r"no global\.vectors: fit the detector again"):
        memory_bank.from_tensors({n: t for n, t in tensors.items() if n != "global.vectors"})
    with pytest.raises(IncompatibleModel, match="do not have the sizes"):
        memory_bank.from_tensors(tensors | {"region.vectors": tensors["region.vectors"][1:]})


def test_maps_hold_each_patchs_distance_to_the_global_and_to_its_cells_bank() -> None:
    config = CONFIG.replace(neighbours=2, distance="squared")
    features, source = draw_features()
    banks = memory_bank.build(features, source, config)
    film = torch.randn(len(source.places), 12, generator=torch.Generator().manual_seed(9))

    maps = MapScorer(banks, keep(), config, CPU).maps(film)

    assert maps.shape == (2, 8, 8)
    assert maps.dtype == np.float32
    assert (np.isnan(maps) == ~keep()).all()
    for vector, (r, c) in zip(film, source.places.tolist(), strict=True):
        own = banks.cells[(r // 2) * 4 + c // 2]
        assert own is not None
        for channel, bank in ((0, banks.whole), (1, own)):
            squared = sorted(float(((vector.double() - v.double()) ** 2).sum()) for v in bank.vectors)[:2]
            assert maps[channel, r, c] == pytest.approx(sum(squared) / len(squared), rel=1e-5)


def test_films_in_a_whole_bank_score_exactly_zero() -> None:
    config = CONFIG.replace(rate=1.0, neighbours=1)
    features, source = draw_features()
    scorer = MapScorer(memory_bank.build(features, source, config), keep(), config, CPU)

    for film in features.split(len(source.places)):
        maps = scorer.maps(film)
        assert (maps[:, keep()] == 0).all()
