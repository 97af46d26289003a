"""Saved views by API: what the page does, by the same functions."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import Dataset, FilmView, Role
from tests.portal import factories
from tests.portal.api.signing_in import with_token

pytestmark = pytest.mark.django_db


@pytest.fixture
def of(db: None) -> Dataset:
    return factories.dataset()


def post(client: Client, address: str, **data: Any) -> Any:
    return client.post(address, data, content_type="application/json")


def test_views_are_saved_listed_changed_chosen_and_deleted(of: Dataset) -> None:
    client, url = with_token(factories.curator("ann")), f"/api/v1/datasets/{of.uuid}/views/"
    made = post(client, url, name="PA", query={"view": "PA"}, share=True)
    view = FilmView.objects.get()
    row = {"uuid": str(view.uuid), "name": "PA", "owner": "ann", "shared": True, "query": {"view": "PA"}, "words": "PA"}
    gone = "The view “PA” asks for the view position “PA”, which no film that you may see has any more"
    assert made.status_code == 201
    assert made.json().pop("gone").startswith(gone)
    assert {name: value for name, value in made.json().items() if name != "gone"} == {**row, "opens": False}
    assert post(client, f"/api/v1/views/{view.uuid}/default/").json()["opens"] is True
    assert [one["opens"] for one in client.get(url).json()] == [True]
    changed = post(client, f"/api/v1/views/{view.uuid}/change/", name="Frontal", share=False).json()
    assert (changed["name"], changed["shared"]) == ("Frontal", False)
    assert post(client, f"/api/v1/views/{view.uuid}/delete/").status_code == 204
    assert client.get(url).json() == []


def test_a_filter_that_is_not_there_and_a_blank_name_are_refused(of: Dataset) -> None:
    client, url = with_token(factories.curator("ann")), f"/api/v1/datasets/{of.uuid}/views/"
    answer = post(client, url, name="X", query={"label": "odd"})
    assert (answer.status_code, "The filter label is 'odd'" in answer.json()["detail"]) == (400, True)
    answer = post(client, url, name="\0", query={})
    assert answer.status_code == 400
    view = post(client, url, name="A", query={}).json()
    answer = post(client, f"/api/v1/views/{view['uuid']}/change/", name=" ", share=False)
    assert answer.status_code == 400


def test_readers_use_shared_views_and_share_none(of: Dataset) -> None:
    curator, reader = with_token(factories.curator("ann")), with_token(factories.user("ben", Role.READER))
    url = f"/api/v1/datasets/{of.uuid}/views/"
    post(curator, url, name="Private", query={})
    post(curator, url, name="Ours", query={}, share=True)
    assert [view["name"] for view in reader.get(url).json()] == ["Ours"]
    assert post(reader, url, name="Mine", query={}, share=True).status_code == 403
