"""Patch scores against float64: within 1e-5 relative, and absolutely where the distance is nearly zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.bank import nearest_search
from ml_engine.core.bank.memory_bank import Bank, Banks, MapScorer
from ml_engine.core.bank.nearest_search import NearestSearch, nearest_directly, patch_scores
from ml_engine.core.bank.rough_distances import BFloat16Product, Float32Product
from tests.ml_engine import made

PRODUCTS = {"bfloat16": BFloat16Product, "float32": Float32Product}
RELATIVE = 1e-5


def draw(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


# name -> (bank, queries): where a rounded product, or a rounded difference, could lose digits
CASES = {
    "features of a network": (draw(600, 1536, 1).relu(), draw(40, 1536, 2).relu()),
    "few dimensions": (draw(600, 3, 1), draw(40, 3, 2)),
    "far from the origin": (draw(600, 168, 1) + 3000, draw(40, 168, 2) + 3000),
    "very small": (draw(600, 168, 1) * 1e-12, draw(40, 168, 2) * 1e-12),
    "very large": (draw(600, 168, 1) * 1e12, draw(40, 168, 2) * 1e12),
    "one large column": (
        torch.cat([draw(600, 1, 3) * 1e4, draw(600, 167, 1)], 1),
        torch.cat([draw(40, 1, 4) * 1e4, draw(40, 167, 2)], 1),
    ),
    "next to the bank": (draw(600, 168, 1), draw(600, 168, 1)[:40] + draw(40, 168, 2) * 1e-5),
    "of the bank": (draw(600, 168, 1) + 50, draw(600, 168, 1)[:40] + 50),
    "copies and ties": (draw(30, 168, 1).repeat(20, 1), draw(30, 168, 1)[:20] + 0.5),
}


def in_float64(queries: Tensor, bank: Tensor, k: int) -> NDArray[np.float64]:
    """The k smallest squared distances of each query, ascending, (Q, k), as sums of squared differences."""
    q, b = queries.double().numpy(), bank.double().numpy()
    return np.stack([np.sort(((b - row) ** 2).sum(1))[:k] for row in q])


@pytest.mark.parametrize("search", ["bfloat16", "float32", "faiss"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("k", [1, 9])
def test_scores_are_within_a_hundred_thousandth(
    case: str, k: int, search: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, queries = CASES[case]
    squared = in_float64(queries, bank, k)
    if search == "faiss":
        made_search = NearestSearch(bank, search="faiss")
    else:
        monkeypatch.setattr(nearest_search, "product_for", PRODUCTS[search])
        made_search = NearestSearch(bank)
    for distance, expected in (("squared", squared.mean(1)), ("l2", np.sqrt(squared).mean(1))):
        scores = patch_scores(queries, made_search, neighbours=k, distance=distance).double().numpy()
        near_zero = 1e-12 * float(bank.double().square().sum(1).max()) ** (1.0 if distance == "squared" else 0.5)
        np.testing.assert_allclose(scores, expected, rtol=RELATIVE, atol=near_zero)
    if case == "of the bank" and k == 1:
        assert not scores.any()


@pytest.mark.parametrize("case", CASES)
def test_a_direct_comparison_has_the_numbers_of_the_search(case: str) -> None:
    """To the bit: the nearest normals of a patch are those that its score comes from."""
    bank, queries = CASES[case]
    squared, rows = NearestSearch(bank).squared_distances(queries, 7)
    for number, query in enumerate(queries):
        alone = nearest_directly(query, bank, 7)
        assert torch.equal(alone[0], squared[number])
        assert torch.equal(alone[1], rows[number])
    assert len(nearest_directly(queries[0], bank[:3], 7)[0]) == 3


@pytest.mark.parametrize("distance", ["squared", "l2"])
@pytest.mark.parametrize("neighbours", [1, 4])
def test_maps_are_within_a_hundred_thousandth(distance: str, neighbours: int) -> None:
    """Global and region map of a film, with a masked patch, from banks of every cell."""
    config = made.small_config(distance=distance, neighbours=str(neighbours))  # 8 x 8 patches, 2 x 2 cells
    keep = np.ones((8, 8), dtype=np.bool_)
    keep[0, 0] = False
    wide = 48

    def bank(vectors: Tensor) -> Bank:
        return Bank(vectors, torch.zeros(len(vectors), 3, dtype=torch.int32), np.empty(0))

    cells = [draw(30 + cell, wide, cell) + 5 for cell in range(4)]
    whole = torch.cat(cells)
    features = draw(63, wide, 9) + 5
    maps = MapScorer(Banks(bank(whole), tuple(bank(cell) for cell in cells)), keep, config, torch.device("cpu")).maps(
        features
    )

    assert np.isnan(maps[:, 0, 0]).all()
    for number, (row, column) in enumerate(np.argwhere(keep).tolist()):
        own = cells[2 * (row // 4) + column // 4]
        for channel, vectors in enumerate((whole, own)):
            squared = in_float64(features[number : number + 1], vectors, neighbours)[0]
            expected = squared.mean() if distance == "squared" else np.sqrt(squared).mean()
            assert maps[channel, row, column] == pytest.approx(expected, rel=RELATIVE)
