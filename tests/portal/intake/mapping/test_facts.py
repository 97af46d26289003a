"""What a table holds: its columns, first rows and values with counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.intake.mapping import facts
from portal.intake.mapping.facts import distinct_names, read_facts


def test_columns_first_rows_and_values(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = [f"{n}.png,{'Normal' if n % 3 else 'TB'},NA" for n in range(14)]
    path.write_text("\n".join(["Pfad,dx,dx", *lines, "", "a,b,c,d,e", "x.png,normal,"]) + "\n")
    of_table = read_facts(path)
    assert of_table.columns == ("Pfad", "dx", "dx (2)")
    assert (of_table.rows, len(of_table.first_rows)) == (15, 10)
    assert of_table.first_rows[0] == ("0.png", "TB", "")
    assert list(of_table.values_of("dx").counts.items()) == [("Normal", 10), ("TB", 5)]
    assert of_table.values_of("dx (2)").counts == {}


def test_a_column_of_very_many_values_is_counted_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "MOST_VALUES", 3)
    path = tmp_path / "t.csv"
    path.write_text("file,label\n" + "".join(f"{n}.png,a\n" for n in range(4)))
    of_table = read_facts(path)
    assert (len(of_table.values_of("file").counts), of_table.values_of("file").is_complete) == (3, False)
    assert of_table.values_of("label").is_complete


def test_distinct_names() -> None:
    assert distinct_names(["", "x", "x", "x (2)", "X"]) == ("column 1", "x", "x (2)", "x (2) (2)", "X")
