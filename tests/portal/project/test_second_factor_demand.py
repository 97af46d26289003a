"""A person who has to have a second factor and has none sees the page where it is set up, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import Role
from tests.access.test_walk import names_with_arguments
from tests.pages import one_line
from tests.portal import factories
from tests.portal.people.test_second_factors import with_app
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def manager(settings: Any) -> Client:
    settings.SECOND_FACTOR = "managers"
    return as_(factories.user("mina", Role.MANAGER))


def test_pages_lead_to_the_set_up_and_everything_else_is_refused(manager: Client) -> None:
    assert manager.get("/datasets/")["Location"] == "/accounts/second-factor/"
    refused = manager.post("/theme/nowhere/"), manager.post("/site/"), manager.get("/api/v1/datasets/")
    assert [answer.status_code for answer in refused] == [404, 403, 403]
    assert "set up an authenticator app or a security key first" in refused[2].json()["detail"]
    assert manager.get("/admin/")["Location"] == "/accounts/second-factor/"
    page = one_line(manager.get("/accounts/second-factor/"))
    assert "asks you for a second factor. Set up one of the two below" in page


@pytest.mark.slow
def test_no_address_but_the_account_is_open(manager: Client) -> None:
    from django.urls import reverse

    answered = set()
    for name, arguments in names_with_arguments():
        if name == "unnamed":  # the log-in page of the admin, which leads to this one
            continue
        answer = manager.get(reverse(name, args=arguments))
        if answer.status_code not in (302, 403) or "second-factor" not in answer.get("Location", "second-factor"):
            answered.add(name)
    assert answered <= {
        *("login", "account_login", "logout", "change-password", "account_reauthenticate", "healthz", "readyz"),
        *("portal:choose-theme", "invitation", "mfa_index", "mfa_authenticate"),
    } | {name for name, _ in names_with_arguments() if name.startswith("mfa_")}


def test_others_and_those_who_have_one_go_on(manager: Client) -> None:
    assert as_(factories.curator("kim")).get("/datasets/").status_code == 200
    assert as_(with_app(factories.user("boss", Role.MANAGER))).get("/datasets/").status_code == 200
    assert manager.post("/accounts/logout/")["Location"] == "/accounts/login/"
