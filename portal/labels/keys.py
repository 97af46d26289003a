"""Keyboard shortcuts for labelling: the commands, and the keys that each person has chosen."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction

from portal.labels.events import BAD_QUALITY
from portal.models import LabelValue, User
from portal.people import audit


@dataclass(frozen=True)
class Command:
    """The command of a key. A command with a `value` gives that label, with its `finding` if there is one."""

    name: str
    words: str
    key: str
    value: str = ""
    finding: str = ""

    @property
    def shown(self) -> str:
        """The key as shown on a button."""
        return self.key.upper() if len(self.key) == 1 else self.key


DEFAULTS = (  # under the left hand
    Command("normal", "Normal", "a", LabelValue.NORMAL),
    Command("abnormal", "Abnormal", "s", LabelValue.ABNORMAL),
    Command("unsure", "Unsure", "d", LabelValue.UNSURE),
    Command("bad_quality", "Bad quality", "f", LabelValue.EXCLUDE, BAD_QUALITY),
    Command("exclude", "Exclude", "g", LabelValue.EXCLUDE),
    Command("undo", "Undo", "z"),
    Command("next", "Next", "Enter"),
    Command("previous", "Back", "Backspace"),
    Command("comment", "Comment", "c"),
)
NAMED = ("Enter", "Backspace", "Delete", "Insert", "Home", "End", "PageUp", "PageDown")
TAKEN = {
    "?": "shows the keys",
    "+": "zooms in",
    "-": "zooms out",
    "=": "fits the film to the window",
    **{str(digit): "picks a finding" for digit in range(10)},
}


class InvalidKeys(Exception):
    """`faults`: command -> message for the user."""

    def __init__(self, faults: dict[str, str]) -> None:
        super().__init__(" ".join(faults.values()))
        self.faults = faults


def commands_of(person: User) -> list[Command]:
    """Return every command with the person's key for it; invalid stored keys are ignored."""
    chosen = person.label_keys if isinstance(person.label_keys, dict) else {}
    try:
        keys = normalise_keys(chosen)
    except InvalidKeys:
        keys = {}
    return [
        Command(command.name, command.words, keys.get(command.name, command.key), command.value, command.finding)
        for command in DEFAULTS
    ]


def choose_keys(*, person: User, keys: Mapping[str, object]) -> None:
    """Store the person's keys, by command; a missing command gets its default key. Raises InvalidKeys."""
    chosen = normalise_keys(keys)
    defaults = {command.name: command.key for command in DEFAULTS}
    with transaction.atomic():
        before = person.label_keys
        person.label_keys = {name: key for name, key in chosen.items() if key != defaults[name]}
        person.save(update_fields=["label_keys"])
        audit.record(verb="choose keys", site=None, actor=person, target=person, before=before, after=person.label_keys)


def normalise_keys(keys: Mapping[str, object]) -> dict[str, str]:
    """Return the normalised key of every command. Raises InvalidKeys with a message for each fault."""
    words = {command.name: command.words for command in DEFAULTS}
    faults = {
        name: f"There is no command {name!r}; the commands are {', '.join(words)}."
        for name in keys
        if name not in words
    }
    chosen: dict[str, str] = {}
    for command in DEFAULTS:
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
