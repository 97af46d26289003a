"""The page of an import's de-identification, and its files by page and API."""

from __future__ import annotations

import pytest
from django.test import Client

from portal.imaging.handled_elements import HANDLED, ElementOutcome, HandledElement, to_text
from portal.intake.deidentified_batch import DeidentifiedBatch
from portal.intake.table_columns import ColumnFate, TableFate
from portal.models import Dataset, Upload
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def upload(of: Dataset) -> Upload:
    batch = DeidentifiedBatch(tables=[TableFate("labels.csv", (ColumnFate("surname", ElementOutcome.REMOVED, "why"),))])
    name = HandledElement("(0010,0010)", "PatientName", ElementOutcome.REMOVED, is_nested=True)
    batch.add({HANDLED: to_text([name])}, "dicom")
    return Upload.objects.create(dataset=of, state="done", deidentification=batch.to_json())


def test_the_page_shows_elements_and_columns(upload: Upload, curator: Client) -> None:
    page = one_line(curator.get(f"/uploads/{upload.uuid}/deidentification/"))
    for text in ("1 DICOM", "PatientName", "in sequences", "Removed: 1 element", "labels.csv", "surname", "why"):
        assert text in page
    assert f"/uploads/{upload.uuid}/deidentification/" in one_line(curator.get(f"/datasets/{upload.dataset.uuid}/"))


def test_an_import_of_an_earlier_release_says_so(of: Dataset, curator: Client, upload: Upload) -> None:
    earlier = Upload.objects.create(dataset=of, state="done")
    page = one_line(curator.get(f"/uploads/{earlier.uuid}/deidentification/"))
    assert "There is no report of this import" in page
    assert f"/uploads/{upload.uuid}/deidentification/" in page


def test_page_and_api_give_the_same_files(upload: Upload, curator: Client) -> None:
    address = f"/uploads/{upload.uuid}/deidentification/"
    by_api = curator.get(f"/api/v1/imports/{upload.uuid}/deidentification/").json()
    assert curator.get(f"{address}?file=json").json() == by_api == upload.deidentification
    as_csv = curator.get(f"{address}?file=csv")
    assert as_csv.content == curator.get(f"/api/v1/imports/{upload.uuid}/deidentification.csv").content
    assert b"PatientName" in as_csv.content
    assert "attachment" in as_csv.headers["Content-Disposition"]
    refused = curator.get(f"{address}?file=pdf")
    assert refused.status_code == 400
    assert "ask for csv or json" in refused.content.decode()


def test_a_stranger_sees_nothing(upload: Upload) -> None:
    stranger = as_(factories.user("stranger"))
    assert stranger.get(f"/uploads/{upload.uuid}/deidentification/").status_code == 404
