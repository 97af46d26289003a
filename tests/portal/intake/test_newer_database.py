"""A worker of an older release leaves runs and imports to those of the release that migrated the database."""

from __future__ import annotations

import io
from collections.abc import Generator
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from ml_engine.models import Run, RunState
from ml_engine.tasks import execute_run
from portal import tasks
from portal.intake.newer_database import newer_migrations
from portal.intake.zip_uploads import receive_zip
from portal.models import Upload
from tests.ml_engine import made
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def recorder() -> MigrationRecorder:
    return MigrationRecorder(connection)


@pytest.fixture
def newer(recorder: MigrationRecorder) -> Generator[None]:
    recorder.record_applied("portal", "9999_from_the_future")
    yield
    recorder.record_unapplied("portal", "9999_from_the_future")


def test_only_what_this_release_does_not_know_is_newer(recorder: MigrationRecorder) -> None:
    recorder.record_applied("an_app_of_others", "0001_initial")
    assert newer_migrations() == []
    recorder.record_applied("ml_engine", "9998_from_the_future")
    assert newer_migrations() == ["ml_engine.9998_from_the_future"]


def test_a_run_stays_in_the_queue(newer: None, data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = made.run(made.small_split(made.site()))
    execute_run(str(run.uuid))
    assert (Run.objects.get().state, Run.objects.get().attempt) == (RunState.QUEUED, 0)
    assert f"run {run.uuid} is left to a worker of the newer release, which applied portal.9999" in caplog.text


def test_an_import_stays_in_the_queue_and_is_done_by_the_newer(
    recorder: MigrationRecorder, newer: None, published: list[str], tmp_path: Path
) -> None:
    content = factories.zipped(tmp_path / "films.zip", {"a.png": factories.png(tmp_path / "a.png")}).read_bytes()
    file = SimpleUploadedFile("films.zip", io.BytesIO(content).getvalue())
    upload = receive_zip(dataset=factories.dataset(), file=file, author=factories.curator())
    tasks.import_upload(str(upload.uuid))
    assert Upload.objects.get().state == Upload.State.RECEIVED
    recorder.record_unapplied("portal", "9999_from_the_future")
    tasks.import_upload(str(upload.uuid))
    assert Upload.objects.get().state == Upload.State.DONE
