"""Large arrays on disk in 16 bits, read by rows as float32, so that memory does not grow with the number of films."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ml_engine.core import files

LEVELS = 65535  # of an image in [0, 1]: read again, a value is wrong by at most 8e-6
BYTES_AT_ONCE = 2**22  # converted to float32 at once
GAP_BYTES = 2**14  # between two wanted rows: a gap of so many is read too, which takes less time than another read


class StoredRows:
    """The rows of a .npy file (N, ...). Images are stored as uint16 (`write_images`), features as float16; float32, as
    earlier versions wrote, is read as it is.

    They are read into memory, not mapped: the kernel counts the pages of a mapped file as memory of the process, and
    since Linux 6.18 maps megabytes around each page that is touched, so that some hundred scattered rows bring the
    whole file in.
    """

    def __init__(self, path: Path) -> None:
        header = np.load(path, mmap_mode="r", allow_pickle=False)
        if not header.flags.c_contiguous:
            raise ValueError(f"{path} is not stored row by row: it has to be written again.")
        self.shape: tuple[int, ...] = header.shape
        self._kind, self._first = header.dtype, int(header.offset)
        self._row_bytes = header.dtype.itemsize * int(np.prod(header.shape[1:]))
        self._path, self._file = path, os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """The rows as float32, in memory. Raises IndexError for a row that is not there."""
        if isinstance(rows, (int, np.integer)):
            row: NDArray[np.float32] = self[np.array([rows])][0]
            return row
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        if len(wanted) and (wanted.min() < -len(self) or wanted.max() >= len(self)):
            raise IndexError(f"row {wanted.max()} of {len(self)}")
        wanted = np.where(wanted < 0, wanted + len(self), wanted)
        values = np.empty((len(wanted), *self.shape[1:]), dtype=np.float32)
        for part in _spans(len(wanted), max(1, BYTES_AT_ONCE // max(1, self._row_bytes))):
            _copy(self._stored(wanted[part]), values[part])
        if self._kind == np.uint16:
            values /= LEVELS
        return values

    def _stored(self, rows: NDArray[np.int64]) -> NDArray[np.generic]:
        """The rows as they are stored; those that follow one another, or nearly, are read at once."""
        stored = np.empty((len(rows), *self.shape[1:]), dtype=self._kind)
        if not stored.size:
            return stored
        steps = np.diff(rows)
        is_apart = (steps <= 0) | (steps > 1 + GAP_BYTES // self._row_bytes)
        ends = [*(np.flatnonzero(is_apart) + 1).tolist(), len(rows)]
        first = 0
        for end in ends:
            row, count = int(rows[first]), int(rows[end - 1] - rows[first]) + 1
            if count == end - first:
                self._read(_bytes_of(stored[first:end]), row)
            else:
                span = np.empty((count, *self.shape[1:]), dtype=self._kind)
                self._read(_bytes_of(span), row)
                stored[first:end] = span[rows[first:end] - row]
            first = end
        return stored

    def _read(self, into: memoryview, row: int) -> None:
        at, done = self._first + row * self._row_bytes, 0
        while done < len(into):
            count = os.preadv(self._file, [into[done:]], at + done)
            if not count:
                row += done // self._row_bytes
                raise OSError(f"{self._path} ends within row {row}: it was cut off, and has to be written again.")
            done += count


def _copy(stored: NDArray[np.generic], into: NDArray[np.float32]) -> None:
    """As ``into[:] = stored``; of float16 by torch, which takes a sixth of the time of NumPy."""
    if stored.dtype == np.float16:
        torch.from_numpy(into).copy_(torch.from_numpy(stored))
    else:
        into[...] = stored


def _bytes_of(array: NDArray[np.generic]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _spans(count: int, size: int) -> Iterator[slice]:
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


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
