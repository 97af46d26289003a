"""Arrays on disk in 16 bits."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from ml_engine.core import files, stored_rows
from ml_engine.core.stored_rows import StoredRows


def test_images_are_read_again_to_a_hundredth_of_a_gray_level_of_eight_bits(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((5, 4, 4), dtype=np.float32)
    images[0, 0, :2] = (0, 1)
    stored_rows.write_images(tmp_path / "a.npy", images.shape, [images[:2], images[2:]])

    rows = StoredRows(tmp_path / "a.npy")

    assert (len(rows), rows.shape) == (5, (5, 4, 4))
    assert (tmp_path / "a.npy").stat().st_size < 2 * images.size + 200
    again = rows[:]
    assert again.dtype == np.float32
    assert tuple(again[0, 0, :2]) == (0, 1)
    assert np.abs(again - images).max() <= 1 / 255 / 100
    np.testing.assert_array_equal(rows[3], again[3])
    np.testing.assert_array_equal(rows[np.array([4, 0])], again[[4, 0]])
    stored_rows.write_images(tmp_path / "b.npy", images.shape, [again])
    np.testing.assert_array_equal(StoredRows(tmp_path / "b.npy")[:], again)  # written again, they do not change


def test_images_may_keep_all_digits(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    stored_rows.write_images(tmp_path / "a.npy", images.shape, [images], is_half=False)
    np.testing.assert_array_equal(StoredRows(tmp_path / "a.npy")[:], images)


def test_single_precision_of_an_earlier_version_is_read_as_it_is(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((5, 4, 4), dtype=np.float32)
    files.write_npy(tmp_path / "a.npy", images)

    np.testing.assert_array_equal(StoredRows(tmp_path / "a.npy")[1:3], images[1:3])


def mapped_mib() -> float:
    """The pages of mapped files, on a disk or in memory, that count as memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return sum(int(size) for size in re.findall(r"^Rss(?:File|Shmem):\s+(\d+) kB", status, re.MULTILINE)) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux lists the memory of a process there")
def test_neither_a_pass_over_a_file_nor_scattered_rows_bring_it_into_memory(tmp_path: Path) -> None:
    path, count = tmp_path / "large.npy", 1024
    zeros = np.zeros((1, 2**16), np.float32)  # 128 KiB in 16 bits
    stored_rows.write_images(path, (count, 2**16), (zeros for _ in range(count)))
    rows = StoredRows(path)
    highest = before = mapped_mib()
    for first in range(0, count, 32):
        assert len(rows[first : first + 32]) == 32
        assert len(rows[np.arange(first // 32, count, 32)]) == 32
        highest = max(highest, mapped_mib())
    assert path.stat().st_size > 2**27
    assert highest - before <= 16


@pytest.mark.parametrize("gap", [0, 48, 2**14])
def test_rows_in_any_order_are_those_of_the_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: int) -> None:
    monkeypatch.setattr(stored_rows, "BYTES_AT_ONCE", 100)
    monkeypatch.setattr(stored_rows, "GAP_BYTES", gap)
    array = np.random.default_rng(0).random((50, 3, 4)).astype(np.float16)
    files.write_npy(tmp_path / "a.npy", array)
    rows = StoredRows(tmp_path / "a.npy")
    some = np.array([3, 4, 5, 49, 0, 0, -1, 7, 9, 10, 13, 20])
    np.testing.assert_array_equal(rows[some], array[some].astype(np.float32))
    np.testing.assert_array_equal(rows[40:4:-3], array[40:4:-3].astype(np.float32))
    assert rows[some[:0]].shape == (0, 3, 4)
    with pytest.raises(IndexError):
        rows[np.array([50])]


def test_a_file_that_was_cut_off_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    files.write_npy(path, np.zeros((50, 8), np.float16))
    rows = StoredRows(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 20)
    assert len(rows[:48]) == 48
    with pytest.raises(OSError, match=r"a\.npy ends within row 48"):
        rows[:]


def test_images_as_stored_are_those_that_are_read_again(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((3, 7, 7), dtype=np.float32)
    images[0, 0, :2] = (0, 1)
    stored_rows.write_images(tmp_path / "images.npy", images.shape, [images])
    assert np.array_equal(StoredRows(tmp_path / "images.npy")[:], stored_rows.as_stored(images))
