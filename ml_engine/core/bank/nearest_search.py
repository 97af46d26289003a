"""Exact search for the K nearest neighbours in a memory bank, and patch scores from their distances (paper, Eq. 1)."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ml_engine.core.backbone.feature_file import rows_at
from ml_engine.core.bank.rough_distances import FLOAT32_EPS, PADDING, Product, Side, product_for
from ml_engine.core.determinism import exact_products
from ml_engine.core.errors import InvalidConfig, UnusableFeatures

BANK_CHUNK = 16384
DIRECT_ROWS = 1024  # bank vectors compared directly at once: a few MiB, which stay in a cache
ROUGH_VALUES = 2**24  # rough distances in memory at once: 32 MiB in bfloat16, 64 MiB in float32
FAISS_BYTES = 2**28  # scratch memory of faiss on a GPU; where it needs more, it allocates more for the moment
MOST_ON_GPU = 2048  # neighbours that faiss lists on a GPU
DIRECT_VALUES = 2**25  # values in memory at once where whole banks are compared: 128 MiB
LARGEST = 2.0**120  # squared norm up to which the squared distances and their bounds are finite in float32
PAIR_VALUES = 2**18  # differences of query and bank vector at once: 1 MiB, which stays in a cache


class NearestSearch:
    """Exact nearest neighbours in a bank float32 (M, D).

    A matrix product of the centred vectors (``search`` "torch"; see `rough_distances`), or faiss's IndexFlatL2 on them,
    yields candidates with bounds that cover all rounding. The distances of every candidate that may be among the
    nearest are then computed directly as sums of squared differences, so that a vector of the bank has distance 0 to
    itself and every search gives the same numbers. Where faiss's list may lack a nearer vector, all distances of that
    query are computed directly. Raises ValueError for an empty bank, UnusableFeatures for one with values that are not
    finite or too large, InvalidConfig for "faiss" where it is not installed.
    """

    def __init__(self, bank: Tensor, *, search: str = "torch") -> None:
        if len(bank) == 0:
            raise ValueError("a search needs a bank of at least one vector")
        require_search(search)
        self.bank = bank
        self.centre = bank.mean(0)
        centred = bank - self.centre
        self._index = _FlatIndex(centred) if search == "faiss" else None
        self._product = product_for(centred) if self._index is None else None
        longest = centred.square().sum(1).max() if self._product is None else self._product.side.norms.max()
        if not bool(longest <= LARGEST):  # which NaN is not either
            raise UnusableFeatures
        self._companions: dict[int, Tensor] = {}

    @exact_products()
    def squared_distances(self, queries: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
        """The smallest squared L2 distances to the bank in ascending order, and the rows of the bank with them.

        ``queries`` float32 (Q, D). Returns float32 (Q, K) and int64 (Q, K), where K is the smaller of
        ``neighbours`` and the bank's size. Ties go to the lower row. A query with a value that is not finite, or too
        large for its distances to be so, has the distances NaN, and the first rows.
        """
        k = min(neighbours, len(self.bank))
        if len(queries) == 0:
            return queries.new_empty(0, k), torch.empty(0, k, dtype=torch.int64, device=queries.device)
        finite = queries.square().sum(1) <= LARGEST
        if not bool(finite.all()):
            squared = queries.new_full((len(queries), k), math.nan)
            nearest = torch.arange(k, device=queries.device).repeat(len(queries), 1)
            if bool(finite.any()):
                squared[finite], nearest[finite] = self.squared_distances(queries[finite], k)
            return squared, nearest
        at_once = max(16, ROUGH_VALUES // len(self.bank))
        parts = [self._nearest(part, k) for part in queries.split(at_once)]
        return torch.cat([squared for squared, _ in parts]), torch.cat([rows for _, rows in parts])

    def companions(self, count: int) -> Tensor:
        """The rows of the ``count`` bank vectors nearest to each bank vector, including itself; int64 (M, B), B the
        smaller of ``count`` and the bank's size. Computed once and kept."""
        if count not in self._companions:
            self._companions[count] = self.squared_distances(self.bank, count)[1]
        return self._companions[count]

    def _nearest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        centred = queries - self.centre
        if self._product is not None:
            return self._best_pairs(queries, *_candidates(self._product, centred, k), k)
        assert self._index is not None
        of, rows, outside = self._index.candidates(centred, k)
        squared, nearest = self._best_pairs(queries, of, rows, k)
        for query in torch.nonzero(outside <= squared[:, -1])[:, 0]:
            squared[query], nearest[query] = nearest_directly(queries[query], self.bank, k)
        return squared, nearest

    def _best_pairs(self, queries: Tensor, of: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k nearest of each query's candidates, (Q, k). Candidate i is row ``rows[i]`` for query ``of[i]``; each
        query has at least k."""
        at_once = max(1, PAIR_VALUES // queries.shape[1])
        pairs = zip(of.split(at_once), rows.split(at_once), strict=True)
        squared = torch.cat(
            [(rows_at(self.bank, row) - rows_at(queries, query)).square_().sum(-1) for query, row in pairs]
        )
        order = rows.argsort(stable=True)
        order = order[squared[order].argsort(stable=True)]
        order = order[of[order].argsort(stable=True)]  # by query, then distance, then row
        of, rows, squared = of[order], rows[order], squared[order]
        first = torch.searchsorted(of, torch.arange(len(queries), device=of.device))
        best = first[:, None] + torch.arange(k, device=of.device)
        return squared[best], rows[best]


def nearest_directly(query: Tensor, bank: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """As `NearestSearch.squared_distances` for a single query (D,), without preparing the bank (M, D): all distances
    are computed as sums of squared differences. Returns float32 (K,) and int64 (K,)."""
    parts = [(part - query).square_().sum(-1) for part in bank.split(DIRECT_ROWS)]
    squared, rows = torch.cat(parts).sort(stable=True)
    return squared[:neighbours], rows[:neighbours]


def _candidates(product: Product, centred: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Pairs of a query and a bank row, int64 (P,) each, among which are the k nearest rows of each query.

    The rows are compared in blocks, of which only the closest member counts at first: the k-th lowest of the blocks'
    upper bounds is a distance within which k rows lie, and blocks that begin beyond it are never opened.
    """
    size = PADDING
    while size > 1 and len(product.vectors) < 4 * k * size:
        size //= 2
    prepared, queries = product.prepared(centred)
    chunks: list[tuple[int, Tensor, Tensor]] = []
    upper: list[Tensor] = []
    for first in range(0, len(product.vectors), BANK_CHUNK):
        last = min(first + BANK_CHUNK, len(product.vectors))
        side = Side(product.side.norms[first:last], product.side.residuals[first:last])
        closeness = product.closeness(prepared, first, last).view(len(centred), size, -1)
        lowest, highest = product.bounds(closeness.amax(1), queries.column(), side.blocks(size))
        chunks.append((first, closeness, lowest))
        upper.append(highest)
    reach = torch.cat(upper, 1).topk(k, dim=1, largest=False).values[:, -1]
    pairs = []
    for first, closeness, lowest in chunks:
        query, block = torch.nonzero(lowest <= reach[:, None], as_tuple=True)
        members = block[:, None] + torch.arange(size, device=block.device) * closeness.shape[2]
        rows = first + members
        inside = product.bounds(closeness[query, :, block], queries.at(query).column(), product.side.at(rows))[0]
        pair, member = torch.nonzero(inside <= reach[query][:, None], as_tuple=True)
        pairs.append((query[pair], rows[pair, member]))
    return torch.cat([of for of, _ in pairs]), torch.cat([near for _, near in pairs])


@cache
def gpu_resources(device: int) -> Any:
    """faiss's memory and streams on a GPU, one for all banks of the process: each would reserve 1.5 GiB of its own."""
    import faiss

    resources = faiss.StandardGpuResources()
    resources.setTempMemory(FAISS_BYTES)
    return resources


class _FlatIndex:
    """faiss's IndexFlatL2 of centred vectors float32 (M, D), on their GPU if faiss supports it."""

    def __init__(self, centred: Tensor) -> None:
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        self.longest = centred.square().sum(1).max()
        self.index: Any = faiss.IndexFlatL2(centred.shape[1])
        self.is_on_gpu = centred.device.type == "cuda" and faiss.get_num_gpus() > 0
        if self.is_on_gpu:
            import faiss.contrib.torch_utils  # add and search then take tensors, without a way through main memory

            device = centred.device.index or 0
            self.index = faiss.index_cpu_to_gpu(gpu_resources(device), device, self.index)
        self.index.add(self._as_input(centred))

    def _as_input(self, vectors: Tensor) -> Any:
        return vectors.contiguous() if self.is_on_gpu else vectors.cpu().numpy()

    def candidates(self, centred: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs of a query and a bank row, int64 (P,) each, and for each query a squared distance below that of every
        other row, float32 (Q,)."""
        listed = min(self.index.ntotal, max(16, 4 * k))
        if self.is_on_gpu:
            listed = max(k, min(listed, MOST_ON_GPU))
        both = self.index.search(self._as_input(centred), listed)
        rough, rows = (torch.as_tensor(values, device=centred.device) for values in both)
        noise = 4 * centred.shape[1] * FLOAT32_EPS * (centred.square().sum(1) + self.longest)
        reach = rough[:, k - 1] + noise
        query, column = torch.nonzero(rough - noise[:, None] <= reach[:, None], as_tuple=True)
        outside = torch.full_like(noise, math.inf) if listed == self.index.ntotal else rough[:, -1] - noise
        return query, rows[query, column], outside


def require_search(search: str) -> None:
    """Raises InvalidConfig where the library that ``search`` names is not installed."""
    if search == "faiss" and importlib.util.find_spec("faiss") is None:
        raise InvalidConfig(
            "search is faiss, but faiss is not installed here: choose torch, which gives the same numbers, or install "
            "Hilum with the extra cpu or gpu."
        )


def patch_scores(
    queries: Tensor, search: NearestSearch, *, neighbours: int, distance: str, reweight: int = 0
) -> Tensor:
    """The score of each patch, float32 (Q,), from its features ``queries`` float32 (Q, D).

    It is the mean over the K = ``neighbours`` nearest bank vectors of the squared L2 distance (``distance`` "squared",
    Eq. 1 of the paper) or of its square root ("l2"). A bank of fewer than K vectors is used whole. The paper defines
    Eq. 1 at image level; as in PatchCore it is applied to each patch here. ``reweight`` is b of `reweighting`, 0 for
    none.
    """
    return scores_at(queries, search, neighbours=(neighbours,), distance=distance, reweight=reweight)[0]


def scores_at(
    queries: Tensor, search: NearestSearch, *, neighbours: Sequence[int], distance: str, reweight: int = 0
) -> Tensor:
    """`patch_scores` for several K from a single search, float32 (len(neighbours), Q)."""
    squared, rows = search.squared_distances(queries, max(neighbours))
    values = squared if distance == "squared" else squared.sqrt()
    scores = torch.stack([values[:, :k].mean(1) for k in neighbours])
    return scores * reweighting(queries, search, rows[:, 0], reweight) if reweight else scores


def reweighting(queries: Tensor, search: NearestSearch, nearest: Tensor, count: int) -> Tensor:
    """PatchCore's reweighting factor of each score, float32 (Q,) in [0, 1) (Roth et al. 2022, Eq. 7).

    It is 1 - exp(|q - m*|) / sum exp(|q - m|) for a query q and its nearest bank vector m*, summed over the
    b = ``count`` bank vectors m nearest to m*. It is near 1 where the neighbours of m* are far from q. ``nearest``
    int64 (Q,) are the bank rows of m*. PatchCore reweights only the highest patch of a film; here every patch is
    reweighted (our choice), because films are scored from maps, so another patch may become the highest. 1 for a
    bank of one vector.
    """
    companions = search.companions(count)
    if companions.shape[1] < 2:
        return torch.ones(len(queries), device=queries.device)
    at_once = max(1, DIRECT_VALUES // (companions.shape[1] * queries.shape[1]))
    weights = []
    for part, own in zip(queries.split(at_once), nearest.split(at_once), strict=True):
        distances = (search.bank[companions[own]] - part[:, None]).square().sum(-1).sqrt()  # (Q, B)
        to_own = (search.bank[own] - part).square().sum(-1).sqrt()
        highest = distances.amax(1)
        weights.append(1 - (to_own - highest).exp() / (distances - highest[:, None]).exp().sum(1))
    return torch.cat(weights)
