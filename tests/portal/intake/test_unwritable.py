"""A data folder on a disk that became read-only: mounted so, or, for people other than root, with such folders."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from portal import tasks
from portal.intake.unwritable import WAITS, is_unwritable
from portal.intake.waiting import waiting_for
from portal.intake.zip_uploads import receive_zip, zip_path
from portal.models import Dataset, Upload, User
from portal.project.condition import data_folder
from tests.portal import factories
from tests.portal.api.test_resumable import announce, begun, patch

pytestmark = [pytest.mark.django_db]


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    if os.geteuid() != 0:
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        modes = [path.stat().st_mode for path in folders]
        for path in reversed(folders):
            path.chmod(0o500)
        yield
        for path, mode in zip(folders, modes, strict=True):
            path.chmod(mode)
        return
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode:
        pytest.skip("No disk can be mounted here, and root may write everywhere.")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def kim() -> User:
    return factories.curator("kim")


@pytest.fixture
def curator(kim: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(kim)
    return client


@pytest.fixture
def zipped(tmp_path: Path) -> bytes:
    film = factories.png(tmp_path / "a.png", seed=1)
    return factories.zipped(tmp_path / "z.zip", {"a.png": film}).read_bytes()


def test_what_is_sent_is_refused_with_a_sentence(of: Dataset, curator: Client, data_dir: Path, zipped: bytes) -> None:
    address = begun(curator, of, 10)
    with read_only(data_dir):
        page = curator.post(f"/datasets/{of.uuid}/upload/", {"file": SimpleUploadedFile("z.zip", zipped)})
        parts = [announce(curator, of, 10), patch(curator, address, b"x", 0)]
    for answer in (page, *parts):
        assert answer.status_code == 507
        assert "The server cannot write into its data folder, so this was not saved." in " ".join(answer.text.split())
    assert not Upload.objects.exists()


def test_an_import_waits_until_it_can_write(
    of: Dataset, kim: User, data_dir: Path, zipped: bytes, published: list[str]
) -> None:
    upload = receive_zip(dataset=of, file=SimpleUploadedFile("z.zip", zipped), author=kim)
    with read_only(data_dir):
        tasks.import_upload(str(upload.uuid))
        upload.refresh_from_db()
        assert (upload.state, waiting_for(upload, kim), of.images.count()) == ("received", WAITS, 0)
        assert zip_path(upload).exists()
    tasks.import_upload(str(upload.uuid))
    assert of.images.count() == 1


def test_doctor_says_why(data_dir: Path) -> None:
    with read_only(data_dir):
        found = data_folder()
    assert found.fault in (f"The disk of {data_dir} is mounted read-only.", f"{data_dir} cannot be written.")
    assert data_folder().fault == ""


def test_a_file_elsewhere_is_another_matter(settings: Any) -> None:
    inside = str(Path(settings.DATA_DIR) / "pixels" / "x")
    assert is_unwritable(PermissionError(13, "Permission denied", inside))
    assert not is_unwritable(PermissionError(13, "Permission denied", "/films/a.png"))
    assert not is_unwritable(FileNotFoundError(2, "No such file", inside))
    assert not is_unwritable(ValueError("no error of a disk"))
