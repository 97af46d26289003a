"""Findings, criteria, keys and mail by API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import AuditEvent, NormalCriteria, Role, Site, User
from tests.portal import factories
from tests.portal.api.signing_in import with_token

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def site() -> Site:
    return factories.site()


@pytest.fixture
def boss(site: Site) -> User:
    return factories.user("boss", Role.MANAGER, at=site)


@pytest.fixture
def manager(boss: User) -> Client:
    return with_token(boss)


def put(client: Client, address: str, body: Any) -> Any:
    return client.put(f"/api/v1/{address}", body, content_type="application/json")


def test_the_findings_of_a_site_are_listed_and_replaced(manager: Client, site: Site) -> None:
    address = f"sites/{site.uuid}/findings/"
    assert put(manager, address, {"findings": [" nodule ", "pleural  effusion"]}).json() == {
        "findings": ["nodule", "pleural effusion"]
    }
    assert manager.get(f"/api/v1/{address}").json() == {"findings": ["nodule", "pleural effusion"]}
    assert AuditEvent.objects.get(verb="edit findings").after == ["nodule", "pleural effusion"]
    twice = put(manager, address, {"findings": ["nodule", "Nodule"]})
    assert (twice.status_code, "is in the list twice" in twice.json()["detail"]) == (400, True)
    assert put(manager, address, {"findings": [f"finding {n}" for n in range(201)]}).json()["detail"] == (
        "The list has 201 findings; use at most 200."
    )


def test_a_version_of_the_criteria_is_written(manager: Client, site: Site) -> None:
    address = f"/api/v1/sites/{site.uuid}/criteria/"
    written = manager.post(address, {"text": "Clear lungs.\n"}, content_type="application/json")
    assert (written.status_code, written.json()["version"], written.json()["text"]) == (201, 1, "Clear lungs.")
    again = manager.post(address, {"text": "Clear lungs."}, content_type="application/json")
    assert (again.status_code, "that of version 1" in again.json()["detail"]) == (400, True)
    assert NormalCriteria.objects.get().author.username == "boss"


def test_the_site_s_lists_are_for_managers(site: Site, manager: Client) -> None:
    reader = with_token(factories.user("reader", Role.READER, at=site))
    stranger = with_token(factories.user("stranger", *Role, at=factories.site("Busan")))
    for client, status in ((reader, 403), (stranger, 404)):
        assert put(client, f"sites/{site.uuid}/findings/", {"findings": []}).status_code == status
        answer = client.post(f"/api/v1/sites/{site.uuid}/criteria/", {"text": "x"}, content_type="application/json")
        assert answer.status_code == status
    assert reader.get(f"/api/v1/sites/{site.uuid}/findings/").status_code == 200


def test_mail_is_chosen(manager: Client, boss: User) -> None:
    assert manager.get("/api/v1/account/mail/").json() == {"email": "", "mail_at_run_end": False}
    bad = put(manager, "account/mail/", {"email": "nowhere", "mail_at_run_end": True})
    assert (bad.status_code, "“nowhere” is no mail address" in bad.json()["detail"]) == (400, True)
    body = {"email": "boss@example.org", "mail_at_run_end": True}
    assert put(manager, "account/mail/", body).json() == body
    boss.refresh_from_db()
    assert (boss.email, boss.mail_at_run_end) == ("boss@example.org", True)
    assert AuditEvent.objects.get(verb="choose mail").actor == boss


def test_keys_are_chosen(manager: Client, boss: User) -> None:
    before = manager.get("/api/v1/account/keys/").json()["keys"]
    after = put(manager, "account/keys/", {"keys": {"normal": "y"}}).json()["keys"]
    assert after == {**before, "normal": "y"} != before
    taken = put(manager, "account/keys/", {"keys": {"normal": "?"}})
    assert (taken.status_code, "shows the keys" in taken.json()["detail"]) == (400, True)
    assert put(manager, "account/keys/", {"keys": {}}).json()["keys"] == before
