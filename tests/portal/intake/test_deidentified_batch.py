"""The report of an import: counts by name, the same after a way through JSON, and no value of a header or a table."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from django.core.management import call_command

from portal.imaging.handled_elements import HANDLED, ElementOutcome, HandledElement, to_text
from portal.intake import deidentified_batch
from portal.intake.deidentified_batch import DeidentifiedBatch, from_json, to_csv
from portal.models import Upload
from tests.portal import factories
from tests.portal.intake.sources import published

NAME = HandledElement("(0010,0010)", "PatientName", ElementOutcome.REMOVED)
ROWS = HandledElement("(0028,0010)", "Rows", ElementOutcome.KEPT)


def batch_of(*files: list[HandledElement]) -> DeidentifiedBatch:
    batch = DeidentifiedBatch()
    for elements in files:
        batch.add({HANDLED: to_text(elements)}, "dicom")
    return batch


def test_elements_are_counted_by_film_and_say_what_the_profile_asks() -> None:
    counted = batch_of([NAME, ROWS], [ROWS]).counted()
    assert [(one.element.name, one.files, one.profile) for one in counted] == [("PatientName", 1, "Z"), ("Rows", 2, "")]


def test_there_and_back_and_on() -> None:
    batch = batch_of([NAME, ROWS])
    again = from_json(json.loads(json.dumps(batch.to_json())))
    assert again == batch
    again.add_earlier(batch.to_json())
    assert (again.files["DICOM"], again.elements[NAME]) == (2, 2)
    assert from_json({}) == DeidentifiedBatch()


def test_a_hostile_file_does_not_grow_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deidentified_batch, "MOST_ELEMENTS", 3)
    many = [HandledElement(f"({group:04X},xxxx)", "private", ElementOutcome.REMOVED) for group in range(9, 109, 2)]
    batch = batch_of(many, many)
    assert len(batch.elements) == 4
    assert batch.elements[HandledElement("", "other elements", ElementOutcome.REMOVED)] == 94


@pytest.mark.django_db
def test_import_images_stores_and_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    factories.dicom(folder / "a.dcm", seed=1, PatientName="Quagga^Jane", PatientID="zz4711")
    (tmp_path / "labels.csv").write_text("filename,label,surname\na.dcm,normal,Quagga\n")
    factories.site()
    call_command("import_images", folder, labels=tmp_path / "labels.csv", dataset="Normals", site="Seoul", processes=1)
    stored = Upload.objects.get().deidentification
    elements = {(one["name"], one["outcome"]): one["films"] for one in stored["elements"]}
    assert elements["PatientName", "removed"] == elements["PatientID", "replaced"] == elements["Rows", "kept"] == 1
    assert {one["column"]: one["outcome"] for one in stored["tables"][0]["columns"]} == {
        "filename": "kept",
        "label": "kept",
        "surname": "removed",
    }
    printed = capsys.readouterr().out
    assert "De-identification:\n  1 DICOM; of the elements of their headers: " in printed
    assert "labels.csv: removed: surname" in printed
    for text in (json.dumps(stored), printed, to_csv(from_json(stored))):
        assert "Quagga" not in text
        assert "zz4711" not in text
    rows = list(csv.DictReader(io.StringIO(to_csv(from_json(stored)))))
    assert {"part": "labels.csv", "name": "surname", "outcome": "removed"}.items() <= rows[-1].items()


@pytest.mark.django_db
def test_a_published_dataset_says_what_became_of_its_columns(tmp_path: Path) -> None:
    of = factories.dataset()
    folder = tmp_path / "set"
    folder.mkdir()
    factories.png(folder / "00000001_000.png", seed=1)
    columns = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position", "Follow-up #")
    row = ("00000001_000.png", "No Finding", "1", "47", "PA", "zz4711")
    published.write(folder / "Data_Entry_2017_v2020.csv", columns, [dict(zip(columns, row, strict=True))])
    (folder / "test_list.txt").write_text("00000001_000.png\n")
    report = published.run(of, "nih", folder)
    tables = {table.table: table.columns for table in report.deidentified.tables}
    fates = {one.column: one.outcome for columns in tables.values() for one in columns}
    assert fates["Patient ID"] == ElementOutcome.REPLACED
    assert fates["Follow-up #"] == fates["all of it"] == ElementOutcome.REMOVED
    stored = json.dumps(Upload.objects.get().deidentification)
    assert "zz4711" not in stored
    assert "00000001_000" not in stored
