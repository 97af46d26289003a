"""A published dataset on the server is imported by page and API, in the background, and goes on after a kill."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from django.utils import timezone

from portal.models import AuditEvent, Dataset, PartialUpload, Role, Upload
from portal.tasks import resume_uploads
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "imports" / "padchest").mkdir(parents=True)
    with override_settings(IMPORT_FOLDER=tmp_path / "imports"):
        yield tmp_path / "imports"


@pytest.fixture
def curator(client: Client, of: Dataset) -> Client:
    client.force_login(factories.curator(at=of.site))
    return client


def test_the_page_offers_the_folders_and_imports_one(
    curator: Client, of: Dataset, published: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    assert "<option>padchest</option>" in curator.get(f"/datasets/{of.uuid}/").content.decode()
    choices = {"folder": "padchest", "source": "padchest", "views": "all", "children": "1"}
    with django_capture_on_commit_callbacks(execute=True):
        assert curator.post(f"/datasets/{of.uuid}/folder/", choices)["Location"] == f"/datasets/{of.uuid}/"
    upload = of.uploads.get()
    assert (upload.source, upload.folder, upload.options) == (
        "padchest",
        "padchest",
        {"views": "all", "children": True},
    )
    assert AuditEvent.objects.get(verb="import folder").after["source"] == "padchest"


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"folder": "../etc", "source": "padchest"}, "has no folder"),
        ({"folder": "padchest"}, "not said of which published dataset"),
        ({"folder": "padchest", "source": "openi"}, "The source is"),
    ],
)
def test_the_page_refuses(choices: dict[str, str], sentence: str, curator: Client, of: Dataset) -> None:
    response = curator.post(f"/datasets/{of.uuid}/folder/", choices)
    assert (response.status_code, sentence in response.content.decode()) == (400, True)
    assert not of.uploads.exists()


def test_a_reader_may_neither_see_nor_import_folders(client: Client, of: Dataset) -> None:
    client.force_login(factories.user("reader", Role.READER, at=of.site))
    assert "padchest" not in client.get(f"/datasets/{of.uuid}/").content.decode()
    assert client.post(f"/datasets/{of.uuid}/folder/", {"folder": "padchest"}).status_code == 403
    assert client.get(f"/api/v1/datasets/{of.uuid}/folder-imports/").status_code == 403


def test_by_api(curator: Client, of: Dataset, published: list[str]) -> None:
    address = f"/api/v1/datasets/{of.uuid}/folder-imports/"
    assert curator.get(address).json() == {"folders": ["padchest"]}
    wrong = curator.post(address, {"folder": "padchest", "source": "nih", "views": "side"}, "application/json")
    assert "choose pa, frontal, all" in wrong.json()["detail"]
    answer = curator.post(address, {"folder": "padchest", "source": "padchest"}, "application/json")
    assert (answer.status_code, answer.json()["state"]) == (202, "received")
    assert str(of.uploads.get().uuid) == answer.json()["uuid"]


def test_a_lost_import_is_queued_again(of: Dataset, published: list[str]) -> None:
    silent = timezone.now() - timedelta(hours=1)
    upload = Upload.objects.create(
        dataset=of, source="padchest", folder="padchest", state=Upload.State.IMPORTING, heartbeat_at=silent
    )
    resume_uploads()
    assert published == [str(upload.uuid)]
    upload.refresh_from_db()
    assert upload.state == "importing"


def test_a_zip_may_be_of_a_published_dataset_too(curator: Client, of: Dataset) -> None:
    address = f"/api/v1/datasets/{of.uuid}/uploads/"

    def announce(**metadata: str) -> Any:
        pairs = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in metadata.items())
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "10", "Upload-Metadata": pairs}
        return curator.post(address, headers=headers)

    assert announce(source="vindr", children="yes").status_code == 201
    partial = PartialUpload.objects.get()
    assert (partial.source, partial.options) == ("vindr", {"views": "all", "children": True})
    assert announce(source="openi").status_code == 400
    zip_of_nothing = SimpleUploadedFile("films.zip", b"PK")
    refused = curator.post(f"/datasets/{of.uuid}/upload/", {"file": zip_of_nothing, "source": "openi"})
    assert "choose one of padchest, nih" in refused.content.decode()
