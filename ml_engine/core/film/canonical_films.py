"""Films resampled to the canonical frame, in batches, and their mean."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.geometry import warp
from ml_engine.core.stored_rows import StoredRows


def canonical_batches(
    inputs: NDArray[np.float32] | StoredRows,
    input_from_canonical: NDArray[np.float64],
    *,
    rows: NDArray[np.int64],
    batch: int,
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Batches of the films at ``rows``, aligned: their rows, and the films float32 (B, 1, S, S) in [0, 1].

    ``inputs`` float32 (N, S, S) in [0, 1]; ``input_from_canonical`` float64 (N, 2, 3) in pixels. Aligned films are
    black outside the film. A film whose affine is the identity is not resampled, any other exactly once.
    """
    size = inputs.shape[-1]
    for first in range(0, len(rows), batch):
        at = rows[first : first + batch]
        films = torch.from_numpy(np.array(inputs[at], dtype=np.float32))[:, None]
        affines = input_from_canonical[at]
        moved = torch.from_numpy((affines != np.eye(2, 3)).any((1, 2)))
        if moved.any():
            films[moved], _ = warp(films[moved], affines[moved.numpy()], (size, size))
        yield at, films


def mean_film(
    inputs: NDArray[np.float32] | StoredRows, input_from_canonical: NDArray[np.float64], *, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The mean of the aligned films at ``rows``, float64 (S, S) in [0, 1]; arguments as in `canonical_batches`."""
    total = np.zeros(inputs.shape[1:], dtype=np.float64)
    for _, films in canonical_batches(inputs, input_from_canonical, rows=rows, batch=8):
        total += films[:, 0].double().sum(0).numpy()
    return total / max(1, len(rows))
