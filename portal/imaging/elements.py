"""Values out of a DICOM header that may be wrong in every way: the value, None when absent, or UnusableFile.

pydicom converts an element when it is first read, so each access can raise anything; this is the one place
that answers it. Sentences name the element, never its value.
"""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from portal.imaging.errors import UnusableFile


def _value(ds: Dataset, keyword: str) -> Any:
    try:
        element = ds.get(keyword)
        return getattr(element, "value", element)
    except MemoryError:
        raise
    except Exception:  # whatever a converter raises on a malformed value
        raise _unreadable(keyword) from None


def _unreadable(keyword: str) -> UnusableFile:
    return UnusableFile(
        "unreadable", f"The header element {keyword} holds a value that cannot be read. Export the film again."
    )


def values(ds: Dataset, keyword: str) -> list[Any]:
    """Return all values of an element, [] when it is absent or empty."""
    value = _value(ds, keyword)
    if value is None or (isinstance(value, str | bytes) and not value):
        return []
    if isinstance(value, MultiValue | list | tuple):
        return list(value)
    return [value]


def numbers(ds: Dataset, keyword: str) -> list[float]:
    """Return all values of an element as floats; NaN and infinities pass."""
    try:
        return [float(value) for value in values(ds, keyword) if value not in ("", None)]
    except (TypeError, ValueError, OverflowError):
        raise _unreadable(keyword) from None


def number(ds: Dataset, keyword: str) -> float | None:
    """Return the first value of an element as float, None when it is absent."""
    found = numbers(ds, keyword)
    return found[0] if found else None


def whole(ds: Dataset, keyword: str) -> int | None:
    """Return the first value of an element as a whole number, None when it is absent."""
    found = number(ds, keyword)
    if found is None:
        return None
    if not found.is_integer():  # False for NaN and infinities too
        raise _unreadable(keyword)
    return int(found)


def text(ds: Dataset, keyword: str) -> str:
    """Return the first value of an element as text without padding, "" when absent or undecodable."""
    try:
        found = values(ds, keyword)
    except UnusableFile:
        return ""
    return str(found[0]).strip(" \0\t\r\n") if found else ""


def items(ds: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, [] when it is absent."""
    value = _value(ds, keyword)
    if value is None:
        return []
    if not isinstance(value, Sequence):
        raise _unreadable(keyword)
    return list(value)
