"""The patch features of many films on disk in half precision, read by rows as if they were a tensor in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core import files
from ml_engine.core.stored_rows import StoredRows

HALF = "<f2"
LARGEST = 65504.0  # of float16
ROWS_AT_ONCE = 8192


class TooLargeForHalf(ValueError):
    """A value that float16 cannot hold: these features are kept in float32."""


class FeatureFile:
    """The rows of a .npy file of features (N, D); any of them are read as float32 on ``device``, a chunk at a time."""

    def __init__(self, path: Path, device: torch.device | None = None) -> None:
        self.path, self.device = path, device or torch.device("cpu")
        self._rows = StoredRows(path)
        self.shape = self._rows.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        at = rows.cpu().numpy() if isinstance(rows, Tensor) else rows
        return torch.from_numpy(self._rows[at]).to(self.device)

    def split(self, size: int) -> Iterator[Tensor]:
        """All rows in order, at most ``size`` at a time."""
        for first in range(0, len(self), size):
            yield self[first : first + size]

    def to(self, device: torch.device) -> FeatureFile:
        """The same file, read to another device."""
        return self if device == self.device else FeatureFile(self.path, device)


Features = Tensor | FeatureFile


def rows_at(features: Features, rows: Tensor) -> Tensor:
    """The features at ``rows`` (n,), float32 (n, D). Of a tensor they are copied several times as fast as by
    ``features[rows]``, which looks up each number on its own. The rows may be on another device."""
    return features.index_select(0, rows.to(features.device)) if isinstance(features, Tensor) else features[rows]


def values_at(features: Features, rows: Tensor, columns: Tensor) -> Tensor:
    """The ``columns`` (d,) of the features at ``rows`` (...), float32 (..., d)."""
    if isinstance(features, Tensor):
        return features[rows[..., None], columns]
    parts = [features[part][:, columns] for part in rows.reshape(-1).split(ROWS_AT_ONCE)]
    return torch.cat(parts).view(*rows.shape, len(columns))


def in_half(features: Tensor) -> Tensor:
    """Features float32 as float16, with a relative error of at most 2^-11. Raises TooLargeForHalf."""
    if not bool((features.abs() <= LARGEST).all()):  # also where a value is not a number
        raise TooLargeForHalf
    return features.half()


def as_kept(features: Tensor) -> Tensor:
    """Features float32 (B, P, D) as they are read again from a file: rounded to half precision, except those of a film
    with a value that is too large for it."""
    fits = (features.abs() <= LARGEST).all(2).all(1)
    return torch.where(fits[:, None, None], features.half().float(), features)


def write(path: Path, shape: tuple[int, int], parts: Iterable[Tensor], *, is_half: bool = True) -> None:
    """Write features float32 from consecutive parts (n, D). Raises TooLargeForHalf, and ValueError as
    `files.stream_npy` does."""

    def arrays() -> Iterator[NDArray[np.float32]]:
        for part in parts:
            yield (in_half(part) if is_half else part).numpy()

    files.stream_npy(path, shape, arrays(), kind=HALF if is_half else "<f4")
