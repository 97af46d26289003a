"""The people of a site: added, given roles, and given links, by its managers alone."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied

from portal.models import AuditEvent, Membership, Role, Site, User
from portal.people import members
from portal.people.members import InvalidPerson
from tests.portal import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def boss(db: None) -> User:
    return factories.user("boss", Role.MANAGER)


def roles_of(person: User, site: Site) -> set[str]:
    return set(Membership.objects.filter(user=person, site=site).values_list("role", flat=True))


def add(author: User, username: str = "rosa", **more: object) -> tuple[User, bool]:
    fields = {"full_name": "Rosa Garcia", "email": "", "roles": ["reader"], **more}
    return members.add_person(site=factories.site(), username=username, author=author, **fields)  # type: ignore[arg-type]


def test_a_new_person_has_roles_and_no_password(boss: User) -> None:
    person, made = add(boss, roles=["reader", "curator"])
    assert (made, person.get_full_name(), person.has_usable_password()) == (True, "Rosa Garcia", False)
    assert roles_of(person, factories.site()) == {"reader", "curator"}
    assert [event.verb for event in AuditEvent.objects.order_by("pk")] == ["make user", "give role", "give role"]


def test_a_person_of_another_site_keeps_the_account(boss: User) -> None:
    rosa = factories.user("rosa", Role.READER, at=factories.site("Busan"), first_name="R")
    assert add(boss) == (rosa, False)
    assert User.objects.get(username="rosa").first_name == "R"
    with pytest.raises(InvalidPerson, match="rosa is a member of Seoul already; change the roles"):
        add(boss)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"roles": []}, "Choose at least one role"),
        ({"roles": ["king"]}, "There is no role king; the roles are curator"),
        ({"username": "ro sa"}, "ro sa cannot be added"),
        ({"username": ""}, "The person cannot be added"),
        ({"email": "nowhere"}, "rosa cannot be added"),
    ],
)
def test_wrong_fields_are_refused_and_nothing_is_made(boss: User, change: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidPerson, match=sentence):
        add(boss, **{"username": "rosa", **change})
    assert User.objects.count() == 1


def test_only_managers_of_the_site_add_people(boss: User) -> None:
    with pytest.raises(PermissionDenied, match=r"A manager of the site can give it to you: boss\."):
        add(factories.curator())
    with pytest.raises(PermissionDenied):
        add(factories.user("far", Role.MANAGER, at=factories.site("Busan")))


def test_roles_are_given_and_taken_and_audited(boss: User) -> None:
    rosa = factories.user("rosa", Role.READER)
    members.set_roles(site=factories.site(), person=rosa, roles=["curator"], author=boss)
    assert roles_of(rosa, factories.site()) == {"curator"}
    given, taken = AuditEvent.objects.order_by("pk")
    assert (given.verb, given.after, taken.verb) == ("give role", {"role": "rosa is curator at Seoul"}, "take role")
    assert taken.before == {"role": "rosa is reader at Seoul"}


def test_a_site_keeps_a_manager_who_can_log_in(boss: User) -> None:
    factories.user("gone", Role.MANAGER, is_active=False)
    with pytest.raises(InvalidPerson, match="boss is the only manager of Seoul"):
        members.set_roles(site=factories.site(), person=boss, roles=[], author=boss)
    factories.user("second", Role.MANAGER)
    members.set_roles(site=factories.site(), person=boss, roles=[], author=boss)
    assert roles_of(boss, factories.site()) == set()


def test_a_manager_gives_no_link_to_an_administrator_or_a_member_of_a_site_of_others(boss: User) -> None:
    """Whoever has the link can log in as the person."""
    site = factories.site()
    rosa = factories.user("rosa", Role.READER)
    assert members.link_for(person=rosa, author=boss, site=site).startswith("/accounts/invitation/")
    root = factories.user("root", Role.READER, is_superuser=True)
    staff = factories.user("staff", Role.READER, is_staff=True)
    closed = factories.user("closed", Role.READER, is_active=False)
    both = factories.user("both", Role.READER)
    Membership.objects.create(user=both, site=factories.site("Busan"), role=Role.READER)
    elsewhere = factories.user("elsewhere", Role.READER, at=factories.site("Busan"))
    for person in (root, staff, closed, both, elsewhere):
        with pytest.raises(PermissionDenied, match=f"{person.username} is an administrator, or a member of a site"):
            members.link_for(person=person, author=boss, site=site)
    Membership.objects.create(user=boss, site=factories.site("Busan"), role=Role.MANAGER)
    assert members.may_renew(author=boss, person=both, site=site)
    assert members.may_renew(author=root, person=staff, site=site)


def test_an_administrator_makes_a_site_and_manages_it() -> None:
    root = factories.user("root", is_superuser=True)
    site = members.make_site(name="  Gwang  Ju ", author=root)
    assert (site.name, roles_of(root, site)) == ("Gwang Ju", {"manager"})
    with pytest.raises(InvalidPerson, match="There is a site Gwang Ju already"):
        members.make_site(name="Gwang Ju", author=root)
    with pytest.raises(InvalidPerson, match="1 to 100 characters"):
        members.make_site(name=" ", author=root)
    with pytest.raises(PermissionDenied):
        members.make_site(name="Own", author=factories.user("boss", Role.MANAGER))
