"""A layout in the plane that keeps neighbours together: UMAP (McInnes, Healy & Melville 2018, arXiv:1802.03426).

The graph and its weights are those of the paper (Algorithms 2 to 4), with the exact nearest films. We depart in two
places: the layout starts from the first two principal components and not from the Laplacian's eigenvectors, so that its
large parts are comparable with those of the PCA; and the edges of an epoch are taken in random batches that are small
against the number of films, so that an array library does the work and the same seed gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.embedding.neighbours import NearestFilms

if TYPE_CHECKING:
    from scipy import sparse

ATTRACTION, POWER = 1.5769434, 0.8950609  # a and b of the curve 1 / (1 + a d^2b) for min_dist 0.1 and spread 1
NEGATIVES = 5  # films that are drawn for each edge and pushed away
STEEPEST = 4.0  # limit of a gradient's coordinate
START = 10.0  # largest coordinate of the start
FILMS_PER_BATCH = 4  # a batch has one edge to so many films
SMALLEST_BATCH = 16
ROUNDS = 64  # of the bisection for the width of a neighbourhood

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def membership_strengths(distances: Array) -> Array:
    """The strengths (N, K) from 0 to 1 of the edges to the neighbours at these distances (N, K), nearest first.

    exp(-max(0, d - rho) / sigma), with rho the distance of the nearest neighbour that is not at distance 0, and sigma
    such that a film's strengths add up to log2 K (Algorithm 3).
    """
    target = np.log2(distances.shape[1])
    away = np.where(distances > 0, distances, np.inf).min(axis=1, keepdims=True)
    beyond = np.maximum(0.0, distances - np.where(np.isfinite(away), away, 0.0))
    low, high = np.zeros(len(distances)), np.full(len(distances), np.inf)
    sigma = np.ones(len(distances))
    for _ in range(ROUNDS):
        total = np.exp(-beyond / sigma[:, None]).sum(axis=1)
        high, low = np.where(total > target, sigma, high), np.where(total > target, low, sigma)
        sigma = np.where(np.isinf(high), sigma * 2, (low + high) / 2)
    least = 1e-3 * np.maximum(distances.mean(axis=1), np.finfo(np.float64).tiny)  # as the authors' program limits it
    return np.asarray(np.exp(-beyond / np.maximum(sigma, least)[:, None]), dtype=np.float64)


def joined_graph(nearest: NearestFilms) -> sparse.coo_matrix:
    """The symmetric graph (N, N): an edge has the strength w + w' - w w' of its two directions (Algorithm 1)."""
    from scipy import sparse  # a tenth of a second, which every other run would wait for

    films, kept = nearest.films.shape
    strengths = membership_strengths(1.0 - nearest.similarities.astype(np.float64))
    heads = np.repeat(np.arange(films), kept)
    directed = sparse.coo_matrix((strengths.ravel(), (heads, nearest.films.ravel())), shape=(films, films)).tocsr()
    other = directed.T.tocsr()
    joined = (directed + other - directed.multiply(other)).tocoo()
    joined.sum_duplicates()
    return joined


def neighbour_layout(
    nearest: NearestFilms,
    start: Array,
    *,
    seed: int,
    epochs: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Array:
    """Places float64 (N, 2) of the films, from their nearest films and a ``start`` (N, 2), such as two principal
    components. Fewer than four films stay at the start."""
    films = len(start)
    largest = max(float(np.abs(start).max(initial=0.0)), float(np.finfo(np.float64).tiny))
    places: Array = np.asarray(START * start / largest, dtype=np.float64)
    if films < 4 or nearest.films.shape[1] < 2:
        return places
    draws = np.random.default_rng(seed)
    places = places + draws.normal(scale=1e-4, size=places.shape)  # equal films would never part
    graph = joined_graph(nearest)
    every = graph.data.max() / graph.data  # epochs between two visits of an edge
    heads, tails = graph.row.astype(np.int64), graph.col.astype(np.int64)
    seen = every <= epochs  # a weaker edge would never be visited
    every, heads, tails = every[seen], heads[seen], tails[seen]
    due = every.copy()
    batch = max(SMALLEST_BATCH, films // FILMS_PER_BATCH)
    for epoch in range(epochs):
        now = np.flatnonzero(due <= epoch + 1)
        due[now] += every[now]
        rate = 1.0 - epoch / epochs
        now = draws.permutation(now)
        for first in range(0, len(now), batch):
            at = now[first : first + batch]
            others = draws.integers(films, size=(len(at), NEGATIVES))
            _step(places, heads[at], tails[at], others, rate=rate)
        progress(epoch + 1, epochs)
    return np.asarray(places - places.mean(axis=0), dtype=np.float64)


def _step(places: Array, heads: Indices, tails: Indices, others: Indices, *, rate: float) -> None:
    """Pull the two films of each edge together, and push the first away from ``others`` (n, NEGATIVES)."""
    pulled = _pull(places[heads] - places[tails])
    repeated = np.repeat(heads, NEGATIVES)
    drawn = others.ravel()
    pushed = _push(places[repeated] - places[drawn])
    pushed[repeated == drawn] = 0.0
    moved = np.concatenate([heads, tails, repeated])
    by = np.concatenate([pulled, -pulled, pushed])
    for axis in range(2):
        places[:, axis] += rate * np.bincount(moved, weights=by[:, axis], minlength=len(places))


def _pull(difference: Array) -> Array:
    squared = (difference**2).sum(axis=1, keepdims=True)
    powered = np.power(squared, POWER - 1, where=squared > 0, out=np.zeros_like(squared))
    slope = -2 * ATTRACTION * POWER * powered / (1 + ATTRACTION * squared * powered)
    return np.asarray(np.clip(slope * difference, -STEEPEST, STEEPEST), dtype=np.float64)


def _push(difference: Array) -> Array:
    squared = (difference**2).sum(axis=1, keepdims=True)
    slope = 2 * POWER / ((0.001 + squared) * (1 + ATTRACTION * squared**POWER))
    return np.asarray(np.clip(slope * difference, -STEEPEST, STEEPEST), dtype=np.float64)
