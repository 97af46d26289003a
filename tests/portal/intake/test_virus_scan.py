"""Uploads are scanned before anything reads them, against a server that speaks clamd's protocol over a real socket."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from portal import tasks
from portal.intake.virus_scan import AWAY, NotScanned, scan, signatures_from, version
from portal.intake.waiting import waiting_for
from portal.intake.zip_uploads import receive_zip, zip_path
from portal.models import AuditEvent, Image, QuarantinedFile, Upload
from portal.project.condition import virus_scanner
from portal.project.system_checks import virus_scanner as warn_at_start
from tests.portal import factories
from tests.portal.intake import clamd

pytestmark = [pytest.mark.django_db]
TABLE = "filename,label\na.png,normal\n"


@pytest.fixture(autouse=True)
def _nothing_works_by_itself(published: list[str]) -> None:
    pass


@pytest.fixture
def film(tmp_path: Path) -> bytes:
    return factories.png(tmp_path / "a.png", seed=1).read_bytes()


def sent(members: dict[str, bytes | str]) -> Upload:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    file = SimpleUploadedFile("films.zip", content.getvalue())
    return receive_zip(dataset=factories.dataset(), file=file, author=factories.curator())


def imported(upload: Upload) -> Upload:
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    return upload


@pytest.mark.both
def test_every_file_is_sent_and_what_is_clean_is_imported(scanner: Any, film: bytes) -> None:
    upload = imported(sent({"a.png": film, "labels.csv": TABLE}))
    assert (upload.state, Image.objects.count()) == ("done", 1)
    assert scanner.scanned == [film, TABLE.encode()]


@pytest.mark.parametrize("place", ["table", "film", "zip in the zip"])
def test_an_infected_upload_is_refused_whole_and_deleted(scanner: Any, film: bytes, place: str, tmp_path: Path) -> None:
    inner = factories.zipped(tmp_path / "inner.zip", {"b.png": clamd.EICAR}).read_bytes()
    name, content = {
        "table": ("t.csv", clamd.EICAR),
        "film": ("b.png", clamd.EICAR),
        "zip in the zip": ("inner.zip", inner),
    }[place]
    upload = imported(sent({"a.png": film, name: content}))
    number = 3 if place == "zip in the zip" else 2
    assert upload.state == "failed"
    assert upload.message.startswith(f"The virus scanner found {clamd.FOUND} in file {number} of the zip.")
    assert not zip_path(upload).exists()
    assert (Image.objects.count(), QuarantinedFile.objects.count()) == (0, 0)
    event = AuditEvent.objects.get(verb="find virus")
    assert event.after == {"upload": str(upload.uuid), "signature": clamd.FOUND}


def test_without_its_scanner_an_upload_waits_and_says_so(settings: Any, film: bytes) -> None:
    settings.SCANNER = clamd.nowhere()
    upload = imported(sent({"a.png": film}))
    assert (upload.state, waiting_for(upload, upload.uploaded_by)) == ("received", AWAY)
    assert zip_path(upload).exists()
    assert Image.objects.count() == 0
    with clamd.running() as server:
        settings.SCANNER = server.address
        assert imported(upload).state == "done"
    assert Image.objects.count() == 1


def test_a_scanner_that_hangs_up_gave_no_verdict(scanner: Any, film: bytes) -> None:
    scanner.hangs_up = True
    assert imported(sent({"a.png": film})).state == "received"
    assert Image.objects.count() == 0


def test_a_file_that_the_scanner_does_not_take_is_refused(scanner: Any, film: bytes) -> None:
    scanner.most_bytes = 100
    upload = imported(sent({"a.png": film}))
    assert upload.state == "failed"
    assert "StreamMaxLength" in upload.message


def test_without_a_setting_nothing_is_sent(film: bytes) -> None:
    assert imported(sent({"a.png": film})).state == "done"


def test_over_a_unix_socket_too(tmp_path: Path) -> None:
    with clamd.running(tmp_path / "clamd.ctl") as server, scan(server.address) as scanned:
        for piece in (clamd.EICAR[:20], b"", clamd.EICAR[20:]):
            scanned.send(piece)
        assert scanned.signature() == clamd.FOUND


def test_a_large_file_is_refused_by_what_clamd_answered_before_it_closed(scanner: Any) -> None:
    scanner.most_bytes = 10

    def send_much() -> None:
        with scan(scanner.address) as scanned:
            for _ in range(64):
                scanned.send(bytes(2**20))
            scanned.signature()

    with pytest.raises(NotScanned, match="size limit"):
        send_much()


def test_doctor_and_start_say_that_it_is_away_or_old(settings: Any, scanner: Any) -> None:
    scanner.version = f"ClamAV 1.4.6/27450/{datetime.now(UTC):%a %b %d %H:%M:%S %Y}"
    assert (virus_scanner().fault, warn_at_start(None)) == ("", [])
    assert version(scanner.address) == scanner.version
    scanner.version = "ClamAV 1.4.6/27450/Sun Nov  1 08:45:11 2020"
    assert "are of 2020-11-01" in virus_scanner().fault
    settings.SCANNER = clamd.nowhere()
    assert "does not answer" in virus_scanner().fault
    assert [warning.id for warning in warn_at_start(None)] == ["hilum.W002"]
    settings.SCANNER = None
    assert (virus_scanner().fault, warn_at_start(None)) == ("", [])


def test_a_version_without_signatures_has_no_day() -> None:
    assert signatures_from("ClamAV 1.4.6") is None
