"""Published tables are read row by row, packed or not, and refused with a sentence where they are damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from portal.intake.sources.published_table import open_published
from portal.intake.tables import InvalidCsv


def test_a_packed_table_is_read_like_a_plain_one(tmp_path: Path) -> None:
    text = '\ufeffname,report,\na.png,"two\nlines",\n\nb.png\n'
    (tmp_path / "plain").write_text(text)
    with gzip.open(tmp_path / "packed", "wt") as file:
        file.write(text)
    for name in ("plain", "packed"):
        table = open_published(tmp_path / name, "t.csv")
        assert table.header == ("name", "report", "")
        rows = list(table.rows())
        assert [(row["name"], row["report"]) for row in rows] == [("a.png", "two\nlines"), ("b.png", "")]


@pytest.mark.parametrize(
    "damaged", [b"\x1f\x8b\x08 not gzip at all", b"name\n\xff\xfe\xff", b"name\n" + b"a" * 200_000]
)
def test_a_damaged_table_is_refused(damaged: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(damaged)
    with pytest.raises(InvalidCsv, match=r"t\.csv is (damaged or no text|not valid CSV)"):
        list(open_published(tmp_path / "t.csv", "t.csv").rows())


def test_a_cut_gzip_is_refused(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("name\n" + "".join(f"{number}.png\n" for number in range(10_000)))
    whole = (tmp_path / "t.csv.gz").read_bytes()
    (tmp_path / "t.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidCsv, match="damaged or no text"):
        list(open_published(tmp_path / "t.csv.gz", "t.csv.gz").rows())
