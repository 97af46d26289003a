"""The fields of the config dataclasses: how they are declared, checked, and parsed from text and JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

from ml_engine.core.errors import InvalidConfig

_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_IN_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    float | None: "a number or null",
    bool: "true or false",
}


def setting(
    default: Any,
    help: str,
    *,
    symbol: str = "",
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    is_open: bool = False,
) -> Any:
    """A dataclass field with its description, the paper's symbol and its bounds as metadata.

    ``low`` and ``high`` are inclusive. With ``is_open``, values other than the ``choices`` are allowed.
    """
    facts = {"help": help, "symbol": symbol, "choices": choices, "low": low, "high": high, "is_open": is_open}
    return dataclasses.field(default=default, metadata=facts)


def check_bounds(name: str, value: Any, facts: Mapping[str, Any]) -> None:
    """Raises InvalidConfig, which names ``name``, for a value outside the choices or bounds of a field's metadata."""
    choices, low, high = facts.get("choices"), facts.get("low"), facts.get("high")
    if choices and value not in choices and not facts.get("is_open"):
        raise InvalidConfig(f"{name} is {value!r}: choose one of {', '.join(choices)}.")
    if value is None or (low is None and high is None):
        return
    ends = f"from {low:g} to {high:g}" if high is not None else f"at least {low:g}"
    if not math.isfinite(value) or value < low or (high is not None and value > high):
        raise InvalidConfig(f"{name} is {value}: it must be {ends}.")


def names_of(cls: Any) -> str:
    """The names of a dataclass's fields, separated by commas."""
    return ", ".join(f.name for f in dataclasses.fields(cls))


def from_text(cls: Any, name: str, text: str, *, shown: str) -> Any:
    """``text`` parsed as the value of a field of ``cls``, by the field's type. Raises InvalidConfig, which names the
    field as ``shown``."""
    hint = _hints(cls).get(name)
    if hint is None or dataclasses.is_dataclass(hint):
        raise InvalidConfig(f"{shown} is not a setting. The settings are: {names_of(cls)}.")
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


@cache
def _hints(cls: Any) -> dict[str, Any]:
    """The types of the fields. Resolving them takes 2 ms, and a config has eighty."""
    return get_type_hints(cls)


def as_type(cls: Any, name: str, value: Any, *, shown: str) -> Any:
    """A JSON value converted to the field's type: 1 becomes 1.0 in a float field. Raises InvalidConfig."""
    hint = _hints(cls)[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and hint in (float, float | None):
        return float(value)
    if value is None and hint == (float | None):
        return None
    allowed = dict if dataclasses.is_dataclass(hint) else hint
    if hint in (float, float | None) or not isinstance(value, allowed) or (hint is int and isinstance(value, bool)):
        raise InvalidConfig(f"{shown} is {value!r}: it must be {_IN_WORDS.get(hint, 'text')}.")
    return value
