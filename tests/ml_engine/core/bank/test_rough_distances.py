from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ml_engine.core.bank import rough_distances
from ml_engine.core.bank.rough_distances import (
    PADDING,
    BFloat16Product,
    Float32Product,
    GrowingInt8Product,
    GrowingProduct,
    Product,
    multiplies_bfloat16,
    product_for,
)

CPU = torch.device("cpu")
BOTH = pytest.mark.parametrize("kind", [Float32Product, BFloat16Product])


def draw(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def exact(queries: Tensor, bank: Tensor) -> np.ndarray:
    """Squared distances in float64, one difference after the other."""
    q, b = queries.double().numpy(), bank.double().numpy()
    return np.array([((b - row) ** 2).sum(1) for row in q])


def clustered() -> tuple[Tensor, Tensor]:
    centres = draw(7, 200, 3) * 30
    return centres[torch.arange(90) % 7] + draw(90, 200, 4) * 1e-3, centres[torch.arange(40) % 7] + draw(40, 200, 5)


def of_many_sizes() -> tuple[Tensor, Tensor]:
    return draw(90, 300, 1) * torch.logspace(-6, 6, 90)[:, None], draw(40, 300, 2) * torch.logspace(4, -4, 40)[:, None]


CASES = {
    "wide": lambda: (draw(90, 1536, 1), draw(40, 1536, 2)),
    "narrow": lambda: (draw(90, 3, 1), draw(40, 3, 2)),
    "clustered": clustered,
    "many sizes": of_many_sizes,
    "the same vectors": lambda: (draw(90, 64, 1), draw(90, 64, 1)[:40]),
    "zeros": lambda: (torch.zeros(90, 8), torch.zeros(40, 8)),
}


def bounds_of(product: Product, queries: Tensor) -> tuple[np.ndarray, np.ndarray]:
    prepared, side = product.prepared(queries)
    closeness = product.closeness(prepared, 0, len(product.vectors))
    lower, upper = product.bounds(closeness, side.column(), product.side)
    return lower.double().numpy(), upper.double().numpy()


@BOTH
@pytest.mark.parametrize("name", CASES)
def test_bounds_hold_the_exact_distance(kind: type, name: str) -> None:
    bank, queries = CASES[name]()

    lower, upper = bounds_of(kind(bank), queries)

    distances = exact(queries, bank)
    assert (lower[:, : len(bank)] <= distances).all()
    assert (upper[:, : len(bank)] >= distances).all()


@BOTH
def test_bounds_are_close_where_it_matters(kind: type) -> None:
    """Wide bounds would hold everything, and compare everything directly."""
    bank, queries = CASES["wide"]()

    lower, upper = bounds_of(kind(bank), queries)

    distances = exact(queries, bank)
    assert (upper[:, :90] / distances).max() < (1.02 if kind is BFloat16Product else 1.002)
    assert (lower[:, :90] / distances).min() > (0.98 if kind is BFloat16Product else 0.998)


@BOTH
@pytest.mark.parametrize("n", [1, 15, 16, 90])
def test_padding_is_farther_than_every_vector(kind: type, n: int) -> None:
    bank, queries = draw(n, 8, 1) * 1000, draw(5, 8, 2)

    product = kind(bank)

    lower, upper = bounds_of(product, queries)
    assert len(product.vectors) % PADDING == 0
    assert len(product.vectors) - n < PADDING
    assert (lower[:, n:] > upper[:, :n].max()).all()


@BOTH
def test_a_block_is_bounded_by_its_largest(kind: type) -> None:
    bank, queries = of_many_sizes()
    product = kind(bank)
    prepared, side = product.prepared(queries)
    closeness = product.closeness(prepared, 0, len(product.vectors)).view(len(queries), 16, -1)

    lower, upper = product.bounds(closeness.amax(1), side.column(), product.side.blocks(16))

    padded = np.full((len(queries), len(product.vectors)), np.inf)
    padded[:, : len(bank)] = exact(queries, bank)
    nearest = padded.reshape(len(queries), 16, -1).min(1)
    assert (lower.double().numpy() <= nearest).all()
    assert (upper.double().numpy() >= nearest).all()


def test_the_processor_decides() -> None:
    kind = BFloat16Product if multiplies_bfloat16(CPU) else Float32Product

    assert type(product_for(draw(4, 4, 1))) is kind
    assert not multiplies_bfloat16(torch.device("cuda"))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("at_once", [4, 1000])
def test_a_growing_list_bounds_the_distance_to_a_near_vector(
    name: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it grew; and on vectors as different as these, the near one is one of the nearest."""
    monkeypatch.setattr(rough_distances, "AT_ONCE", at_once)
    bank, queries = CASES[name]()
    growing = GrowingProduct(bank)
    for length in (1, 20, 20, 61):
        growing.extend(length)

    parts = list(growing.nearest(queries, 3, 61))

    squared = exact(queries, bank)
    for first, (upper, vector) in zip(range(3, 61, at_once), parts, strict=True):
        last = min(first + at_once, 61)
        assert bool(((vector >= first) & (vector < last)).all())
        own = squared[np.arange(len(queries)), vector.numpy()]
        assert (own <= upper.double().numpy()).all()
        if name in ("wide", "narrow"):
            assert (np.sqrt(own) <= 1.02 * np.sqrt(squared[:, first:last].min(1)) + 1e-3).all()


@pytest.mark.parametrize("at_once", [7, 100])
@pytest.mark.parametrize("largest", [3.0, 40.0, 1000.0])
def test_int8_proposes_a_near_vector_at_its_exact_distance(
    largest: float, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much is clipped; where nothing is and the steps are small, the near one is one of the nearest."""
    monkeypatch.setattr(rough_distances, "AT_ONCE", at_once)
    bank, queries = ((draw(n, 60, seed) * 12).round() for n, seed in ((90, 1), (40, 2)))
    growing = GrowingInt8Product(bank, largest)
    for length in (1, 20, 20, 61):
        growing.extend(length)

    parts = list(growing.nearest(queries, 3, 61))

    squared = exact(queries, bank)
    for first, (upper, vector) in zip(range(3, 61, at_once), parts, strict=True):
        last = min(first + at_once, 61)
        assert bool(((vector >= first) & (vector < last)).all())
        own = squared[np.arange(len(queries)), vector.numpy()]
        assert own.tolist() == upper.tolist()
        if largest == 40:
            assert (np.sqrt(own) <= 1.02 * np.sqrt(squared[:, first:last].min(1))).all()
