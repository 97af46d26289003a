"""The search for films' affines beside other busy processes: milliseconds a film by number of threads.

    python -m benchmarks.search_alignment [--films 128] [--steps 60] [--busy 2] [--turns 3]

*Divided* lets torch divide each operation among the threads, as the engine of before did; *side by side* is what it
does now, a batch of films for each thread. ``--busy`` processes count without a pause meanwhile. Prints Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from scipy import ndimage
from tabulate import tabulate

from ml_engine.core.alignment import search as searching
from ml_engine.core.alignment.batches import spans
from ml_engine.core.alignment.canonical import Canonical
from ml_engine.core.alignment.sampling import unaligned

SIDE = 224
THREADS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=128)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--busy", type=int, default=2, help="processes that do nothing but count")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    films = smooth_films(given.films)
    rows = []
    for busy in (0, given.busy):
        with busy_processes(busy):
            for name, work in ways(films, given.steps).items():
                taken = [timed(work) for _ in range(given.turns)]
                wall, cpu = (1000 * statistics.median(of) / given.films for of in zip(*taken, strict=True))
                rows.append([busy, name, wall, cpu])
    print(f"OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', 'as shipped')}, {THREADS} threads\n")
    print(tabulate(rows, ["busy processes", "", "ms/film", "CPU ms/film"], tablefmt="github", floatfmt=".1f"))


def ways(films: torch.Tensor, steps: int) -> dict[str, Callable[[], object]]:
    valid, canonical = torch.ones_like(films), Canonical(films[:1], torch.ones_like(films[:1]))

    def search() -> object:
        torch.set_num_threads(THREADS)
        starts = [unaligned(len(films))]
        return searching.search(films, valid, canonical=canonical, starts=starts, steps=steps)

    def divided() -> object:
        with torch.no_grad():
            film, mask = searching.shrunk(films), searching._shrunk_mask(valid)
            image, support = searching.shrunk(canonical.image), searching._shrunk_mask(canonical.support)
            images = [
                searching.local_contrast(searching.gaussian_blur(image, sigma=sigma), support)
                for sigma in searching.SIGMAS
            ]
            torch.set_num_threads(THREADS)
            return [
                searching._search_batch(
                    film[at], mask[at], [unaligned(len(film[at]))], images=images, support=support, steps=steps
                )
                for at in spans(len(films), searching.BATCH)
            ]

    return {"divided": divided, "side by side": search}


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def smooth_films(count: int) -> torch.Tensor:
    """Blurred noise, float32 (N, 1, S, S) in [0, 1]."""
    noise = np.random.default_rng(0).random((count, 1, SIDE, SIDE))
    smooth = torch.from_numpy(ndimage.gaussian_filter(noise, (0, 0, 6, 6))).float()
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=count_for_ever, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def count_for_ever() -> None:
    number = 0
    while True:
        number += 1


if __name__ == "__main__":
    main()
