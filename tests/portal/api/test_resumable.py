"""Resumable uploads: each requirement of the tus protocol 1.0 and of its extensions, and who may send what."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from portal import tasks
from portal.api.resumable import VERSION
from portal.intake import resumable
from portal.intake.resumable import CONTENT
from portal.models import AuditEvent, Dataset, Membership, PartialUpload, Role, Upload
from tests.portal import factories
from tests.portal.api.signing_in import with_token
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]
TUS = {"Tus-Resumable": VERSION}


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def curator(of: Dataset) -> Client:
    return as_(factories.curator())


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return factories.zipped(tmp_path / "z.zip", {"a.png": factories.png(tmp_path / "a.png")}).read_bytes()


@pytest.fixture(autouse=True)
def _nothing_works_by_itself(published: list[str]) -> None:
    pass


CHOICES = (("patients", b"header"), ("check_columns", b"yes"))


def announce(client: Client, of: Dataset, length: int | str, metadata: str = "", **more: str) -> Any:
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata, **more}
    return client.post(f"/api/v1/datasets/{of.uuid}/uploads/", headers=headers)


def begun(client: Client, of: Dataset, length: int, metadata: str = "") -> str:
    answer = announce(client, of, length, metadata)
    assert answer.status_code == 201, answer.content
    assert answer["Location"].startswith("http://testserver/api/v1/uploads/")
    return str(answer["Location"]).removeprefix("http://testserver")


def patch(client: Client, address: str, body: bytes, offset: int | str, **more: str) -> Any:
    headers = {**TUS, "Upload-Offset": str(offset), **more}
    return client.generic("PATCH", address, body, CONTENT, headers=headers, CONTENT_TYPE=CONTENT)


def named(name: str) -> str:
    return f"filename {base64.b64encode(name.encode()).decode()}"


# core ---------------------------------------------------------------------------------------------------------


def test_a_file_arrives_in_parts_and_is_imported(
    curator: Client, of: Dataset, content: bytes, published: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    address = begun(curator, of, len(content))
    first = patch(curator, address, content[:100], 0)
    assert (first.status_code, first["Upload-Offset"], first["Tus-Resumable"]) == (204, "100", VERSION)
    with django_capture_on_commit_callbacks(execute=True):
        last = patch(curator, address, content[100:], 100)
    assert (last.status_code, last["Upload-Offset"]) == (204, str(len(content)))
    upload = Upload.objects.get()
    assert (last["Hilum-Import"], published) == (str(upload.uuid), [str(upload.uuid)])
    assert AuditEvent.objects.get(verb="upload films").target_uuid == of.uuid
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    assert upload.message == "1 film imported."
    answer = curator.get(address).json()
    assert (answer["offset"], answer["upload"]["state"]) == (len(content), "done")


def test_head_says_how_much_has_arrived_and_is_not_cached(curator: Client, of: Dataset) -> None:
    address = begun(curator, of, 500)
    patch(curator, address, b"x" * 30, 0)
    head = curator.head(address, headers=TUS)
    assert (head.status_code, head["Upload-Offset"], head["Upload-Length"]) == (200, "30", "500")
    assert "no-store" in head["Cache-Control"]
    assert head["Tus-Resumable"] == VERSION


def test_a_complete_upload_still_answers_for_a_client_that_missed_it(
    curator: Client, of: Dataset, content: bytes
) -> None:
    address = begun(curator, of, len(content))
    patch(curator, address, content, 0)
    head = curator.head(address, headers=TUS)
    assert (head["Upload-Offset"], head["Hilum-Import"]) == (str(len(content)), str(Upload.objects.get().uuid))
    assert patch(curator, address, b"", len(content)).status_code == 204
    assert Upload.objects.count() == 1


def test_a_wrong_offset_is_a_conflict_and_changes_nothing(curator: Client, of: Dataset) -> None:
    address = begun(curator, of, 500)
    patch(curator, address, b"x" * 30, 0)
    for offset, body in ((0, b"y" * 10), (29, b"y"), (31, b"y"), (0, b"")):
        answer = patch(curator, address, body, offset)
        assert (answer.status_code, answer["Tus-Resumable"]) == (409, VERSION)
        assert "The upload has 30 bytes; continue there." in answer.json()["detail"]
    assert curator.head(address, headers=TUS)["Upload-Offset"] == "30"


@pytest.mark.parametrize("offset", ["", "-1", "1.5", "ten", "9" * 30])
def test_an_offset_has_to_be_a_number(curator: Client, of: Dataset, offset: str) -> None:
    answer = patch(curator, begun(curator, of, 500), b"x", offset)
    assert answer.status_code == 400
    assert "The header Upload-Offset is" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain", "multipart/form-data; boundary=x"])
def test_another_content_type_is_refused(curator: Client, of: Dataset, kind: str) -> None:
    address = begun(curator, of, 500)
    answer = curator.generic("PATCH", address, b"x", kind, headers={**TUS, "Upload-Offset": "0"})
    assert answer.status_code == 415
    assert CONTENT in answer.json()["detail"]
    assert curator.head(address, headers=TUS)["Upload-Offset"] == "0"


def test_an_upload_that_is_not_there(curator: Client) -> None:
    address = "/api/v1/uploads/00000000-0000-4000-8000-000000000000/"
    assert patch(curator, address, b"x", 0).status_code == 404
    head = curator.head(address, headers=TUS)
    assert (head.status_code, head.has_header("Upload-Offset")) == (404, False)
    assert curator.delete(address, headers=TUS).status_code == 404


def test_more_than_was_announced_is_refused(curator: Client, of: Dataset) -> None:
    address = begun(curator, of, 10)
    answer = patch(curator, address, b"x" * 11, 0)
    assert answer.status_code == 413
    assert "11 bytes would be there, and 10 were announced." in answer.json()["detail"]
    assert curator.head(address, headers=TUS)["Upload-Offset"] == "0"


@pytest.mark.parametrize("version", ["", "0.2.2", "2.0.0"])
def test_another_version_is_refused_before_anything_happens(curator: Client, of: Dataset, version: str) -> None:
    address = begun(curator, of, 10)
    headers = {"Tus-Resumable": version, "Upload-Offset": "0"}
    answer = curator.generic("PATCH", address, b"x", CONTENT, headers=headers)
    assert (answer.status_code, answer["Tus-Version"]) == (412, VERSION)
    assert "this server speaks version 1.0.0 of tus" in answer.json()["detail"]
    assert curator.head(address, headers={}).status_code == 412
    assert curator.head(address, headers=TUS)["Upload-Offset"] == "0"


def test_options_say_what_the_server_can_do(curator: Client, of: Dataset, settings: Any) -> None:
    answer = curator.options(f"/api/v1/datasets/{of.uuid}/uploads/")
    assert answer.status_code in (200, 204)
    assert answer["Tus-Version"] == VERSION
    assert answer["Tus-Extension"] == "creation,expiration,termination,checksum"
    assert answer["Tus-Max-Size"] == str(settings.UPLOAD_LIMIT_BYTES)
    assert "sha1" in answer["Tus-Checksum-Algorithm"].split(",")


def test_the_method_may_be_in_a_header(curator: Client, of: Dataset) -> None:
    address = begun(curator, of, 10)

    def post(method: str, body: bytes = b"", **more: str) -> Any:
        headers = {**TUS, "X-HTTP-Method-Override": method, **more}
        return curator.generic("POST", address, body, CONTENT, headers=headers)

    assert post("PATCH", b"x" * 4, **{"Upload-Offset": "0"})["Upload-Offset"] == "4"
    assert post("HEAD")["Upload-Offset"] == "4"
    assert post("DELETE").status_code == 204
    assert not PartialUpload.objects.exists()


# creation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", ["", "-1", "many", "1.5"])
def test_a_length_has_to_be_a_number(curator: Client, of: Dataset, length: str) -> None:
    answer = announce(curator, of, length)
    assert answer.status_code == 400
    assert "The header Upload-Length is" in answer.json()["detail"]
    assert not PartialUpload.objects.exists()


def test_an_empty_file_is_refused(curator: Client, of: Dataset) -> None:
    assert "The file is empty; choose a zip of films" in announce(curator, of, 0).json()["detail"]


def test_a_file_above_the_limit_is_refused_before_it_is_sent(curator: Client, of: Dataset, settings: Any) -> None:
    answer = announce(curator, of, settings.UPLOAD_LIMIT_BYTES + 1)
    assert answer.status_code == 413
    assert "The zip has 20.0 GiB; the limit is 20." in answer.json()["detail"]


def test_a_disk_that_is_full_is_a_sentence(curator: Client, of: Dataset, settings: Any) -> None:
    address = begun(curator, of, 10)
    settings.FREE_BYTES_KEPT = 2**60
    for answer in (announce(curator, of, 10), patch(curator, address, b"x", 0)):
        assert answer.status_code == 507
        assert "The disk of the server is full" in answer.json()["detail"]
    assert curator.head(address, headers=TUS)["Upload-Offset"] == "0"


@pytest.mark.parametrize("metadata", ["filename ***", "a YQ==,a YQ==", " ,", "name /w=="])
def test_metadata_that_cannot_be_read(curator: Client, of: Dataset, metadata: str) -> None:
    answer = announce(curator, of, 10, metadata)
    assert answer.status_code == 400
    assert "Upload-Metadata" in answer.json()["detail"]


def test_no_name_is_kept(curator: Client, of: Dataset, data_dir: Path) -> None:
    address = begun(curator, of, 10, named("Kim Minji.zip") + ",is_confidential")
    row = PartialUpload.objects.values().get()
    assert "Minji" not in str(row)
    assert [path.name for path in (data_dir / "uploads").iterdir()] == [f"{row['uuid']}.part"]
    assert not curator.head(address, headers=TUS).has_header("Upload-Metadata")


def test_too_many_unfinished_uploads(curator: Client, of: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "MOST_UNFINISHED", 2)
    begun(curator, of, 10)
    begun(curator, of, 10)
    assert "You have 2 unfinished uploads, which is the limit" in announce(curator, of, 10).json()["detail"]


# expiration, termination, checksum ----------------------------------------------------------------------------


def test_an_upload_expires_a_day_after_its_last_byte(curator: Client, of: Dataset) -> None:
    answer = announce(curator, of, 10)
    for said_in in (answer, patch(curator, answer["Location"], b"x", 0)):
        left = parsedate_to_datetime(said_in["Upload-Expires"]) - timezone.now()
        assert 86_390 < left.total_seconds() <= 86_400
    part = resumable.part_path(PartialUpload.objects.get())
    os.utime(part, (time.time() - 86_500,) * 2)
    tasks.resume_uploads()
    assert not part.exists()
    assert patch(curator, answer["Location"], b"x", 1).status_code == 404
    assert not PartialUpload.objects.exists()


def test_an_upload_whose_bytes_are_swept_is_gone(curator: Client, of: Dataset) -> None:
    address = begun(curator, of, 10)
    resumable.part_path(PartialUpload.objects.get()).unlink()
    assert curator.head(address, headers=TUS).status_code == 410
    answer = patch(curator, address, b"x", 0)
    assert (answer.status_code, "The upload is not there any more" in answer.json()["detail"]) == (410, True)


def test_an_upload_is_discarded(curator: Client, of: Dataset, data_dir: Path) -> None:
    address = begun(curator, of, 10)
    patch(curator, address, b"x", 0)
    answer = curator.delete(address, headers=TUS)
    assert (answer.status_code, answer["Tus-Resumable"]) == (204, VERSION)
    assert not list((data_dir / "uploads").iterdir())
    assert curator.head(address, headers=TUS).status_code in (404, 410)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_checksum_keeps_all_or_nothing(curator: Client, of: Dataset, algorithm: str, data_dir: Path) -> None:
    address = begun(curator, of, 10)
    digest = base64.b64encode(hashlib.new(algorithm, b"right").digest()).decode()
    wrong = patch(curator, address, b"wrong", 0, **{"Upload-Checksum": f"{algorithm} {digest}"})
    assert (wrong.status_code, wrong["Tus-Resumable"]) == (460, VERSION)
    assert curator.head(address, headers=TUS)["Upload-Offset"] == "0"
    right = patch(curator, address, b"right", 0, **{"Upload-Checksum": f"{algorithm} {digest}"})
    assert (right.status_code, right["Upload-Offset"]) == (204, "5")
    assert len(list((data_dir / "uploads").iterdir())) == 1


@pytest.mark.parametrize(
    ("checksum", "sentence"), [("crc99 AAAA", "sha1 and sha256 are known"), ("sha1 *", "is not base64")]
)
def test_a_checksum_that_cannot_be_checked(curator: Client, of: Dataset, checksum: str, sentence: str) -> None:
    answer = patch(curator, begun(curator, of, 10), b"x", 0, **{"Upload-Checksum": checksum})
    assert (answer.status_code, sentence in answer.json()["detail"]) == (400, True)


# what is sent -------------------------------------------------------------------------------------------------


def test_a_table_by_itself(curator: Client, of: Dataset) -> None:
    film = factories.film(of, original_name="a.png")
    table = b"filename,label\na.png,abnormal\n"
    patch(curator, begun(curator, of, len(table), named("Kim Minji.CSV")), table, 0)
    upload = Upload.objects.get()
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    film.refresh_from_db()
    assert (upload.message, film.current_label.value) == ("1 film that is there was labelled.", "abnormal")


def test_what_counts_for_patients_and_whether_to_check_the_columns_come_along(curator: Client, of: Dataset) -> None:
    content = b"filename,label\na.png,normal\n"
    chosen = [f"{name} {base64.b64encode(value).decode()}" for name, value in CHOICES]
    address = begun(curator, of, len(content), ",".join([named("t.csv"), *chosen]))
    assert patch(curator, address, content, 0).status_code == 204
    upload = Upload.objects.get()
    assert (upload.patients, upload.check_columns) == ("header", True)
    address = begun(curator, of, len(content), named("t.csv"))
    patch(curator, address, content, 0)
    assert list(Upload.objects.order_by("pk").values_list("patients", "check_columns"))[1:] == [("table", False)]
    refused = announce(curator, of, 10, f"patients {base64.b64encode(b'both').decode()}")
    assert (refused.status_code, "is 'both'; choose table or header" in refused.json()["detail"]) == (400, True)


def test_what_is_no_zip_is_refused_when_it_has_arrived_and_the_page_says_so(
    curator: Client, of: Dataset, data_dir: Path
) -> None:
    answer = patch(curator, begun(curator, of, 9, named("films.zip")), b"not a zip", 0)
    assert answer.status_code == 422
    assert "The file is not a zip archive; put the films" in answer.json()["detail"]
    assert "The file is not a zip archive; put the films" in curator.get(f"/datasets/{of.uuid}/").content.decode()
    assert Upload.objects.get().state == "failed"
    assert not list((data_dir / "uploads").iterdir())


# who ----------------------------------------------------------------------------------------------------------


def test_only_who_may_import_may_begin(of: Dataset) -> None:
    assert announce(as_(factories.user("reader", Role.READER)), of, 10).status_code == 403
    assert announce(as_(factories.user("other", *Role, at=factories.site("Busan"))), of, 10).status_code == 404
    assert announce(Client(), of, 10).status_code in (401, 403)


def test_an_upload_is_there_for_its_owner_only(curator: Client, of: Dataset) -> None:
    address = begun(curator, of, 10)
    colleague, root = as_(factories.curator("colleague")), as_(factories.user("root", is_superuser=True))
    for other in (colleague, root):
        assert other.head(address, headers=TUS).status_code == 404
        assert other.get(address).status_code == 404
        assert patch(other, address, b"x", 0).status_code == 404
        assert other.delete(address, headers=TUS).status_code == 404
    assert curator.head(address, headers=TUS)["Upload-Offset"] == "0"


def test_a_person_who_lost_the_role_may_not_go_on(curator: Client, of: Dataset) -> None:
    address = begun(curator, of, 10)
    Membership.objects.update(role=Role.READER)
    assert patch(curator, address, b"x", 0).status_code == 403
    Membership.objects.all().delete()
    assert patch(curator, address, b"x", 0).status_code == 404


def test_a_script_sends_with_a_token(of: Dataset, content: bytes) -> None:
    author = factories.curator()
    script = with_token(author)
    assert patch(script, begun(script, of, len(content)), content, 0).status_code == 204
    assert Upload.objects.get().uploaded_by == author


def test_a_page_of_another_website_may_not_send(of: Dataset) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.curator())
    assert announce(client, of, 10).status_code == 403
    partial = resumable.begin(
        dataset=of, author=factories.curator("second"), announced=resumable.Announced(bytes_total=10)
    )
    client.force_login(partial.author)
    address = f"/api/v1/uploads/{partial.uuid}/"
    assert patch(client, address, b"x", 0).status_code == 403
    assert patch(client, address, b"x", 0, **{"X-HTTP-Method-Override": "PATCH"}).status_code == 403
    assert client.delete(address, headers=TUS).status_code == 403
    assert resumable.offset_of(partial) == 0
