"""The table of labels: what its columns and values mean. A wrong value costs its row, and a message names its line."""

from __future__ import annotations

import csv
import io
import random
import time
from pathlib import Path

import pytest

from portal.intake import csv_labels
from portal.intake.csv_columns import may_be_kept
from portal.intake.csv_labels import (
    ATTRIBUTES,
    Box,
    CsvRow,
    InvalidCsv,
    column_name,
    is_box_table,
    read_boxes,
    read_columns,
    read_labels,
)
from portal.intake.further_columns import ColumnKind
from portal.intake.mapping.meaning import TableKind, TableMapping
from portal.intake.tables import UnclearTable
from portal.labels.formula_cells import restored
from portal.models import NormalAttribute

HEADER = "filename,label,patient_id,projection,split,finding"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


def read(path: Path, text: str, encoding: str = "utf-8") -> dict[str, CsvRow]:
    path.write_bytes(text.encode(encoding))
    return read_labels(path)


def test_every_column_is_read(path: Path) -> None:
    row = read(path, f"{HEADER},source\na/b.png, Abnormal ,P-1,pa,Train,Nodule|Effusion,Site B\n")["a/b.png"]
    assert (row.filename, row.label, row.patient_id) == ("a/b.png", "abnormal", "P-1")
    assert (row.projection, row.split, row.findings) == ("PA", "train", ("Nodule", "Effusion"))
    assert (row.extra, row.left_out) == ({}, ("source",))


def test_attributes_of_normals_are_read_in_one_order(path: Path) -> None:
    rows = read(path, "filename,label,Attributes\nx.png,normal,Variant | device|\ny.png,abnormal,\n")
    assert [row.attributes for row in rows.values()] == [("device", "variant"), ()]
    assert tuple(NormalAttribute.values) == ATTRIBUTES


def test_a_column_of_filenames_is_enough(path: Path) -> None:
    row = read(path, "FileName\nx.dcm\n")["x.dcm"]
    assert row == CsvRow("x.dcm", columns=frozenset({"filename"}))


def test_short_and_blank_lines(path: Path) -> None:
    rows = read(path, f"{HEADER}\nx.png,normal\n\n,,,,,\ny.png,\n")
    assert {name: row.label for name, row in rows.items()} == {"x.png": "normal", "y.png": ""}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_with_and_without_a_byte_order_mark(path: Path, encoding: str) -> None:
    assert read(path, f"{HEADER}\nfilm 갑.png,normal,환자\n", encoding)["film 갑.png"].patient_id == "환자"


def test_windows_1252(path: Path) -> None:
    assert read(path, f"{HEADER}\nx.png,normal,Müller\n", "cp1252")["x.png"].patient_id == "Müller"


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiters_and_line_ends(path: Path, delimiter: str, newline: str) -> None:
    text = newline.join([HEADER, "x.png,normal,P,PA,train,A|B", ""]).replace(",", delimiter)
    assert read(path, text)["x.png"].findings == ("A", "B")


def test_formula_cells_stay_text(path: Path) -> None:
    row = read(path, f'{HEADER},note\nx.png,normal,=1+1,PA,,"=HYPERLINK(""http://a"",""b"")",@SUM(A1)\n')["x.png"]
    assert (row.patient_id, row.findings) == ("=1+1", ('=HYPERLINK("http://a","b")',))
    assert row.extra == {}


def test_quoted_cells_hold_delimiters_and_line_breaks(path: Path) -> None:
    row = read(path, f'{HEADER}\nx.png,normal,"a,b",PA,,"two\nlines"\n')["x.png"]
    assert (row.patient_id, row.findings) == ("a,b", ("two\nlines",))


def test_folders_as_windows_writes_them(path: Path) -> None:
    assert list(read(path, f"{HEADER}\nimages\\a.png,normal\n./b.png,normal\n")) == ["images/a.png", "b.png"]


def test_a_row_names_the_columns_that_the_csv_has(path: Path) -> None:
    assert read(path, "filename,label\nx.png,normal\n")["x.png"].columns == {"filename", "label"}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("PatientID", "patient_id"),
        ("Patient ID", "patient_id"),
        (" patient-id ", "patient_id"),
        ("Patient  Number", "patient_id"),
        ("Subject_ID", "patient_id"),
        ("File Name", "filename"),
        ("file", "filename"),
        ("Image-Path", "filename"),
        ("Image Index", "filename"),
        ("View Position", "projection"),
        ("ViewPosition", "projection"),
        ("Findings", "finding"),
        ("LABEL", "label"),
        ("Follow-up  Number", "follow_up_number"),
    ],
)
def test_a_column_is_recognised_in_every_spelling(header: str, name: str) -> None:
    assert column_name(header) == name


