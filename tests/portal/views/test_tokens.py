"""The page of a person's API tokens."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from portal.models import ApiToken
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]
NEW = {"name": "nightly", "scope": "read", "days": "30"}


@pytest.fixture
def kim() -> Client:
    return as_(factories.curator())


def test_a_token_is_shown_once(kim: Client) -> None:
    assert "You have no token that works" in one_line(kim.get("/account/tokens/"))
    answer = kim.post("/account/tokens/new/", NEW)
    page = one_line(answer)
    (secret,) = re.findall(r'value="(hilum_[^"]+)"', page)
    assert answer.status_code == 201
    assert "no-store" in answer["Cache-Control"]
    assert "shown only now" in page
    later = one_line(kim.get("/account/tokens/"))
    assert secret not in later and secret[:12] in later and "nightly" in later and "never" in later
    assert Client(headers={"Authorization": f"Token {secret}"}).get("/api/v1/datasets/").status_code == 200
    assert "never" not in one_line(kim.get("/account/tokens/"))


def test_sending_the_form_twice_makes_one(kim: Client) -> None:
    kim.post("/account/tokens/new/", NEW)
    again = kim.post("/account/tokens/new/", NEW)
    assert (again.status_code, ApiToken.objects.count()) == (400, 1)
    assert "You have a token “nightly” already" in one_line(again)


@pytest.mark.parametrize("days", ["", "-7", "1.5", "9" * 400, "٣٠"])
def test_a_number_of_days_that_is_not_offered_is_refused(kim: Client, days: str) -> None:
    answer = kim.post("/account/tokens/new/", NEW | {"days": days})
    assert answer.status_code == 400
    assert 'value="nightly"' in one_line(answer), "what was typed is kept"


def test_a_token_is_revoked_by_its_owner_alone(kim: Client) -> None:
    kim.post("/account/tokens/new/", NEW)
    address = f"/account/tokens/{ApiToken.objects.get().uuid}/revoke/"
    assert as_(factories.curator("other")).post(address).status_code == 404
    assert kim.get(address).status_code == 405
    page = one_line(kim.post(address, follow=True))
    assert "is revoked" in page and "revoked on" in page
    assert ApiToken.objects.get().revoked_at is not None
