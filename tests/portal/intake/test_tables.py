"""Tables as spreadsheets and programs write them: dialects of text, and workbooks."""

from __future__ import annotations

import datetime
import time
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.styles import numbers

from portal.intake import tables
from portal.intake.csv_columns import is_known
from portal.intake.csv_labels import CsvRow, InvalidCsv, read_boxes, read_labels
from portal.intake.tables import clean, is_table, read_table, value_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


def labels_of(rows: dict[str, CsvRow]) -> dict[str, str]:
    return {name: row.label for name, row in rows.items()}


TWO = {"s1.png": "normal", "s2.png": "abnormal"}
DIALECTS = {
    "sep line": "sep=;\nfilename;label\ns1.png;normal\ns2.png;abnormal\n",
    "sep line in quotes": '"SEP=\t"\r\nfilename\tlabel\r\ns1.png\tnormal\r\ns2.png\tabnormal\r\n',
    "sep line with a delimiter that is not tried": "sep=|\nfilename|label\ns1.png|normal\ns2.png|abnormal\n",
    "sep line of another program, with delimiters after it": "sep=,,\nfilename,label\ns1.png,normal\ns2.png,abnormal\n",
    "trailing delimiter": "filename,label\ns1.png,normal,\ns2.png,abnormal,\n",
    "trailing delimiter in the header too": "filename;label;\ns1.png;normal;\ns2.png;abnormal;\n",
    "header one short, index of R": '"filename" "label"\n"1" "s1.png" "normal"\n"2" "s2.png" "abnormal"\n'.replace(
        " ", "\t"
    ),
    "blank first line": "\nfilename,label\ns1.png,normal\ns2.png,abnormal\n",
    "blank first lines of a spreadsheet": ",,\r\n;;\r\nfilename,label,\r\ns1.png,normal,\r\ns2.png,abnormal,\r\n",
    "commas in a quoted header": 'filename;label;"remarks (side, lobe, other)"\ns1.png;normal;a\ns2.png;abnormal;b\n',
    "commas in a header": "filename;label;remarks (side, lobe, size, other)\ns1.png;normal;a\ns2.png;abnormal;b\n",
    "line break in a quoted header": '"filename","label","note\n(a; b, c)"\ns1.png,normal,a\ns2.png,abnormal,b\n',
    "index column": ",filename,label\n0,s1.png,normal\n1,s2.png,abnormal\n",
    "index column of pandas": "Unnamed: 0,filename,label\n0,s1.png,normal\n1,s2.png,abnormal\n",
    "all in quotes, Windows": '"filename";"label"\r\n"s1.png";"Normal "\r\n"s2.png";"ABNORMAL"\r\n',
    "line ends of old Macs": "filename,label\rs1.png,normal\rs2.png,abnormal\r",
    "marks and no-break spaces": (
        "\u200bfile\u00a0name\ufeff,\u2060label\u202f\n\u202as1.png\u202c,normal\u00a0\ns2\u200b.png,\u200dabnormal\n"
    ),
    "tabs": "label\tfilename\nnormal\ts1.png\nabnormal\ts2.png\n",
}


