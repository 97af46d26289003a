"""The keys of labelling: what each does, and the keys that a person has chosen for themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction

from portal.labels.events import BAD_QUALITY
from portal.models import LabelValue, User
from portal.people import audit


@dataclass(frozen=True)
class Command:
    """A key's act. One with a `value` labels; a `finding` goes along with it."""

    name: str
    words: str
    key: str
    value: str = ""
    finding: str = ""

    @property
    def shown(self) -> str:
        """As it stands on a button."""
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
    """Command -> a sentence for the user."""

    def __init__(self, faults: dict[str, str]) -> None:
        super().__init__(" ".join(faults.values()))
        self.faults = faults


def commands_of(person: User) -> list[Command]:
    """Every command with the person's key for it; what is stored and makes no sense counts as not stored."""
    chosen = person.label_keys if isinstance(person.label_keys, dict) else {}
    try:
        keys = checked(chosen)
    except InvalidKeys:
        keys = {}
    return [Command(one.name, one.words, keys.get(one.name, one.key), one.value, one.finding) for one in DEFAULTS]


def choose_keys(*, person: User, keys: Mapping[str, object]) -> None:
    """Keep the person's keys, by command; a command that is not named has its first key. Raises InvalidKeys."""
    chosen = checked(keys)
    first = {one.name: one.key for one in DEFAULTS}
    with transaction.atomic():
        before = person.label_keys
        person.label_keys = {name: key for name, key in chosen.items() if key != first[name]}
        person.save(update_fields=["label_keys"])
        audit.record(verb="choose keys", site=None, actor=person, target=person, before=before, after=person.label_keys)


def checked(keys: Mapping[str, object]) -> dict[str, str]:
    """The keys as they are pressed, each for one command. Raises InvalidKeys with a sentence for each fault."""
    words = {one.name: one.words for one in DEFAULTS}
    faults = {
        name: f"There is no command {name!r}; the commands are {', '.join(words)}."
        for name in keys
        if name not in words
    }
    chosen: dict[str, str] = {}
    for one in DEFAULTS:
        key, fault = _key(keys.get(one.name, one.key), one.words)
        if fault:
            faults[one.name] = fault
        chosen[one.name] = key
    owner: dict[str, str] = {}
    for name, key in chosen.items():
        if name not in faults and key in owner:
            faults[name] = f"{key!r} already stands for {words[owner[key]]}; choose another key for {words[name]}."
        owner.setdefault(key, name)
    if faults:
        raise InvalidKeys(faults)
    return chosen


def _key(given: object, words: str) -> tuple[str, str]:
    """A key, and what is wrong with it."""
    text = given.strip() if isinstance(given, str) else ""
    named = {name.lower(): name for name in NAMED}.get(text.lower())
    if named:
        return named, ""
    if text in TAKEN:
        return text, f"{text!r} {TAKEN[text]} and cannot stand for {words}; choose a letter."
    if len(text) != 1 or not text.isprintable():
        shown = text[:20] if isinstance(given, str) else type(given).__name__
        return "", f"{shown!r} is no key for {words}; give one letter or sign, or one of {', '.join(NAMED)}."
    return text.lower(), ""
