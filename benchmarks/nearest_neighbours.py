"""Time the exact search of nearest neighbours against its peers: `python -m benchmarks.nearest_neighbours [--bound]`.

Peers: faiss's flat index, and the search of anomalib 2.7 (in the environment of `make bench`), in the same process, on
the same vectors, taking turns; CPU seconds of one thread, the median of five. Vectors have a spectrum that falls like
that of patch features: the variance of principal component i is proportional to 1 / i.
The table of docs/performance.md is what this prints. ``--bound`` takes seconds and needs no peers: it prints how much
of the search is its rough product alone, and how fast that is.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ml_engine.core.bank.nearest_search import BANK_CHUNK, NearestSearch
from ml_engine.core.bank.rough_distances import Float32Product, product_for

QUERIES = 784  # patches of a film of 224 pixels
SIZES = ((20_000, 1536), (100_000, 1536), (20_000, 168), (2_000, 168))
TURNS = 5


def vectors(count: int, wide: int, generator: torch.Generator) -> Tensor:
    """float32 (count, wide)"""
    components = torch.arange(1, wide + 1).rsqrt()
    return torch.randn(count, wide, generator=generator) * components


def seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def row(count: int, wide: int, neighbours: int) -> str:
    import faiss

    from benchmarks.anomalib_peer import Search

    faiss.omp_set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    bank, queries = vectors(count, wide, generator), vectors(QUERIES, wide, generator)
    index = faiss.IndexFlatL2(wide)
    index.add(bank.numpy())
    search = NearestSearch(bank)
    theirs = Search(bank)
    in_float32 = NearestSearch(bank)
    in_float32._product = Float32Product(bank - in_float32.centre)
    works: dict[str, Callable[[], object]] = {
        "ours": lambda: search.squared_distances(queries, neighbours),
        "ours, float32": lambda: in_float32.squared_distances(queries, neighbours),
        "anomalib": lambda: theirs(queries, neighbours),
        "faiss": lambda: index.search(queries.numpy(), neighbours),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS):
        for name, work in works.items():
            times[name].append(seconds(work))
    middle = {name: statistics.median(taken) for name, taken in times.items()}
    equal = torch.equal(
        search.squared_distances(queries, neighbours)[1], in_float32.squared_distances(queries, neighbours)[1]
    )
    ratios = [
        f"{middle[peer] / middle[own]:.2f}" for own in ("ours", "ours, float32") for peer in ("anomalib", "faiss")
    ]
    cells = [f"{count:,} × {wide}", str(neighbours), *(f"{1000 * value:.0f}" for value in middle.values()), *ratios]
    return "| " + " | ".join([*cells, "yes" if equal else "NO"]) + " |"


def bound(count: int, wide: int) -> str:
    """The search, and its product with nothing else: a search with this product cannot be faster."""
    generator = torch.Generator().manual_seed(0)
    bank, queries = vectors(count, wide, generator), vectors(QUERIES, wide, generator)
    search = NearestSearch(bank)
    product = search._product
    assert product is not None
    prepared, _ = product.prepared(queries - search.centre)

    def multiply() -> None:
        for first in range(0, len(product.vectors), BANK_CHUNK):
            product.closeness(prepared, first, min(first + BANK_CHUNK, len(product.vectors)))

    multiply()
    whole = [seconds(lambda: search.squared_distances(queries, 1)) for _ in range(TURNS)]
    alone = statistics.median(seconds(multiply) for _ in range(TURNS))
    taken, speed = statistics.median(whole), 2e-9 * QUERIES * count * wide / alone
    return (
        f"{count:,} × {wide}, K = 1: {1000 * taken:.0f} ms, of which the product alone {1000 * alone:.0f} ms "
        f"({alone / taken:.0%}), {speed:.0f} GFLOP/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bound", action="store_true", help="the product of the search alone, without peers")
    is_bound = parser.parse_args().bound
    torch.set_num_threads(1)
    print(f"product on this processor: {type(product_for(torch.zeros(1, 1))).__name__}")
    if is_bound:
        for count, wide in SIZES:
            print(bound(count, wide), flush=True)
        return
    peers = "× anomalib | × faiss"
    print(f"| bank | K | ours (ms) | in float32 | anomalib | faiss | {peers} | in float32 {peers} | same rows |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for count, wide in SIZES:
        for neighbours in (1, 9):
            print(row(count, wide, neighbours), flush=True)


if __name__ == "__main__":
    main()
