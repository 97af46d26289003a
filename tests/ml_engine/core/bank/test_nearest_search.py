from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ml_engine.core.bank import nearest_search
from ml_engine.core.bank.nearest_search import NearestSearch, patch_scores, scores_at
from ml_engine.core.bank.rough_distances import BFloat16Product, Float32Product
from ml_engine.core.errors import InvalidConfig, UnusableFeatures


def draw(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def plain_score(query: np.ndarray, bank: np.ndarray, k: int, distance: str) -> float:
    """Eq. 1 in loops and float64."""
    squared = []
    for vector in bank.astype(np.float64):
        squared.append(sum((a - b) ** 2 for a, b in zip(query.astype(np.float64), vector, strict=True)))
    nearest = sorted(squared)[:k]
    return sum(s if distance == "squared" else s**0.5 for s in nearest) / len(nearest)


@pytest.mark.parametrize("distance", ["squared", "l2"])
@pytest.mark.parametrize("k", [1, 3, 9])
def test_scores_equal_equation_1(k: int, distance: str) -> None:
    bank, queries = draw(60, 10, 1), draw(12, 10, 2)

    scores = patch_scores(queries, NearestSearch(bank), neighbours=k, distance=distance)

    expected = [plain_score(q, bank.numpy(), k, distance) for q in queries.numpy()]
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-5)


def plain_reweighting(query: np.ndarray, bank: np.ndarray, count: int) -> float:
    """Eq. 7 of Roth et al., as printed."""
    distances = np.linalg.norm(bank - query, axis=1)
    nearest = int(distances.argmin())
    around = np.argsort(np.linalg.norm(bank - bank[nearest], axis=1))[:count]
    return float(1 - np.exp(distances[nearest]) / np.exp(distances[around]).sum())


@pytest.mark.parametrize("distance", ["l2", "squared"])
@pytest.mark.parametrize(("neighbours", "count"), [(1, 3), (4, 9), (2, 500)])
def test_reweighting_equals_the_publication(neighbours: int, count: int, distance: str) -> None:
    generator = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(40, 6, generator=generator), torch.randn(15, 6, generator=generator) * 2
    search = NearestSearch(bank)

    plain = patch_scores(queries, search, neighbours=neighbours, distance=distance)
    reweighted = patch_scores(queries, search, neighbours=neighbours, distance=distance, reweight=count)

    weights = [plain_reweighting(q, bank.double().numpy(), min(count, 40)) for q in queries.double().numpy()]
    np.testing.assert_allclose(reweighted / plain, weights, rtol=1e-4)


def test_reweighting_handles_large_distances_and_a_bank_of_one_vector() -> None:
    bank = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    far = torch.tensor([[3000.0, 0.0]])

    reweighted = patch_scores(far, NearestSearch(bank), neighbours=1, distance="l2", reweight=3)
    single = patch_scores(far, NearestSearch(bank[:1]), neighbours=1, distance="l2", reweight=3)

    assert 0 < float(reweighted[0]) < 2999
    assert float(single[0]) == 3000


def test_reweighting_is_the_same_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, queries = torch.randn(30, 4), torch.randn(9, 4)
    whole = patch_scores(queries, NearestSearch(bank), neighbours=1, distance="l2", reweight=5)
    monkeypatch.setattr(nearest_search, "DIRECT_VALUES", 1)

    assert torch.equal(patch_scores(queries, NearestSearch(bank), neighbours=1, distance="l2", reweight=5), whole)


def test_several_k_come_from_one_search() -> None:
    bank, queries = torch.randn(30, 4), torch.randn(9, 4)

    together = scores_at(queries, NearestSearch(bank), neighbours=(1, 7, 40), distance="l2")

    for k, scores in zip((1, 7, 40), together, strict=True):
        torch.testing.assert_close(scores, patch_scores(queries, NearestSearch(bank), neighbours=k, distance="l2"))