def test_a_patients_identifier_under_another_spelling_is_the_identifier(path: Path) -> None:
    row = read(path, "File Name,Label,PatientID,View Position\nx.png,normal,123,PA\n")["x.png"]
    assert (row.filename, row.patient_id, row.projection, row.extra) == ("x.png", "123", "PA", {})


IDENTIFYING = [
    *("Patient Name", "PatientName", "patientname", "name", "Surname", "Referring physician", "original_filename"),
    *("Birth date", "PatientBirthDate", "DOB", "patientDOB", "StudyDate", "study date", "date"),
    *("MRN", "patientmrn", "Medical record number", "Accession No.", "AccessionNumber", "Other Patient IDs"),
    *("Address", "Home-Phone", "telephone", "E-Mail", "email", "SSN", "zip", "Post Code", "StudyInstanceUID", "uid"),
]


OF_HOSPITALS = [
    *("MR No", "UHID", "cpr", "doctor", "Consultant", "mobile", "StudyTime", "Remarks", "ward", "source", "kVp", "BMI"),
]


@pytest.mark.parametrize("header", IDENTIFYING + OF_HOSPITALS)
def test_a_further_column_is_left_out_and_only_sex_and_age_are_read(path: Path, header: str) -> None:
    row = read(path, f"filename,{header},age,gender\nx.png,Zzyzxson,47,F\n")["x.png"]
    assert (row.extra, row.age_years, row.sex, len(row.left_out)) == ({}, "47", "F", 1)
    assert "Zzyzxson" not in repr(row)


@pytest.mark.parametrize("header", IDENTIFYING)
def test_a_column_that_may_identify_a_person_cannot_be_declared(header: str) -> None:
    assert not may_be_kept(header)


@pytest.mark.parametrize("age", ["unclear", "born 1931", "96, frail"])
def test_an_age_that_is_none_is_not_kept_as_it_is_written(path: Path, age: str) -> None:
    assert age not in repr(read(path, f'filename,age\nx.png,"{age}"\n')["x.png"])


def test_a_column_whose_name_may_be_a_persons_is_named_by_its_place(path: Path) -> None:
    """A table without a header: the first patient stands in the place of the names."""
    row = read(path, "filename,Zzyzxson Anna,Patient Name,1947-12-13\nx.png,a,b,c\n")["x.png"]
    assert row.left_out == ("column 2", "Patient Name", "column 4")


DECLARED = TableMapping(
    TableKind.LABELS,
    {"filename": "file"},
    {"BMI": ColumnKind.NUMBER, "age at scan": ColumnKind.NUMBER, "smoking": ColumnKind.CATEGORY},
)


def test_declared_columns_are_kept_as_numbers_and_categories(path: Path) -> None:
    values = ["never"] * 9 + ["Never"] + ["pipe 3 a day"] * 2
    rows = "".join(f"{n}.png,24.3{n}71,{80 + n},{value}\n" for n, value in enumerate(values))
    path.write_text(
        f'file,BMI,age at scan,smoking\n{rows}u.png,about 30,2024-01-31,"never"\n'.replace("pipe, ", "pipe ")
    )
    read = read_labels(path, mapping=DECLARED)
    assert dict(read["0.png"].extra) == {"bmi": "24.31", "age_at_scan": "80", "smoking": "never"}
    assert read["9.png"].extra["smoking"] == "never"
    assert [read[f"{n}.png"].extra["age_at_scan"] for n in (9, 10, 11)] == ["89", "90", "90"]
    assert read["11.png"].extra["smoking"] == "other (rare)"
    assert dict(read["u.png"].extra) == {"smoking": "never"}


