"""Seconds and peak memory of selecting a coreset, part by part: `python -m benchmarks.coreset [--points N] [--wide D]`.

By default 1 % of the patches of 1,777 films, as wide as those of the default network, on all cores. The vectors are
made, see `benchmarks.nearest_neighbours.vectors`; with ``--phantoms`` they are features of phantom films, 1536 wide, as
`benchmarks.engine` selects from them to time it against a peer. ``--projected`` selects in 128 dimensions.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.nearest_neighbours import vectors
from ml_engine.core.bank import coreset
from ml_engine.core.bank.covering_radius import covering_radius

RATE = 0.01
LARGE = (1_101_740, 168)


@dataclass(frozen=True)
class Stages:
    """CPU seconds of each part of `k_center`, seconds of the clock of all, and the peak memory of the process."""

    grid: float
    picks: float
    radius: float
    wall: float
    peak_gib: float


def stages(features: Tensor, *, exact_limit: float = 2e8) -> Stages:
    picks = round(len(features) * RATE)
    clock, cpu = [time.monotonic()], [time.process_time()]

    def lap() -> None:
        clock.append(time.monotonic())
        cpu.append(time.process_time())

    grid = coreset.selection_grid(features, picks, seed=0, dimensions=128, exact_limit=exact_limit)
    lap()
    chosen = coreset.selection(grid, picks)
    lap()
    covering_radius(features, chosen.indices, nearest=chosen.nearest)
    lap()
    parts = (after - before for before, after in pairwise(cpu))
    return Stages(*parts, clock[-1] - clock[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)


def made(count: int, wide: int) -> Tensor:
    return vectors(count, wide, torch.Generator().manual_seed(0))


def phantom_features(count: int) -> Tensor:
    """Patch features float32 (count, 1536) of phantom films, by Wide-ResNet-50-2 with random weights."""
    from benchmarks.engine import phantom_tensor
    from benchmarks.extraction import ours

    extract, films = ours("float32", 8), phantom_tensor(-(-count // 784))
    return torch.cat([extract(films[k : k + 8]).flatten(0, 1) for k in range(0, len(films), 8)])[:count].contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of selecting a coreset.")
    parser.add_argument("--points", type=int, default=LARGE[0])
    parser.add_argument("--wide", type=int, default=LARGE[1])
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--phantoms", action="store_true", help="features of Wide-ResNet-50-2 of phantom films")
    parser.add_argument("--projected", action="store_true")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    features = phantom_features(given.points) if given.phantoms else made(given.points, given.wide)
    taken = stages(features, exact_limit=0.0 if given.projected else 2e8)
    print(
        f"{len(features):,} × {features.shape[1]}: {taken.grid:.1f} CPU s for the integers, {taken.picks:.1f} for the "
        f"picks, {taken.radius:.1f} for the covering radius; {taken.wall:.1f} s in all, peak {taken.peak_gib:.2f} GiB."
    )


if __name__ == "__main__":
    main()
