"""Headers and bodies: no response to a signed-in person is cached; no large body is read except a zip of films from a
signed-in person while the disk has space."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser
from django.test import Client
from django.utils.datastructures import MultiValueDict

from portal.intake import resumable
from portal.models import Dataset, Upload, User
from tests.portal import factories

pytestmark = [pytest.mark.django_db]

MIB = 2**20


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def curator(of: Dataset) -> Client:
    client = Client()
    client.force_login(factories.curator())
    return client


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The bodies that Django starts to read; they are empty forms."""
    begun: list[str] = []

    def watched(self: Any) -> Any:
        begun.append("multipart")
        return QueryDict(), MultiValueDict()

    monkeypatch.setattr(MultiPartParser, "parse", watched)
    return begun


def send(client: Client, address: str, length: int | str, **headers: Any) -> Any:
    """Send a form with this Content-Length; its bytes are never sent."""
    kind = "multipart/form-data; boundary=x"
    return client.post(address, b"--x--", content_type=kind, CONTENT_LENGTH=str(length), **headers)


@pytest.mark.parametrize("address", ["/labels/", "/accounts/login/", "/api/v1/labels/", "/admin/"])
def test_no_large_body_of_a_stranger_is_read(of: Dataset, read: list[str], address: str) -> None:
    """Not even of a stranger with the cookie of the log-in page."""
    client = Client(enforce_csrf_checks=True)
    client.get("/accounts/login/")
    refused = send(client, address, 6 * MIB)
    assert refused.status_code == 413
    assert "The request has 6.0 MiB; the limit here is 5.0 MiB." in refused.content.decode()
    assert send(client, f"/datasets/{of.uuid}/upload/", 6 * MIB).status_code == 413
    assert read == []


def test_no_body_of_a_stranger_is_read(of: Dataset, read: list[str]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.get("/accounts/login/")
    for address in ("/labels/", f"/datasets/{of.uuid}/upload/"):
        assert send(client, address, 5).status_code == 302
    assert read == []


def test_a_zip_may_be_large_up_to_the_limit(curator: Client, of: Dataset, read: list[str], settings: Any) -> None:
    settings.UPLOAD_LIMIT_BYTES = 20 * MIB
    address = f"/datasets/{of.uuid}/upload/"
    assert send(curator, "/labels/", 6 * MIB).status_code == 413
    refused = send(curator, address, 22 * MIB, HTTP_ACCEPT="application/json")
    assert (refused.status_code, "limit here is 21.0 MiB" in refused.json()["error"]) == (413, True)
    assert read == []
    assert "No file was sent" in send(curator, address, 20 * MIB).content.decode()
    assert read == ["multipart"]


def test_a_zip_above_the_limit_of_other_bodies_arrives(
    curator: Client, of: Dataset, tmp_path: Path, published: list[str]
) -> None:
    noise = b"".join(factories.pixels(seed, rows=2000, columns=900).tobytes() for seed in range(2))
    content = factories.zipped(tmp_path / "z.zip", {"a.bin": noise, "b.bin": noise}).read_bytes()
    assert len(content) > 6 * MIB
    answer = curator.post(f"/datasets/{of.uuid}/upload/", {"file": SimpleUploadedFile("z.zip", content)})
    assert (answer.status_code, Upload.objects.count()) == (302, 1)


def test_a_part_of_an_upload_may_be_large_and_is_not_read_from_a_stranger(
    curator: Client, of: Dataset, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(resumable, "receive", lambda partial, source, **more: taken.append(more["length"]) or 0)
    author = User.objects.get(username="curator")
    partial = resumable.begin(dataset=of, author=author, announced=resumable.Announced(bytes_total=20 * MIB))
    address, headers = f"/api/v1/uploads/{partial.uuid}/", {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}

    def patch(client: Client, kind: str = resumable.CONTENT) -> int:
        answer = client.generic("PATCH", address, b"x", kind, CONTENT_LENGTH=str(6 * MIB), headers=headers)
        return int(answer.status_code)

    assert patch(Client()) in (401, 403)
    assert taken == []
    assert (patch(curator), taken) == (204, [6 * MIB])
    assert patch(curator, "multipart/form-data; boundary=x") == 413
    assert send(curator, address, 6 * MIB).status_code == 413
    assert read == []


def test_a_body_without_its_length_is_refused(curator: Client, read: list[str]) -> None:
    for length in ("", "6000000"):
        refused = send(curator, "/theme/", length, HTTP_TRANSFER_ENCODING="chunked")
        assert refused.status_code == 411
        assert "Content-Length" in refused.content.decode()
    assert read == []


def test_an_invalid_length_is_handled(curator: Client, read: list[str]) -> None:
    assert send(curator, "/theme/", "nonsense").status_code == 302


def test_a_zip_for_which_the_disk_has_no_space(
    curator: Client, of: Dataset, read: list[str], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.FREE_BYTES_KEPT = 2**30
    usage = namedtuple("usage", "total used free")(2**40, 0, 2**30 + 5 * MIB)
    monkeypatch.setattr("portal.project.middleware.shutil.disk_usage", lambda path: usage)
    refused = send(curator, f"/datasets/{of.uuid}/upload/", 6 * MIB)
    assert refused.status_code == 507
    assert "The disk of the server is full; ask your administrator" in refused.content.decode()
    assert read == []


# headers ------------------------------------------------------------------------------------------------------


def test_no_response_to_a_person_is_cached(curator: Client, of: Dataset) -> None:
    """The Back button shows nothing after log-out."""
    film = factories.film(of, "normal")
    for address in (
        "/datasets/",
        f"/datasets/{of.uuid}/",
        f"/images/{film.uuid}/",
        f"/images/{film.uuid}/facts",
        f"/images/{film.uuid}/boxes",
        "/api/v1/datasets/",
        "/no/such/page",
        "/healthz",
    ):
        assert curator.get(address)["Cache-Control"] == "private, no-store", address
    assert "no-store" in Client().get("/accounts/login/")["Cache-Control"]


@pytest.mark.parametrize("address", ["/datasets/", "/accounts/login/", "/healthz", "/static/img/hilum.svg", "/none"])
def test_no_other_site_may_load_anything_and_no_page_may_use_a_camera(curator: Client, address: str) -> None:
    response = curator.get(address)
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in response["Permissions-Policy"]
    assert "no-store" not in response["Cache-Control"] or "static" not in address
    response.close()