@pytest.mark.parametrize("text", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_dialect_gives_two_films_with_labels(path: Path, text: str, encoding: str) -> None:
    path.write_bytes(text.encode(encoding))
    assert labels_of(read_labels(path)) == TWO


def test_a_byte_order_mark_before_windows_1252_and_one_before_another(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbffilename,finding,label\nx.png,M\xfcller,abnormal\n")
    assert read_labels(path)["x.png"].findings == ("Müller",)
    path.write_bytes("\ufeff\ufefffilename,label\ns1.png,normal\ns2.png,abnormal\n".encode())
    assert labels_of(read_labels(path)) == TWO


@pytest.mark.parametrize("text", ["filename|label\ns1.png|normal\n", "filename label\ns1.png normal\n"])
def test_other_delimiters_are_refused_with_a_sentence(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(InvalidCsv, match="no column 'filename'; its first line must name filename"):
        read_labels(path)


def test_utf_16_without_a_mark_is_refused_with_a_sentence(path: Path) -> None:
    path.write_bytes("filename,label\ns1.png,normal\n".encode("utf-16-le"))
    with pytest.raises(InvalidCsv, match="neither UTF-8 nor Windows-1252"):
        read_labels(path)


def test_a_quote_that_is_not_closed_costs_its_line_only(path: Path) -> None:
    lines = [f"{number}.png,normal" for number in range(2_000)]
    lines[1], lines[5] = '1.png,"normal', '5.png,"normal'
    path.write_text("\n".join(["filename,label", *lines]))
    skipped: list[str] = []
    rows = read_labels(path, skipped)
    assert len(rows) == 1_998
    assert [reason.split(":")[0] for reason in skipped] == ["labels.csv, line 3", "labels.csv, line 7"]
    assert all("this is not valid CSV" in reason for reason in skipped)


def test_many_open_quotes_end_in_a_refusal_soon(path: Path) -> None:
    path.write_text("filename,label\n" + 'x.png,"a"b\ny.png,"normal\n' * 50_000)
    start = time.process_time()
    with pytest.raises(InvalidCsv, match="close each quote, or write the table again without them"):
        read_labels(path)
    assert time.process_time() - start < 10


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_read_in_seconds(path: Path) -> None:
    rows = (f"d/{number}.png,normal,P{number % 999},PA,a|b,NaN,\u00e9" for number in range(100_000))
    path.write_text("filename,label,patient_id,projection,finding,note,site\n" + "\n".join(rows), encoding="utf-8")
    start = time.process_time()
    assert len(read_labels(path)) == 100_000
    assert time.process_time() - start < 15


def test_a_table_of_too_many_rows_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_ROWS", 3)
    path.write_text("filename\n" + "".join(f"{number}.png\n" for number in range(4)))
    with pytest.raises(InvalidCsv, match="more than 3 rows; split it into several files"):
        read_labels(path)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("\u00a0a\u00a0b\u200b ", "a b"), ("\ufeffx", "x"), ("a\u200cb\u200c", "a\u200cb"), ("plain ", "plain")],
)
def test_cleaned_text(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_an_invisible_cell_is_empty() -> None:
    assert [value_of(cell) for cell in ("\u200b", "\u00a0", "N\u200bA", "#n/a ", "0", "false")] == [""] * 4 + [
        "0",
        "false",
    ]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("a/Labels.CSV", True),
        ("l.tsv", True),
        ("l.xlsx", True),
        ("a/~$l.xlsx", False),
        ("l.xls", False),
        ("csv", False),
    ],
)
def test_tables_are_known_by_their_ending(name: str, is_one: bool) -> None:
    assert is_table(name) is is_one


# workbooks ------------------------------------------------------------------------------------------------


def book(path: Path, *sheets: list[list[Any]]) -> Path:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for rows in sheets:
        sheet = made.create_sheet()
        for row in rows:
            sheet.append(row)
    made.save(path.with_suffix(".xlsx"))
    return path.with_suffix(".xlsx")


def test_a_workbook_is_read_as_it_is_shown(path: Path) -> None:
    made = openpyxl.Workbook()
    sheet = made.active
    sheet.append(["File\u00a0name", "Label", "Patient ID", "taken", "dose", "smoker", "note"])
    sheet.append(["a.png", "Normal", 12, datetime.date(2020, 1, 2), 0.25, True, "=1+1"])
    sheet.append(["b.png", "abnormal", 12, None, 3.0, None, "#N/A"])
    sheet["C2"].number_format = "00000"
    sheet["C3"].number_format = numbers.FORMAT_NUMBER
    made.save(path.with_suffix(".xlsx"))
    rows = read_labels(path.with_suffix(".xlsx"))
    shown = [row.cells for row in read_table(path.with_suffix(".xlsx"), is_known).rows]
    assert labels_of(rows) == {"a.png": "normal", "b.png": "abnormal"}
    assert [row.patient_id for row in rows.values()] == ["00012", "12"]
    assert list(shown[0][3:6]) == ["2020-01-02", "0.25", "True"]
    assert list(shown[1][3:6]) == ["", "3", ""]


