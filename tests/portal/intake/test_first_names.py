"""Names that an import could not match: shown once to the person who sent it, never stored or logged."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.serializers import serialize
from django.test import Client

from portal import tasks
from portal.intake import film_files
from portal.intake.first_names import FirstNames, take_first_names
from portal.intake.zip_uploads import receive_zip
from portal.models import AuditEvent, Dataset, Role, Upload, User
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def upload(tmp_path: Path, published: list[str]) -> Upload:
    of: Dataset = factories.dataset()
    factories.png(tmp_path / "a.png", seed=1)
    rows = [{"filename": name, "label": "normal"} for name in ("Zzyzxson-1.png", "Quirina.png")]
    members: dict[str, bytes | str | Path] = {
        "Marmaduke.png": tmp_path / "a.png",
        "labels.csv": factories.table_text(rows),
    }
    content = factories.zipped(tmp_path / "z.zip", members).read_bytes()
    upload = receive_zip(dataset=of, file=SimpleUploadedFile("z.zip", content), author=factories.curator("ann"))
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    return upload


def test_nothing_matched_fails_and_stores_only_line_column_and_shape(
    upload: Upload, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert (upload.state, upload.counts) == ("failed", {"missing": 2, "not in the CSV": 1})
    assert upload.message.startswith("Nothing was imported: no row of the CSV names a file of this import")
    assert "(the first: line 2, column filename, aaaaaaaa-9.png)" in upload.message
    stored = serialize("json", [*Upload.objects.all(), *AuditEvent.objects.all()]) + caplog.text
    for name in ("Zzyzxson", "Quirina", "Marmaduke"):
        assert name not in stored


def test_the_uploader_sees_the_names_once(upload: Upload) -> None:
    assert upload.uploaded_by is not None
    factories.user("bea", Role.CURATOR)
    names = ("Zzyzxson-1.png, Quirina.png", "Files without a row: Marmaduke.png")
    for path in (f"/datasets/{upload.dataset.uuid}/", f"/uploads/{upload.uuid}/"):
        other = Client()
        other.force_login(User.objects.get(username="bea"))
        page = other.get(path).content.decode()
        assert "no row of the CSV names a file" in page
        assert not any(name in page for name in names)
    web = Client()
    web.force_login(upload.uploaded_by)
    page = web.get(f"/datasets/{upload.dataset.uuid}/").content.decode()
    assert all(name in page for name in names)
    assert "Zzyzxson" not in web.get(f"/datasets/{upload.dataset.uuid}/").content.decode()
    assert list(film_files.upload_path("x").parent.iterdir()) == []


def test_the_fragment_of_the_import_shows_them_too(upload: Upload) -> None:
    assert upload.uploaded_by is not None
    web = Client()
    web.force_login(upload.uploaded_by)
    assert "Marmaduke.png" in web.get(f"/uploads/{upload.uuid}/").content.decode()
    assert "Marmaduke.png" not in web.get(f"/uploads/{upload.uuid}/").content.decode()


def test_names_are_readable_by_the_portal_alone(upload: Upload) -> None:
    (path,) = film_files.upload_path("x").parent.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert upload.uploaded_by is not None
    assert take_first_names(upload, upload.uploaded_by) == FirstNames(
        ["Zzyzxson-1.png", "Quirina.png"], ["Marmaduke.png"]
    )
    assert take_first_names(upload, upload.uploaded_by) is None
