"""Films in batches."""

from __future__ import annotations

from torch import Tensor


def spans(count: int, size: int) -> list[slice]:
    """Slices over ``count`` films, ``size`` each; the last one may be shorter."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def padded(tensor: Tensor, size: int) -> Tensor:
    """The tensor (B, ...) with its first entry repeated at the end until it has ``size`` entries.

    With one fixed batch size, a film's numbers do not depend on how many films came with it.
    """
    missing = size - len(tensor)
    return tensor[[*range(len(tensor)), *([0] * missing)]]
