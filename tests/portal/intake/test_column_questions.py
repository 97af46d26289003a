"""A table that is not clear waits for a person; the answer starts the import, and a discard removes the file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.exceptions import PermissionDenied
from django.core.serializers import serialize
from django.utils import timezone

from portal import tasks
from portal.intake import zip_uploads
from portal.intake.column_questions import answer, discard, open_question, require_answer
from portal.intake.mapping.meaning import InvalidMapping, TableKind, TableMapping
from portal.intake.zip_uploads import InvalidUpload, zip_path
from portal.models import AuditEvent, ColumnMapping, Dataset, Image, Role, Upload, User
from portal.people import blinding
from tests.portal import factories
from tests.portal.intake.sent import TABLE, worked_on

pytestmark = [pytest.mark.both, pytest.mark.django_db]
Send = Callable[..., Upload]


def test_an_unknown_table_waits_and_nothing_is_lost(waiting: Upload) -> None:
    assert waiting.state == "mapping"
    assert "t.csv has no column 'filename'" in waiting.message
    assert zip_path(waiting).exists()
    assert not Image.objects.exists()
    Upload.objects.update(heartbeat_at=timezone.now() - timedelta(days=3))
    tasks.resume_uploads()
    zip_uploads.sweep()
    assert worked_on(waiting).state == "mapping"


def test_a_sweep_keeps_the_zip_of_a_waiting_upload(waiting: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_uploads, "SECONDS_UNTIL_SWEPT", -1.0)
    zip_uploads.sweep()
    assert zip_path(waiting).exists()


def test_the_question_shows_the_table_and_a_draft(waiting: Upload) -> None:
    with open_question(waiting) as question:
        (table,) = question.tables
        assert (table.key, table.facts.rows, table.remembered) == ("t.csv", 4, None)
        assert table.facts.first_rows[1] == ("x/b.png", "Erguss|Knoten", "Zzyzxson", "51")
        columns = {"filename": "Pfad", "label": "Diagnose", "patient_id": "Fallnummer", "age": "Alter"}
        assert table.draft.columns == columns
        assert table.draft.labels == {"o.b.": "normal", "unklar": "unsure"}
        folder = table.path
    assert not folder.exists()
    assert [path.name for path in zip_path(waiting).parent.iterdir()] == [zip_path(waiting).name]


def test_an_answer_imports_by_the_mapping(waiting: Upload, ann: User, mapping: TableMapping) -> None:
    answer(upload=waiting, mappings={"t.csv": mapping}, patients="table", author=ann)
    assert (waiting.state, waiting.message) == ("received", "")
    assert worked_on(waiting).state == "done", waiting.message
    today = timezone.now().date()
    assert waiting.message.endswith(f"; columns of t.csv read as ann said on {today}.")
    films = {film.original_name: film for film in Image.objects.select_related("current_label", "patient")}
    labels = {name: (film.current_label.value, film.current_label.findings) for name, film in films.items()}
    assert labels == {
        "x/a.png": ("normal", []),
        "x/b.png": ("abnormal", ["Erguss", "Knoten"]),
        "x/c.png": ("normal", []),
    }
    assert films["x/a.png"].patient == films["x/b.png"].patient != films["x/c.png"].patient
    event = AuditEvent.objects.get(verb="map columns")
    assert event.actor == ann
    assert event.after["tables"] == [
        {
            "kind": "labels",
            "fields": ["age", "filename", "finding", "label", "patient_id"],
            "kept": {},
            "values": {"normal": 1, "abnormal": 1, "unsure": 1},
            "other_values": None,
        }
    ]


def test_the_tables_words_are_in_no_row_and_no_log(
    waiting: Upload, ann: User, mapping: TableMapping, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with open_question(waiting):
        pass
    answer(upload=waiting, mappings={"t.csv": mapping}, patients="table", author=ann)
    stored = serialize("json", [*Upload.objects.all(), *AuditEvent.objects.all(), *ColumnMapping.objects.all()])
    for word in ("Zzyzxson", "Quirina", "Erguss", "Fallnummer", "Diagnose"):
        assert word not in stored + caplog.text


def test_an_answer_that_leaves_something_open_changes_nothing(
    waiting: Upload, ann: User, mapping: TableMapping
) -> None:
    wrong = [
        ({"t.csv": replace(mapping, labels={})}, "table", "'o.B.' of the column 'Diagnose' has no meaning yet"),
        ({}, "table", r"says nothing about t\.csv"),
        ({"t.csv": mapping, "u.csv": mapping}, "table", r"no table 'u\.csv'; its tables are t\.csv"),
        ({"t.csv": mapping}, "both", "counts for patients is 'both'; choose table or header"),
        (
            {"t.csv": TableMapping(TableKind.LABELS, {"filename": "Alter"})},
            "table",
            "No row would name a file of this upload",
        ),
    ]
    for mappings, patients, sentence in wrong:
        with pytest.raises(InvalidMapping, match=sentence):
            answer(upload=waiting, mappings=mappings, patients=patients, author=ann)
    waiting.refresh_from_db()
    assert (waiting.state, ColumnMapping.objects.count()) == ("mapping", 0)


def test_of_two_answers_one_counts(waiting: Upload, ann: User, mapping: TableMapping) -> None:
    other = Upload.objects.get(pk=waiting.pk)
    answer(upload=waiting, mappings={"t.csv": mapping}, patients="table", author=ann)
    with pytest.raises(InvalidUpload, match="does not wait any more"):
        answer(upload=other, mappings={"t.csv": mapping}, patients="table", author=ann)
    with pytest.raises(InvalidUpload, match="does not wait any more"):
        discard(upload=other, author=ann)
    assert AuditEvent.objects.filter(verb="map columns").count() == 1


def test_a_discard_removes_the_file(
    waiting: Upload, ann: User, django_capture_on_commit_callbacks: Callable[..., object]
) -> None:
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
        discard(upload=waiting, author=ann)
    assert (waiting.state, waiting.message) == ("discarded", "Discarded by ann; nothing was imported.")
    assert waiting.finished_at is not None
    assert not zip_path(waiting).exists()
    assert AuditEvent.objects.get(verb="discard upload").after == {"upload": str(waiting.uuid)}
    assert worked_on(waiting).state == "discarded"


def test_the_next_table_of_these_columns_needs_no_answer(
    waiting: Upload, ann: User, mapping: TableMapping, send: Send
) -> None:
    answer(upload=waiting, mappings={"t.csv": mapping}, patients="table", author=ann)
    worked_on(waiting)
    again = send({"next.csv": TABLE.replace("o.B.", "O.B.")})
    assert (again.state, again.counts["there already"]) == ("done", 3)
    assert "columns of next.csv read as ann said on" in again.message


def test_a_value_that_was_not_there_then_is_a_question(
    waiting: Upload, ann: User, mapping: TableMapping, send: Send
) -> None:
    answer(upload=waiting, mappings={"t.csv": mapping}, patients="table", author=ann)
    worked_on(waiting)
    again = send({"t.csv": TABLE.replace("unklar", "Zzyzxson")})
    assert again.state == "mapping"
    assert "values in its column of labels that were not there then" in again.message
    assert "Zzyzxson" not in again.message
    with open_question(again) as question:
        assert question.tables[0].remembered is not None
        assert question.tables[0].draft.columns == mapping.columns
        assert dict(question.tables[0].draft.labels) == {"o.b.": "normal", "erguss|knoten": "abnormal"}
    labels = {**mapping.labels, "zzyzxson": "unsure"}
    answer(upload=again, mappings={"t.csv": replace(mapping, labels=labels)}, patients="table", author=ann)
    assert worked_on(again).state == "done"
    assert send({"t.csv": TABLE}).state == "done"  # what the first table said is not forgotten


def test_a_table_is_checked_first_where_the_person_wants_it(send: Send, ann: User, published: list[str]) -> None:
    known = "filename,label,finding\nx/a.png,normal,\nx/b.png,abnormal,mass\n"
    upload = send({"t.csv": known}, check_columns=True)
    assert (upload.state, upload.message) == (
        "mapping",
        "t.csv waits, as its columns are to be checked first; say what they mean.",
    )
    with open_question(upload) as question:
        drafts = {table.key: table.draft for table in question.tables}
    answer(upload=upload, mappings=drafts, patients="table", author=ann)
    assert worked_on(upload).counts == {"imported": 2, "not in the CSV": 1}
    assert send({}, check_columns=True).state == "done"  # there is no table


def test_whose_patient_counts(of: Dataset, ann: User, tmp_path: Path, send: Send) -> None:
    for name, choice in (("1.dcm", "table"), ("2.dcm", "header")):
        film = factories.dicom(tmp_path / name, seed=ord(name[0]), PatientID="H-1")
        table = f"filename,label,patient_id\n{name},normal,T-1\n"
        upload = send({name: film, "t.csv": table}, films=(), patients=choice)  # type: ignore[dict-item]
        assert upload.state == "done", upload.message
        assert f"those of the {'table' if choice == 'table' else 'headers'} were taken" in upload.message
    assert of.images.values("patient").distinct().count() == 2
    third = factories.dicom(tmp_path / "3.dcm", seed=3, PatientID="H-1")
    send({"3.dcm": third}, films=())  # type: ignore[dict-item]
    patients = list(of.images.order_by("pk").values_list("patient", flat=True))
    assert patients[1] == patients[2] != patients[0]


def test_a_table_that_is_left_aside(send: Send, ann: User, mapping: TableMapping) -> None:
    upload = send({"t.csv": TABLE, "u.csv": "a,b\n1,2\n"})
    aside = TableMapping(TableKind.ASIDE)
    answer(upload=upload, mappings={"t.csv": mapping, "u.csv": aside}, patients="table", author=ann)
    assert worked_on(upload).counts["tables left aside"] == 1
    upload = send({"t.csv": TABLE, "u.csv": TABLE.replace("x/", "")})
    assert (upload.state, upload.message.split(";")[0]) == ("failed", "The zip holds two label tables")


def test_two_tables_of_the_same_columns_have_one_mapping(send: Send, ann: User, mapping: TableMapping) -> None:
    upload = send({"t.csv": TABLE, "u.csv": TABLE})
    mappings = {"t.csv": mapping, "u.csv": TableMapping(TableKind.ASIDE)}
    with pytest.raises(InvalidMapping, match=r"u\.csv has the same columns as another table"):
        answer(upload=upload, mappings=mappings, patients="table", author=ann)
    with pytest.raises(InvalidMapping, match="two label tables"):
        answer(upload=upload, mappings={**mappings, "u.csv": mapping}, patients="table", author=ann)


def test_who_may_answer(waiting: Upload, ann: User, mapping: TableMapping) -> None:
    site = waiting.dataset.site
    require_answer(waiting, ann)
    require_answer(waiting, factories.user("bea", Role.CURATOR, at=site))
    reader = factories.user("ray", Role.READER, at=site)
    for act in (
        lambda: answer(upload=waiting, mappings={"t.csv": mapping}, patients="table", author=reader),
        lambda: discard(upload=waiting, author=reader),
    ):
        with pytest.raises(PermissionDenied, match="you need one of these roles: curator, manager"):
            act()


def test_another_persons_table_is_closed_to_who_reads_blinded(waiting: Upload, ann: User) -> None:
    film = factories.film(waiting.dataset)
    bea = factories.user("bea", Role.CURATOR, at=waiting.dataset.site)
    for person in (ann, bea):
        blinding.open_for(person=person, images=[film], source=uuid4(), words="the worklist Tuesday", days=1)
    require_answer(waiting, ann)
    with pytest.raises(PermissionDenied, match="Another person sent this table, and it may hold labels of films"):
        require_answer(waiting, bea)
