"""Uploads by API: their state, the question of a table that is not clear, and its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from portal.models import Dataset, Image, Role, Upload, User
from portal.people import blinding
from tests.portal import factories
from tests.portal.api.signing_in import with_token
from tests.portal.intake.sent import TABLE, send_zip, worked_on, zip_of

pytestmark = [pytest.mark.django_db]

COLUMNS = {"filename": "Pfad", "label": "Diagnose", "finding": "Diagnose", "patient_id": "Fallnummer"}
LABELS = {"o.B.": "normal", "Erguss|Knoten": "abnormal", "unklar": ""}
ANSWER: dict[str, Any] = {"tables": {"t.csv": {"columns": COLUMNS, "labels": LABELS, "keep": {}}}}


@pytest.fixture
def of(published: list[str]) -> Dataset:
    return factories.dataset()


@pytest.fixture
def ann(of: Dataset) -> User:
    return factories.curator("ann")


@pytest.fixture
def api(ann: User) -> Client:
    return with_token(ann)


@pytest.fixture
def waiting(of: Dataset, ann: User, tmp_path: Path) -> Upload:
    return send_zip(of, ann, zip_of(tmp_path, {"t.csv": TABLE}))


def address(upload: Upload, what: str = "") -> str:
    return f"/api/v1/imports/{upload.uuid}/{what}"


def post(client: Client, upload: Upload, body: dict[str, Any]) -> Any:
    return client.post(address(upload, "mapping/"), body, content_type="application/json")


def test_the_state(api: Client, waiting: Upload) -> None:
    state = api.get(address(waiting)).json()
    assert (state["state"], state["done"], state["patients"]) == ("mapping", 0, "table")
    assert "has no column 'filename'" in state["message"]


def test_the_question(api: Client, waiting: Upload) -> None:
    response = api.get(address(waiting, "mapping/"))
    assert "no-store" in response["Cache-Control"]
    (table,) = response.json()["tables"]
    assert (table["name"], table["rows"]) == ("t.csv", 4)
    assert table["columns"] == ["Pfad", "Diagnose", "Fallnummer", "Alter"]
    assert table["first_rows"][0] == ["x/a.png", "o.B.", "Zzyzxson", "50"]
    assert table["label_values"] == {"o.B.": 2, "Erguss|Knoten": 1, "unklar": 1}
    assert table["draft"]["columns"] == {
        "filename": "Pfad",
        "label": "Diagnose",
        "patient_id": "Fallnummer",
        "age": "Alter",
    }
    assert (table["draft"]["labels"], table["draft_is"]) == ({"o.b.": "normal", "unklar": "unsure"}, "guessed")


def test_a_preview_and_the_answer(api: Client, waiting: Upload, of: Dataset, ann: User, tmp_path: Path) -> None:
    preview = post(api, waiting, {**ANSWER, "preview": True})
    assert preview.status_code == 200
    assert preview.json()["labels"] == {"normal": 2, "abnormal": 1}
    assert not Image.objects.exists()
    answer = post(api, waiting, {**ANSWER, "patients": "header"})
    assert (answer.status_code, answer.json()) == (202, preview.json())
    assert worked_on(waiting).patients == "header"
    state = api.get(address(waiting)).json()
    assert (state["state"], state["counts"]["imported"]) == ("done", 3)
    assert post(api, waiting, ANSWER).status_code == 409
    assert api.get(address(waiting, "mapping/")).status_code == 409
    again = send_zip(of, ann, zip_of(tmp_path, {"t.csv": TABLE}), check_columns=True)
    (table,) = api.get(address(again, "mapping/")).json()["tables"]
    assert table["draft_is"].startswith("as ann said on 20")
    assert table["draft"]["labels"] == {value.casefold(): meaning for value, meaning in LABELS.items()}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "This field is required"),
        ({"tables": {}}, "says nothing about t.csv"),
        ({"tables": {"t.csv": []}}, "The mapping of t.csv is not a JSON object"),
        ({"tables": {"t.csv": {"columns": {"filename": "Path"}}}}, "t.csv has no column 'Path'"),
        ({**ANSWER, "patients": "both"}, "counts for patients is 'both'"),
    ],
)
def test_what_does_not_fit_is_refused(api: Client, waiting: Upload, body: dict[str, Any], sentence: str) -> None:
    response = post(api, waiting, body)
    assert response.status_code == 400
    assert sentence in str(response.json())
    waiting.refresh_from_db()
    assert waiting.state == "mapping"


def test_a_discard(api: Client, waiting: Upload) -> None:
    assert api.post(address(waiting, "discard/")).json()["state"] == "discarded"
    assert api.post(address(waiting, "discard/")).status_code == 409


def test_who_may(waiting: Upload) -> None:
    reader = with_token(factories.user("reader", Role.READER))
    assert reader.get(address(waiting)).status_code == 200
    stranger = with_token(factories.user("stranger", *Role, at=factories.site("Busan")))
    for client, status in ((reader, 403), (stranger, 404)):
        assert client.get(address(waiting, "mapping/")).status_code == status
        assert post(client, waiting, ANSWER).status_code == status
        assert client.post(address(waiting, "discard/")).status_code == status
    assert stranger.get(address(waiting)).status_code == 404


def test_a_colleague_who_reads_blinded_is_refused(waiting: Upload) -> None:
    bea = factories.curator("bea")
    film = factories.film(waiting.dataset)
    blinding.open_for(person=bea, images=[film], source=uuid4(), words="the worklist Tuesday", days=1)
    client = with_token(bea)
    for response in (client.get(address(waiting, "mapping/")), post(client, waiting, {**ANSWER, "preview": True})):
        assert response.status_code == 403
        assert "you have yet to read blinded" in response.json()["detail"]
