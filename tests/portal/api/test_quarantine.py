"""Quarantine by API: listed, downloaded, tried again, deleted."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.intake.import_plans import read_plan
from portal.models import Dataset, QuarantinedFile, Role, Upload
from tests.portal import factories
from tests.portal.api.signing_in import with_token

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def curator(of: Dataset) -> Client:
    return with_token(factories.curator())


@pytest.fixture
def address(of: Dataset) -> str:
    return f"/api/v1/datasets/{of.uuid}/quarantine/"


def send(client: Client, address: str, **body: Any) -> Any:
    return client.post(address, body, content_type="application/json")


def test_files_are_listed_by_import_and_reason(of: Dataset, curator: Client, address: str) -> None:
    one, other = factories.quarantined(of, name="a.png", data=b"one"), factories.quarantined(of, data=b"two")
    QuarantinedFile.objects.filter(pk=other.pk).update(reason="multi_frame", kept_at=None, bytes_kept=0)
    listed = curator.get(address).json()
    assert listed["count"] == 2
    first = listed["results"][0]
    assert {**first, "created_at": 0, "kept_until": 0} == {
        "uuid": str(one.uuid), "import": str(one.upload.uuid), "name": "a.png", "sha256": one.source_sha256,
        "reason": "colour", "sentence": "This is a colour picture.", "bytes": 3, "created_at": 0, "kept_until": 0,
    }  # fmt: skip
    assert listed["results"][1]["kept_until"] is None
    assert [row["uuid"] for row in curator.get(f"{address}?reason=multi_frame").json()["results"]] == [str(other.uuid)]
    assert [row["uuid"] for row in curator.get(f"{address}?import={one.upload.uuid}").json()["results"]] == [
        str(one.uuid)
    ]


@pytest.mark.parametrize(("query", "words"), [
    ("reason=grey", "The reason is 'grey'; choose one of colour"),
    ("import=x", "The import is 'x'; it has to be a UUID"),
])  # fmt: skip
def test_an_unknown_filter_is_refused(curator: Client, address: str, query: str, words: str) -> None:
    answer = curator.get(f"{address}?{query}")
    assert (answer.status_code, words in str(answer.json())) == (400, True)


def test_a_file_is_downloaded_and_then_gone(of: Dataset, curator: Client, address: str) -> None:
    file = factories.quarantined(of, data=b"bytes")
    answer = curator.get(f"/api/v1/quarantine/{file.uuid}/file/")
    assert b"".join(answer.streaming_content) == b"bytes"  # type: ignore[attr-defined]
    deleted = send(curator, f"{address}delete/", files=[str(file.uuid)], reason="not ours")
    assert deleted.json() == {"deleted": 1}
    assert curator.get(f"/api/v1/quarantine/{file.uuid}/file/").status_code == 404


def test_a_file_that_is_not_kept_is_404_with_a_sentence(of: Dataset, curator: Client) -> None:
    file = factories.quarantined(of)
    from portal.intake import quarantine_files

    quarantine_files.remove(file)
    answer = curator.get(f"/api/v1/quarantine/{file.uuid}/file/")
    assert (answer.status_code, "not kept any more" in answer.json()["detail"]) == (404, True)


def test_files_are_tried_again(of: Dataset, curator: Client, address: str, published: list[str]) -> None:
    one, other = factories.quarantined(of, data=b"one"), factories.quarantined(of, data=b"two")
    answer = send(curator, f"{address}again/", files=[str(one.uuid)])
    assert (answer.status_code, answer.json()["state"]) == (202, "received")
    assert read_plan(Upload.objects.get(uuid=answer.json()["uuid"])).items == [str(one.uuid)]
    everything = send(curator, f"{address}again/").json()
    assert read_plan(Upload.objects.get(uuid=everything["uuid"])).items == [str(one.uuid), str(other.uuid)]
    nothing = send(curator, f"{address}again/", files=[str(factories.somewhere())])
    assert (nothing.status_code, "None of these files is in quarantine" in str(nothing.json())) == (400, True)


def test_deleting_needs_a_reason(of: Dataset, curator: Client, address: str) -> None:
    file = factories.quarantined(of)
    assert send(curator, f"{address}delete/", files=[str(file.uuid)]).status_code == 400
    short = send(curator, f"{address}delete/", files=[str(file.uuid)], reason="x")
    assert (short.status_code, "Say why the files are deleted" in str(short.json())) == (400, True)
    assert QuarantinedFile.objects.count() == 1


def test_a_reader_lists_and_no_more(of: Dataset, address: str) -> None:
    file = factories.quarantined(of)
    reader = with_token(factories.user("reader", Role.READER))
    assert reader.get(address).status_code == 200
    assert reader.get(f"/api/v1/quarantine/{file.uuid}/file/").status_code == 403
    assert send(reader, f"{address}again/").status_code == 403
    assert send(reader, f"{address}delete/", files=[str(file.uuid)], reason="a reason").status_code == 403
