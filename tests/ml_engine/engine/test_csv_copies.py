"""Films that a CSV names twice: one is used, whatever the names of files and patients."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_engine.engine import csv_copies, manifest
from ml_engine.engine.csv_copies import keep_one
from ml_engine.engine.manifest import InvalidManifest

# a film is named by the content of its file
ROWS = {
    "a.png": ("A", "one", "train", "normal"),
    "b.png": ("B", "two", "train", "normal"),
    "c.png": ("C", "three", "test", "normal"),
}


def table_of(folder: Path, rows: dict[str, tuple[str, str, str, str]]) -> list[dict[str, str]]:
    for name, (content, *_) in rows.items():
        if content:
            (folder / name).write_text(content)
    lines = [",".join((name, *cells)) for name, (_, *cells) in rows.items()]
    (folder / "films.csv").write_text("\n".join(["filename,patient_id,split,label", *lines]))
    return manifest.read_csv(folder / "films.csv")


def kept(folder: Path, **rows: tuple[str, str, str, str]) -> tuple[list[str], dict[str, int]]:
    more = {f"{name}.png": row for name, row in rows.items()}
    left, reasons = keep_one(table_of(folder, ROWS | more), folder)
    return [row["filename"] for row in left], reasons


def test_a_csv_without_copies_is_unchanged(tmp_path: Path) -> None:
    table = table_of(tmp_path, ROWS)
    once, left_out = keep_one(table, tmp_path)
    assert [{key: row[key] for key in table[0]} for row in once] == table
    assert left_out == {}
    assert manifest.for_fit(once, preset="default", seed=3).rows[0].sha256 == once[0][manifest.HASH] != ""
    for preset in ("paper", "default"):
        plain = manifest.for_fit(table, preset=preset, seed=3).rows
        again = manifest.for_fit(once, preset=preset, seed=3).rows
        assert [(row.filename, row.part, row.patient) for row in plain] == [
            (row.filename, row.part, row.patient) for row in again
        ]


def test_one_copy_is_kept(tmp_path: Path) -> None:
    names, left_out = kept(tmp_path, d=("A", "one", "train", "normal"))
    assert (names, left_out) == (["a.png", "b.png", "c.png"], {"further copy of a film": 1})


def test_a_film_of_test_is_not_fitted_on_nor_are_others_of_the_patient(tmp_path: Path) -> None:
    more = {"d": ("C", "one", "train", "normal"), "e": ("E", "one", "train", "normal")}
    names, left_out = kept(tmp_path, **more)
    assert names == ["b.png", "c.png"]
    assert left_out == {"of a patient who shares a film with one in test": 3}


def test_patients_who_share_a_film_are_drawn_as_one(tmp_path: Path) -> None:
    rows = {f"{n}.png": (f"film {n}", f"p{n}", "train", "normal") for n in range(20)}
    rows["twin.png"] = ("film 3", "p7", "train", "normal")
    once, _ = keep_one(table_of(tmp_path, rows), tmp_path)
    for seed in range(10):
        parts = {row.filename: row.part for row in manifest.for_fit(once, preset="default", seed=seed).rows}
        assert parts["3.png"] == parts["7.png"]


def test_copies_with_two_labels_are_all_left_out(tmp_path: Path) -> None:
    names, left_out = kept(tmp_path, d=("A", "one", "train", "abnormal"))
    assert (names, left_out) == (["b.png", "c.png"], {"copy of a film with another label": 2})
    rows = {"a.png": ROWS["a.png"], "d.png": ("A", "one", "train", "abnormal")}
    with pytest.raises(InvalidManifest, match="Every film of the CSV is named twice, with two labels"):
        keep_one(table_of(tmp_path, rows), tmp_path)


def test_the_copy_with_part_and_label_is_kept_and_missing_files_are_no_copies(tmp_path: Path) -> None:
    rows = {"n.png": ("X", "x", "", ""), "x.png": ("X", "x", "train", "normal")}
    rows |= {"gone.png": ("", "g", "train", "normal"), "lost.png": ("", "h", "train", "normal")}
    once, left_out = keep_one(table_of(tmp_path, rows), tmp_path)
    assert [row["filename"] for row in once] == ["x.png", "gone.png", "lost.png"]
    assert left_out == {"further copy of a film": 1}


def test_a_single_patient_in_two_parts_is_still_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="hold films of one patient in two parts"):
        kept(tmp_path, d=("D", "one", "test", "normal"))


def test_reasons_are_counted_with_those_of_the_selection(tmp_path: Path) -> None:
    once, left_out = keep_one(table_of(tmp_path, ROWS | {"d.png": ("A", "one", "train", "normal")}), tmp_path)
    selection = csv_copies.with_reasons(manifest.for_fit(once, preset="paper", seed=0), left_out)
    assert selection.left_out == {"in the test part": 1, "further copy of a film": 1}
