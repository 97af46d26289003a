"""Keys that a person chooses: one for each command, none twice, with a message for each fault."""

from __future__ import annotations

from typing import Any

import pytest

from portal.labels.key_table import CHOOSABLE, Room
from portal.labels.keys import InvalidKeys, choose_keys, commands_of, keys_in, normalise_keys
from portal.models import AuditEvent
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


def keys_of(person: Any) -> dict[str, str]:
    person.refresh_from_db()
    return {command.name: command.key for command in commands_of(person)}


def test_without_a_choice_the_keys_are_the_defaults() -> None:
    assert keys_of(factories.curator()) == {command.name: command.key for command in CHOOSABLE}


def test_only_changed_keys_are_stored_and_the_audit_records_them() -> None:
    ann = factories.curator("ann")
    choose_keys(person=ann, keys={"normal": "J", "abnormal": "s", "next": "pagedown"})
    assert ann.label_keys == {"normal": "j", "next": "PageDown"}
    assert (keys_of(ann)["normal"], keys_of(ann)["undo"]) == ("j", "z")
    assert AuditEvent.objects.get(verb="choose keys").after == {"normal": "j", "next": "PageDown"}
    choose_keys(person=ann, keys={})
    assert keys_of(ann)["normal"] == "a"


def test_two_commands_may_swap_their_keys() -> None:
    assert normalise_keys({"normal": "s", "abnormal": "a"})["normal"] == "s"


@pytest.mark.parametrize(
    ("keys", "faulty", "words"),
    [
        ({"normal": "s"}, "abnormal", "'s' is already the key for Normal; choose another key for Abnormal."),
        ({"normal": "?"}, "normal", "'?' shows the keys and cannot be the key for Normal"),
        ({"normal": "7"}, "normal", "'7' picks a finding"),
        ({"normal": ""}, "normal", "'' cannot be the key for Normal; use a single letter or sign, or one of Enter"),
        ({"normal": "<script>alert(1)</script>"}, "normal", "cannot be the key for Normal"),
        ({"normal": "\u202e"}, "normal", "cannot be the key for Normal"),
        ({"normal": 5}, "normal", "'int' cannot be the key for Normal"),
        ({"normal": ["a"]}, "normal", "'list' cannot be the key for Normal"),
        ({"launch": "l"}, "launch", "There is no command 'launch'"),
    ],
)
def test_a_fault_is_told_in_a_sentence_and_nothing_is_kept(keys: Any, faulty: str, words: str) -> None:
    ann = factories.curator("ann")
    with pytest.raises(InvalidKeys) as refused:
        choose_keys(person=ann, keys=keys)
    assert words in refused.value.faults[faulty]
    ann.refresh_from_db()
    assert ann.label_keys == {}
    assert not AuditEvent.objects.filter(verb="choose keys").exists()


def test_chosen_keys_hold_in_every_room_and_others_give_way() -> None:
    ann = factories.curator("ann")
    choose_keys(person=ann, keys={"normal": "k", "exclude": "u"})
    reading = keys_in(Room.READING, ann)
    assert (reading["normal"].shown, reading["pause"].shown, reading["escalate"].shown) == ("K", "", "U")
    assert keys_in(Room.QUEUE, ann)["exclude"].key == "u"
    assert "exclude" not in reading


@pytest.mark.parametrize("stored", [{"normal": "<b>"}, ["a"], "a", {"normal": "s"}])
def test_invalid_stored_keys_are_ignored(stored: Any) -> None:
    ann = factories.curator("ann")
    ann.label_keys = stored
    ann.save()
    assert keys_of(ann) == {command.name: command.key for command in CHOOSABLE}
