"""A CSV of landmarks: the parsed values, and the refusal of each fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_engine.core.alignment.landmarks import InvalidLandmarks
from ml_engine.engine.landmarks import Mark, by_row, read, text_of
from ml_engine.engine.manifest import ManifestRow

ROWS = [ManifestRow("a.png", image="id-a"), ManifestRow("b.png", image="id-b")]


def saved(folder: Path, text: str) -> Path:
    path = folder / "marks.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_landmarks_are_read_in_order(tmp_path: Path) -> None:
    marks = read(saved(tmp_path, "filename,name,x,y\nb.png,carina,3.5,4\na.png,carina, 1 ,2e1\n"))
    assert marks == [Mark("b.png", "carina", 3.5, 4.0, 2), Mark("a.png", "carina", 1.0, 20.0, 3)]


def test_another_delimiter_and_the_image_id_are_accepted(tmp_path: Path) -> None:
    marks = read(saved(tmp_path, "\ufeffX;Y;Name;Image\n1;2;apex;id-b\n"))
    assert [[mark.name for mark in film] for film in by_row(marks, ROWS)] == [[], ["apex"]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,x,y\ncarina,1,2\n", "marks.csv has no column filename: it needs"),
        ("filename,name,x\na.png,carina,1\n", "marks.csv has no column y: it needs"),
        ("filename,name,x,y\n", "marks.csv holds no landmarks"),
        ("filename,name,x,y\na.png,carina,1,2\na.png,carina,3,4\n", "Lines 2 and 3 .* the landmark carina of one film"),
        ("filename,name,x,y\na.png,carina,1,two\n", "Line 2 .* has 'two' for a coordinate: write x and y as numbers"),
        ("filename,name,x,y\na.png,carina,nan,2\n", "Line 2 .* has 'nan' for a coordinate"),
        ("filename,name,x,y\na.png,carina,1\n", "Line 2 .* has '' for a coordinate"),
        ("filename,name,x,y\n,carina,1,2\n", "Line 2 .* has no filename: fill it in"),
        ("filename,name,x,y\na.png,,1,2\n", "Line 2 .* has no name: fill it in"),
    ],
)
def test_a_bad_csv_is_refused_by_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InvalidLandmarks, match=sentence):
        read(saved(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLandmarks, match=r"is not a readable UTF-8 text file: check --landmarks"):
        read(tmp_path / "none.csv")


def test_an_unknown_film_is_refused() -> None:
    with pytest.raises(InvalidLandmarks, match=r"Line 7 of the landmarks names the film 'c\.png'.*among the 2 films"):
        by_row([Mark("c.png", "carina", 1, 2, 7)], ROWS)


def test_a_run_takes_the_landmarks_of_its_films_only(tmp_path: Path) -> None:
    marks = [Mark("id-b", "carina", 1 / 3, 2), Mark("c.png", "carina", 5, 6), Mark("a.png", "apex", 7, 8)]
    path = tmp_path / "landmarks.csv"
    path.write_bytes(text_of(marks, ROWS))
    assert read(path) == [Mark("a.png", "apex", 7.0, 8.0, 2), Mark("b.png", "carina", 1 / 3, 2.0, 3)]
