"""Rows of a CSV that a spreadsheet may open: no cell starts a formula."""

from typing import Any

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(value: Any) -> Any:
    """A text that would start a formula gets an apostrophe before it; anything else stays as it is."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_STARTS_A_FORMULA) else value
