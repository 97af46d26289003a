"""`manage.py doctor` finds twenty faults that are seeded, each with what to do, and fails where one was found."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from safetensors.torch import save_file

from ml_engine.models import RunState
from ml_engine.runs import paths
from portal.backups.making import UNFINISHED
from portal.imaging.film import pack
from portal.intake.film_files import pixel_path
from portal.intake.pseudonym_key import require_same_key
from portal.management.commands import doctor
from portal.models import AuditEvent, Erasure, Image, Upload
from portal.people.audit import record
from portal.people.audit_chain import seal_all
from portal.project import condition
from portal.project.condition import CHECKS, GIB, Condition, database, disk
from tests.ml_engine import made
from tests.paths import ROOT
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
AWAY_IN_TESTS = {"broker", "workers"}  # neither runs here, so these two faults are always there
Seed = Callable[[pytest.MonkeyPatch, Any], None]


def examine() -> dict[str, str]:
    """What the doctor prints, by the name of the check: "ok", or fault and remedy."""
    output = StringIO()
    try:
        call_command("doctor", stdout=output)
    except CommandError as failure:
        output.write(f"failed: {failure}\n")
    by_check: dict[str, str] = {}
    name = ""
    for line in output.getvalue().splitlines():
        if line.startswith("  "):
            by_check[name] += line
        else:
            name, _, by_check[name] = line.partition(": ")
    return by_check


@pytest.fixture
def film(data_dir: Path) -> Image:
    for folder in ("secrets", "weights", "run"):
        (data_dir / folder).mkdir()
    site = factories.site()
    require_same_key(site)
    film = factories.film(factories.dataset(), "normal", person="one")
    record(verb="test", site=site, actor=None)
    seal_all()
    return film


def full_disk(patch: pytest.MonkeyPatch, given: Any) -> None:
    patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=GIB // 2))
    given.FREE_BYTES_KEPT = GIB


def no_more_files(patch: pytest.MonkeyPatch, given: Any) -> None:
    facts = os.statvfs(settings.DATA_DIR)
    there = {name: getattr(facts, name) for name in dir(facts) if name.startswith("f_")}
    patch.setattr(os, "statvfs", lambda _: SimpleNamespace(**{**there, "f_files": 1_000_000, "f_favail": 12}))


def old_schema(patch: pytest.MonkeyPatch, given: Any) -> None:
    ((_, newest),) = MigrationLoader(connection).graph.leaf_nodes("analysis")
    MigrationRecorder(connection).record_unapplied("analysis", newest)


def new_schema(patch: pytest.MonkeyPatch, given: Any) -> None:
    MigrationRecorder(connection).record_applied("portal", "9999_from_the_future")


def wrong_key(patch: pytest.MonkeyPatch, given: Any) -> None:
    given.PSEUDONYM_SECRET = "Xw2bT8nPzQ5kR1vMf7Jc3Gd9HsLa4Ye6UoNiBqKt"


def missing_pixels(patch: pytest.MonkeyPatch, given: Any) -> None:
    pixel_path(Image.objects.get().pixel_sha256).unlink()


def damaged_pixels(patch: pytest.MonkeyPatch, given: Any) -> None:
    path = pixel_path(Image.objects.get().pixel_sha256)
    path.write_bytes(path.read_bytes()[:-20])


def flipped_bits(patch: pytest.MonkeyPatch, given: Any) -> None:
    path = pixel_path(Image.objects.get().pixel_sha256)
    packed = path.read_bytes()
    path.write_bytes(packed[:40] + bytes(sign ^ 0xFF for sign in packed[40:60]) + packed[60:])


def empty_pixels(patch: pytest.MonkeyPatch, given: Any) -> None:
    pixel_path(Image.objects.get().pixel_sha256).write_bytes(b"")


def unreadable_pixels(patch: pytest.MonkeyPatch, given: Any) -> None:
    path = pixel_path(Image.objects.get().pixel_sha256)  # the superuser, who may run the tests, reads every file
    path.unlink()
    path.mkdir()


def pixels_of_another_film(patch: pytest.MonkeyPatch, given: Any) -> None:
    pixel_path(Image.objects.get().pixel_sha256).write_bytes(pack(factories.pixels(4711)))


def missing_quarantine(patch: pytest.MonkeyPatch, given: Any) -> None:
    factories.quarantined(Image.objects.get().dataset, author=factories.curator("kim"))
    for path in (Path(settings.DATA_DIR) / "quarantine").rglob("*"):
        if path.is_file():
            path.unlink()


def foreign_owner(patch: pytest.MonkeyPatch, given: Any) -> None:
    mine = os.stat(settings.DATA_DIR).st_uid
    patch.setattr(os, "getuid", lambda: mine + 1)


def locked_folder(patch: pytest.MonkeyPatch, given: Any) -> None:
    really = os.access  # the superuser, who may run the tests, can write everywhere
    patch.setattr(os, "access", lambda path, mode: Path(path).name != "pixels" and really(path, mode))


def open_secret(patch: pytest.MonkeyPatch, given: Any) -> None:
    (Path(settings.DATA_DIR) / "secrets" / "hilum-secret-key").touch(mode=0o644)


def weak_secret(patch: pytest.MonkeyPatch, given: Any) -> None:
    given.SECRET_KEY = "a" * 48


def clock_off(patch: pytest.MonkeyPatch, given: Any) -> None:
    really = time.time
    patch.setattr(time, "time", lambda: really() + 3600)


def silent_import(patch: pytest.MonkeyPatch, given: Any) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    Upload.objects.create(dataset=Image.objects.get().dataset, state=Upload.State.IMPORTING, heartbeat_at=long_ago)


def nobody_seals(patch: pytest.MonkeyPatch, given: Any) -> None:
    patch.setattr(condition, "LATE_SEAL", timedelta(0))
    record(verb="test", site=None, actor=None)


def changed_event(patch: pytest.MonkeyPatch, given: Any) -> None:
    with connection.cursor() as cursor:  # by the owner of the tables, who can switch guards off
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE portal_auditevent SET reason = 'nothing'")
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")


def guard_off(patch: pytest.MonkeyPatch, given: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE portal_labelevent DISABLE TRIGGER ALL")


def guard_for_replicas_only(patch: pytest.MonkeyPatch, given: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE portal_auditevent ENABLE REPLICA TRIGGER portal_auditevent_guard")


def guard_that_permits(patch: pytest.MonkeyPatch, given: Any) -> None:
    body = "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE OR REPLACE FUNCTION hilum_refuse_portal_auditevent() {body}")


def interrupted_erasure(patch: pytest.MonkeyPatch, given: Any) -> None:
    film = Image.objects.get()
    erasure = Erasure.objects.create(site=film.dataset.site, patient=film.patient, reason="x")
    Erasure.objects.filter(pk=erasure.pk).update(created_at=timezone.now() - timedelta(hours=1))


def folder_in_place_of_the_list(patch: pytest.MonkeyPatch, given: Any) -> None:
    (Path(settings.DATA_DIR) / "erasures.jsonl").mkdir()


def list_that_cannot_be_written(patch: pytest.MonkeyPatch, given: Any) -> None:
    (Path(settings.DATA_DIR) / "file").touch()
    given.ERASURE_LIST = str(Path(settings.DATA_DIR) / "file" / "erasures.jsonl")


def broken_weights(patch: pytest.MonkeyPatch, given: Any) -> None:
    file = paths.weights_folder() / "mine.safetensors"
    save_file({"x": torch.zeros(2)}, file, metadata={"hilum": '{"tensors_sha256": "another"}'})


def damaged_model(patch: pytest.MonkeyPatch, given: Any) -> None:
    model = made.alignment_model(made.split(Image.objects.get().dataset.site))
    path = paths.model_path(model.sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"another content")


def missing_model(patch: pytest.MonkeyPatch, given: Any) -> None:
    made.alignment_model(made.split(Image.objects.get().dataset.site))


def lost_run(patch: pytest.MonkeyPatch, given: Any) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    made.run(made.split(Image.objects.get().dataset.site), state=RunState.RUNNING, lease_until=long_ago)


def lost_folder(patch: pytest.MonkeyPatch, given: Any) -> None:
    made.run(made.split(Image.objects.get().dataset.site), state=RunState.RUNNING, stage="embed")


def half_a_restore(patch: pytest.MonkeyPatch, given: Any) -> None:
    (Path(settings.DATA_DIR) / UNFINISHED).touch()


def no_backup(patch: pytest.MonkeyPatch, given: Any) -> None:
    given.PRODUCTION = True


def old_backup(patch: pytest.MonkeyPatch, given: Any) -> None:
    given.PRODUCTION = True
    event = record(verb="back up", site=None, actor=None)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        AuditEvent.objects.filter(pk=event.pk).update(created_at=timezone.now() - timedelta(days=9))
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")


def no_scanner(patch: pytest.MonkeyPatch, given: Any) -> None:
    given.SCANNER = str(Path(settings.DATA_DIR) / "clamd.ctl")


FAULTS: list[tuple[Seed, str, str, str]] = [
    (full_disk, "disk", "0.5 GiB are free", "delete old runs"),
    (no_more_files, "inodes", "has room for 12 more files", "df -i"),
    (old_schema, "migrations", "not applied: 1", "manage.py migrate"),
    (new_schema, "migrations", "portal.9999_from_the_future", "Install the release that it was used with last"),
    (
        wrong_key,
        "pseudonym key",
        "is not the secret that the films of Seoul came in with",
        "Restore the secret that H",
    ),
    (missing_pixels, "films", "missing: 1", "Restore them from the backup"),
    (damaged_pixels, "films", "damaged: 1", "Restore them from the backup"),
    (flipped_bits, "films", "damaged: 1", "Restore them from the backup"),
    (empty_pixels, "films", "damaged: 1", "Restore them from the backup"),
    (pixels_of_another_film, "films", "damaged: 1", "Restore them from the backup"),
    (unreadable_pixels, "films", "cannot be read: 1, such as", "before you restore anything"),
    (missing_quarantine, "files", "a file in quarantine", "Restore the backup on another host"),
    (missing_model, "files", "a fitted alignment", "Restore the backup on another host"),
    (foreign_owner, "data folder", "belongs to another user", "chown -R"),
    (locked_folder, "data folder", "pixels cannot be written", "chmod -R u+rwX"),
    (open_secret, "secrets", "can be read by other users", "chmod 600"),
    (weak_secret, "weak secrets", "HILUM_SECRET_KEY has 1 different characters", "people log in again"),
    (clock_off, "clock", "differ by 3600 seconds", "chrony"),
    (silent_import, "imports", "have not moved for five minutes: 1", "worker for imports"),
    (nobody_seals, "audit", "waited for their seal for more than ten minutes: 1", "worker for upkeep"),
    (changed_event, "audit chain", "was changed after it was sealed", "manage.py audit verify --head"),
    (guard_off, "guards", "no longer refuses changes of portal_labelevent", "ENABLE TRIGGER ALL"),
    (guard_for_replicas_only, "guards", "no longer refuses changes of portal_auditevent", "ENABLE TRIGGER ALL"),
    (guard_that_permits, "guards", "no longer refuses changes of portal_auditevent", "ENABLE TRIGGER ALL"),
    (interrupted_erasure, "erasures", "interrupted: 1", "Erase the patient again"),
    (folder_in_place_of_the_list, "erasures", "cannot be read and written", "mount the folder around it"),
    (list_that_cannot_be_written, "erasures", "so that nobody can be erased", "HILUM_ERASURE_LIST"),
    (broken_weights, "weights", "mine.safetensors", "manage.py weights import"),
    (damaged_model, "models", "A fitted model is damaged", "clone the run that made it"),
    (lost_run, "runs", "have not been heard of for five minutes: 1", "worker for upkeep"),
    (lost_folder, "run folders", "executing without their folder: 1", "Cancel these runs and retry"),
    (half_a_restore, "restore", "was interrupted", "manage.py restore"),
    (no_backup, "backup", "No backup has been made", "manage.py backup"),
    (old_backup, "backup", "The last backup is of", "manage.py backup"),
    (no_scanner, "virus scanner", "does not answer", "HILUM_CLAMD"),
]


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="guards are switched off as PostgreSQL does it")
@pytest.mark.parametrize(("seed", "name", "fault", "remedy"), FAULTS, ids=[seed.__name__ for seed, *_ in FAULTS])
def test_a_seeded_fault_is_found(
    film: Image, monkeypatch: pytest.MonkeyPatch, settings: Any, seed: Seed, name: str, fault: str, remedy: str
) -> None:
    checks = [check for check in CHECKS if check.__name__ not in AWAY_IN_TESTS]
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert set(examine().values()) == {"ok"}
    seed(monkeypatch, settings)
    after = examine()
    assert fault in after[name]
    assert remedy in after[name]
    assert "found a fault" in after["failed"]


@pytest.mark.slow
def test_a_dead_worker_and_broker_are_found(film: Image) -> None:
    words = examine()
    assert "The broker does not answer" in words["broker"]
    assert "Start Valkey or Redis" in words["broker"]
    assert "No worker answers for imports and runs and upkeep." in words["workers"]
    assert "docker compose up -d" in words["workers"]


def test_the_page_for_administrators_says_what_each_check_means(film: Image) -> None:
    page = (ROOT / "docs" / "admin.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([\w, ]+) \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    explained = {name for cell in cells for name in cell.split(", ")}
    assert {check().name for check in CHECKS} - explained == set()


def test_faults_are_named_with_their_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Condition("broker", "The broker does not answer (OSError).", "Start Valkey or Redis.")
    monkeypatch.setattr(doctor, "CHECKS", [database, lambda: fault, disk])
    output = StringIO()
    with pytest.raises(CommandError, match="1 of 3 checks found a fault"):
        call_command("doctor", stdout=output)
    assert output.getvalue().splitlines() == [
        "database: ok",
        "broker: The broker does not answer (OSError).",
        "  Start Valkey or Redis.",
        "disk: ok",
    ]


def test_a_check_that_fails_itself_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_check() -> Condition:
        raise RuntimeError("a secret of a patient")

    monkeypatch.setattr(doctor, "CHECKS", [broken_check, lambda: Condition("second", "It is wrong.", "Mend it.")])
    found = examine()
    assert found["broken check"].startswith("This check failed itself (RuntimeError)")
    assert found["second"] == "It is wrong.  Mend it."
    assert "2 of 2 checks found a fault" in found["failed"]
    assert "patient" not in found["broken check"]


def test_it_says_how_far_it_has_read_and_may_leave_the_pixels_out(
    film: Image, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", [condition.films])
    monkeypatch.setattr(doctor, "SECONDS_BETWEEN_LINES", 0)
    output, progress = StringIO(), StringIO()
    call_command("doctor", stdout=output, stderr=progress)
    assert output.getvalue() == "films: ok\n"
    assert progress.getvalue() == "films: 0 of the newest 1 read\n"
    flipped_bits(monkeypatch, settings)
    output, progress = StringIO(), StringIO()
    call_command("doctor", without_pixels=True, stdout=output, stderr=progress)
    assert output.getvalue() == "films: ok (their files are there; their pixels were not read)\n"
    assert progress.getvalue() == ""
    missing_pixels(monkeypatch, settings)
    with pytest.raises(CommandError, match="1 of 1 checks found a fault"):
        call_command("doctor", without_pixels=True, stdout=StringIO())


def test_without_a_fault_it_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({fault for _, _, fault, _ in FAULTS}) > 20
    monkeypatch.setattr(doctor, "CHECKS", [database, disk])
    call_command("doctor", stdout=StringIO())