@pytest.fixture(params=["bfloat16", "float32"])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Searches by either product, whatever this processor would choose."""
    kind = {"bfloat16": BFloat16Product, "float32": Float32Product}[request.param]
    monkeypatch.setattr(nearest_search, "product_for", kind)
    return str(request.param)


@pytest.mark.parametrize("k", [1, 5, 40])
def test_finds_the_nearest_across_chunks_of_the_bank(product: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bank, queries = draw(501, 16, 1), draw(70, 16, 2)
    whole = NearestSearch(bank).squared_distances(queries, k)
    monkeypatch.setattr(nearest_search, "BANK_CHUNK", 64)
    monkeypatch.setattr(nearest_search, "ROUGH_VALUES", 501 * 16)

    chunked = NearestSearch(bank).squared_distances(queries, k)

    expected = torch.cdist(queries.double(), bank.double()).topk(k, largest=False).indices
    assert torch.equal(chunked[1], expected)
    assert torch.equal(chunked[0], whole[0])


@pytest.mark.parametrize("m", [1, 2, 15, 16, 17, 33])
def test_banks_of_every_size_are_searched_whole(product: str, m: int) -> None:
    bank, queries = draw(m, 5, 1), draw(9, 5, 2)

    for k in {1, m // 2 + 1, m}:
        squared, rows = NearestSearch(bank).squared_distances(queries, k)

        expected = torch.cdist(queries.double(), bank.double()).topk(k, largest=False)
        assert torch.equal(rows, expected.indices)
        torch.testing.assert_close(squared.double(), expected.values**2, rtol=1e-5, atol=1e-6)


def test_a_query_that_is_not_finite_changes_no_other(product: str) -> None:
    bank, queries = draw(300, 16, 1), draw(20, 16, 2)
    whole = NearestSearch(bank).squared_distances(queries, 3)
    queries[4, 2], queries[9, 0] = math.nan, math.inf

    squared, rows = NearestSearch(bank).squared_distances(queries, 3)

    others = [n for n in range(20) if n not in (4, 9)]
    assert torch.equal(squared[others], whole[0][others])
    assert torch.equal(rows[others], whole[1][others])
    assert squared[[4, 9]].isnan().all()
    assert NearestSearch(bank).squared_distances(queries[4:5], 3)[0].isnan().all()


def test_a_query_too_large_for_its_distances_changes_no_other(product: str) -> None:
    bank, queries = draw(40, 6, 1), draw(5, 6, 2)
    queries[3] = 1e25
    squared, rows = NearestSearch(bank).squared_distances(queries, 3)
    assert squared[3].isnan().all()
    assert rows[3].tolist() == [0, 1, 2]
    usual = [0, 1, 2, 4]
    assert torch.equal(squared[usual], NearestSearch(bank).squared_distances(queries[usual], 3)[0])


def test_no_queries_have_no_neighbours(product: str) -> None:
    squared, rows = NearestSearch(draw(40, 6, 1)).squared_distances(torch.empty(0, 6), 3)
    assert squared.shape == rows.shape == (0, 3)


@pytest.mark.parametrize("search", ["torch", "faiss"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e25])
def test_a_bank_that_cannot_be_compared_is_refused(search: str, value: float) -> None:
    bank = draw(40, 6, 1)
    bank[7, 2] = value
    with pytest.raises(UnusableFeatures):
        NearestSearch(bank, search=search)


def test_one_far_vector_does_not_hide_the_near_ones(product: str) -> None:
    """Its norm makes the bounds of its own block wide, and of no other."""
    bank, queries = draw(900, 64, 1), draw(40, 64, 2)
    bank[450] *= 1e6

    squared, rows = NearestSearch(bank).squared_distances(queries, 3)

    expected = torch.cdist(queries.double(), bank.double(), compute_mode="donot_use_mm_for_euclid_dist").topk(
        3, largest=False
    )
    assert torch.equal(rows, expected.indices)
    torch.testing.assert_close(squared.double(), expected.values**2, rtol=1e-5, atol=1e-6)


def test_a_vector_of_the_bank_has_distance_zero_however_large_it_is(product: str) -> None:
    bank = draw(300, 64, 1) + 1000  # far from the origin, where the expanded form loses all digits

    squared, rows = NearestSearch(bank).squared_distances(bank, 1)

    assert (squared == 0).all()
    assert rows[:, 0].tolist() == list(range(300))


def test_near_duplicates_that_the_matrix_product_cannot_order_are_distinguished(product: str) -> None:
    """More near duplicates than the short list holds, closer together than the rounding of the matrix product."""
    duplicates = torch.full((200, 512), 1.0) + draw(200, 512, 1) * 1e-5
    bank = torch.cat([duplicates, draw(50, 512, 2) * 3])

    squared, rows = NearestSearch(bank).squared_distances(duplicates, 1)

    assert (squared == 0).all()
    assert rows[:, 0].tolist() == list(range(200))


def test_a_tie_goes_to_the_lower_row(product: str) -> None:
    bank = torch.tensor([[5.0], [1.0], [-1.0], [1.0]])

    _, rows = NearestSearch(bank).squared_distances(torch.zeros(1, 1), 3)

    assert rows.tolist() == [[1, 2, 3]]


def test_fewer_vectors_than_neighbours_are_all_used() -> None:
    score = patch_scores(
        torch.zeros(1, 1), NearestSearch(torch.tensor([[1.0], [3.0]])), neighbours=9, distance="squared"
    )

    assert score.tolist() == [5.0]


def test_a_query_scores_the_same_alone_and_among_others() -> None:
    bank, queries = draw(400, 128, 1), draw(300, 128, 2)
    search = NearestSearch(bank)

    together = patch_scores(queries, search, neighbours=3, distance="l2")

    alone = torch.cat([patch_scores(q[None], search, neighbours=3, distance="l2") for q in queries])
    assert torch.equal(together, alone)


def test_an_empty_bank_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        NearestSearch(torch.zeros(0, 3))


def test_candidates_are_compared_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, queries = draw(500, 16, 1), draw(40, 16, 2)
    whole = NearestSearch(bank).squared_distances(queries, 90)
    monkeypatch.setattr(nearest_search, "PAIR_VALUES", 16 * 7)

    chunked = NearestSearch(bank).squared_distances(queries, 90)

    assert torch.equal(chunked[0], whole[0]) and torch.equal(chunked[1], whole[1])


@pytest.mark.parametrize("k", [1, 9])
@pytest.mark.parametrize("far", [0.0, 1000.0])
def test_faiss_gives_the_numbers_of_torch(k: int, far: float) -> None:
    bank = draw(700, 32, 1) + far
    bank[100:140] = bank[0]  # copies, more than the short list holds
    queries = torch.cat([bank[:50], draw(300, 32, 2) + far])

    ours = NearestSearch(bank).squared_distances(queries, k)
    theirs = NearestSearch(bank, search="faiss").squared_distances(queries, k)

    assert torch.equal(theirs[0], ours[0])
    assert torch.equal(theirs[1], ours[1])


class _Faiss:
    """The one class of a faiss built for GPUs that `gpu_resources` uses. The tests of tests/gpu use the real one."""

    def __init__(self) -> None:
        self.resources: list[int] = []

    def StandardGpuResources(self) -> Any:
        number = len(self.resources)
        self.resources.append(0)

        class Resources:
            def setTempMemory(own, size: int) -> None:
                self.resources[number] = size

        return Resources()


def test_banks_on_one_gpu_share_the_reserve_of_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    made = _Faiss()
    monkeypatch.setitem(sys.modules, "faiss", made)
    nearest_search.gpu_resources.cache_clear()
    first = nearest_search.gpu_resources(0)
    assert nearest_search.gpu_resources(0) is first
    assert nearest_search.gpu_resources(1) is not first
    assert made.resources == [nearest_search.FAISS_BYTES] * 2
    nearest_search.gpu_resources.cache_clear()


def test_faiss_is_refused_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_search.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(InvalidConfig, match="faiss is not installed here: choose torch"):
        NearestSearch(draw(5, 4, 1), search="faiss")
