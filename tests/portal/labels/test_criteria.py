"""A site's written criteria: versions that never change, and the differences between them."""

from __future__ import annotations

import difflib

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction

from portal.labels.criteria import (
    LONGEST,
    InvalidCriteria,
    TextLine,
    current_criteria,
    differences,
    write_criteria,
)
from portal.models import AuditEvent, NormalCriteria, Role, User
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def boss() -> User:
    return factories.user("boss", Role.MANAGER)


def write(text: str, author: User) -> NormalCriteria:
    return write_criteria(site=factories.site(), text=text, author=author)


def test_each_text_is_the_next_version_of_its_site(boss: User) -> None:
    assert current_criteria(factories.site()) is None
    first = write("No device.  \r\n\r\nNo scar.\n\n", boss)
    second = write("A device is normal.", boss)
    there = factories.site("Busan")
    elsewhere = write_criteria(site=there, text="All.", author=factories.user("chief", Role.MANAGER, at=there))
    assert [criteria.version for criteria in (first, second, elsewhere)] == [1, 2, 1]
    assert first.text == "No device.\n\nNo scar."
    assert current_criteria(factories.site()) == second
    event = AuditEvent.objects.filter(verb="write criteria", site=factories.site()).latest("pk")
    assert (event.actor, event.target_uuid, event.after) == (boss, second.uuid, {"version": 2, "characters": 19})


@pytest.mark.parametrize("role", [role for role in Role if role != Role.MANAGER])
def test_only_managers_write(role: Role) -> None:
    with pytest.raises(PermissionDenied, match="edit criteria"):
        write("x", factories.user("someone", role))


@pytest.mark.parametrize(("text", "sentence"), [
    (" \n ", "The criteria are empty"),
    ("x" * (LONGEST + 1), "10,001 characters"),
    ("No\0device", "no NUL character"),
    ("No device.\r\n", "that of version 1"),
])  # fmt: skip
def test_an_unusable_text_is_refused(boss: User, text: str, sentence: str) -> None:
    write("No device.", boss)
    with pytest.raises(InvalidCriteria, match=sentence):
        write(text, boss)
    assert NormalCriteria.objects.count() == 1


def test_the_database_refuses_to_change_or_delete_a_version(boss: User) -> None:
    criteria = write("No device.", boss)
    for act in (lambda: NormalCriteria.objects.update(text="Any."), criteria.delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            act()
    assert NormalCriteria.objects.get().text == "No device."


def test_differences_are_lines_in_order() -> None:
    lines = differences(
        "No device.\n\nNo scar.\nFull inspiration.", "A device is normal.\nFull inspiration.\n\nUpright."
    )
    assert lines == [
        TextLine("No device.", "removed"),
        TextLine("No scar.", "removed"),
        TextLine("A device is normal.", "added"),
        TextLine("Full inspiration."),
        TextLine("Upright.", "added"),
    ]


def test_differences_are_those_of_ndiff() -> None:
    before = ["a", "b", "c", "d", "c", "e"]
    after = ["b", "x", "c", "c", "e", "f"]
    words = {"- ": "removed", "+ ": "added", "  ": ""}
    wanted = [(line[2:], words[line[:2]]) for line in difflib.ndiff(before, after) if line[:2] in words]
    lines = [(line.text, line.change) for line in differences("\n".join(before), "\n\n".join(after))]
    assert sorted(lines) == sorted(wanted)
    assert [text for text, change in lines if change != "added"] == before
    assert [text for text, change in lines if change != "removed"] == after
