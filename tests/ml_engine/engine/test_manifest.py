"""A user's CSV, its parts, and the manifest of a run folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_engine.engine import manifest
from ml_engine.engine.manifest import InvalidManifest, ManifestRow


def table(text: str, tmp_path: Path, encoding: str = "utf-8") -> list[dict[str, str]]:
    path = tmp_path / "films.csv"
    path.write_text(text, encoding=encoding)
    return manifest.read_csv(path)


def many(count: int, label: str = "normal", split: str = "train", prefix: str = "p") -> list[dict[str, str]]:
    return [
        {"filename": f"{prefix}{k}.png", "label": label, "patient_id": f"{prefix}{k}", "split": split}
        for k in range(count)
    ]


def parts(rows: list[ManifestRow]) -> dict[str, int]:
    return {part: sum(row.part == part for row in rows) for part in manifest.PARTS}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_reads_csv_as_spreadsheets_write_it(tmp_path: Path, separator: str, encoding: str) -> None:
    text = f"Filename{separator}label\r\na.png{separator} Normal \r\n\r\n"

    assert table(text, tmp_path, encoding) == [{"filename": "a.png", "label": "Normal", manifest.LINE: "2"}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("file,label\na.png,normal\n", "no column filename; its columns are file, label"),
        ("filename\n", "has a header line and no rows"),
        ("filename\na.png\nb.png\na.png\n", "Lines 2 and 4 of films.csv name the same film"),
        ("filename,label\na.png,sick\n", "Line 2 of films.csv: the label is 'sick'"),
        ("filename\n\n\n../a.png\n", "Line 4 of films.csv: the filename '../a.png' leads out of the folder"),
        ("filename\n/etc/passwd\n", "write a path inside --images"),
        ("filename,label\n,normal\n", "the filename is empty"),
        (f"filename\n{'a' * 256}.png\n", "longer than 255 bytes"),
        ("filename,label,label\na.png,normal,\n", "2 columns label: rename or delete all but one"),
        (
            "filename,finding,label\na.png,mass, left,normal\n",
            "has 4 values for 3 columns: put a value that holds",
        ),
        (f'filename\na.png\n"{"b" * 140_000}\n', "near line 3: most often a quotation mark"),
    ],
)
def test_an_invalid_csv_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidManifest, match=words):
        table(text, tmp_path)


def test_a_short_first_line_does_not_hide_the_columns_of_the_others(tmp_path: Path) -> None:
    rows = table("filename,patient_id,split,label\na.png,p1\nb.png,p2,test,abnormal\nc.png,p3,fit,normal\n", tmp_path)

    selection = manifest.for_fit(rows, preset="default", seed=0)

    assert [row.filename for row in selection.rows] == ["c.png"]
    assert selection.left_out == {"in no part": 1, "in the test part": 1}
    assert [row.filename for row in manifest.for_score(rows).rows] == ["b.png"]


def test_rows_left_out_are_counted_by_reason() -> None:
    rows = many(40) + many(2, "unsure", prefix="u") + many(3, "abnormal", split="validation", prefix="v")

    selection = manifest.for_fit(rows, preset="default", seed=0)

    assert selection.left_out == {"neither normal nor abnormal": 2, "in no part": 3}


def test_a_missing_or_binary_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="no file"):
        manifest.read_csv(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidManifest, match="is not UTF-8 text"):
        manifest.read_csv(tmp_path / "x.csv")


def test_paper_fits_on_all_of_train() -> None:
    selection = manifest.for_fit(many(40) + many(3, "normal", "test", "t"), preset="paper-448", seed=0)

    assert parts(selection.rows) == {"align": 0, "fit": 40, "tune": 0, "calibrate": 0, "test": 0}
    assert selection.left_out == {"in the test part": 3}


def test_default_draws_train_by_patient_and_seed() -> None:
    rows = many(100) + many(10, "abnormal", prefix="a")

    selection = manifest.for_fit(rows, preset="default", seed=1)

    assert parts(selection.rows) == {"align": 0, "fit": 70, "tune": 25, "calibrate": 15, "test": 0}
    assert all(row.part == "tune" for row in selection.rows if row.label == "abnormal")
    assert selection.rows == manifest.for_fit(rows, preset="default", seed=1).rows
    assert selection.rows != manifest.for_fit(rows, preset="default", seed=2).rows
    again = manifest.for_fit(rows[::-1], preset="default", seed=1)
    assert sorted(again.rows, key=lambda r: r.filename) == sorted(selection.rows, key=lambda r: r.filename)


def test_a_patients_films_stay_together_and_its_abnormal_ones_follow_only_into_tune() -> None:
    rows = [
        {"filename": f"{k}-{label}.png", "label": label, "patient_id": f"p{k}", "split": "train"}
        for k in range(40)
        for label in ("normal", "abnormal")
    ]

    selection = manifest.for_fit(rows, preset="default", seed=0)

    part_of = {row.patient: row.part for row in selection.rows if row.label == "normal"}
    abnormal = [row for row in selection.rows if row.label == "abnormal"]
    assert len(part_of) == 40
    assert {row.patient for row in abnormal} == {p for p, part in part_of.items() if part == "tune"}
    assert selection.left_out == {"abnormal, of a fit or calibrate patient": 34}


def test_abnormal_films_never_reach_fit_under_paper_either() -> None:
    selection = manifest.for_fit(many(5) + many(4, "abnormal", prefix="a"), preset="paper", seed=0)

    assert [row.label for row in selection.rows] == ["normal"] * 5
    assert sum(selection.left_out.values()) == 4


def test_part_names_are_taken_as_they_are_and_others_are_no_part() -> None:
    rows = many(3, split="fit") + many(2, split="calibrate", prefix="c") + many(2, "abnormal", "Tune", "t")
    rows += many(2, split="align", prefix="a") + many(4, split="boxed", prefix="x") + many(1, split="", prefix="y")

    selection = manifest.for_fit(rows, preset="default", seed=0)

    assert parts(selection.rows) == {"align": 2, "fit": 3, "tune": 2, "calibrate": 2, "test": 0}
    assert selection.left_out == {"in no part": 5}


@pytest.mark.parametrize("label", ["unsure", "exclude", ""])
def test_labels_that_are_neither_are_left_out(label: str) -> None:
    selection = manifest.for_fit(many(3, split="fit") + many(1, label, "fit", "u"), preset="default", seed=0)

    assert len(selection.rows) == 3
    assert selection.left_out == {"neither normal nor abnormal": 1}


def test_without_a_split_column_every_row_is_fit() -> None:
    rows = [{"filename": f"{k}.png"} for k in range(8)]

    for preset in ("default", "paper"):
        selection = manifest.for_fit(rows, preset=preset, seed=0)
        assert parts(selection.rows)["fit"] == 8
        assert selection.without_patient == 8


def test_a_row_without_patient_is_its_own() -> None:
    rows = [{"filename": f"{k}.png", "split": "train", "label": "normal"} for k in range(40)]

    selection = manifest.for_fit(rows, preset="default", seed=0)

    assert parts(selection.rows)["calibrate"] == 6
    assert len({row.patient for row in selection.rows}) == 40


@pytest.mark.parametrize("empty", ["NA", "NaN", "None", "null", "#N/A", "-"])
def test_words_for_nothing_are_empty_so_that_they_are_no_patient(tmp_path: Path, empty: str) -> None:
    text = f"filename,label,patient_id,split\na.png,normal,{empty},{empty}\nb.png,{empty},{empty},train\n-,normal,p,\n"
    rows = table(text, tmp_path)
    assert [(row["filename"], row["label"], row["patient_id"], row["split"]) for row in rows] == [
        ("a.png", "normal", "", ""),
        ("b.png", "", "", "train"),
        ("-", "normal", "p", ""),
    ]


def test_few_patients_leave_no_calibrate_part_of_one() -> None:
    assert parts(manifest.for_fit(many(8), preset="default", seed=0).rows)["calibrate"] == 0


@pytest.mark.parametrize(("first", "second"), [("train", "test"), ("fit", "tune"), ("align", "fit")])
def test_a_patient_in_two_parts_is_refused_without_naming_the_patient(first: str, second: str) -> None:
    rows = [
        {"filename": "a.png", "label": "normal", "patient_id": "Jane Doe", "split": first, manifest.LINE: "2"},
        {"filename": "b.png", "label": "normal", "patient_id": "Jane Doe", "split": second, manifest.LINE: "5"},
    ]

    with pytest.raises(InvalidManifest, match=f"Lines 2 and 5.*{first} and {second}") as refusal:
        manifest.for_fit(rows, preset="default", seed=0)
    assert "Jane" not in str(refusal.value)


def test_a_csv_without_normal_films_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="No normal film"):
        manifest.for_fit(many(3, "abnormal"), preset="default", seed=0)


def test_scoring_takes_the_test_rows_in_order_and_no_labels() -> None:
    rows = many(2) + many(3, "abnormal", "test", "t")

    selection = manifest.for_score(rows)

    assert [row.filename for row in selection.rows] == ["t0.png", "t1.png", "t2.png"]
    assert {row.label for row in selection.rows} == {""}
    assert selection.left_out == {"not in the test part": 2}


def test_scoring_takes_all_rows_without_a_split_column() -> None:
    assert len(manifest.for_score([{"filename": "a.png"}, {"filename": "b.png"}]).rows) == 2
    with pytest.raises(InvalidManifest, match="No row of the CSV has split test"):
        manifest.for_score(many(2))


def test_hashes_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    rows = [ManifestRow("a.png"), ManifestRow("gone.png")]

    hashed = manifest.with_hashes(rows, tmp_path)

    assert hashed[0].sha256 == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert hashed[1].sha256 == ""
    with pytest.raises(InvalidManifest, match="None of the 1 films"):
        manifest.with_hashes(rows[1:], tmp_path)


@pytest.mark.parametrize("with_labels", [True, False])
def test_the_manifest_comes_back_and_a_scoring_one_has_no_labels(tmp_path: Path, with_labels: bool) -> None:
    rows = [ManifestRow("a, b.png", "id", "hash", "p", "tune", "abnormal" if with_labels else "")]

    manifest.write(tmp_path / "images.csv", rows, with_labels=with_labels)

    assert manifest.read(tmp_path / "images.csv") == rows
    assert ("label" in (tmp_path / "images.csv").read_text()) == with_labels


def test_a_run_folder_without_films_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match=r"no images\.csv"):
        manifest.read(tmp_path / "images.csv")
    (tmp_path / "images.csv").write_text("image,filename\n")
    with pytest.raises(InvalidManifest, match="at least one row"):
        manifest.read(tmp_path / "images.csv")


@pytest.mark.parametrize(
    ("parts", "wanted"), [("align fit tune", ["a"]), ("fit fit tune", ["a", "b"]), ("tune align align", ["b", "c"])]
)
def test_an_alignment_is_fitted_on_align_and_on_fit_where_no_film_is_in_it(parts: str, wanted: list[str]) -> None:
    rows = [ManifestRow(name, part=part) for name, part in zip("abc", parts.split(), strict=True)]
    assert [row.filename for row in manifest.alignment_rows(rows)] == wanted
    assert manifest.alignment_part(row.part for row in rows) == ("align" if "align" in parts else "fit")
