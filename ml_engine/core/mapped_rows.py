"""Large arrays on disk in 16 bits, read by rows as float32, so that memory does not grow with the number of films."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files

LEVELS = 65535  # of an image in [0, 1]: read again, a value is wrong by at most 8e-6
KEPT_PAGES = 2**24  # bytes read since pages were last given back to the kernel


class MappedRows:
    """The rows of a .npy file (N, ...), memory-mapped. Images are stored as uint16 (`write_images`), features as
    float16; float32, as earlier versions wrote, is read as it is.

    The kernel counts pages of a mapped file that were read as memory of the process. They are given back after every
    16 MiB, so that a pass over all rows does not end with the whole file in memory.
    """

    def __init__(self, path: Path) -> None:
        self._stored = np.load(path, mmap_mode="r", allow_pickle=False)
        self._read = 0

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self._stored.shape
        return shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """The rows as float32, in memory."""
        part = self._stored[rows]
        values = np.array(part, dtype=np.float32)
        if part.dtype == np.uint16:
            values /= LEVELS
        self._read += part.nbytes
        if self._read >= KEPT_PAGES:
            self._give_back()
        return values

    def _give_back(self) -> None:
        mapped: mmap.mmap | None = getattr(self._stored, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
        self._read = 0


def as_stored(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images in [0, 1] as they are read again after `write_images`."""
    stored: NDArray[np.float32] = np.rint(images * LEVELS).astype(np.uint16).astype(np.float32)
    stored /= LEVELS
    return stored


def image_kind(*, is_half: bool) -> str:
    """The NumPy format in which images are stored: uint16, or float32 unless ``is_half``."""
    return "<u2" if is_half else "<f4"


def coded(images: NDArray[np.float32], *, is_half: bool) -> NDArray[np.float32]:
    """Images in [0, 1] as numbers to be stored in `image_kind`."""
    return np.rint(images * LEVELS) if is_half else images


def write_images(
    path: Path, shape: tuple[int, ...], images: Iterable[NDArray[np.float32]], *, is_half: bool = True
) -> None:
    """Write images in [0, 1] from consecutive parts along the first axis, in `image_kind`. Raises ValueError as
    `files.stream_npy` does."""
    parts = (coded(part, is_half=is_half) for part in images)
    files.stream_npy(path, shape, parts, kind=image_kind(is_half=is_half))
