from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from ml_engine.core.bank import covering_radius as module
from ml_engine.core.bank.covering_radius import counts_of, covering_radius
from ml_engine.core.bank.rough_distances import Float32Product


def gaussian(n: int, d: int, *, seed: int = 0, centre: float = 0.0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + centre


def clusters() -> Tensor:
    return torch.cat([gaussian(30, 12, seed=k) + 20 * middle for k, middle in enumerate(gaussian(6, 12, seed=9))])


DATA = {
    "gaussian": lambda: gaussian(300, 200),
    "far from the origin": lambda: gaussian(200, 64, centre=1000.0),
    "duplicates": lambda: gaussian(40, 70)[torch.arange(150) % 40],
    "lattice": lambda: torch.tensor(list(itertools.product(range(6), repeat=3)), dtype=torch.float32),
    "clusters": clusters,
    "one value": lambda: torch.full((50, 3), 2.5),
}


def by_hand(features: Tensor, picks: Tensor, counts: list[int]) -> list[float]:
    """All distances in float64, by SciPy."""
    distances = cdist(features.double().numpy(), features[picks].double().numpy())
    return [distances[:, :count].min(1).max() for count in counts]


@pytest.fixture(params=["rough product of the processor", "in float32"])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in float32":
        monkeypatch.setattr(module, "product_for", Float32Product)


@pytest.mark.usefixtures("product")
@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("at_once", [5, 10**6])
def test_it_equals_the_distances_of_everything(name: str, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the picks are, and however few points are compared at once."""
    for size in ("REFRESHED", "MEASURED", "PICKS", "CHUNK_VALUES"):
        monkeypatch.setattr(module, size, at_once)
    features = DATA[name]()
    picks = torch.randperm(len(features), generator=torch.Generator().manual_seed(1))[:45]
    counts = [1, 2, 3, 10, 44, 45]

    radius = covering_radius(features, picks, counts=counts)

    assert np.flatnonzero(~np.isnan(radius)).tolist() == [count - 1 for count in counts]
    np.testing.assert_allclose(radius[np.array(counts) - 1], by_hand(features, picks, counts), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("seed", [0, 1])
def test_hints_do_not_change_it(name: str, seed: int) -> None:
    features, generator = DATA[name](), torch.Generator().manual_seed(seed)
    picks = torch.randperm(len(features), generator=generator)[:33]
    hints = {k: torch.randint(k, (len(features),), generator=generator).int() for k in (1, 8, 33)}

    hinted = covering_radius(features, picks, nearest=hints)

    np.testing.assert_array_equal(hinted, covering_radius(features, picks, counts=[1, 8, 33]))


def test_only_chosen_rows_count() -> None:
    features, rows = gaussian(500, 20), torch.arange(3, 500, 7)
    picks = torch.tensor([5, 0, 40])

    radius = covering_radius(features, picks, rows=rows)

    np.testing.assert_array_equal(radius, covering_radius(features[rows], picks))


def test_it_is_computed_at_powers_of_32_half_and_the_end() -> None:
    counts = [counts_of(count) for count in (1, 2, 5, 64, 65, 3000)]
    assert counts == [[1], [1, 2], [1, 3, 5], [1, 32, 64], [1, 32, 33, 65], [1, 32, 1024, 1500, 3000]]


def test_few_points_are_compared_where_hints_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    features = gaussian(4000, 30)
    picks = torch.arange(200)
    near = torch.cdist(features, features[picks]).argmin(1).int()
    compared: list[int] = []
    refresh = module._Cover._refresh

    def counted(self: module._Cover, indices: Tensor, count: int) -> None:
        compared.append(len(indices))
        refresh(self, indices, count)

    monkeypatch.setattr(module._Cover, "_refresh", counted)

    covering_radius(features, picks, nearest={200: near})

    assert sum(compared) == 0
