from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ml_engine.core.bank import coreset
from ml_engine.core.bank.covering_radius import Rows, covering_radius
from ml_engine.core.errors import EmptyBank, UnusableFeatures


def plain_greedy(points: np.ndarray, count: int, start: int) -> list[int]:
    """The greedy k-centre algorithm as published, in float64: the farthest point, and the lowest index among equals."""
    x = points.astype(np.float64)
    picks = [start]
    nearest = ((x - x[start]) ** 2).sum(1)
    while len(picks) < count:
        best = nearest.max()
        if best == 0:
            best_index = min(set(range(len(x))) - set(picks))
        else:
            best_index = int(np.flatnonzero(nearest == best)[0])
        picks.append(best_index)
        nearest = np.minimum(nearest, ((x - x[best_index]) ** 2).sum(1))
    return picks


def plain_radius(features: np.ndarray, picks: list[int]) -> list[float]:
    x = features.astype(np.float64)
    nearest = np.full(len(x), np.inf)
    radii = []
    for pick in picks:
        nearest = np.minimum(nearest, np.sqrt(((x - x[pick]) ** 2).sum(1)))
        radii.append(nearest.max())
    return radii


def gaussian(n: int = 400, d: int = 24, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def duplicates() -> Tensor:
    return gaussian(30, 8)[torch.arange(300) % 30]


def lattice() -> Tensor:
    return torch.tensor(list(itertools.product(range(5), repeat=3)), dtype=torch.float32)


def clusters() -> Tensor:
    centres = gaussian(6, 12, seed=3) * 20
    return torch.cat([c + gaussian(60, 12, seed=k) for k, c in enumerate(centres)])


def wide_ties() -> Tensor:
    """Many equal distances in more dimensions than bfloat16 sums exactly, with duplicates."""
    signs = torch.randint(2, (200, 90), generator=torch.Generator().manual_seed(0)).float()
    return torch.cat([signs, signs[::4]])


DATA = {
    "gaussian": gaussian,
    "duplicates": duplicates,
    "lattice": lattice,
    "clusters": clusters,
    "wide ties": wide_ties,
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("block", [1, 7, 64, 4096])
@pytest.mark.parametrize("rough", ["int8", "bfloat16", "none"])
def test_picks_equal_the_plain_greedy(name: str, block: int, rough: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each rough product, which any processor can compute, if slowly, and without."""
    monkeypatch.setattr(coreset, "multiplies_int8", lambda device: rough == "int8")
    monkeypatch.setattr(coreset, "multiplies_bfloat16", lambda device: rough == "bfloat16")
    grid = coreset.integer_grid(Rows(DATA[name](), None))
    count = len(grid) * 3 // 4

    picks = coreset.greedy(grid, count, start=5, block=block)

    assert picks.tolist() == plain_greedy(grid.numpy(), count, 5)


@pytest.mark.parametrize("shift", [0, 5000])
@pytest.mark.parametrize("name", ["lattice", "uneven integers"])
def test_integers_are_neither_scaled_nor_rounded(name: str, shift: int) -> None:
    """The picks are those of the plain greedy on the numbers given, ties and duplicates included."""
    uneven = torch.randint(-90, 200, (300, 6), generator=torch.Generator().manual_seed(0))
    points = (lattice() if name == "lattice" else torch.cat([uneven, uneven[:50]]).float()) + shift

    picks = coreset.k_center(points, 100, start=5).indices

    assert picks.tolist() == plain_greedy(points.numpy(), 100, 5)


def test_integers_too_long_for_exact_sums_are_scaled() -> None:
    grid = coreset.integer_grid(Rows(lattice() * 1000, None))

    assert 4 * grid.double().square().sum(1).max() < 2**24


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_arrays_are_taken_like_tensors(kind: type) -> None:
    features = gaussian(200, 8).numpy().astype(kind)

    picks, radius = coreset.k_center(features, 20)

    expected = coreset.k_center(torch.from_numpy(features).float(), 20)
    assert picks.tolist() == expected.indices.tolist()
    np.testing.assert_array_equal(radius, expected.radius)


def test_every_point_can_be_picked_and_none_twice() -> None:
    picks = coreset.k_center(duplicates(), 300).indices

    assert sorted(picks.tolist()) == list(range(300))


def test_after_a_radius_of_zero_the_lowest_free_indices_follow() -> None:
    result = coreset.k_center(duplicates(), 40, start=7)

    picked = set(result.indices[:30].tolist())
    free = [index for index in range(300) if index not in picked]
    assert result.indices[30:].tolist() == free[:10]
    assert result.radius[39] == 0
    assert result.radius[19] > 0


def test_the_radius_of_covered_features_is_exactly_zero_in_spite_of_rounding() -> None:
    distinct = gaussian(30, 333) * 7 + 3

    result = coreset.k_center(distinct[torch.arange(90) % 30], 30)

    assert result.radius[-1] == 0
    assert result.radius[14] > 50


@pytest.mark.parametrize("name", DATA)
def test_radius_is_the_covering_radius_of_the_input_features(name: str) -> None:
    features = DATA[name]()

    result = coreset.k_center(features, 60)

    known = [0, 29, 59]
    assert np.flatnonzero(~np.isnan(result.radius)).tolist() == known
    expected = plain_radius(features.numpy(), result.indices.tolist())
    np.testing.assert_allclose(result.radius[known], np.array(expected)[known], rtol=1e-6)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("block", [1, 7, 64])
def test_no_point_is_farther_from_its_kept_pick_than_the_last_pick_was(name: str, block: int) -> None:
    grid = coreset.integer_grid(Rows(DATA[name](), None))

    picks, nearest = coreset.selection(grid, 90, start=5, block=block, counts=[1, 2, 29, 30, 50])

    points, chosen = grid.double(), grid.double()[picks]
    assert list(nearest) == [1, 2, 29, 30, 50, 90]
    for count, near in nearest.items():
        assert int(near.max()) < count
        own = (points - chosen[near.long()]).square().sum(1)
        reach = (chosen[count - 1] - chosen[: count - 1]).square().sum(1).amin() if count > 1 else own.max()
        assert own.max() <= reach


def test_a_smaller_count_is_a_prefix() -> None:
    features = gaussian()

    assert coreset.k_center(features, 30).indices.tolist() == coreset.k_center(features, 90).indices[:30].tolist()


def test_rounding_keeps_the_radius_of_the_plain_greedy() -> None:
    features = gaussian(800, 64)

    radius = coreset.k_center(features, 80).radius[-1]

    plain = plain_radius(features.numpy(), plain_greedy(features.numpy(), 80, 0))[-1]
    assert radius <= 1.03 * plain


def test_grid_is_small_enough_for_exact_sums() -> None:
    for features in (gaussian(500, 1536) * 1000, gaussian(500, 3) * 1e-6):
        grid = coreset.integer_grid(Rows(features, None))

        norms = grid.double().square().sum(1)
        assert 4 * norms.max() < 2**24
        assert norms.max() > 1e6  # the range of the integers is used


def test_the_grid_of_a_repeated_point_is_zero() -> None:
    assert not coreset.integer_grid(Rows(torch.full((4, 3), 2.5), None)).any()


def test_threads_do_not_change_the_picks() -> None:
    features, before = gaussian(3000, 100), torch.get_num_threads()
    try:
        picks = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            grid = coreset.integer_grid(Rows(features, None))
            picks.append(coreset.greedy(grid, 300).tolist())
    finally:
        torch.set_num_threads(before)

    assert picks[0] == picks[1]


def test_projection_keeps_distances_and_follows_the_seed() -> None:
    features = gaussian(200, 1536)

    projected = coreset.project(Rows(features, None), dimensions=128, seed=1)

    assert projected.shape == (200, 128)
    ratio = torch.cdist(projected, projected).triu(1).sum() / torch.cdist(features, features).triu(1).sum()
    assert 0.95 < float(ratio) < 1.05
    assert torch.equal(projected, coreset.project(Rows(features, None), dimensions=128, seed=1))
    assert not torch.equal(projected, coreset.project(Rows(features, None), dimensions=128, seed=2))


def test_a_sparse_product_is_the_dense_one_also_where_columns_are_empty() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(96, 24, generator=generator) * (torch.rand(96, 24, generator=generator) < 0.2)
    matrix[:, [0, 7, 23]] = 0
    features = torch.randn(50, 96, generator=generator)
    product = coreset._SparseProduct(matrix)(features)
    torch.testing.assert_close(product, features @ matrix, rtol=1e-5, atol=1e-5)
    assert not product[:, [0, 7, 23]].any()


def test_projects_only_above_the_limit() -> None:
    features = gaussian(100, 300)

    def wide(limit: float) -> int:
        return coreset.selection_grid(features, 10, seed=0, dimensions=128, exact_limit=limit).shape[1]

    assert wide(1000) == 300
    assert wide(999) == 128


def test_selected_rows_give_the_same_result_as_a_copy_of_them() -> None:
    features, rows = gaussian(500, 20), torch.arange(3, 500, 7)

    grid = coreset.selection_grid(features, 20, rows=rows, seed=0, dimensions=128, exact_limit=1e9)
    picks = coreset.greedy(grid, 20)

    alone = coreset.k_center(features[rows], 20)
    assert picks.tolist() == alone.indices.tolist()
    radius = covering_radius(features, picks, rows=rows)
    assert alone.radius.dtype == np.float32
    np.testing.assert_array_equal(radius.astype(np.float32), alone.radius)


def test_no_features_are_refused() -> None:
    with pytest.raises(EmptyBank, match="no patch"):
        coreset.k_center(torch.zeros(0, 4), 1)


@pytest.mark.parametrize(("count", "start"), [(0, 0), (11, 0), (3, 10), (3, -1)])
def test_count_and_start_out_of_range_are_refused(count: int, start: int) -> None:
    with pytest.raises(ValueError, match="within 10 points"):
        coreset.k_center(gaussian(10, 4), count, start=start)


def test_points_too_large_for_full_dimension_are_projected(monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(100, 64, generator=torch.Generator().manual_seed(0))
    kept = coreset.selection_grid(features, 5, seed=0, dimensions=8, exact_limit=1e9)
    monkeypatch.setattr(coreset, "EXACT_BYTES", 2 * 100 * 64 - 1)

    assert kept.shape == (100, 64)
    assert coreset.selection_grid(features, 5, seed=0, dimensions=8, exact_limit=1e9).shape == (100, 8)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("exact_limit", [0.0, 1e12])
def test_values_that_cannot_be_compared_are_refused(value: float, exact_limit: float) -> None:
    """In full dimension and projected: once the picks were the first points, and the radius infinite."""
    features = gaussian(60, 24)
    features[41] = value
    with pytest.raises(UnusableFeatures, match="not numbers, or too large"):
        coreset.k_center(features, 5, exact_limit=exact_limit, dimensions=8)


@pytest.mark.parametrize("shape", [(9,), (9, 0), (3, 3, 2)])
def test_features_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, D\)"):
        coreset.k_center(torch.zeros(shape), 2)


@pytest.mark.parametrize("block", [0, -1])
def test_a_block_of_no_points_is_refused(block: int) -> None:
    with pytest.raises(ValueError, match=f"block is {block}"):
        coreset.k_center(gaussian(), 5, block=block)


def test_a_projection_on_a_gpu_is_no_product_in_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the program allows: seen where the product is made, which a processor makes from sparse columns."""
    seen = []
    product = coreset._SparseProduct.__call__

    def recorded(self: coreset._SparseProduct, chunk: Tensor) -> Tensor:
        seen.append(torch.get_float32_matmul_precision())
        return product(self, chunk)

    monkeypatch.setattr(coreset._SparseProduct, "__call__", recorded)
    torch.set_float32_matmul_precision("high")
    try:
        coreset.project(Rows(gaussian(), None), dimensions=8, seed=0)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert set(seen) == {"highest"}
