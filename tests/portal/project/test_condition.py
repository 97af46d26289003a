"""Each fault that an installation may have is found, with what to do, and hides no other."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings
from django.utils import timezone

from portal.intake.film_files import pixel_path
from portal.intake.pseudonym_key import require_same_key
from portal.models import Upload
from portal.people.audit import record
from portal.people.audit_chain import seal_all
from portal.project import condition
from portal.project.condition import CHECKS, GIB
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
NOT_HERE = {"broker", "workers"}  # run by tests of their own


def of(name: str) -> condition.Condition:
    """The condition of that name; those that ask the broker and wait for it are left out."""
    checks = [check for check in CHECKS if check.__name__ not in NOT_HERE]
    return next(state for check in checks if (state := check()).name == name)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    with override_settings(DATA_DIR=tmp_path):
        (tmp_path / "secrets").mkdir(mode=0o700)
        (tmp_path / "runs").mkdir()
        yield tmp_path


def test_all_is_well(data: Path) -> None:
    factories.film(factories.dataset(), "normal")
    faults = {check().name: check().fault for check in CHECKS if check.__name__ not in NOT_HERE}
    assert faults == dict.fromkeys(faults, "")
    assert len(faults) == len(CHECKS) - 2


def test_a_database_that_is_away_is_said_once_and_no_check_raises(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("connection refused, password=hunter2")

    monkeypatch.setattr(type(connections["default"]), "cursor", away)
    states = {state.name: state for check in CHECKS if check.__name__ not in NOT_HERE for state in [check()]}
    assert states["database"].fault == "The database does not answer."
    assert "DATABASE_URL" in states["database"].remedy
    assert "See to the database first" in states["migrations"].remedy
    assert not any("hunter2" in state.fault + state.remedy for state in states.values())


def test_migrations_that_are_missing_and_a_database_of_a_newer_release() -> None:
    recorder = MigrationRecorder(connection)
    ((_, newest),) = MigrationLoader(connection).graph.leaf_nodes("analysis")
    recorder.record_unapplied("analysis", newest)
    assert of("migrations").fault == "Migrations that are not applied: 1."
    assert of("migrations").remedy == "Run `manage.py migrate`."
    recorder.record_applied("analysis", newest)
    recorder.record_applied("portal", "9999_from_the_future")
    assert of("migrations").fault == "The database is of a newer Hilum, which applied portal.9999_from_the_future."
    recorder.record_unapplied("portal", "9999_from_the_future")


def test_a_full_disk(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condition.shutil, "disk_usage", lambda _: SimpleNamespace(free=GIB // 2))
    with override_settings(FREE_BYTES_KEPT=GIB):
        assert of("disk").fault.startswith("0.5 GiB are free on the disk of")
        assert "delete old runs" in of("disk").remedy
    with override_settings(FREE_BYTES_KEPT=GIB // 4):
        assert of("disk").fault == ""


def test_a_folder_that_cannot_be_written(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.access  # the superuser, who may run the tests, can write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "runs" and really(path, mode))
    assert of("data folder") == condition.Condition(
        "data folder", f"{data / 'runs'} cannot be written.", f"Run: chmod -R u+rwX {data / 'runs'}"
    )


def test_a_file_of_another_user(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "runs" / "model").touch()
    monkeypatch.setattr(os, "getuid", lambda: os.stat(data).st_uid + 1)
    assert "belongs to another user of this machine" in of("data folder").fault
    assert of("data folder").remedy == f"Run as root: chown -R {os.stat(data).st_uid + 1} {data}"


def test_a_secret_that_others_can_read(data: Path) -> None:
    (data / "secrets" / "hilum-secret-key").touch(mode=0o644)
    assert of("secrets").fault.endswith("can be read by other users of this machine.")
    (data / "secrets" / "hilum-secret-key").chmod(0o600)
    assert of("secrets").fault == ""


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no clock of its own")
def test_a_clock_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    really = time.time
    monkeypatch.setattr(condition.time, "time", lambda: really() + 60)
    assert re.search(r"differ by (59|60|61) seconds", of("clock").fault)


def test_another_pseudonym_secret() -> None:
    site = factories.site("Seoul")
    require_same_key(site)
    with override_settings(PSEUDONYM_SECRET="Xw2bT8nPzQ5kR1vMf7Jc3Gd9HsLa4Ye6UoNiBqKt"):
        assert "is not the secret that the films of Seoul came in with" in of("pseudonym key").fault


def test_pixels_that_are_damaged_or_missing(data: Path) -> None:
    film = factories.film(factories.dataset(), "normal")
    path = pixel_path(film.pixel_sha256)
    path.write_bytes(path.read_bytes()[:-20])
    assert of("films").fault == f"Films whose pixels are damaged: 1, such as {film.pixel_sha256}."
    path.unlink()
    assert of("films").fault == f"Films whose pixels are missing: 1, such as {film.pixel_sha256}."
    assert "Restore them from the backup" in of("films").remedy


def test_an_import_that_does_not_move() -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    Upload.objects.create(dataset=factories.dataset(), state=Upload.State.IMPORTING, heartbeat_at=long_ago)
    assert of("imports").fault == "Imports that have not moved for five minutes: 1."


def test_an_audit_that_nobody_seals_or_that_could_be_changed() -> None:
    record(verb="test", site=factories.site(), actor=None)
    assert not of("audit").fault
    with override_settings(PRODUCTION=True):
        if connection.vendor == "postgresql":  # the tests' own role is a superuser
            assert of("audit").fault.startswith("The role in DATABASE_URL owns the tables")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(condition, "LATE_SEAL", timedelta(0))
            assert of("audit").fault == "Events that have waited for their seal for more than ten minutes: 1."
            seal_all()
            assert "waited" not in of("audit").fault
