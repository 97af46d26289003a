"""The fields of the config dataclasses, read from text and from JSON."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

from ml_engine.core.errors import InvalidConfig

_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_IN_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    float | None: "a number or null",
    bool: "true or false",
}


def names_of(cls: Any) -> str:
    return ", ".join(f.name for f in dataclasses.fields(cls))


def from_text(cls: Any, name: str, text: str, *, shown: str) -> Any:
    """The value that ``text`` means for a field of ``cls``, by its type. Raises InvalidConfig, which calls the
    field ``shown``."""
    hint = get_type_hints(cls).get(name)
    if hint is None or dataclasses.is_dataclass(hint):
        raise InvalidConfig(f"{shown} is no setting. The settings are: {names_of(cls)}.")
    text = text.strip()
    if hint == (float | None):
        return None if text.lower() in ("none", "") else _number(float, text, shown)
    if hint is bool:
        if text.lower() not in _BOOLEANS:
            raise InvalidConfig(f"{shown} is {text!r}: write yes or no.")
        return _BOOLEANS[text.lower()]
    return text if hint is str else _number(hint, text, shown)


def _number(kind: type, text: str, shown: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise InvalidConfig(f"{shown} is {text!r}: it must be {_IN_WORDS[kind]}.") from None


def as_type(cls: Any, name: str, value: Any, *, shown: str) -> Any:
    """A JSON value as the field's type: 1 is a float where a float is meant. Raises InvalidConfig."""
    hint = get_type_hints(cls)[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and hint in (float, float | None):
        return float(value)
    if value is None and hint == (float | None):
        return None
    allowed = dict if dataclasses.is_dataclass(hint) else hint
    if hint in (float, float | None) or not isinstance(value, allowed) or (hint is int and isinstance(value, bool)):
        raise InvalidConfig(f"{shown} is {value!r}: it must be {_IN_WORDS.get(hint, 'text')}.")
    return value
