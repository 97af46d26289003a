"""Changes in the admin are audited: people, roles and sites, without passwords or addresses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from portal.models import AuditEvent, Membership, Role, Site, User
from tests.portal import factories
from tests.portal.people.test_second_factors import with_app

pytestmark = [pytest.mark.django_db]

NEW_PASSWORD = "another long enough one"
NEW = {
    "username": "kim",
    "usable_password": "true",
    "password1": NEW_PASSWORD,
    "password2": NEW_PASSWORD,
    "memberships-TOTAL_FORMS": "0",
    "memberships-INITIAL_FORMS": "0",
}


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(factories.user("root", is_staff=True, is_superuser=True))
    return client


def form(person: User, **changes: Any) -> dict[str, Any]:
    roles = list(person.memberships.order_by("pk"))
    fields = {"username": person.username, "email": person.email, "theme": "light", "is_active": "on"}
    fields |= {"date_joined_0": "2026-01-01", "date_joined_1": "10:00:00"}
    fields |= {"memberships-TOTAL_FORMS": str(len(roles) + 1), "memberships-INITIAL_FORMS": str(len(roles))}
    for number, role in enumerate(roles):
        at = f"memberships-{number}"
        fields |= {f"{at}-id": role.pk, f"{at}-user": person.pk, f"{at}-site": role.site_id, f"{at}-role": role.role}
    return {name: value for name, value in (fields | changes).items() if value is not None}


def events() -> list[tuple[Any, ...]]:
    audit_events = AuditEvent.objects.order_by("pk").select_related("actor", "site")
    return [(event.verb, str(event.actor), event.target_uuid, event.before, event.after) for event in audit_events]


def test_a_new_person(root: Client) -> None:
    answer = root.post("/admin/portal/user/add/", NEW)
    kim = User.objects.get(username="kim")
    assert answer.status_code == 302
    assert events() == [("make user", "root", kim.uuid, None, {"username": "kim"})]


def test_a_change_of_a_persons_rights(root: Client) -> None:
    kim = factories.user("kim")
    root.post(f"/admin/portal/user/{kim.pk}/change/", form(kim, is_staff="on", is_active=None, email="kim@example.org"))
    (event,) = [event for event in events() if event[0] == "change user"]
    assert event[1:3] == ("root", kim.uuid)
    assert event[3] == {"is_staff": False, "is_active": True}
    assert event[4]["is_staff"] is True
    assert event[4]["is_active"] is False
    assert "email" in event[4]["other"]
    assert "kim@example.org" not in json.dumps(event[3:])


def test_roles_given_changed_and_taken(root: Client) -> None:
    kim = factories.user("kim", Role.READER)
    site = factories.site()
    address = f"/admin/portal/user/{kim.pk}/change/"
    root.post(address, form(kim, **{"memberships-1-site": site.pk, "memberships-1-role": "curator"}))
    root.post(address, form(kim, **{"memberships-0-role": "analyst"}))
    root.post(address, form(kim, **{"memberships-1-DELETE": "on"}))
    assert [role.role for role in kim.memberships.all()] == ["analyst"]
    of_roles = [event for event in events() if "role" in event[0]]
    assert of_roles == [
        ("give role", "root", kim.uuid, None, {"role": "kim is curator at Seoul"}),
        ("change role", "root", kim.uuid, {"role": "kim is reader at Seoul"}, {"role": "kim is analyst at Seoul"}),
        ("take role", "root", kim.uuid, {"role": "kim is curator at Seoul"}, None),
    ]
    assert {event.site for event in AuditEvent.objects.filter(verb__contains="role")} == {site}


def test_a_password_that_is_set_for_somebody(root: Client) -> None:
    kim = factories.user("kim")
    address = f"/admin/portal/user/{kim.pk}/password/"
    assert root.get(address).status_code == 200
    root.post(address, {"password1": "no", "password2": "match", "usable_password": "true"})
    assert events() == []
    root.post(address, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"})
    kim.refresh_from_db()
    assert kim.check_password(NEW_PASSWORD)
    assert events() == [("set password of user", "root", kim.uuid, None, None)]
    assert root.get("/admin/portal/user/0/password/").status_code in (302, 404)


@pytest.mark.parametrize("in_bulk", [False, True])
def test_a_deleted_person(root: Client, in_bulk: bool) -> None:
    kim = factories.user("kim", Role.READER)
    if in_bulk:
        act = {"action": "delete_selected", "_selected_action": [kim.pk], "post": "yes"}
        root.post("/admin/portal/user/", act)
    else:
        root.post(f"/admin/portal/user/{kim.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(username="kim").exists()
    before = {"name": "kim", "roles": ["kim is reader at Seoul"]}
    assert events() == [("delete user", "root", kim.uuid, before, None)]


def test_nobody_deletes_themselves(root: Client) -> None:
    own = User.objects.get(username="root")
    assert root.post(f"/admin/portal/user/{own.pk}/delete/", {"post": "yes"}).status_code == 403


def test_sites_made_renamed_and_deleted(root: Client) -> None:
    root.post("/admin/portal/site/add/", {"name": "Seoul"})
    site = Site.objects.get()
    empty = Site.objects.create(name="Empty")
    root.post(f"/admin/portal/site/{site.pk}/change/", {"name": "Busan"})
    root.post(f"/admin/portal/site/{empty.pk}/delete/", {"post": "yes"})
    assert events() == [
        ("make site", "root", site.uuid, None, {"name": "Seoul"}),
        ("change site", "root", site.uuid, {"name": "Seoul"}, {"name": "Busan"}),
        ("delete site", "root", empty.uuid, {"name": "Empty", "roles": []}, None),
    ]
    assert list(Site.objects.all()) == [Site(pk=site.pk)]
    assert not Membership.objects.exists()


def test_no_password_is_in_the_audit(root: Client) -> None:
    root.post("/admin/portal/user/add/", NEW)
    kim = User.objects.get(username="kim")
    root.post(f"/admin/portal/user/{kim.pk}/change/", form(kim, first_name="Kim"))
    audit_text = json.dumps(events(), default=str)
    assert NEW_PASSWORD not in audit_text
    assert kim.password not in audit_text


def test_lost_second_factors_are_removed_by_an_action(root: Client) -> None:
    kim = with_app(factories.curator("kim"))
    chosen = {"action": "remove_second_factors", "_selected_action": [kim.pk]}
    page = root.post("/admin/portal/user/", chosen, follow=True).text
    assert "Removed of kim." in page
    assert "nobody: none of them had one" in root.post("/admin/portal/user/", chosen, follow=True).text
    assert AuditEvent.objects.get(verb="remove second factors").actor == User.objects.get(username="root")


def test_no_page_of_the_admin_shows_what_codes_are_made_of(root: Client) -> None:
    assert root.get("/admin/mfa/authenticator/").status_code == 404
