"""A draft of what columns mean, by names and values; what is in doubt is left open."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.intake.mapping.facts import read_facts
from portal.intake.mapping.guesses import guess_mapping
from portal.intake.mapping.meaning import TableMapping, check_mapping


def guess(tmp_path: Path, text: str, *files: str) -> TableMapping:
    path = tmp_path / "t.csv"
    path.write_text(text)
    return guess_mapping(read_facts(path), files)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("Pfad,Diagnose,subject\na.png,o.B.,1\n", {"filename": "Pfad", "label": "Diagnose", "patient_id": "subject"}),
        ("Image Index,dx,Befund\na.png,1,x\n", {"filename": "Image Index", "label": "dx", "finding": "Befund"}),
        ("Path,View,split\na/b,PA,fit\n", {"filename": "Path", "projection": "View", "split": "split"}),
        ("nr,what,sees\n1,a.png,normal\n", {"filename": "what", "label": "sees"}),
        ("id,path\nx,a.png\n", {"filename": "path"}),
        ("a,x,y,w,h,class\na.dcm,1,2,3,4,mass\n", dict(zip(["x", "y", "width", "height"], "xywh", strict=True))
         | {"filename": "a", "finding": "class"}),
    ],
)  # fmt: skip
def test_columns_by_name_and_value(tmp_path: Path, text: str, columns: dict[str, str]) -> None:
    assert guess(tmp_path, text).columns == columns


def test_the_column_that_names_the_files_of_the_upload(tmp_path: Path) -> None:
    mapping = guess(tmp_path, "key,other\nfilm1,p1\nfilm2,p2\n", "films/FILM1.png", "films/film2.png")
    assert mapping.columns == {"filename": "key"}
    assert mapping.keep == {}


def test_words_are_guessed_and_numbers_are_not(tmp_path: Path) -> None:
    mapping = guess(tmp_path, "file,dx,PatientName\na,Normal,Z\nb,TB,Z\nc,unklar,Z\nd,1,Z\ne,whatever,Z\n")
    assert mapping.labels == {"normal": "normal", "tb": "abnormal", "unklar": "unsure"}
    assert mapping.keep == {}


def test_a_column_of_many_values_is_no_label(tmp_path: Path) -> None:
    text = "file,diagnosis\n" + "".join(f"{n}.png,text {n}\n" for n in range(40))
    assert guess(tmp_path, text).columns == {"filename": "file"}


def test_a_recognised_table_is_its_own_mapping(tmp_path: Path) -> None:
    text = "filename,label,finding,patient_id\na.png,normal,,1\nb.png,abnormal,mass,2\n"
    mapping = guess(tmp_path, text)
    check_mapping(mapping, read_facts(tmp_path / "t.csv"))
    assert mapping.columns == {name: name for name in ("filename", "label", "finding", "patient_id")}
    assert mapping.labels == {"normal": "normal", "abnormal": "abnormal"}
