"""The keys of a person: those of the site's table, and those that they have chosen for labelling."""

from collections.abc import Mapping
from dataclasses import replace

from django.db import transaction

from portal.labels.key_table import CHOOSABLE, Command, Room, of_room
from portal.models import User
from portal.people import audit

NAMED = ("Enter", "Backspace", "Delete", "Insert", "Home", "End", "PageUp", "PageDown")
TAKEN = {
    "?": "shows the keys",
    "+": "zooms in",
    "-": "zooms out",
    "=": "fits the film to the window",
    "0": "shows what normal means",
    **{str(digit): "picks a finding" for digit in range(1, 10)},
}


class InvalidKeys(Exception):
    """`faults`: command -> message for the user."""

    def __init__(self, faults: dict[str, str]) -> None:
        super().__init__(" ".join(faults.values()))
        self.faults = faults


def commands_of(person: User) -> list[Command]:
    """Return the commands for which a person may choose keys, with theirs; invalid stored keys are ignored."""
    chosen = person.label_keys if isinstance(person.label_keys, dict) else {}
    try:
        keys = normalise_keys(chosen)
    except InvalidKeys:
        keys = {}
    return [replace(command, key=keys.get(command.name, command.key)) for command in CHOOSABLE]


def keys_in(room: Room, person: User) -> dict[str, Command]:
    """Return the commands of a room by name, with the person's keys. A command whose key they have chosen for another
    one of the room has no key there."""
    chosen = {command.name: command for command in commands_of(person)}
    taken = {command.key for command in chosen.values() if room in command.rooms}
    return {
        command.name: chosen.get(command.name) or (replace(command, key="") if command.key in taken else command)
        for command in of_room(room)
    }


def choose_keys(*, person: User, keys: Mapping[str, object]) -> None:
    """Store the person's keys, by command; a missing command gets its default key. Raises InvalidKeys."""
    chosen = normalise_keys(keys)
    defaults = {command.name: command.key for command in CHOOSABLE}
    with transaction.atomic():
        before = person.label_keys
        person.label_keys = {name: key for name, key in chosen.items() if key != defaults[name]}
        person.save(update_fields=["label_keys"])
        audit.record(verb="choose keys", site=None, actor=person, target=person, before=before, after=person.label_keys)


def normalise_keys(keys: Mapping[str, object]) -> dict[str, str]:
    """Return the normalised key of every command. Raises InvalidKeys with a message for each fault."""
    words = {command.name: command.words for command in CHOOSABLE}
    faults = {
        name: f"There is no command {name!r}; the commands are {', '.join(words)}."
        for name in keys
        if name not in words
    }
    chosen: dict[str, str] = {}
    for command in CHOOSABLE:
        key, fault = _key(keys.get(command.name, command.key), command.words)
        if fault:
            faults[command.name] = fault
        chosen[command.name] = key
    owner: dict[str, str] = {}
    for name, key in chosen.items():
        if name not in faults and key in owner:
            faults[name] = f"{key!r} is already the key for {words[owner[key]]}; choose another key for {words[name]}."
        owner.setdefault(key, name)
    if faults:
        raise InvalidKeys(faults)
    return chosen


def _key(value: object, words: str) -> tuple[str, str]:
    """The normalised key, and a message if it is invalid."""
    text = value.strip() if isinstance(value, str) else ""
    named = {name.lower(): name for name in NAMED}.get(text.lower())
    if named:
        return named, ""
    if text in TAKEN:
        return text, f"{text!r} {TAKEN[text]} and cannot be the key for {words}; choose a letter."
    if len(text) != 1 or not text.isprintable():
        quoted = text[:20] if isinstance(value, str) else type(value).__name__
        return (
            "",
            f"{quoted!r} cannot be the key for {words}; use a single letter or sign, or one of {', '.join(NAMED)}.",
        )
    return text.lower(), ""
