"""Exact search for the K nearest neighbours in a memory bank, and patch scores from their distances (paper, Eq. 1)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ml_engine.core.errors import InvalidConfig

QUERY_CHUNK = 256
BANK_CHUNK = 16384
DIRECT_VALUES = 2**25  # differences in memory at once for short lists: 128 MiB, and as much again for their squares


class NearestSearch:
    """Exact nearest neighbours in a bank float32 (M, D).

    A matrix product of the centred vectors (``search`` "torch"), or faiss's IndexFlatL2 on them, yields a short list
    for each query. The distances of the short list are then computed directly as sums of squared differences, so that
    a vector of the bank has distance 0 to itself and both searches give the same numbers. Where rounding of the
    product could have excluded a nearer vector from the list, all distances of that query are computed directly.
    Raises ValueError for an empty bank, InvalidConfig for "faiss" where it is not installed.
    """

    def __init__(self, bank: Tensor, *, search: str = "torch") -> None:
        if len(bank) == 0:
            raise ValueError("a search needs a bank of at least one vector")
        self.bank = bank
        self.centre = bank.mean(0)
        self.norms = (bank - self.centre).square().sum(1)
        require_search(search)
        self.index = _flat_index(bank - self.centre) if search == "faiss" else None
        self._companions: dict[int, Tensor] = {}

    def squared_distances(self, queries: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
        """The smallest squared L2 distances to the bank in ascending order, and the rows of the bank with them.

        ``queries`` float32 (Q, D). Returns float32 (Q, K) and int64 (Q, K), where K is the smaller of
        ``neighbours`` and the bank's size. Ties go to the lower row.
        """
        k = min(neighbours, len(self.bank))
        at_once = max(1, min(QUERY_CHUNK, DIRECT_VALUES // (self._listed(k) * self.bank.shape[1])))
        parts = [self._chunk(part, k) for part in queries.split(at_once)]
        return torch.cat([squared for squared, _ in parts]), torch.cat([rows for _, rows in parts])

    def companions(self, count: int) -> Tensor:
        """The rows of the ``count`` bank vectors nearest to each bank vector, including itself; int64 (M, B), B the
        smaller of ``count`` and the bank's size. Computed once and kept."""
        if count not in self._companions:
            self._companions[count] = self.squared_distances(self.bank, count)[1]
        return self._companions[count]

    def _listed(self, k: int) -> int:
        """The length of the short list."""
        return min(len(self.bank), max(16, 4 * k))

    def _chunk(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        listed = self._listed(k)
        rough, rows = self._short_list(queries, listed)
        rows = rows.sort(dim=1).values
        direct = (self.bank[rows] - queries[:, None]).square().sum(-1)  # (Q, listed)
        squared, order = direct.sort(dim=1, stable=True)
        squared, rows = squared[:, :k].contiguous(), rows.gather(1, order[:, :k])
        if listed < len(self.bank):
            longest = (queries - self.centre).square().sum(1) + self.norms.max()
            noise = 4 * self.bank.shape[1] * torch.finfo(torch.float32).eps * longest
            uncertain = torch.nonzero(rough[:, -1] - noise <= squared[:, -1])[:, 0]
            for query in uncertain:
                squared[query], rows[query] = self._direct(queries[query], k)
        return squared, rows

    def _short_list(self, queries: Tensor, listed: int) -> tuple[Tensor, Tensor]:
        """The smallest squared distances by the matrix product, (Q, listed), and the bank rows with them."""
        centred = queries - self.centre
        if self.index is not None:
            squared, rows = self.index.search(centred.cpu().numpy(), listed)
            return torch.from_numpy(squared).to(queries.device), torch.from_numpy(rows).to(queries.device)
        own = centred.square().sum(1)[:, None]
        best: tuple[Tensor, Tensor] | None = None
        for first in range(0, len(self.bank), BANK_CHUNK):
            part = self.bank[first : first + BANK_CHUNK] - self.centre
            rough = own + self.norms[first : first + BANK_CHUNK] - 2 * (centred @ part.T)
            smallest = rough.topk(min(listed, len(part)), dim=1, largest=False)
            values, rows = smallest.values, smallest.indices + first
            if best is not None:
                values, rows = torch.cat([best[0], values], 1), torch.cat([best[1], rows], 1)
                smallest = values.topk(min(listed, values.shape[1]), dim=1, largest=False)
                values, rows = smallest.values, rows.gather(1, smallest.indices)
            best = values, rows
        assert best is not None
        return best

    def _direct(self, query: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """All distances of one query (D,) computed directly; the k smallest squared ones and their rows."""
        parts = [(part - query).square().sum(1) for part in self.bank.split(BANK_CHUNK)]
        squared, rows = torch.cat(parts).sort(stable=True)
        return squared[:k], rows[:k]


def require_search(search: str) -> None:
    """Raises InvalidConfig where the library that ``search`` names is not installed."""
    if search == "faiss" and importlib.util.find_spec("faiss") is None:
        raise InvalidConfig(
            "search is faiss, but faiss is not installed here: choose torch, which gives the same numbers, or install "
            "Hilum with the extra cpu or gpu."
        )


def _flat_index(vectors: Tensor) -> Any:
    """An IndexFlatL2 of the vectors (M, D), on their GPU if faiss supports it."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index: Any = faiss.IndexFlatL2(vectors.shape[1])
    if vectors.device.type == "cuda" and faiss.get_num_gpus() > 0:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), vectors.device.index or 0, index)
    index.add(vectors.cpu().numpy())
    return index


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
