"""Seconds and peak memory of selecting a coreset, part by part: `python -m benchmarks.coreset [--points N] [--wide D]`.

By default 1 % of the patches of 1,777 films, as wide as those of the default network, on all cores. The vectors are
made, see `benchmarks.nearest_neighbours.vectors`. `benchmarks.engine` times it against a peer.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass
from itertools import pairwise

import torch

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


def stages(count: int, wide: int) -> Stages:
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
    parts = (after - before for before, after in pairwise(cpu))
    return Stages(*parts, clock[-1] - clock[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of selecting a coreset.")
    parser.add_argument("--points", type=int, default=LARGE[0])
    parser.add_argument("--wide", type=int, default=LARGE[1])
    given = parser.parse_args()
    taken = stages(given.points, given.wide)
    print(
        f"{given.points:,} × {given.wide}: {taken.grid:.1f} CPU s for the integers, {taken.picks:.1f} for the picks, "
        f"{taken.radius:.1f} for the covering radius; {taken.wall:.1f} s in all, peak {taken.peak_gib:.2f} GiB."
    )


if __name__ == "__main__":
    main()
