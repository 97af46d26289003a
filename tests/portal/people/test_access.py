"""The table of actions, and objects that do not exist for a person."""

from __future__ import annotations

import uuid

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import Http404

from portal.models import Dataset, Image, LabelEvent, Membership, Part, Role, User
from portal.people.access import (
    ALLOWED,
    get_visible,
    may,
    may_see_scores,
    people_who_may,
    require,
    sites_of,
    visible,
)
from tests.portal import factories

pytestmark = [pytest.mark.django_db]

TABLE = {
    #                        curator reader adjudicator analyst manager broker
    "see the site":          "x       x      x           x       x       x",
    "import films":          "x       -      -           -       x       -",
    "label films":           "x       -      x           -       x       -",
    "review text on films":  "x       -      -           -       x       -",
    "tag films":             "x       -      x           x       x       -",
    "manage tags":           "-       -      -           -       x       -",
    "retire data":           "-       -      -           -       x       -",
    "share views":           "x       -      -           -       x       -",
    "make splits":           "x       -      -           x       x       -",
    "align by hand":         "x       -      -           x       x       -",
    "request runs":          "-       -      -           x       x       -",
    "see scores":            "-       x      x           x       x       -",
    "evaluate runs":         "-       -      -           x       x       -",
    "plan analyses":         "-       -      -           x       x       -",
    "approve plans":         "-       -      x           x       x       -",
    "set rules for test":    "-       -      -           -       x       -",
    "make worklists":        "-       -      -           x       x       -",
    "read worklists":        "-       x      -           -       -       -",
    "answer escalations":    "-       -      -           -       -       x",
    "propose normals":       "-       -      -           x       x       -",
    "accept normals":        "x       -      -           -       x       -",
    "propose adjudications": "-       -      -           x       x       -",
    "see adjudications":     "-       -      x           x       x       -",
    "see double readings":   "-       -      x           x       x       -",
    "close double readings": "-       -      -           -       x       -",
    "adjudicate labels":     "-       -      x           -       x       -",
    "judge duplicates":      "x       -      -           -       x       -",
    "make queues":           "x       -      x           x       x       -",
    "edit findings":         "-       -      -           -       x       -",
    "edit criteria":         "-       -      -           -       x       -",
    "freeze cohorts":        "x       -      -           -       x       -",
    "manage people":         "-       -      -           -       x       -",
    "edit datasets":         "-       -      -           -       x       -",
    "keep further columns":  "-       -      -           -       x       -",
    "open quarantined files": "x      -      -           -       x       -",
    "erase patients":        "-       -      -           -       x       -",
}  # fmt: skip
CASES = [
    (action, role, mark == "x")
    for action, marks in TABLE.items()
    for role, mark in zip(Role, marks.split(), strict=True)
]


@pytest.mark.parametrize(("action", "role", "granted"), CASES)
def test_who_may_do_what(action: str, role: Role, granted: bool) -> None:
    assert may(factories.user("someone", role), action, factories.site()) is granted


def test_every_action_is_in_the_table() -> None:
    assert set(ALLOWED) == set(TABLE)


def test_roles_add_up_and_stay_at_their_site() -> None:
    busan = factories.site("Busan")
    person = factories.user("someone", Role.READER, Role.CURATOR)
    Membership.objects.create(user=person, site=busan, role=Role.ANALYST)
    assert may(person, "label films", factories.site())
    assert not may(person, "label films", busan)
    assert not may(person, "request runs", factories.site())


def test_a_stranger_may_do_nothing_and_a_superuser_everything() -> None:
    stranger, root = factories.user("stranger"), factories.user("root", is_superuser=True)
    assert not any(may(stranger, action, factories.site()) for action in ALLOWED)
    assert all(may(root, action, factories.site()) for action in ALLOWED)


