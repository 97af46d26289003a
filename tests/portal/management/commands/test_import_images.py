"""`manage.py import_images`: folders and tables from the command line."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from portal.intake import films
from portal.intake.csv_labels import SPLIT_WORDS
from portal.intake.deidentified_batch import HEADING
from portal.intake.patient_identifiers import PatientSource
from portal.models import AuditEvent, ColumnMapping, Dataset, Image, Part, Patient, Role, Upload
from portal.retention.retiring import retire
from tests.portal import factories
from tests.portal.corrected import export

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    factories.site("Seoul")
    factories.png(tmp_path / "films" / "a.png", seed=1)
    factories.png(tmp_path / "films" / "b.png", seed=2)
    return tmp_path / "films"


MISSING = "1 file listed in the CSV is neither in this import nor in the dataset"


def run(folder: Path | None, **options: Any) -> str:
    output = StringIO()
    call_command(
        "import_images",
        *([folder] if folder else []),
        **{"dataset": "D", "site": "Seoul", **options},
        stdout=output,
        stderr=StringIO(),
    )
    return output.getvalue().partition(HEADING)[0]  # the report that follows: tests/portal/intake


def test_a_folder_becomes_a_dataset(folder: Path) -> None:
    assert run(folder) == "2 films imported\n"
    dataset = Dataset.objects.get()
    assert (dataset.name, dataset.site.name, dataset.images.count()) == ("D", "Seoul", 2)
    assert AuditEvent.objects.filter(verb="make dataset").count() == 1
    assert Upload.objects.get().state == "done"


def test_a_retired_dataset_takes_no_films(folder: Path) -> None:
    retire(target=factories.dataset("D"), reason="superseded", author=factories.user("boss", Role.MANAGER))
    with pytest.raises(CommandError, match="The dataset “D” was retired on"):
        run(folder)
    assert not Upload.objects.exists()


def test_a_csv_without_a_folder_labels_films_that_are_there(folder: Path, tmp_path: Path) -> None:
    rows = [{"filename": "a.png", "label": "normal"}, {"filename": "b.png", "label": "normal"}]
    run(folder, labels=factories.table(tmp_path / "l.csv", *rows))
    rows[1]["label"] = "abnormal"
    labels = factories.table(tmp_path / "l.csv", *rows, {"filename": "c.png", "label": "normal"})
    assert run(None, labels=labels).splitlines() == [
        "1 film that is there has another imported label than before",
        "1 film that is there has this imported label already",
        f"{MISSING} (the first: line 4, column filename, a.png)",
        "  the first of these names in the CSV: c.png",
        "  the first files without a row: none",
    ]
    assert Image.objects.get(original_name="b.png").current_label.value == "abnormal"


def test_a_csv_that_names_nothing_fails(folder: Path, tmp_path: Path) -> None:
    labels = factories.table(tmp_path / "l.csv", {"filename": "c.png", "label": "normal"})
    with pytest.raises(CommandError, match="Nothing was imported: no row of the CSV names"):
        run(folder, labels=labels)
    assert Upload.objects.get().state == "failed"


def test_a_csv_without_a_folder_makes_no_dataset(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="neither a folder nor --labels"):
        run(None)
    labels = factories.table(tmp_path / "l.csv", {"filename": "a.png", "label": "normal"})
    with pytest.raises(CommandError, match="There is no dataset 'D' at Seoul"):
        run(None, labels=labels)
    assert not Dataset.objects.exists()


def test_twice_into_one_dataset(folder: Path) -> None:
    run(folder)
    assert run(folder) == "2 films were already imported\n"
    assert Dataset.objects.count() == 1


def test_with_labels_boxes_and_a_name_for_the_audit(folder: Path, tmp_path: Path) -> None:
    factories.curator("kim")
    labels = factories.table(tmp_path / "l.csv", {"filename": "a.png", "label": "abnormal"}, {"filename": "c.png"})
    boxes = factories.box_table(tmp_path / "b.csv", ["a.png", 1, 2, 3, 4, ""])
    lines = run(folder, labels=labels, boxes=boxes, user="kim").splitlines()
    assert lines == [
        "1 film imported",
        "1 file skipped, because the CSV does not list it",
        f"{MISSING} (the first: line 3, column filename, a.png)",
        "  the first of these names in the CSV: c.png",
        "  the first files without a row: b.png",
    ]
    image = Image.objects.get()
    assert (image.current_label.value, len(image.label_events.get().boxes)) == ("abnormal", 1)
    assert {str(event.actor) for event in AuditEvent.objects.all()} == {"kim"}


def test_words_of_the_column_split_that_name_no_part_are_counted_and_named(folder: Path, tmp_path: Path) -> None:
    rows = [{"filename": "a.png", "split": "Train"}, {"filename": "b.png", "split": "valid"}]
    lines = run(folder, labels=factories.table(tmp_path / "l.csv", *rows)).splitlines()
    assert ("train", *Part.values) == SPLIT_WORDS
    words = "train, align, fit, tune, calibrate or test"
    assert lines[1:] == [
        (
            f"1 row of the CSV with another word for its split than {words}, which puts it into no part (valid; the "
            "first: line 3)"
        )
    ]
    assert dict(Image.objects.values_list("original_name", "csv_split")) == {"a.png": "train", "b.png": ""}
    assert "2 films were already imported" in run(folder, labels=tmp_path / "l.csv")


def test_a_word_of_the_column_split_that_may_be_a_name_is_shown_by_its_shape(folder: Path, tmp_path: Path) -> None:
    rows = [{"filename": "a.png", "split": "Doe^Jane"}]
    assert "(AAA^AAAA; the first: line 2)" in run(folder, labels=factories.table(tmp_path / "l.csv", *rows))


def test_a_site_is_made_only_when_that_was_said(folder: Path) -> None:
    with pytest.raises(CommandError, match=r"existing sites: Seoul\. Pass --make-site to make it"):
        run(folder, site="Busan")
    with pytest.raises(CommandError, match="1 to 100 characters"):
        run(folder, site="B" * 101, make_site=True)
    run(folder, site="Busan", make_site=True)
    assert Dataset.objects.get().site.name == "Busan"
    event = AuditEvent.objects.get(verb="make site")
    assert (event.after, event.actor) == ({"name": "Busan"}, None)


class Interrupted(StringIO):
    """Where progress is written when somebody presses Ctrl-C."""

    def write(self, text: str) -> int:
        raise KeyboardInterrupt


def test_ctrl_c_ends_an_import_with_a_sentence_and_the_next_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(films, "SECONDS_BETWEEN_HEARTBEATS", 0)
    with pytest.raises(CommandError, match=r"^Stopped\. 1 film is imported; the same command goes on") as stopped:
        call_command("import_images", folder, dataset="D", site="Seoul", stderr=Interrupted())
    assert (stopped.value.returncode, Upload.objects.get().state) == (130, "failed")
    assert run(folder).splitlines() == ["1 film imported", "1 film was already imported"]


def test_progress_without_a_terminal_is_a_line_for_each_tenth(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "SECONDS_BETWEEN_HEARTBEATS", 0)
    for seed in range(3, 21):
        factories.png(folder / f"{seed}.png", seed=seed)
    progress = StringIO()
    call_command("import_images", folder, dataset="D", site="Seoul", stdout=StringIO(), stderr=progress)
    assert progress.getvalue().splitlines() == [f"{done} of 20 files" for done in range(2, 21, 2)]


def test_quarantined_files_are_listed_with_their_sentence(folder: Path) -> None:
    factories.colour_png(folder / "c.png")
    output = run(folder)
    assert "1 file in quarantine, with the reason\n  quarantined " in output
    assert "c.png" not in output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"folder": Path("/nowhere")}, "There is no folder /nowhere"),
        ({"site": "Busan"}, "There is no site 'Busan'; existing sites: Seoul."),
        ({"user": "nobody"}, "There is no user 'nobody'"),
        ({"labels": Path("/nowhere.csv")}, r"There is no CSV file nowhere\.csv"),
    ],
)
def test_a_wrong_word_imports_nothing(folder: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        run(options.pop("folder", folder), **options)
    assert not Image.objects.exists()
    assert not Dataset.objects.exists()


def test_an_unknown_label_costs_its_row(folder: Path, tmp_path: Path) -> None:
    labels = factories.table(tmp_path / "l.csv", {"filename": "a.png"}, {"filename": "b.png", "label": "sick"})
    printed = run(folder, labels=labels)
    assert "1 row of a table skipped, because a value in it cannot be used (l.csv, line 3: the label is" in printed
    assert Image.objects.count() == 1


@pytest.mark.parametrize(("chosen", "patients"), [(PatientSource.TABLE, 2), (PatientSource.HEADER, 1)])
def test_table_or_header_says_who_a_patient_is(
    folder: Path, tmp_path: Path, chosen: PatientSource, patients: int
) -> None:
    rows = [{"filename": f"{seed}.dcm", "patient_id": f"P{seed}"} for seed in range(2)]
    for seed in range(2):
        factories.dicom(folder / f"{seed}.dcm", seed=seed, PatientID="H")
    printed = run(folder, labels=factories.table(tmp_path / "l.csv", *rows), patients=chosen.value)
    assert f"(2 by the table, 1 by the headers; those of the {chosen}" in printed
    assert Patient.objects.count() == patients


def test_a_table_without_a_usable_row_imports_nothing(folder: Path, tmp_path: Path) -> None:
    labels = factories.table(tmp_path / "l.csv", {"filename": "a.png", "label": "sick"})
    with pytest.raises(CommandError, match=r"l\.csv, line 2: the label is unknown"):
        run(folder, labels=labels)
    assert not Image.objects.exists()


def test_an_interrupted_import_says_so_and_goes_on_when_it_is_run_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(*_: Any) -> None:
        raise KeyboardInterrupt

    really = films._close
    monkeypatch.setattr(films, "_close", ctrl_c)
    with pytest.raises(CommandError, match=r"Stopped\. 2 films are imported"):
        run(folder)
    upload = Upload.objects.get()
    assert (upload.state, Image.objects.count()) == ("failed", 2)
    assert upload.message.startswith("The import was interrupted; start it again")
    monkeypatch.setattr(films, "_close", really)
    assert run(folder) == "2 films were already imported\n"


def test_new_facts_wait_unless_they_are_to_be_taken(folder: Path, tmp_path: Path) -> None:
    export(tmp_path / "first" / "a.dcm")
    export(tmp_path / "second" / "a.dcm", ViewPosition="AP", PixelSpacing=[0.2, 0.2])
    run(tmp_path / "first")
    assert "(view 1, spacing 1)" in run(tmp_path / "second")
    assert Image.objects.get().view_position == "PA"
    factories.curator("ann", at=factories.site("Seoul"))
    output = run(tmp_path / "second", take_new_facts=True, user="ann")
    assert "New facts of 1 film taken: spacing 1, view 1." in output
    assert Image.objects.get().view_position == "AP"
    assert AuditEvent.objects.get(verb="take corrected facts").actor.username == "ann"


# what the columns mean --------------------------------------------------------------------------------------

UNKNOWN = "Pfad,dx,subject\na.png,0,Zzyzxson\nb.png,1,Zzyzxson\n"


def unknown(tmp_path: Path) -> Path:
    table = tmp_path / "l.csv"
    table.write_text(UNKNOWN)
    return table


def mapping_file(tmp_path: Path, data: Any) -> Path:
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps(data))
    return path


def test_a_table_that_is_not_clear_prints_a_draft_that_is_completed_and_passed(folder: Path, tmp_path: Path) -> None:
    output = StringIO()
    options: dict[str, Any] = {"dataset": "D", "site": "Seoul", "labels": unknown(tmp_path)}
    with pytest.raises(CommandError, match=r"no column 'filename'.*pass --mapping FILE; a draft of it is above"):
        call_command("import_images", folder, **options, stdout=output)
    draft = json.loads(output.getvalue())
    columns = {"filename": "Pfad", "label": "dx", "patient_id": "subject"}
    assert draft == {
        "tables": {"l.csv": {"kind": "labels", "columns": columns, "keep": {}, "labels": {"0": "?", "1": "?"}}}
    }
    with pytest.raises(CommandError, match="The value '0' of the column 'dx' is to mean '\\?'; choose normal"):
        run(folder, **options, mapping=mapping_file(tmp_path, draft))
    draft["tables"]["l.csv"]["labels"] = {"0": "normal", "1": "abnormal"}
    report = run(folder, **options, mapping=mapping_file(tmp_path, draft))
    assert report.splitlines()[0] == "2 films imported"
    assert "columns of l.csv read as somebody on the command line said on" in report
    labels = {film.original_name: film.current_label.value for film in Image.objects.all()}
    assert labels == {"a.png": "normal", "b.png": "abnormal"}
    assert Patient.objects.count() == 1
    assert "2 films were already imported" in run(folder, **options)  # the site remembers it


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "is no mapping file"),
        ({"tables": {"x.csv": {}}}, r"names the table 'x\.csv'; the tables of this import are l\.csv"),
        ({"tables": {"l.csv": {"columns": {"filename": "a"}}}}, r"l\.csv has no column 'a'"),
        ({"tables": {"l.csv": {"kind": "b"}}}, "has the kind 'b'"),
        ({"tables": {"l.csv": {"kind": "aside"}}}, "is of the kind aside, and --labels names it"),
    ],
)
def test_a_mapping_file_that_does_not_fit_is_refused(folder: Path, tmp_path: Path, data: Any, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        run(folder, labels=unknown(tmp_path), mapping=mapping_file(tmp_path, data))
    assert not ColumnMapping.objects.exists()
    with pytest.raises(CommandError, match="cannot be read; check the path"):
        run(folder, labels=unknown(tmp_path), mapping=tmp_path / "none.json")
