"""Sites and people by API, from the first site to a person who logs in."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import AuditEvent, Membership, Role, Site, User
from tests.portal import factories
from tests.portal.api.signing_in import with_token
from tests.portal.views.test_people import CHOSEN, choose

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def site() -> Site:
    return factories.site()


@pytest.fixture
def manager(site: Site) -> Client:
    return with_token(factories.user("boss", Role.MANAGER, at=site))


def send(client: Client, site: Site, tail: str, body: Any, *, method: str = "post") -> Any:
    address = f"/api/v1/sites/{site.uuid}/{tail}"
    return getattr(client, method)(address, body, content_type="application/json")


def test_an_administrator_makes_a_site_and_adds_a_reader_who_logs_in() -> None:
    root = with_token(factories.user("root", is_superuser=True, is_staff=True))
    made = root.post("/api/v1/sites/", {"name": "Seoul"}, content_type="application/json")
    assert (made.status_code, made.json()["name"]) == (201, "Seoul")
    assert root.get("/api/v1/sites/").json() == [made.json()]
    seoul = Site.objects.get(uuid=made.json()["uuid"])
    added = send(root, seoul, "people/", {"username": "rosa", "full_name": "Rosa Kim", "roles": ["reader"]})
    assert (added.status_code, added.json()["roles"], added.json()["has_password"]) == (201, ["reader"], False)
    link = added.json()["link"].removeprefix("http://testserver")
    assert "Your password is set. Log in as rosa." in choose(link, CHOSEN)
    assert Client().login(username="rosa", password=CHOSEN)
    members = root.get(f"/api/v1/sites/{seoul.uuid}/people/").json()
    assert [(row["username"], row["full_name"], row["roles"], row["has_password"]) for row in members] == [
        ("root", "", ["manager"], True), ("rosa", "Rosa Kim", ["reader"], True),
    ]  # fmt: skip
    again = root.post("/api/v1/sites/", {"name": "Seoul"}, content_type="application/json")
    assert (again.status_code, again.json()["detail"]) == (400, "There is a site Seoul already.")


def test_roles_are_given_and_taken(manager: Client, site: Site) -> None:
    rosa = factories.user("rosa", Role.READER, at=site)
    answer = send(manager, site, "people/rosa/roles/", {"roles": ["curator", "adjudicator"]}, method="put")
    assert answer.json() == {"roles": ["curator", "adjudicator"]}
    assert {event.verb for event in AuditEvent.objects.filter(target_uuid=rosa.uuid)} == {"give role", "take role"}
    assert send(manager, site, "people/rosa/roles/", {"roles": []}, method="put").json() == {"roles": []}
    assert not Membership.objects.filter(user=rosa).exists()
    last = send(manager, site, "people/boss/roles/", {"roles": ["reader"]}, method="put")
    assert (last.status_code, "boss is the only manager" in last.json()["detail"]) == (400, True)
    unknown = send(manager, site, "people/boss/roles/", {"roles": ["king"]}, method="put")
    assert (unknown.status_code, "There is no role king" in unknown.json()["detail"]) == (400, True)


def test_somebody_who_has_an_account_gets_no_link_with_the_roles(manager: Client, site: Site) -> None:
    factories.user("visitor", Role.READER, at=factories.site("Busan"))
    added = send(manager, site, "people/", {"username": "visitor", "roles": ["reader"]})
    assert (added.status_code, added.json()["link"]) == (201, None)
    foreign = send(manager, site, "people/visitor/link/", {})
    assert (foreign.status_code, "a site that you do not manage" in foreign.json()["detail"]) == (403, True)
    own = send(manager, site, "people/boss/link/", {})
    assert (own.status_code, "/accounts/invitation/" in own.json()["link"]) == (201, True)
    assert own["Cache-Control"] == "private, no-store"
    nobody = send(manager, site, "people/nobody/link/", {})
    assert (nobody.status_code, nobody.json()["detail"]) == (404, "Seoul has no member 'nobody'.")


@pytest.mark.parametrize(("body", "words"), [
    ({}, "required"), ({"username": "new", "roles": []}, "Choose at least one role"),
    ({"username": "new", "roles": ["reader"], "email": "nowhere"}, "new cannot be added"),
    ({"username": "boss", "roles": ["reader"]}, "boss is a member of Seoul already"),
    ({"username": "a b", "roles": ["reader"]}, "a b cannot be added"),
])  # fmt: skip
def test_a_person_who_cannot_be_added_is_refused_with_a_sentence(
    manager: Client, site: Site, body: dict[str, Any], words: str
) -> None:
    answer = send(manager, site, "people/", body)
    assert answer.status_code == 400
    assert words in answer.text
    assert User.objects.count() == 1


def test_only_managers_manage_and_others_look(site: Site) -> None:
    reader = with_token(factories.user("reader", Role.READER, at=site))
    stranger = with_token(factories.user("stranger", *Role, at=factories.site("Busan")))
    assert reader.get(f"/api/v1/sites/{site.uuid}/people/").status_code == 200
    asked = [
        ("people/", "post", {"username": "new", "roles": ["reader"]}), ("people/reader/roles/", "put", {"roles": []}),
        ("people/reader/link/", "post", {}),
    ]  # fmt: skip
    for tail, method, body in asked:
        assert send(reader, site, tail, body, method=method).status_code == 403
        assert send(stranger, site, tail, body, method=method).status_code == 404
    assert reader.post("/api/v1/sites/", {"name": "Mine"}, content_type="application/json").status_code == 403
    assert Membership.objects.filter(site=site).count() == 1