@pytest.mark.parametrize("seed", range(20))
def test_values_are_the_same_after_writing_and_reading(path: Path, seed: int) -> None:
    """Any text in any column is unchanged, except for stripped ends, and for the apostrophe that an export writes
    before what a spreadsheet would calculate."""
    draw = random.Random(seed)
    alphabet = "abc ,;\t\"'=|@é갑\n"
    texts = ["".join(draw.choices(alphabet, k=draw.randint(0, 12))) for _ in range(10)]
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["filename", "label", "patient_id"])
    writer.writerows([f"{number}.png", "normal", text] for number, text in enumerate(texts))
    rows = read(path, buffer.getvalue())
    assert [rows[f"{number}.png"].patient_id for number in range(10)] == [restored(text.strip()) for text in texts]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no column 'filename'; its first line must name filename"),
        ("picture,label\nx.png,normal\n", "no column 'filename'"),
        (f"{HEADER}\n", "no rows below its header"),
        (f"{HEADER}\nx.png,normal\nx.png,abnormal\n", "line 3: line 2 names the same file with other values"),
        (f"{HEADER}\nx.png,Ok\ny.png,Healthy\n", "line 2: the label is unknown; write normal"),
        (f"{HEADER}\n,normal\n,unsure\n,abnormal\n", "The other 2 rows cannot be used either."),
        (
            "filename,label,attributes\nx.png,normal,pacemaker\n",
            "line 2: an attribute is unknown; write device, post",
        ),
        ("filename,label,attribute\nx.png,unsure,device\n", "line 2: only films with the label normal have attributes"),
        (f"{HEADER}\n,normal\n", "line 2: the file name is empty"),
        (f"{HEADER}\nx.png,normal,,,,,too,many\n", "line 2: more values than columns"),
        (f'{HEADER}\nx.png,"normal\n', "this is not valid CSV"),
        (f'{HEADER}\nx.png,"nor"mal\n', "this is not valid CSV"),
        ("filename,label,label\nx.png,normal,abnormal\n", "two columns for 'label'"),
        ("File name,filename\nx.png,x.png\n", "two columns for 'filename'"),
        ("filename,PatientID,patient_id\nx.png,1,2\n", "two columns for 'patient_id'"),
        (f"{HEADER}\n{'x' * 256},normal\n", "line 2: the file name has 256 characters"),
        (f"{HEADER}\nx.png,normal,a\0b\n", "neither UTF-8 nor Windows-1252"),
        (f"filename,{'x' * 200_000}\na.png,b\n", "this is not valid CSV"),
    ],
)
def test_an_invalid_table_is_refused(path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InvalidCsv) as refused:
        read(path, text)
    assert sentence in str(refused.value)
    assert "labels.csv" in str(refused.value)


@pytest.mark.parametrize(
    "line",
    [
        "x.png,Zzyzxson",
        "x.png,,Zzyzxson,,,,,Zzyzxson",
        "Zzyzxson,Zzyzxson\nZzyzxson,Zzyzxson",
        f"{'Zzyzxson' * 40},normal",
        'x.png,"Zzyzxson"Zzyzxson',
        'x.png,"Zzyzxson',
    ],
)
def test_no_refusal_quotes_a_possible_name(path: Path, line: str) -> None:
    with pytest.raises(InvalidCsv) as refused:
        read(path, f"{HEADER}\n{line}\n")
    assert "line" in str(refused.value)
    assert "Zzyzxson" not in str(refused.value)


