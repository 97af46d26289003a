"""Time the selection of a coreset against anomalib's: `python -m benchmarks.coreset [--large]`.

`k_center`, its covering radius included, and the `KCenterGreedy` of anomalib 2.7 with its projection, written out
here, take turns in one process on the same vectors; CPU seconds of one thread, the median of the turns. anomalib runs
with the allocator as shipped, and with one that returns no memory (two calls of mallopt), since page faults are much of
its time. Each of its picks costs the same, so `TIMED_PICKS` of them are timed and multiplied. ``--large`` selects 1 %
of 1.1 million vectors, without a peer, and prints seconds and the peak memory. The tables of docs/performance.md are
what this prints.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import resource
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.nearest_neighbours import seconds, vectors
from ml_engine.core.bank import coreset
from ml_engine.core.bank.covering_radius import covering_radius

SIZES = ((100_000, 1536),)
RATE = 0.01
TURNS, TIMED_PICKS = 3, 20
LARGE = (1_101_740, 168)  # the patches of 1,777 films, as wide as those of the default network
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
DEFAULT_TRIM, DEFAULT_MMAPS = 128 * 1024, 65536


def keep_memory(keep: bool) -> None:
    """Let glibc's allocator keep what is freed, or return large blocks, as it does by default."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0 if keep else DEFAULT_MMAPS)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1 if keep else DEFAULT_TRIM)


def anomalib_seconds(features: Tensor, count: int) -> float:
    """CPU seconds of anomalib's selection of ``count``, its projection included."""
    before = time.process_time()
    projected = features @ sparse_matrix(features.shape).T
    projecting = time.process_time() - before
    nearest, index = None, torch.tensor(0)
    before = time.process_time()
    for _ in range(TIMED_PICKS):
        distances = torch.linalg.norm(projected - projected[index].squeeze(), ord=2, dim=1, keepdim=True)
        nearest = distances if nearest is None else torch.minimum(nearest, distances)
        _, index = torch.max(nearest.squeeze(1), dim=0)
        nearest.scatter_(0, index.unsqueeze(0).unsqueeze(1), 0.0)
    return projecting + (time.process_time() - before) * (count - 1) / TIMED_PICKS


def sparse_matrix(shape: tuple[int, ...]) -> Tensor:
    """A projection as wide as that of anomalib (``SparseRandomProjection(eps=0.9)``), dense as there."""
    points, wide = shape
    eps = 0.9
    dimensions = int(4 * math.log(points) / (eps**2 / 2 - eps**3 / 3))
    density = 1 / math.sqrt(wide)
    draw = torch.rand(dimensions, wide, generator=torch.Generator().manual_seed(0))
    return ((draw < density / 2).float() - (draw > 1 - density / 2).float()) / math.sqrt(density * dimensions)


def row(count: int, wide: int) -> str:
    features, picks = vectors(count, wide, torch.Generator().manual_seed(0)), round(count * RATE)

    def peer(*, tuned: bool) -> float:
        keep_memory(tuned)
        taken = anomalib_seconds(features, picks)
        keep_memory(False)
        return taken

    works: dict[str, Callable[[], float]] = {
        "ours": lambda: seconds(lambda: coreset.k_center(features, picks)),
        "ours, projected": lambda: seconds(lambda: coreset.k_center(features, picks, exact_limit=0)),
        "shipped": lambda: peer(tuned=False),
        "tuned": lambda: peer(tuned=True),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS):
        for name, work in works.items():
            times[name].append(work())
    middle = {name: statistics.median(taken) for name, taken in times.items()}
    ratios = [f"{middle[other] / middle[own]:.1f}" for own in list(works)[:2] for other in ("shipped", "tuned")]
    cells = [f"{count:,} × {wide}", f"{picks:,}", *(f"{value:.2f}" for value in middle.values()), *ratios]
    return "| " + " | ".join(cells) + " |"


def stages(count: int, wide: int) -> str:
    """The CPU seconds of each part of `k_center`, and wall seconds and peak memory of all."""
    features, picks = vectors(count, wide, torch.Generator().manual_seed(0)), round(count * RATE)
    clock, cpu = [time.monotonic()], [time.process_time()]

    def lap() -> None:
        clock.append(time.monotonic())
        cpu.append(time.process_time())

    grid = coreset.selection_grid(features, picks, seed=0, dimensions=128, exact_limit=2e8)
    lap()
    chosen = coreset.selection(grid, picks)
    lap()
    covering_radius(features, chosen.indices, nearest=chosen.nearest)
    lap()
    parts = [after - before for before, after in pairwise(cpu)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    cells = [f"{count:,} × {wide}", f"{picks:,}", *(f"{value:.1f}" for value in parts)]
    return "| " + " | ".join([*cells, f"{clock[-1] - clock[0]:.1f}", f"{peak:.2f}"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of selecting a coreset.")
    parser.add_argument("--large", action="store_true", help="1.1 million vectors, without a peer")
    if parser.parse_args().large:
        print(
            "| points | picks | grid (CPU s) | picks (CPU s) | covering radius (CPU s) | all, wall (s) | peak (GiB) |"
        )
        print("|---|---|---|---|---|---|---|")
        print(stages(*LARGE))
        return
    torch.set_num_threads(1)
    peers = "× shipped | × tuned"
    print(f"| points | picks | ours (s) | projected (s) | anomalib (s) | tuned (s) | {peers} | projected {peers} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for count, wide in SIZES:
        print(row(count, wide), flush=True)


if __name__ == "__main__":
    main()
