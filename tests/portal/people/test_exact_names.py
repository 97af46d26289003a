"""Two accounts whose names differ in case alone: none comes into being, and none keeps the other out."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client

from portal.models import Role, User
from portal.people import members
from tests.portal import factories
from tests.portal.people.test_wrong_passwords import is_inside, log_in

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _no_counts() -> None:
    cache.clear()


def test_a_manager_adds_nobody_whose_name_is_that_of_another_in_capitals() -> None:
    factories.user("boss", is_superuser=True)
    manager = factories.user("mina", Role.MANAGER)
    with pytest.raises(members.InvalidPerson, match="There is a person boss already"):
        members.add_person(
            site=factories.site(), username="Boss", full_name="", email="", roles=[Role.READER], author=manager
        )
    assert not User.objects.filter(username="Boss").exists()


def test_a_person_of_an_earlier_release_can_be_changed_and_not_renamed_to_a_twin() -> None:
    boss, twin, kim = (factories.user(name) for name in ("boss", "Boss", "kim"))
    boss.clean()
    twin.clean()
    kim.username = "BOSS"
    with pytest.raises(Exception, match="already; take another name"):
        kim.clean()


def test_both_of_an_earlier_release_log_in_by_the_name_as_it_is_written() -> None:
    boss = factories.user("boss")
    twin = factories.user("Boss")
    twin.set_password("Falkenauge-41-Birke")
    twin.save()
    for name, password, person in (("boss", factories.PASSWORD, boss), ("Boss", "Falkenauge-41-Birke", twin)):
        client = Client()
        log_in(client, name, password)
        assert client.session["_auth_user_id"] == str(person.pk)
    for name, password in (("BOSS", factories.PASSWORD), ("boss", "Falkenauge-41-Birke"), ("Boss", factories.PASSWORD)):
        client = Client()
        log_in(client, name, password)
        assert not is_inside(client)


def test_a_closed_one_lets_nobody_in() -> None:
    factories.user("boss", is_active=False)
    factories.user("Boss")
    client = Client()
    log_in(client, "boss")
    assert not is_inside(client)


def test_one_account_is_reached_in_any_case() -> None:
    factories.user("boss")
    client = Client()
    log_in(client, "BOSS")
    assert is_inside(client)
