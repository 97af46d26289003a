"""The page of a site's people, from the first site to a password that its owner chose."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from portal.models import AuditEvent, Dataset, Membership, Role, User
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]

CHOSEN = "violet bicycles rust"


def link_on(page: str) -> str:
    (address,) = re.findall(r'value="http://testserver(/accounts/invitation/[^"]+)"', page)
    return str(address)


def choose(address: str, password: str) -> str:
    """As a person without an account opens the link in a browser."""
    browser = Client()
    form = browser.get(address)
    answer = browser.post(form["Location"], {"new_password1": password, "new_password2": password}, follow=True)
    return one_line(answer)


def test_from_an_empty_installation_to_a_reader_who_logs_in() -> None:
    root = as_(factories.user("root", is_superuser=True, is_staff=True))
    assert "No site yet" in one_line(root.get("/datasets/"))
    assert "you are its manager" in one_line(root.post("/sites/new/", {"name": "Seoul"}, follow=True))
    page = one_line(root.post("/people/add/", {"username": "rosa", "roles": ["reader"]}, follow=True))
    address = link_on(page)
    assert "has not chosen a password yet" in page
    assert "/accounts/invitation/" not in one_line(root.get("/people/")), "the link is shown once"

    assert "neither your name" in choose(address, "rosarosa12")
    assert "Your password is set. Log in as rosa." in choose(address, CHOSEN)
    assert "This link is used or too old" in one_line(Client().get(address))
    reader = Client()
    home = reader.post("/accounts/login/", {"login": "rosa", "password": CHOSEN}, follow=True)
    assert home.redirect_chain[-1][0] == "/reading/"
    assert {"choose own password", "log in", "give link to"} <= {event.verb for event in AuditEvent.objects.all()}


def test_a_lost_password_is_replaced_by_a_link_and_works_until_then(of: Dataset) -> None:
    boss = as_(factories.user("boss", Role.MANAGER))
    rosa = factories.user("rosa", Role.READER, Role.CURATOR)
    address = link_on(one_line(boss.post(f"/people/{rosa.uuid}/link/", follow=True)))
    assert Client().login(username="rosa", password=factories.PASSWORD)
    fresh = link_on(one_line(boss.post(f"/people/{rosa.uuid}/link/", follow=True)))
    choose(fresh, CHOSEN)
    assert Client().login(username="rosa", password=CHOSEN)
    assert "used or too old" in one_line(Client().get(address))


def test_roles_are_saved_and_the_last_manager_stays(of: Dataset) -> None:
    manager = factories.user("boss", Role.MANAGER)
    boss = as_(manager)
    rosa = factories.user("rosa", Role.READER, Role.CURATOR)
    page = one_line(boss.post(f"/people/{rosa.uuid}/roles/", {"roles": ["curator", "analyst"]}, follow=True))
    assert "The roles of rosa are saved." in page
    assert set(Membership.objects.filter(user=rosa).values_list("role", flat=True)) == {"curator", "analyst"}
    answer = boss.post(f"/people/{manager.uuid}/roles/", {"roles": ["reader"]})
    assert (answer.status_code, "boss is the only manager of Seoul" in one_line(answer)) == (400, True)


def test_a_refused_form_keeps_what_was_typed(of: Dataset) -> None:
    boss = as_(factories.user("boss", Role.MANAGER))
    answer = boss.post("/people/add/", {"username": "rosa", "full_name": "Rosa Garcia"})
    page = one_line(answer)
    assert (answer.status_code, "Choose at least one role" in page) == (400, True)
    assert 'value="Rosa Garcia"' in page


def test_other_members_see_names_and_roles_and_change_nothing(curator: Client, stranger: Client) -> None:
    rosa = factories.user("rosa", Role.READER)
    page = one_line(curator.get("/people/"))
    assert "rosa" in page
    assert "Add a person" not in page
    for address in ("/people/add/", f"/people/{rosa.uuid}/roles/", f"/people/{rosa.uuid}/link/"):
        assert curator.post(address, {"username": "x", "roles": ["reader"]}).status_code == 403
    for address in (f"/people/{rosa.uuid}/roles/", f"/people/{rosa.uuid}/link/"):
        assert stranger.post(address, {"roles": ["reader"]}).status_code == 404
    assert "rosa" not in one_line(stranger.get("/people/"))
    assert curator.post("/sites/new/", {"name": "Own"}).status_code == 403


def test_a_site_of_that_name_is_not_made_twice(of: Dataset) -> None:
    root = as_(factories.user("root", is_superuser=True))
    assert "There is a site Seoul already" in one_line(root.post("/sites/new/", {"name": "Seoul"}, follow=True))


def test_everybody_changes_their_own_password(curator: Client) -> None:
    fields = {"old_password": factories.PASSWORD, "new_password1": CHOSEN, "new_password2": CHOSEN}
    answer = curator.post("/accounts/password/", {**fields, "old_password": "wrong"})
    assert "entered incorrectly" in one_line(answer)
    assert "Your password is changed." in one_line(curator.post("/accounts/password/", fields, follow=True))
    assert User.objects.get(username="curator").check_password(CHOSEN)
    assert AuditEvent.objects.filter(verb="change own password").exists()