def test_an_image_is_not_a_table(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x81\x8d")
    with pytest.raises(InvalidCsv, match="neither UTF-8"):
        read_labels(path)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(InvalidCsv, match=r"no CSV file labels\.csv"):
        read_labels(tmp_path / "labels.csv")


def test_a_huge_file_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.intake.tables.LARGEST_CSV", 10)
    with pytest.raises(InvalidCsv, match="larger than"):
        read(path, f"{HEADER}\nx.png,normal\n")


EMPTIES = ["NA", "N/A", "NaN", "nan", "None", "null", "NULL", "#N/A", "-", " - ", "<NA>", "\u2013"]


@pytest.mark.parametrize("empty", EMPTIES)
def test_words_for_nothing_are_empty_in_every_column(path: Path, empty: str) -> None:
    row = read(path, f"{HEADER},attributes\nx.png{f',{empty}' * 6}\n")["x.png"]
    assert row == CsvRow("x.png", columns=row.columns)


@pytest.mark.parametrize("value", ["0", "Nan A", "NAN-1", "none of it", "nil"])
def test_other_words_are_values(path: Path, value: str) -> None:
    assert read(path, f"filename,patient_id\nx.png,{value}\n")["x.png"].patient_id == value


@pytest.mark.parametrize(
    ("cell", "findings"),
    [
        ("Nodule|Effusion", ("Nodule", "Effusion")),
        ("Nodule; Effusion ;", ("Nodule", "Effusion")),
        ("['pleural effusion', 'cardiomegaly']", ("pleural effusion", "cardiomegaly")),
        ('["pleural effusion", "Kerley\'s lines"]', ("pleural effusion", "Kerley's lines")),
        ("['it\\'s']", ("it's",)),
        ("['a' 'b']", ("a", "b")),  # as numpy prints an array
        ("[nodule, mass]", ("nodule", "mass")),
        ("['normal']", ()),
        ("[]", ()),
        ("[nan]", ()),
        ("No Finding", ()),
        ("nodule, left", ("nodule, left",)),
    ],
)
def test_findings_are_split_as_tables_write_them(path: Path, cell: str, findings: tuple[str, ...]) -> None:
    quoted = cell.replace('"', '""')
    assert read(path, f'filename,label,finding\nx.png,abnormal,"{quoted}"\n')["x.png"].findings == findings


def test_the_published_table_of_nih_is_read(path: Path) -> None:
    """Its header has commas inside two names, and ends with one; rows invented."""
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    )
    rows = read(
        path,
        f"{header}\n9_000.png,No Finding,0,9,58,M,PA,2682,2749,0.143,0.143,\n"
        "8_001.png,Cardiomegaly|Effusion,1,8,61,F,AP,2500,2048,0.168,0.168,\n",
    )
    assert [row.findings for row in rows.values()] == [(), ("Cardiomegaly", "Effusion")]
    assert [row.patient_id for row in rows.values()] == ["9", "8"]
    # findings belong to a label; they stay beside the film
    assert rows["8_001.png"].extra["finding without a label"] == "Cardiomegaly|Effusion"
    assert "finding without a label" not in rows["9_000.png"].extra


def test_the_same_row_twice_is_one_row(path: Path) -> None:
    skipped: list[str] = []
    path.write_text("filename,label\nx.png,normal\ny.png,normal\nx.png,normal\n")
    assert (list(read_labels(path, skipped)), skipped) == (["x.png", "y.png"], [])


def test_of_rows_that_contradict_each_other_none_is_used(path: Path) -> None:
    skipped: list[str] = []
    path.write_text("filename,label\nx.png,normal\ny.png,normal\nx.png,abnormal\nx.png,normal\n")
    assert list(read_labels(path, skipped)) == ["y.png"]
    assert skipped == [
        "labels.csv, line 4: line 2 names the same file with other values; neither is used, keep one row for each file"
    ]


def test_a_wrong_value_costs_its_row(path: Path) -> None:
    lines = ["x.png,normal", "y.png,Zzyzxson", ",normal", "z.png,normal,,,,,Zzyzxson", 'u.png,"nor"mal', "v.png,"]
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    skipped: list[str] = []
    assert list(read_labels(path, skipped)) == ["x.png", "v.png"]
    assert [reason.split(":")[0] for reason in skipped] == [f"labels.csv, line {line}" for line in (3, 4, 5, 6)]
    assert "(it has the shape AAAAAAAA)" in skipped[0]
    assert "zzyzxson" not in repr(skipped).lower()


@pytest.mark.parametrize(
    "header",
    ["Labels", "Target", "class", "class_name", "Diagnosis", "image label", "Ground-Truth", "dx", "Diagnose", "Befund"],
)
def test_a_column_that_may_be_the_label_is_a_question(path: Path, header: str) -> None:
    with pytest.raises(InvalidCsv) as refused:
        read(path, f"filename,{header}\nx.png,1\n")
    assert f"no column 'label', but its column {header!r} may hold the labels. Name it label" in str(refused.value)
    with pytest.raises(InvalidCsv) as refused:
        read(path, "filename,Zzyzxson\nx.png,normal\n")
    assert "its column number 2 may hold the labels" in str(refused.value)
    assert "add an empty column label" in str(refused.value)
    assert read(path, f"filename,{header},label\nx.png,1,\n")["x.png"].label == ""


@pytest.mark.parametrize(("value", "is_question"), [("o.B.", True), ("No finding", True), ("mild", False)])
def test_a_column_with_a_word_for_normal_is_a_question(path: Path, value: str, is_question: bool) -> None:
    text = f"filename,outcome2\nx.png,{value}\ny.png,effusion\n"
    if is_question:
        with pytest.raises(UnclearTable, match="its column number 2 may hold the labels"):
            read(path, text)
    else:
        assert len(read(path, text)) == 2
    many = "".join(f"{n}.png,text {n}\n" for n in range(40))
    assert len(read(path, f"filename,outcome2\nx.png,{value}\n{many}")) == 41  # free text