def test_lines_of_a_workbook_are_the_rows_of_its_sheet(path: Path) -> None:
    skipped: list[str] = []
    read = read_labels(book(path, [[], ["filename", "label"], ["a.png", "normal"], [], ["b.png", "odd"]]), skipped)
    assert (list(read), skipped[0].split(":")[0]) == (["a.png"], "labels.xlsx, line 5")


def test_the_sheet_with_the_known_columns_is_the_table(path: Path) -> None:
    notes = [["Legend"], ["label: what we think"]]
    films = [["filename", "label"], ["s1.png", "normal"], ["s2.png", "abnormal"]]
    assert labels_of(read_labels(book(path, notes, films, []))) == TWO
    with pytest.raises(InvalidCsv, match="2 sheets that may be the table; keep one of them"):
        read_labels(book(path, films, films))


def test_boxes_of_a_workbook(path: Path) -> None:
    read = read_boxes(book(path, [["filename", "x", "y", "width", "height"], ["a.png", 1, 2.5, "3,5", 4.0], ["b.png"]]))
    assert [(box.x, box.y, box.width, box.height) for box in read["a.png"]] == [(1, 2.5, 3.5, 4)]
    assert read["b.png"] == ()


def test_a_workbook_without_cells_and_a_damaged_one_are_refused(path: Path) -> None:
    with pytest.raises(InvalidCsv, match="no sheet with cells"):
        read_labels(book(path, []))
    path.with_suffix(".xlsx").write_bytes(b"filename,label\n")
    with pytest.raises(InvalidCsv, match=r"labels\.xlsx is damaged or no Excel workbook; save the table as CSV"):
        read_labels(path.with_suffix(".xlsx"))


def rewritten(source: Path, part: str, change: Any) -> Path:
    """The workbook with one part of its XML changed."""
    target = source.with_name("changed.xlsx")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name == part else data)
    return target


SHEET = "xl/worksheets/sheet1.xml"


def test_a_workbook_whose_rows_lie_about_their_number_ends_soon(path: Path) -> None:
    made = book(path, [["filename"], ["a.png"]])
    lying = rewritten(made, SHEET, lambda xml: xml.replace(b'<row r="2"', b'<row r="99999999999"'))
    start = time.process_time()
    with pytest.raises(InvalidCsv, match=r"more than 1,048,576 rows"):
        read_labels(lying)
    assert time.process_time() - start < 20


def test_a_workbook_that_expands_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = book(path, [["filename"], ["a.png"]])
    grown = rewritten(made, SHEET, lambda xml: xml.replace(b"<sheetData>", b" " * 30_000 + b"<sheetData>"))
    monkeypatch.setattr(tables, "LARGEST_CSV", 25_000)
    with pytest.raises(InvalidCsv, match=r"Unpacked, changed\.xlsx is larger than"):
        read_labels(grown)


def test_entities_that_multiply_are_refused(path: Path) -> None:
    layers = b"".join(b'<!ENTITY a%d "%s">' % (layer, b"&a%d;" % (layer - 1) * 10) for layer in range(1, 10))
    start = b'<!DOCTYPE x [<!ENTITY a0 "ha">' + layers + b"]>"
    made = book(path, [["filename"], ["a.png"]])
    bomb = rewritten(made, SHEET, lambda xml: start + xml.replace(b"<sheetData>", b"<sheetData>&a9;"))
    with pytest.raises(InvalidCsv, match="damaged or no Excel workbook"):
        read_labels(bomb)


def test_a_table_names_itself_and_how_commas_in_numbers_read(path: Path) -> None:
    path.write_text("filename;x\na.png;1\n")
    table = read_table(path, lambda name: name == "filename")
    assert (table.name, table.header, table.decimal_comma) == ("labels.csv", ("filename", "x"), True)
    assert [(row.line, list(row.cells)) for row in table.rows] == [(2, ["a.png", "1"])]
