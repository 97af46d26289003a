"""A person's tokens by API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import ApiToken
from tests.portal import factories
from tests.portal.api.signing_in import with_token
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]
ADDRESS = "/api/v1/account/tokens/"
NEW = {"name": "nightly", "scope": "read", "days": 30}


def make(client: Client, **fields: Any) -> Any:
    return client.post(ADDRESS, NEW | fields, content_type="application/json")


def test_a_session_makes_a_token_that_works_and_lists_it_without_its_secret() -> None:
    browser = as_(factories.curator())
    answer = make(browser)
    assert answer.status_code == 201
    secret = answer.json()["token"]
    script = Client(headers={"Authorization": f"Token {secret}"})
    (row,) = script.get(ADDRESS).json()
    assert (row["name"], row["scope"], secret.startswith(row["start"])) == ("nightly", "read", True)
    assert secret not in script.get(ADDRESS).text


def test_a_token_makes_no_other() -> None:
    answer = make(with_token(factories.curator()))
    assert (answer.status_code, answer.json()["detail"][:24]) == (403, "A token makes no tokens.")
    assert ApiToken.objects.count() == 1


@pytest.mark.parametrize("fields", [{"name": ""}, {"scope": "all"}, {"days": 8}, {"days": "x"}])
def test_a_bad_token_is_refused(fields: dict[str, Any]) -> None:
    assert make(as_(factories.curator()), **fields).status_code == 400
    assert not ApiToken.objects.exists()


def test_a_name_twice_is_refused_with_a_sentence() -> None:
    browser = as_(factories.curator())
    make(browser)
    assert "already" in make(browser).json()["detail"]


def test_a_token_is_revoked_by_its_owner_alone() -> None:
    script = with_token(factories.curator())
    token = ApiToken.objects.get()
    address = f"{ADDRESS}{token.uuid}/revoke/"
    assert as_(factories.curator("other")).post(address).status_code == 404
    assert script.get(address).status_code == 405
    assert script.post(address).json()["revoked_at"]
    assert "was revoked" in script.get(ADDRESS).json()["detail"]