def test_words_of_the_label_column_that_repeat_are_a_question_and_a_slip_is_not(path: Path) -> None:
    text = "filename,label\na,normal\nb,Zzyzxson\nc,tb\n"
    skipped: list[str] = []
    path.write_text(text)
    assert list(read_labels(path, skipped)) == ["a"]
    assert len(skipped) == 2
    with pytest.raises(UnclearTable, match=r"labels other than normal.*: 1 different, in 2 rows") as unclear:
        read(path, text + "d,TB\n")
    assert "tb" not in str(unclear.value).lower().replace("table", "")
    with pytest.raises(UnclearTable, match=r"1 different, in 1 row\. Write one of the four"):
        read(path, "filename,label\na,Zzyzxson\n")


def test_a_column_of_labels_under_any_name_is_a_question(path: Path) -> None:
    with pytest.raises(InvalidCsv, match="its column 'Befund' may hold the labels"):
        read(path, "filename,Befund\nx.png,Normal\ny.png,\nz.png,abnormal\n")
    assert len(read(path, "filename,Güte\nx.png,gut\ny.png,mittel\n")) == 2


@pytest.mark.parametrize("header", ["image_id", "dicom_id"])
def test_second_names_of_a_file_count_where_there_is_no_first(path: Path, header: str) -> None:
    assert list(read(path, f"{header},label\nx,normal\n")) == ["x"]
    assert list(read(path, f"{header},filename\n7,x.png\n")) == ["x.png"]


def test_an_index_column_of_pandas_is_not_kept(path: Path) -> None:
    row = read(path, "Unnamed: 0,filename\n0,x.png\n")["x.png"]
    assert (row.extra, row.left_out) == ({}, ())


# boxes ----------------------------------------------------------------------------------------------------


def boxes(path: Path, *lines: str) -> dict[str, tuple[Box, ...]]:
    path.write_text("\n".join(["filename,x,y,width,height,finding,annotation", *lines]) + "\n")
    return read_boxes(path)


def test_boxes_of_a_film_keep_their_order(path: Path) -> None:
    read = boxes(path, "a.png,1,2.5,3,4,nodule,NIH", "b.png,0,0,9,9", "a.png,5,6,7,8")
    assert read == {
        "a.png": (Box(1, 2.5, 3, 4, "nodule"), Box(5, 6, 7, 8)),
        "b.png": (Box(0, 0, 9, 9),),
    }


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("a.png,one,0,1,1", "line 2: x is not a valid number; enter a number of pixels (it has the shape AAA)."),
        ("a.png,nan,0,1,1", "line 2: x is not a valid number; enter a number of pixels (it is empty)."),
        ("a.png,0,inf,1,1", "line 2: y is not a valid number"),
        ("a.png,0,0,0,1", "line 2: width is not a valid number; enter a number of pixels above 0."),
        ("a.png,0,0,1,-2", "line 2: height is not a valid number"),
        ("a.png,0,0,1", "line 2: height is not a valid number"),
        (",0,0,1,1", "line 2: the file name is empty"),
    ],
)
def test_an_invalid_box_is_refused(path: Path, line: str, sentence: str) -> None:
    with pytest.raises(InvalidCsv) as refused:
        boxes(path, line)
    assert "'" not in str(refused.value)  # no value is quoted
    assert sentence in str(refused.value)


def test_reading_beats_and_limits_the_boxes_of_a_film(path: Path) -> None:
    beats: list[int] = []
    path.write_text("filename,x,y,width,height\n" + "".join(f"{n // 500}.png,1,2,3,4\n" for n in range(2000)))
    assert len(read_boxes(path, beat=lambda: beats.append(1))) == 4
    assert len(beats) == 2
    path.write_text("filename,x,y,width,height\n" + "a.png,1,2,3,4\n" * 501)
    with pytest.raises(InvalidCsv, match="line 502: a file has more than 500 boxes; check that"):
        read_boxes(path)
    path.write_text("filename,label\n" + "".join(f"{n}.png,normal\n" for n in range(3000)))
    read_labels(path, beat=lambda: beats.append(1))
    assert len(beats) == 2 + 3


def test_boxes_need_their_columns(path: Path) -> None:
    path.write_text("filename,x,y,breadth,h\n")
    with pytest.raises(InvalidCsv, match="no column 'width'"):
        read_boxes(path)


def test_columns_distinguish_a_table_of_boxes(path: Path) -> None:
    path.write_text("Filename;X;y;width;height\n")
    assert read_columns(path) == ["filename", "x", "y", "width", "height"]


