"""Corrected exports by API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from portal.models import Dataset, HeaderDifference, Role
from tests.portal import factories
from tests.portal.api.signing_in import with_token
from tests.portal.corrected import come_again

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def curator(of: Dataset) -> Client:
    return with_token(factories.curator())


def decide(client: Client, of: Dataset, **body: Any) -> Any:
    return client.post(f"/api/v1/datasets/{of.uuid}/corrections/decide/", body, content_type="application/json")


@pytest.mark.slow
def test_what_differs_is_listed_taken_and_dismissed(of: Dataset, curator: Client, tmp_path: Path) -> None:
    come_again(of, tmp_path, films=2, ViewPosition="AP", PixelSpacing=[0.2, 0.2])
    address = f"/api/v1/datasets/{of.uuid}/corrections/"
    listed = curator.get(address).json()
    assert listed["count"] == 4
    views = curator.get(f"{address}?fact=view").json()["results"]
    film = of.images.earliest("pk")
    upload = HeaderDifference.objects.earliest("pk").upload
    assert views[0] == {
        "uuid": views[0]["uuid"], "image": str(film.uuid), "fact": "view", "old": "PA", "new": "AP",
        "upload": str(upload.uuid), "splits": [],
    }  # fmt: skip
    unknown = curator.get(f"{address}?fact=colour")
    assert (unknown.status_code, "The fact is 'colour'; choose one of" in unknown.json()["fact"][0]) == (400, True)
    answer = decide(curator, of, act="take", differences=[views[0]["uuid"]])
    assert answer.json() == {"films": 1, "facts": {"view": 1}, "waiting": {}}
    assert decide(curator, of, act="dismiss", fact="view").json()["facts"] == {"view": 1}
    assert decide(curator, of, act="take").json()["facts"] == {"spacing": 2}
    assert curator.get(address).json()["count"] == 0
    assert list(of.images.order_by("pk").values_list("view_position", flat=True)) == ["AP", "PA"]


@pytest.mark.parametrize(("body", "words"), [
    ({}, "act"), ({"act": "keep"}, "not a valid choice"), ({"act": "take", "fact": "label"}, "not a valid choice"),
    ({"act": "take", "differences": ["x"]}, "Must be a valid UUID"),
    ({"act": "take", "fact": "view", "differences": ["00000000-0000-0000-0000-000000000000"]}, "Send either"),
])  # fmt: skip
def test_a_bad_request_is_refused_with_a_sentence(
    of: Dataset, curator: Client, body: dict[str, Any], words: str
) -> None:
    answer = decide(curator, of, **body)
    assert answer.status_code == 400
    assert words in answer.content.decode()


def test_who_may(of: Dataset, tmp_path: Path) -> None:
    come_again(of, tmp_path, ViewPosition="AP")
    reader, stranger = (
        factories.user("reader", Role.READER),
        factories.user("stranger", *Role, at=factories.site("Busan")),
    )
    assert with_token(reader).get(f"/api/v1/datasets/{of.uuid}/corrections/").status_code == 200
    assert decide(with_token(factories.user("reader 2", Role.READER)), of, act="take").status_code == 403
    client = with_token(stranger)
    assert client.get(f"/api/v1/datasets/{of.uuid}/corrections/").status_code == 404
    assert decide(client, of, act="take").status_code == 404
    assert HeaderDifference.objects.get().state == "pending"
