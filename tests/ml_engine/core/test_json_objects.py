"""Dataclasses come back from JSON as they were, and what a JSON object lacks is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from ml_engine.core.json_objects import OPTIONAL, IncompleteJson, called, from_json, to_json


@dataclass(frozen=True, kw_only=True)
class Point:
    x: float
    y: float | None
    note: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class Shape:
    whole: int = field(metadata=called("global"))
    centre: Point
    facts: Mapping[str, Any]
    corners: Sequence[Point] = ()
    mirrored: Point | None = None


JSON = {
    "global": 3,
    "centre": {"x": 1.0, "y": None, "note": "a"},
    "facts": {"any": [1, {"thing": 2}]},
    "corners": [{"x": 0.0, "y": 1.0}],
    "mirrored": None,
}


def read(values: Any) -> Shape:
    return from_json(Shape, values, source="shape.json", advice="draw it again")


def test_json_comes_back_as_it_was() -> None:
    shape = read(JSON)
    assert shape.centre == Point(x=1.0, y=None, note="a")
    assert shape.corners == [Point(x=0.0, y=1.0)]
    assert shape.facts == {"any": [1, {"thing": 2}]}
    assert to_json(shape) == JSON
    assert read(to_json(shape)) == shape


def test_what_is_optional_may_be_absent() -> None:
    shape = read({"global": 3, "centre": {"x": 1.0, "y": 2.0}, "facts": {}})
    assert (shape.corners, shape.mirrored, shape.centre.note) == ((), None, None)
    assert to_json(shape)["centre"] == {"x": 1.0, "y": 2.0}  # one that is left out where it is None
    assert to_json(shape)["mirrored"] is None


def test_names_of_a_later_release_are_passed_over() -> None:
    assert read(JSON | {"new": 1, "centre": JSON["centre"] | {"z": 5.0}}) == read(JSON)  # type: ignore[operator]


def test_every_missing_name_is_said_with_its_path() -> None:
    values = {"centre": {"y": 1.0}, "facts": {}, "corners": [{"x": 0.0, "y": 0.0}, {"x": 0.0}]}
    with pytest.raises(IncompleteJson, match=r"^shape.json does not hold global, centre.x, corners\[1\].y: draw it ag"):
        read(values)


@pytest.mark.parametrize(("name", "value"), [("global", None), ("centre", None), ("centre", 5), ("facts", None)])
def test_null_or_another_kind_of_value_is_no_object(name: str, value: Any) -> None:
    with pytest.raises(IncompleteJson, match=f"does not hold {name}: "):
        read(JSON | {name: value})


@pytest.mark.parametrize("values", [None, [], "text"])
def test_what_is_no_object_is_refused(values: Any) -> None:
    with pytest.raises(IncompleteJson, match="does not hold a JSON object"):
        read(values)
