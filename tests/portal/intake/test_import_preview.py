"""The count before an import is what the import then does, for new films and for films that are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from portal.intake.column_questions import answer, open_question
from portal.intake.import_preview import MappingPreview
from portal.intake.mapping.meaning import TableMapping, mapping_of_json
from portal.models import Dataset, Image, LabelEvent, Patient, Upload, User
from portal.people import blinding
from tests.portal import factories
from tests.portal.intake.sent import TABLE, worked_on

pytestmark = [pytest.mark.django_db]
Send = Callable[..., Upload]


def preview(upload: Upload, mapping: TableMapping) -> MappingPreview:
    with open_question(upload) as question:
        return question.preview({table.key: mapping for table in question.tables})


def test_the_counts_are_those_of_the_import(waiting: Upload, ann: User, mapping: TableMapping) -> None:
    counts = preview(waiting, mapping)
    assert counts == answer(upload=waiting, mappings={"t.csv": mapping}, patients="table", author=ann)
    done = worked_on(waiting)
    labels = Counter(LabelEvent.objects.values_list("value", flat=True))
    assert counts.labels == labels == {"normal": 2, "abnormal": 1}
    assert (counts.films, counts.there, counts.rows) == (done.counts["imported"], 0, 4)
    assert counts.without_file == done.counts["missing"] == 1
    assert counts.patients == Patient.objects.count() == 2
    findings = Counter(finding for event in LabelEvent.objects.all() for finding in event.findings)
    assert counts.findings == findings == {"Erguss": 1, "Knoten": 1}
    known = [sentence for sentence in counts.sentences if sentence.split(" (")[0] in done.message]
    assert known == list(counts.sentences) != []


def test_rows_that_cannot_be_used_and_columns_that_are_left_out_are_counted(send: Send, mapping: TableMapping) -> None:
    table = TABLE.replace("Alter", "PatientName").replace("x/c.png", "").replace("x/gone", "b/b")
    upload = send({"t.csv": table})
    mapping = replace(mapping, columns={name: at for name, at in mapping.columns.items() if name != "age"})
    counts = preview(upload, mapping)
    assert (counts.films, counts.without_file) == (2, 1)
    assert any("1 row of a table skipped" in sentence and "line 4" in sentence for sentence in counts.sentences)
    assert any(
        "1 column of the CSV left out" in sentence and "(PatientName)" in sentence for sentence in counts.sentences
    )
    assert "1 file skipped, because the CSV does not list it" in counts.sentences


def test_patients_in_several_spellings_and_films_without_one(send: Send, mapping: TableMapping) -> None:
    table = "Pfad,Diagnose,Fallnummer\nx/a.png,o.B.,12.0\nx/b.png,o.B.,12\nx/c.png,o.B.,NA\n"
    upload = send({"t.csv": table})
    by_mapping = replace(
        mapping,
        columns={name: column for name, column in mapping.columns.items() if name != "age"},
        labels={"o.b.": "normal"},
    )
    counts = preview(upload, by_mapping)
    assert (counts.patients, counts.without_patient) == (1, 1)


def test_films_that_are_there_are_counted_as_the_import_labels_them(of: Dataset, send: Send, ann: User) -> None:
    films = [factories.film(of, original_name=f"x/{name}.png") for name in "abcd"]
    factories.film(of, original_name="y/d.png")
    blinding.open_for(person=ann, images=films[1:2], source=uuid4(), words="the worklist Tuesday", days=1)
    uuid = str(films[0].uuid)
    table = f"Pfad,image,dx\nx/a.png,{uuid},1\nx/b.png,,1\nx/c.png,,0\nd.png,,1\nnone.png,,1\n"
    upload = send({"t.csv": table}, films=(), check_columns=True)
    mapping = mapping_of_json(
        {"columns": {"filename": "Pfad", "label": "dx"}, "labels": {"0": "normal", "1": "abnormal"}}, "t.csv"
    )
    counts = preview(upload, mapping)
    assert (counts.films, counts.there, counts.without_file) == (0, 2, 1)
    assert counts.labels == {"abnormal": 1, "normal": 1}  # not those of the film that is read blinded
    answer(upload=upload, mappings={"t.csv": mapping}, patients="table", author=ann)
    done = worked_on(upload)
    assert (done.counts["labelled"], done.counts["missing"], done.counts["ambiguous names"]) == (2, 1, 1)
    assert [sentence for sentence in done.message.split("; ") if "blinded" in sentence] == [
        sentence for sentence in counts.sentences if "blinded" in sentence
    ]
    assert done.counts["read blinded"] == 1


def test_a_mapping_that_matches_nothing(waiting: Upload) -> None:
    counts = preview(waiting, mapping_of_json({"columns": {"filename": "Alter"}}, "t.csv"))
    assert counts.matches_nothing
    assert not Image.objects.exists()
