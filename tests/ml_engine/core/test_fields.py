"""Fields of a config from text and from JSON, by their type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ml_engine.core.errors import InvalidConfig
from ml_engine.core.fields import as_type, from_text, names_of


@dataclass
class Settings:
    size: int = 1
    rate: float = 0.1
    threshold: float | None = None
    mask: bool = True
    layers: str = ""


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("size", " 12 ", 12), ("rate", "1", 1.0), ("threshold", "none", None), ("threshold", "", None),
     ("threshold", "0.5", 0.5), ("mask", "No", False), ("mask", "on", True), ("layers", " layer2 ", "layer2")],
)  # fmt: skip
def test_text_becomes_the_fields_type(name: str, text: str, value: Any) -> None:
    read = from_text(Settings, name, text, shown=name)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("size", "1.5", "shown is '1.5': it must be a whole number"), ("rate", "much", "it must be a number"),
     ("mask", "maybe", "write yes or no"), ("other", "1", "shown is not a setting. The settings are: size, rate")],
)  # fmt: skip
def test_text_that_means_nothing_is_refused(name: str, text: str, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        from_text(Settings, name, text, shown="shown")


def test_a_whole_number_of_json_is_a_number_where_one_is_meant() -> None:
    read = as_type(Settings, "rate", 1, shown="rate")
    assert (read, type(read)) == (1.0, float)
    assert as_type(Settings, "threshold", None, shown="threshold") is None


@pytest.mark.parametrize(
    ("name", "value"), [("size", True), ("size", 1.5), ("rate", "1"), ("rate", True), ("mask", 1), ("layers", 2)]
)
def test_json_of_another_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidConfig, match="it must be"):
        as_type(Settings, name, value, shown=name)


def test_the_names_come_in_their_order() -> None:
    assert names_of(Settings) == "size, rate, threshold, mask, layers"
