"""The page of quarantine: files and reasons, by import; pictures and downloads; another try; deleting."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.intake.import_plans import read_plan
from portal.models import AuditEvent, Dataset, QuarantinedFile, Upload, User
from portal.people.blinding import open_for
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def address(of: Dataset) -> str:
    return f"/datasets/{of.uuid}/quarantine/"


def test_the_page_shows_files_and_reasons(curator: Client, stranger: Client, of: Dataset, address: str) -> None:
    named = factories.quarantined(of, name="named.png", data=b"one")
    other = factories.quarantined(of, data=b"two", author=User.objects.get(username="curator"))
    page = one_line(curator.get(address))
    assert "named.png" in page
    assert other.source_sha256[:12] in page
    assert page.count("This is a colour picture.") == 2
    assert f"/quarantine/{named.uuid}/preview" in page
    assert "Try all 2 kept again" in page
    assert "2 in quarantine" in one_line(curator.get(f"/datasets/{of.uuid}/"))
    assert stranger.get(address).status_code == 404


def test_an_empty_quarantine_is_stated(curator: Client, address: str) -> None:
    assert "No file of Normals is in quarantine." in one_line(curator.get(address))


def test_the_list_is_narrowed_by_import_and_reason(curator: Client, of: Dataset, address: str) -> None:
    one, other = factories.quarantined(of, data=b"one"), factories.quarantined(of, data=b"two")
    QuarantinedFile.objects.filter(pk=other.pk).update(reason="multi_frame")
    of_import = one_line(curator.get(f"{address}?import={one.upload.uuid}"))
    assert (one.source_sha256[:12] in of_import, other.source_sha256[:12] in of_import) == (True, False)
    assert "multi frame (1)" in of_import
    of_reason = one_line(curator.get(f"{address}?reason=multi_frame"))
    assert (one.source_sha256[:12] in of_reason, other.source_sha256[:12] in of_reason) == (False, True)
    neither = one_line(curator.get(f"{address}?import={one.upload.uuid}&reason=multi_frame"))
    assert "No file matches these filters." in neither
    assert one.source_sha256[:12] in one_line(curator.get(f"{address}?import=x&reason=y"))


def test_files_are_downloaded_by_those_who_may(curator: Client, reader: Client, stranger: Client, of: Dataset) -> None:
    file = factories.quarantined(of, data=b"<script>")
    answer = curator.get(f"/quarantine/{file.uuid}/file")
    assert b"".join(answer.streaming_content) == b"<script>"  # type: ignore[attr-defined]
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == f'attachment; filename="{file.source_sha256[:16]}"'
    assert AuditEvent.objects.filter(verb="download quarantined file").count() == 1
    picture = curator.get(f"/quarantine/{file.uuid}/preview")
    assert (picture["Content-Type"], picture.content) == ("image/jpeg", b"a picture")
    for part in ("file", "preview"):
        assert reader.get(f"/quarantine/{file.uuid}/{part}").status_code == 403
        assert stranger.get(f"/quarantine/{file.uuid}/{part}").status_code == 404
    page = one_line(reader.get(f"/datasets/{of.uuid}/quarantine/"))
    assert "Download<" not in page
    assert "/preview" not in page
    assert 'name="reason" maxlength' not in page


def test_a_download_of_what_is_gone_says_so(curator: Client, of: Dataset) -> None:
    file = factories.quarantined(of)
    from portal.intake import quarantine_files

    quarantine_files.remove(file)
    assert "The file is not kept any more" in one_line(curator.get(f"/quarantine/{file.uuid}/file", follow=True))
    assert curator.get(f"/quarantine/{file.uuid}/preview").status_code == 404


def test_who_reads_blinded_sees_shapes_of_names(of: Dataset, address: str) -> None:
    factories.quarantined(of, name="pneumonia_7.png")
    kim = factories.curator("kim")
    open_for(person=kim, images=[factories.film(of)], source=factories.somewhere(), words="the worklist One", days=9)
    page = one_line(as_(kim).get(address))
    assert "pneumonia" not in page
    assert "aaaaaaaaa_9.png" in page
    assert "You read films of Seoul blinded" in page


@pytest.mark.parametrize("everything", [True, False])
def test_chosen_files_or_all_are_tried_again(
    curator: Client,
    of: Dataset,
    address: str,
    published: list[str],
    everything: bool,
    django_capture_on_commit_callbacks: Any,
) -> None:
    files = [factories.quarantined(of, data=bytes([n])) for n in range(3)]
    sent = {"all": ""} if everything else {"file": [str(files[1].uuid)]}
    with django_capture_on_commit_callbacks(execute=True):
        assert curator.post(f"{address}again/", sent).url == f"/datasets/{of.uuid}/"  # type: ignore[attr-defined]
    upload = Upload.objects.get(state="received")
    assert published == [str(upload.uuid)]
    assert read_plan(upload).items == [str(file.uuid) for file in (files if everything else files[1:2])]


def test_nothing_chosen_is_said(curator: Client, reader: Client, of: Dataset, address: str) -> None:
    factories.quarantined(of)
    again = one_line(curator.post(f"{address}again/", follow=True))
    assert "None of the chosen files is kept, so there is nothing to try again" in again
    assert "No file is chosen; choose those to delete." in one_line(curator.post(f"{address}delete/", follow=True))
    assert curator.post(f"{address}delete/", {"file": "x"}).status_code == 404
    for act in ("again", "delete"):
        assert reader.post(f"{address}{act}/", {"all": ""}).status_code == 403


def test_files_are_deleted_with_a_reason(curator: Client, of: Dataset, address: str) -> None:
    file = factories.quarantined(of)
    sent = {"file": str(file.uuid)}
    assert "Say why the files are deleted" in one_line(curator.post(f"{address}delete/", sent, follow=True))
    page = one_line(curator.post(f"{address}delete/", {**sent, "reason": "not ours"}, follow=True))
    assert "1 file deleted." in page
    assert AuditEvent.objects.get(verb="delete quarantined file").reason == "not ours"