def test_a_refusal_names_the_roles_and_whom_to_ask() -> None:
    reader = factories.user("reader", Role.READER)
    needed = "To import films at Seoul you need one of these roles: curator, manager. "
    with pytest.raises(PermissionDenied) as refused:
        require(reader, "import films", factories.site())
    assert str(refused.value) == needed + "The site has no manager; an administrator can give it to you."
    factories.user("maria", Role.MANAGER, first_name="Maria", last_name="Kim")
    with pytest.raises(PermissionDenied) as refused:
        require(reader, "import films", factories.site())
    assert str(refused.value) == needed + "A manager of the site can give it to you: Maria Kim."


def _refused_without_a_site(person: User) -> str:
    with pytest.raises(PermissionDenied) as refused:
        require(person, "import films", None)
    return str(refused.value)


def test_before_the_first_site_the_refusal_says_who_makes_it() -> None:
    assert _refused_without_a_site(factories.user("root", is_superuser=True)) == (
        "To import films you need a site. There is no site yet: you administer this installation and can make one "
        "under Data."
    )
    assert "an administrator makes the first, and adds you by your user name, new." in _refused_without_a_site(
        factories.user("new")
    )


def test_without_a_site_the_refusal_names_whom_to_ask() -> None:
    factories.site()
    refused = _refused_without_a_site(factories.user("new"))
    assert "You are not a member of any site yet. A manager of a site can add you" in refused
    assert "your user name, new." in refused


def test_the_objects_of_another_site_do_not_exist() -> None:
    here, there = factories.dataset(), factories.dataset(at=factories.site("Busan"))
    ours, theirs = factories.film(here), factories.film(there)
    person = factories.user("someone", Role.READER, Role.CURATOR)
    assert get_visible(Image.objects.all(), person, ours.uuid) == ours
    for address in (theirs.uuid, uuid.uuid4(), "not a UUID"):
        with pytest.raises(Http404):
            get_visible(Image.objects.all(), person, address)
    assert list(visible(Dataset.objects.all(), person)) == [here]
    assert list(sites_of(person)) == [factories.site()]
    assert set(visible(Dataset.objects.all(), factories.user("root", is_superuser=True))) == {here, there}


def test_a_model_without_a_path_to_its_site_raises() -> None:
    with pytest.raises(KeyError):
        visible(LabelEvent.objects.all(), factories.curator())


@pytest.mark.parametrize(("label", "part", "role", "visible_to_them"), [
    ("normal", Part.TEST, Role.ADJUDICATOR, True),
    ("abnormal", Part.TUNE, Role.ADJUDICATOR, True),
    ("unsure", Part.TEST, Role.ADJUDICATOR, False),
    ("", Part.CALIBRATE, Role.ADJUDICATOR, False),
    ("", Part.FIT, Role.ADJUDICATOR, True),
    ("", "", Role.ADJUDICATOR, True),
    ("", Part.TEST, Role.READER, True),
    ("normal", Part.FIT, Role.CURATOR, False),
])  # fmt: skip
def test_scores_are_hidden_from_those_who_still_have_to_label(
    label: str, part: str, role: Role, visible_to_them: bool
) -> None:
    film = factories.film(factories.dataset(), label)
    film = Image.objects.select_related("dataset__site").get(pk=film.pk)
    assert may_see_scores(factories.user("someone", role), film, part) is visible_to_them


def test_a_role_is_unique_and_known() -> None:
    person = factories.curator()
    for role in (Role.CURATOR, "owner"):
        with pytest.raises(IntegrityError), transaction.atomic():
            Membership.objects.create(user=person, site=factories.site(), role=role)


def test_the_people_who_may_do_something_are_listed_by_name() -> None:
    factories.user("zoe", Role.CURATOR, Role.MANAGER)
    factories.user("ann", Role.CURATOR)
    factories.user("rita", Role.READER)
    factories.user("gone", Role.CURATOR, is_active=False)
    factories.user("busan", Role.CURATOR, at=factories.site("Busan"))
    assert [person.username for person in people_who_may("label films", factories.site())] == ["ann", "zoe"]