def test_decimal_commas_where_a_comma_is_no_delimiter(path: Path) -> None:
    path.write_text("filename;x;y;width;height;finding\ns.png;10,5;12,25;8,0;6,5;disc\n")
    assert read_boxes(path) == {"s.png": (Box(10.5, 12.25, 8, 6.5, "disc"),)}


@pytest.mark.parametrize("text", ["1,024", "1.024,5", "1,2,3"])
def test_a_number_that_can_be_read_in_two_ways_is_not_guessed(path: Path, text: str) -> None:
    with pytest.raises(InvalidCsv, match="x is not a valid number"):
        boxes(path, f'a.png,"{text}",0,1,1')


def test_rows_without_coordinates_say_that_there_is_no_box(path: Path) -> None:
    """As the published tables of VinDr (corners) and RSNA (sizes) have them."""
    assert boxes(path, "a.png,NaN,,nan,", "b.png,1,2,3,4") == {"a.png": (), "b.png": (Box(1, 2, 3, 4),)}
    path.write_text(
        "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"
        "a,No finding,14,R1,,,,\nb,Cardiomegaly,3,R2,10,20,30.5,60\n"
    )
    assert is_box_table(path)
    skipped: list[str] = []
    assert read_boxes(path, skipped) == {"a": (), "b": (Box(10, 20, 20.5, 40, "Cardiomegaly"),)}
    assert skipped == []


def test_corners_the_wrong_way_round_are_no_box(path: Path) -> None:
    path.write_text("filename,x1,y1,x2,y2\na.png,10,20,5,60\n")
    with pytest.raises(InvalidCsv, match="x_max is not a valid number; enter a number of pixels above x_min"):
        read_boxes(path)


def test_the_published_boxes_of_nih_are_read(path: Path) -> None:
    path.write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\n1_0.png,Nodule,10.5,20,30,40,,,\n")
    assert is_box_table(path)
    assert read_boxes(path) == {"1_0.png": (Box(10.5, 20, 30, 40, "Nodule"),)}


def test_a_wrong_box_costs_its_row(path: Path) -> None:
    path.write_text("filename,x,y,width,height\na.png,1,2,3,4\na.png,one,2,3,4\nb.png,1,2,3,\n")
    skipped: list[str] = []
    assert read_boxes(path, skipped) == {"a.png": (Box(1, 2, 3, 4),), "b.png": ()}
    assert [reason.split(":")[0] for reason in skipped] == ["labels.csv, line 3", "labels.csv, line 4"]


@pytest.mark.slow
def test_a_hundred_thousand_boxes_of_a_film_are_read_in_seconds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """29 s with a copy of the film's boxes at each row; about 1 s now."""
    monkeypatch.setattr(csv_labels, "MOST_BOXES", 100_000)
    path.write_text("filename,x,y,width,height,finding\n" + "a.png,1,2,3,4,m\n" * 100_000)
    start = time.process_time()
    assert len(read_boxes(path)["a.png"]) == 100_000
    assert time.process_time() - start < 10


# of an export of labels -------------------------------------------------------------------------------------


def test_readers_of_a_film_are_one_row_with_their_readings(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "filename,label,finding,reader_code,label_origin\n"
        "a.png,normal,,R8,reader\na.png,abnormal,nodule,R9,reader\na.png,abnormal,nodule,R9,reader\n"
        "b.png,normal,,R8,reader\nb.png,abnormal,nodule,R8,reader\n"
    )
    skipped: list[str] = []
    rows = read_labels(path, skipped)
    assert [(each.reader, each.label, each.findings) for each in rows["a.png"].readings] == [
        ("R8", "normal", ()),
        ("R9", "abnormal", ("nodule",)),
    ]
    assert (rows["a.png"].label, rows["a.png"].origin) == ("", "reader")
    assert "b.png" not in rows  # one reader cannot say two things


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("reader_code", "Dr. Kim", "the reader is not a code; write one such as R10"),
        ("label_origin", "hearsay", "write software, report or reader"),
    ],
)
def test_a_reader_by_name_and_an_unknown_origin_cost_their_row(
    column: str, value: str, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"filename,label,{column}\na.png,normal,{value}\nb.png,normal,\n")
    skipped: list[str] = []
    assert list(read_labels(path, skipped)) == ["b.png"]
    assert sentence in skipped[0]
    assert value not in skipped[0]
