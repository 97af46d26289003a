"""Converts frozen dataclasses to JSON objects and back, and names the fields that a JSON object lacks.

A field without a default is required. A field with the metadata `OPTIONAL` is left out of the JSON if it is None.
Does not import torch.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ml_engine.core.errors import EngineError

T = TypeVar("T")
_NAME, _IS_LEFT_OUT = "name in JSON", "left out where None"
OPTIONAL = {_IS_LEFT_OUT: True}


class IncompleteJson(EngineError):
    """A required field is missing from a JSON object."""


def called(name: str) -> dict[str, str]:
    """The metadata of a field whose name in the JSON is ``name``."""
    return {_NAME: name}


def to_json(value: Any) -> Any:
    """The value as JSON types: dataclasses, nested ones too, and mappings as dicts, sequences as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {_name(field): to_json(v) for field, v in pairs if v is not None or _IS_LEFT_OUT not in field.metadata}
    if isinstance(value, Mapping):
        return {key: to_json(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def from_json(cls: type[T], values: Any, *, source: str, advice: str) -> T:
    """The dataclass ``cls``, with nested dataclasses, from JSON values. Fields added by a later release are ignored.

    Raises IncompleteJson if a required field is missing, or null where its type does not allow None: "``source`` does
    not hold a, b.c: ``advice``."
    """
    missing: list[str] = []
    instance = _convert(cls, values, "", missing)
    if missing:
        raise IncompleteJson(f"{source} does not hold {', '.join(missing)}: {advice}.")
    return instance  # type: ignore[no-any-return]


def _name(field: dataclasses.Field[Any]) -> str:
    name: str = field.metadata.get(_NAME, field.name)
    return name


def _convert(hint: Any, value: Any, path: str, missing: list[str]) -> Any:
    """``value`` converted to the type ``hint``; the paths of missing required fields are added to ``missing``."""
    if get_origin(hint) in (Union, types.UnionType):
        if value is None:
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
    if not _holds_objects(hint):
        return value
    if get_origin(hint) is Sequence and isinstance(value, list | tuple):
        (of,) = get_args(hint)
        return [_convert(of, item, f"{path}[{k}]", missing) for k, item in enumerate(value)]
    if dataclasses.is_dataclass(hint):
        return _object(hint, value, path, missing)
    return value


def _object(cls: Any, value: Any, path: str, missing: list[str]) -> Any:
    if not isinstance(value, Mapping):
        missing.append(path or "a JSON object")
        return None
    hints, arguments, before = _hints(cls), {}, len(missing)
    for field in dataclasses.fields(cls):
        name = _name(field)
        inner = f"{path}.{name}" if path else name
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in value and has_default:
            continue
        if value.get(name) is None and (name not in value or not _may_be_none(hints[field.name])):
            missing.append(inner)
            continue
        arguments[field.name] = _convert(hints[field.name], value[name], inner, missing)
    return None if len(missing) > before else cls(**arguments)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


@cache
def _holds_objects(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint) or any(_holds_objects(part) for part in get_args(hint))


def _may_be_none(hint: Any) -> bool:
    return hint is Any or type(None) in get_args(hint)
