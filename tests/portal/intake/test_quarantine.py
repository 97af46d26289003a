"""Files in quarantine: kept with what they need to become films, tried again, downloaded, deleted, removed in time."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from portal import tasks
from portal.intake import quarantine, quarantine_files
from portal.intake.csv_labels import Box, CsvRow, RowReading, read_boxes, read_labels
from portal.intake.encrypted_files import decrypt
from portal.intake.entries import Entry, entries_of_folder
from portal.intake.films import import_entries
from portal.intake.import_plans import ImportPlan, PlanKind, plan_path, read_plan, write_plan
from portal.intake.import_report import ImportReport
from portal.intake.planned_imports import begin_planned
from portal.intake.quarantine import NotInQuarantine
from portal.models import AuditEvent, Dataset, QuarantinedFile, Role, Upload, User
from portal.people.blinding import open_for
from tests.portal import factories
from tests.portal.intake.test_films import Busy, decoding_with, run

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def kim() -> User:
    return factories.curator("kim")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    return folder


def try_again(of: Dataset, kim: User, *files: QuarantinedFile) -> Upload:
    """Ask for another try of the files, and let the worker do it."""
    plan = ImportPlan(PlanKind.QUARANTINE, [str(file.uuid) for file in files])
    upload = begin_planned(dataset=of, plan=plan, verb="try quarantined files again", author=kim)
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    return upload


def put_in(of: Dataset, folder: Path, **row: Any) -> QuarantinedFile:
    """A good film that is in quarantine, since the decoder was busy, with a row and a box."""
    factories.dicom(folder / "Quagga_7.dcm", seed=1, PatientID=None)
    report = ImportReport()
    table = factories.table(folder / "l.csv", {"filename": "Quagga_7.dcm", "label": "abnormal", **row})
    boxes = factories.box_table(folder / "b.csv", ("Quagga_7.dcm", 2, 3, 4, 5, "mass"))
    entries = entries_of_folder(folder, read_labels(table), read_boxes(boxes), report)
    with decoding_with(Busy()):
        import_entries(upload=Upload.objects.create(dataset=of), entries=entries, report=report, actor=None)
    return QuarantinedFile.objects.get()


# kept ---------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_bytes_and_picture_are_kept_for_the_portal_alone(of: Dataset, folder: Path) -> None:
    sent = factories.colour_png(folder / "a.png")
    run(of, folder)
    file = QuarantinedFile.objects.get()
    path = quarantine_files.kept_path(file)
    assert decrypt(path) == sent.read_bytes()
    assert sent.read_bytes()[:40] not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert (file.bytes_kept, file.has_preview) == (sent.stat().st_size, True)
    assert decrypt(quarantine_files.preview_path(file)).startswith(b"\xff\xd8\xff")
    assert "a.png" not in "".join(str(path) for path in path.parent.iterdir())


def test_a_file_without_a_picture_is_kept_without_a_preview(of: Dataset, folder: Path) -> None:
    (folder / "a.dcm").write_bytes(b"nothing that is a film" * 20)
    run(of, folder)
    assert QuarantinedFile.objects.get().has_preview is False


def test_with_zero_days_nothing_is_kept(of: Dataset, folder: Path, settings: Any) -> None:
    settings.QUARANTINE_DAYS = 0
    factories.colour_png(folder / "a.png")
    run(of, folder)
    file = QuarantinedFile.objects.get()
    assert (file.kept_at, quarantine_files.kept_path(file).exists()) == (None, False)


def test_a_file_of_an_earlier_release_is_kept_when_it_comes_again(of: Dataset, folder: Path, settings: Any) -> None:
    settings.QUARANTINE_DAYS = 0
    factories.colour_png(folder / "a.png")
    run(of, folder)
    settings.QUARANTINE_DAYS = 90
    run(of, folder)
    assert QuarantinedFile.objects.get().kept_at is not None


def test_a_row_survives_its_file_of_json(of: Dataset, tmp_path: Path) -> None:
    row = CsvRow(
        filename="a/b.png", label="abnormal", patient_id="0012", projection="AP", split="test", findings=("mass",),
        attributes=("device",), sex="F", age_years="47", extra={"kVp": "120"}, columns=frozenset({"filename", "label"}),
        left_out=("doctor",), line=7, origin="report",
        readings=(RowReading("R1", "abnormal", ("mass",), (Box(1, 2, 3, 4, "mass"),)), RowReading("R2", "normal")),
    )  # fmt: skip
    (tmp_path / "b.png").write_bytes(b"x")
    file = factories.quarantined(of, data=b"x")
    entry = Entry(tmp_path / "b.png", "a/b.png", row, (Box(1, 2, 3, 4, "mass"),))
    quarantine_files.keep(file, entry, b"")
    assert b"0012" not in quarantine_files.kept_path(file).with_suffix(".row.json").read_bytes()
    read = quarantine_files.entry_of(file, tmp_path)
    assert (read.path, (read.path or tmp_path).read_bytes()) == (tmp_path / file.source_sha256, b"x")
    assert (read.row, read.boxes, read.name) == (entry.row, entry.boxes, entry.name)
    assert read.row is not None
    assert read.row.line == 7


# tried again --------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_a_file_tried_again_becomes_a_film_with_the_row_that_named_it(
    of: Dataset, kim: User, folder: Path, published: list[str]
) -> None:
    file = put_in(of, folder, patient_id="Dodo-12", projection="AP", split="test", finding="mass")
    upload = try_again(of, kim, file)
    assert (upload.state, upload.counts) == ("done", {"imported": 1, "left quarantine": 1})
    image = of.images.select_related("patient", "current_label").get()
    assert image.patient == factories.patient("Dodo-12")
    assert (image.view_position, image.csv_split, image.original_name) == ("AP", "test", "Quagga_7.dcm")
    assert image.label_events.get().boxes[0]["width"] == 4
    assert not QuarantinedFile.objects.exists()
    assert list(quarantine_files.kept_path(file).parent.iterdir()) == []
    assert not plan_path(upload).exists()
    assert AuditEvent.objects.get(verb="try quarantined files again").actor == kim


def test_a_file_of_a_published_dataset_keeps_its_rules(
    of: Dataset, kim: User, folder: Path, published: list[str]
) -> None:
    """Of two files, one is of another view than was asked for; 12 bits of both are used, and 0 is white."""
    files = []
    for number, view in enumerate(("PA", "AP")):
        name = f"{view}.png"
        factories.png(folder / name, seed=number)
        row = CsvRow(filename=name, label="normal", projection=view, photometric="MONOCHROME1")
        padchest = Upload.objects.create(dataset=of, source="padchest", options={"views": "pa", "children": False})
        with decoding_with(Busy()):
            entries = [Entry(folder / name, name, row)]
            import_entries(upload=padchest, entries=entries, report=ImportReport(), actor=None)
        files.append(QuarantinedFile.objects.get(name=name))
    upload = try_again(of, kim, *files)
    assert upload.counts == {"imported": 1, "left quarantine": 1, "left out: another view": 1}
    image = of.images.get()
    assert (image.view_position, image.original_name) == ("PA", "PA.png")
    assert (image.facts["bits_stored"], image.facts["photometric"]) == (12, "MONOCHROME1")


def test_a_corrected_row_replaces_the_kept_one(of: Dataset, kim: User, folder: Path, published: list[str]) -> None:
    put_in(of, folder, patient_id="wrong")
    file = put_in(of, folder, patient_id="right")
    try_again(of, kim, file)
    assert of.images.get().patient == factories.patient("right")


def test_a_file_that_is_still_unusable_stays_with_its_bytes(
    of: Dataset, kim: User, folder: Path, published: list[str]
) -> None:
    factories.colour_png(folder / "a.png")
    run(of, folder)
    file = QuarantinedFile.objects.get()
    assert try_again(of, kim, file).counts == {"quarantined already": 1}
    assert quarantine_files.kept_path(file).exists()


def test_a_killed_try_is_taken_up_again(of: Dataset, kim: User, folder: Path, published: list[str]) -> None:
    file = put_in(of, folder)
    upload = Upload.objects.create(
        dataset=of, uploaded_by=kim, state="importing", heartbeat_at=timezone.now() - timedelta(hours=1)
    )
    write_plan(upload, ImportPlan(PlanKind.QUARANTINE, [str(file.uuid)]))
    assert read_plan(upload).items == [str(file.uuid)]
    tasks.resume_uploads()
    assert published == [str(upload.uuid)]
    tasks.import_upload(str(upload.uuid))
    assert of.images.count() == 1


def test_what_was_written_under_another_secret_is_left_alone(
    of: Dataset, kim: User, published: list[str], settings: Any
) -> None:
    file = factories.quarantined(of)
    settings.PSEUDONYM_SECRET = "another secret of more than forty characters"
    assert try_again(of, kim, file).counts == {"not kept": 1}
    with pytest.raises(NotInQuarantine, match="There is no picture of this file"):
        quarantine.preview_of(file, kim)


def test_files_of_other_datasets_and_lost_ones_are_left_alone(
    of: Dataset, kim: User, folder: Path, published: list[str]
) -> None:
    lost = factories.quarantined(of, data=b"lost")
    quarantine_files.remove(lost)
    elsewhere = factories.quarantined(factories.dataset("Other"), data=b"elsewhere")
    upload = try_again(of, kim, lost, elsewhere)
    assert upload.message == "1 file of quarantine cannot be read any more; send it again."
    assert QuarantinedFile.objects.count() == 2


# opened -------------------------------------------------------------------------------------------------------


def test_a_download_is_recorded(of: Dataset, kim: User) -> None:
    file = factories.quarantined(of, data=b"as it came")
    assert b"".join(quarantine.open_kept(file, kim)) == b"as it came"
    event = AuditEvent.objects.get(verb="download quarantined file")
    assert (event.actor, event.site, event.target_uuid) == (kim, of.site, file.uuid)
    assert event.after["sha256"] == file.source_sha256


def test_a_file_that_is_gone_is_not_recorded_as_downloaded(of: Dataset, kim: User) -> None:
    file = factories.quarantined(of)
    quarantine_files.remove(file)
    with pytest.raises(NotInQuarantine, match="not kept any more: files in quarantine are kept for 90 days"):
        quarantine.open_kept(file, kim)
    assert not AuditEvent.objects.filter(verb="download quarantined file").exists()


@pytest.mark.parametrize("role", [Role.READER, Role.ANALYST, Role.ADJUDICATOR, Role.BROKER])
def test_only_curators_and_managers_open_files(of: Dataset, role: Role) -> None:
    with pytest.raises(PermissionDenied, match="To open quarantined files at Seoul you need one of these roles"):
        quarantine.require_opening(factories.quarantined(of), factories.user("one", role))


def test_names_and_files_of_others_are_closed_to_a_person_who_reads_blinded(of: Dataset, kim: User) -> None:
    others = factories.quarantined(of, name="Quagga_pneumonia_7.png", data=b"others")
    own = factories.quarantined(of, author=kim, name="own_12.png", data=b"own")
    open_for(person=kim, images=[factories.film(of)], source=factories.somewhere(), words="the worklist One", days=9)
    rows = {row.file: row for row in quarantine.rows_of([others, own], kim, of.site)}
    assert (rows[others].name, rows[others].may_open, rows[others].shows_picture) == (
        "aaaaaa_aaaaaaaaa_9.png", False, False
    )  # fmt: skip
    assert (rows[own].name, rows[own].may_open, rows[own].shows_picture) == ("own_12.png", True, True)
    quarantine.require_opening(own, kim)
    with pytest.raises(PermissionDenied, match="yet to read blinded, for example in the worklist One"):
        quarantine.require_opening(others, kim)


# deleted ------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_a_file_is_deleted_with_a_reason(of: Dataset, kim: User) -> None:
    file, other = factories.quarantined(of, data=b"one"), factories.quarantined(of, data=b"two")
    chosen = of.quarantined.filter(pk=file.pk)
    for reason in ("", "  x "):
        with pytest.raises(NotInQuarantine, match="Say why the files are deleted"):
            quarantine.delete_files(chosen, dataset=of, reason=reason, author=kim)
    assert quarantine.delete_files(chosen, dataset=of, reason=" sent  by mistake ", author=kim) == 1
    assert list(of.quarantined.all()) == [other]
    assert not quarantine_files.kept_path(file).exists()
    assert quarantine_files.kept_path(other).exists()
    event = AuditEvent.objects.get(verb="delete quarantined file")
    assert (event.reason, event.target_uuid, event.actor) == ("sent by mistake", file.uuid, kim)
    assert event.before == {"dataset": str(of.uuid), "sha256": file.source_sha256, "reason": "colour"}


def test_nothing_is_deleted_while_an_import_runs(of: Dataset, kim: User) -> None:
    factories.quarantined(of)
    Upload.objects.create(dataset=of, state="importing", heartbeat_at=timezone.now())
    with pytest.raises(NotInQuarantine, match="An import into Normals is running; delete the files when it has ended"):
        quarantine.delete_files(of.quarantined.all(), dataset=of, reason="a reason", author=kim)


def test_bytes_are_removed_in_time_and_the_row_stays(of: Dataset, settings: Any) -> None:
    old, young = factories.quarantined(of, data=b"old"), factories.quarantined(of, data=b"young")
    QuarantinedFile.objects.filter(pk=old.pk).update(kept_at=timezone.now() - timedelta(days=91))
    tasks.tidy_up()
    old.refresh_from_db()
    assert (old.kept_at, old.bytes_kept, old.has_preview) == (None, 0, False)
    assert not quarantine_files.kept_path(old).exists()
    assert quarantine_files.kept_path(young).exists()
    event = AuditEvent.objects.get(verb="remove quarantined files")
    assert (event.after, event.actor, event.target_uuid) == ({"files": 1, "days": 90}, None, of.uuid)


def test_no_name_is_in_the_audit_or_the_paths(of: Dataset, kim: User, folder: Path, published: list[str]) -> None:
    file = put_in(of, folder, patient_id="Dodo-12")
    quarantine.open_kept(file, kim)
    quarantine.delete_files(of.quarantined.all(), dataset=of, reason="not needed", author=kim)
    written = " ".join(str(row) for row in AuditEvent.objects.values_list("before", "after", "reason"))
    assert re.search("Quagga|Dodo", written) is None
