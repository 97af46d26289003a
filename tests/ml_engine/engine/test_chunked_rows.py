"""Arrays that are written in chunks: what is whole is kept, what is not is written again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_engine.core import files
from ml_engine.engine import chunked_rows
from ml_engine.engine.chunked_rows import ArrayPlan, ChunkedRows, kind_of_journal

ROWS = np.arange(30, dtype=np.float32).reshape(10, 3)
LOGITS = np.linspace(-1, 1, 10)
PLANS = {"rows.npy": ArrayPlan((10, 3), "<f4"), "logits.npy": ArrayPlan((10,), "<f8")}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_rows, "CHUNK", 2)


def write(folder: Path, *, to: int, key: str = "", plans: dict[str, ArrayPlan] | None = None) -> list[int]:
    """Write up to row ``to``, and finish where that is the last. Returns the rows that were written now."""
    with ChunkedRows(folder, "maps", plans or PLANS, key=key) as written:
        rows = list(range(written.done, to))
        for row in rows:
            parts = {"rows.npy": ROWS[row : row + 1], "logits.npy": LOGITS[row : row + 1]}
            written.add(parts, {"names": [f"film {row}"], "odd": [row] if row % 2 else []})
            if written.is_chunk_full:
                written.end_chunk()
        if to == len(ROWS):
            written.finish()
            assert written.kept == {"names": [f"film {row}" for row in range(10)], "odd": [1, 3, 5, 7, 9]}
    return rows


def assert_whole(folder: Path) -> None:
    """The bytes are those of an array that was written at once."""
    for name, array in (("rows.npy", ROWS), ("logits.npy", LOGITS)):
        files.write_npy(folder / "expected.npy", array)
        assert (folder / name).read_bytes() == (folder / "expected.npy").read_bytes()
    assert not list(folder.glob("*.unfinished"))


def test_uninterrupted_they_are_the_arrays(tmp_path: Path) -> None:
    assert write(tmp_path, to=10) == list(range(10))
    assert_whole(tmp_path)


def test_it_goes_on_after_the_last_whole_chunk(tmp_path: Path) -> None:
    write(tmp_path, to=7)  # three chunks, and a row
    assert write(tmp_path, to=9) == [6, 7, 8]
    assert write(tmp_path, to=10) == [8, 9]
    assert_whole(tmp_path)


@pytest.mark.parametrize("name", ["rows.npy", "logits.npy"])
def test_a_chunk_with_other_bytes_is_written_again_with_all_that_follow(tmp_path: Path, name: str) -> None:
    write(tmp_path, to=8)
    path = tmp_path / f"{name}.unfinished"
    data = bytearray(path.read_bytes())
    row_bytes = PLANS[name].row_bytes
    data[-3 * row_bytes] ^= 1  # in the third of four chunks
    path.write_bytes(data)
    assert write(tmp_path, to=10) == [4, 5, 6, 7, 8, 9]
    assert_whole(tmp_path)


def test_a_chunk_that_is_cut_off_is_written_again(tmp_path: Path) -> None:
    write(tmp_path, to=8)
    path = tmp_path / "rows.npy.unfinished"
    path.write_bytes(path.read_bytes()[:-5])
    assert write(tmp_path, to=10) == [6, 7, 8, 9]
    assert_whole(tmp_path)


def test_half_a_line_of_the_journal_does_not_count(tmp_path: Path) -> None:
    write(tmp_path, to=8)
    path = tmp_path / "maps.chunks.jsonl"
    path.write_text(path.read_text()[:-9])
    assert write(tmp_path, to=10) == [6, 7, 8, 9]
    assert_whole(tmp_path)


def test_a_missing_file_begins_anew(tmp_path: Path) -> None:
    write(tmp_path, to=8)
    (tmp_path / "logits.npy.unfinished").unlink()
    assert write(tmp_path, to=10) == list(range(10))
    assert_whole(tmp_path)


def test_another_key_or_format_begins_anew(tmp_path: Path) -> None:
    write(tmp_path, to=8, key="cpu")
    assert kind_of_journal(tmp_path, "maps", "rows.npy") == "<f4"
    assert write(tmp_path, to=8, key="cuda") == list(range(8))
    single = PLANS | {"logits.npy": ArrayPlan((10,), "<f4")}
    assert write(tmp_path, to=4, key="cuda", plans=single) == list(range(4))
    assert write(tmp_path, to=10) == list(range(10))
    assert_whole(tmp_path)


def test_killed_after_its_end_and_before_its_mark_nothing_is_done_twice(tmp_path: Path) -> None:
    write(tmp_path, to=10)
    (tmp_path / "logits.npy").rename(tmp_path / "logits.npy.unfinished")  # between the two names
    assert write(tmp_path, to=10) == []
    assert_whole(tmp_path)


def test_rows_of_before_can_be_read_again(tmp_path: Path) -> None:
    write(tmp_path, to=5)
    with ChunkedRows(tmp_path, "maps", PLANS) as written:
        np.testing.assert_array_equal(written.whole_rows("rows.npy"), ROWS[:4])
        np.testing.assert_array_equal(written.whole_rows("logits.npy"), LOGITS[:4])
    assert write(tmp_path, to=10) == list(range(4, 10))
    assert_whole(tmp_path)


def test_rows_that_are_missing_are_a_bug(tmp_path: Path) -> None:
    with ChunkedRows(tmp_path, "maps", PLANS) as written:
        with pytest.raises(ValueError, match="0 rows were written where 10 were expected"):
            written.finish()
        with pytest.raises(ValueError, match=r"a part of shape \(1, 4\) does not fit"):
            written.add({"rows.npy": np.zeros((1, 4)), "logits.npy": np.zeros(1)})
        with pytest.raises(ValueError, match="rows of"):
            written.add({"rows.npy": ROWS[:1]})


def test_no_journal_has_no_format(tmp_path: Path) -> None:
    assert kind_of_journal(tmp_path, "maps", "rows.npy") == ""
