"""Arrays on disk in 16 bits."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from ml_engine.core import files, mapped_rows
from ml_engine.core.mapped_rows import MappedRows


def test_images_are_read_again_to_a_hundredth_of_a_gray_level_of_eight_bits(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((5, 4, 4), dtype=np.float32)
    images[0, 0, :2] = (0, 1)
    mapped_rows.write_images(tmp_path / "a.npy", images.shape, [images[:2], images[2:]])

    rows = MappedRows(tmp_path / "a.npy")

    assert (len(rows), rows.shape) == (5, (5, 4, 4))
    assert (tmp_path / "a.npy").stat().st_size < 2 * images.size + 200
    again = rows[:]
    assert again.dtype == np.float32
    assert tuple(again[0, 0, :2]) == (0, 1)
    assert np.abs(again - images).max() <= 1 / 255 / 100
    np.testing.assert_array_equal(rows[3], again[3])
    np.testing.assert_array_equal(rows[np.array([4, 0])], again[[4, 0]])
    mapped_rows.write_images(tmp_path / "b.npy", images.shape, [again])
    np.testing.assert_array_equal(MappedRows(tmp_path / "b.npy")[:], again)  # written again, they do not change


def test_images_may_keep_all_digits(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    mapped_rows.write_images(tmp_path / "a.npy", images.shape, [images], is_half=False)
    np.testing.assert_array_equal(MappedRows(tmp_path / "a.npy")[:], images)


def test_single_precision_of_an_earlier_version_is_read_as_it_is(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((5, 4, 4), dtype=np.float32)
    files.write_npy(tmp_path / "a.npy", images)

    np.testing.assert_array_equal(MappedRows(tmp_path / "a.npy")[1:3], images[1:3])


def resident_mib(path: Path) -> float:
    """The pages of a mapped file that count as memory of this process."""
    entry = Path("/proc/self/smaps").read_text(encoding="utf-8").split(str(path))[1]
    match = re.search(r"^Rss:\s+(\d+) kB", entry, re.MULTILINE)
    assert match is not None
    return int(match[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux lists the memory of a process there")
def test_a_pass_over_a_file_does_not_end_with_the_file_in_memory(tmp_path: Path) -> None:
    path, count = tmp_path / "large.npy", 1024
    rows = np.zeros((1, 2**15), np.float32)  # 64 KiB in 16 bits
    mapped_rows.write_images(path, (count, 2**15), (rows for _ in range(count)))
    mapped = MappedRows(path)

    highest = 0.0
    for first in range(0, count, 32):
        assert len(mapped[first : first + 32]) == 32
        highest = max(highest, resident_mib(path))

    assert path.stat().st_size > 2**26
    assert highest <= 20


def test_images_as_stored_are_those_that_are_read_again(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((3, 7, 7), dtype=np.float32)
    images[0, 0, :2] = (0, 1)
    mapped_rows.write_images(tmp_path / "images.npy", images.shape, [images])
    assert np.array_equal(MappedRows(tmp_path / "images.npy")[:], mapped_rows.as_stored(images))
