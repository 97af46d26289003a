"""Batches of films."""

from __future__ import annotations

from torch import Tensor


def spans(count: int, size: int) -> list[slice]:
    """Slices that divide ``count`` films into batches of ``size``; the last may be smaller."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def padded(tensor: Tensor, size: int) -> Tensor:
    """The tensor (B, ...) padded to ``size`` entries with copies of the first.

    With a fixed batch size, the results for a film do not depend on the number of other films.
    """
    missing = size - len(tensor)
    return tensor[[*range(len(tensor)), *([0] * missing)]]
