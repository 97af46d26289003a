"""Batches of films."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


def spans(count: int, size: int) -> list[slice]:
    """Slices that divide ``count`` films into batches of ``size``; the last may be smaller."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def padded(tensor: Tensor, size: int) -> Tensor:
    """The tensor (B, ...) padded to ``size`` entries with copies of the first.

    With a fixed batch size, the results for a film do not depend on the number of other films.
    """
    missing = size - len(tensor)
    return tensor[[*range(len(tensor)), *([0] * missing)]]


def each_on_one_thread(work: Callable[[slice], Result], parts: list[slice], *, device: torch.device) -> list[Result]:
    """What ``work`` returns for each part: on a CPU several parts at a time, each on a single thread, on a GPU one
    after the other.

    For work of many small operations. If torch divides each of them among threads, they wait for one another at the end
    of each: with another busy process on the machine that took 15 times as long. The result does not depend on the
    number of threads either. Gradients are off in ``work``, unless it turns them on.
    """
    workers = torch.get_num_threads() if device.type == "cpu" else 1
    if workers == 1 or not parts:
        with torch.no_grad():
            return [work(part) for part in parts]

    def alone(part: slice) -> Result:
        with torch.no_grad():  # which holds for the thread that sets it only
            return work(part)

    try:
        with ThreadPoolExecutor(workers, "batch", initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(alone, parts))
    finally:
        torch.set_num_threads(workers)  # for threads that begin later
