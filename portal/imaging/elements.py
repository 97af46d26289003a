"""Safe access to the values of a DICOM header, which may be malformed in any way.

pydicom converts an element on first access, so each access can raise anything; these functions turn that into
UnusableFile. Messages name the element, never its value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from portal.imaging.errors import UnusableFile

_DECIMAL = re.compile(rb"|[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def _value(ds: Dataset, keyword: str) -> Any:
    try:
        element = ds.get(keyword)
        return getattr(element, "value", element)
    except MemoryError:
        raise
    except Exception:  # whatever a converter raises on a malformed value
        raise _unreadable(keyword) from None


def _unreadable(keyword: str) -> UnusableFile:
    return UnusableFile("unreadable", f"The header element {keyword} holds a malformed value. Export the film again.")


def values(ds: Dataset, keyword: str) -> list[Any]:
    """Return all values of an element, [] when it is absent or empty."""
    value = _value(ds, keyword)
    if value is None or (isinstance(value, str | bytes) and not value):
        return []
    if isinstance(value, MultiValue | list | tuple):
        return list(value)
    return [value]


def numbers(ds: Dataset, keyword: str) -> list[float]:
    """Return all values of an element as floats, including NaN and infinities."""
    try:
        return [float(value) for value in values(ds, keyword) if value not in ("", None)]
    except (TypeError, ValueError, OverflowError):
        raise _unreadable(keyword) from None


def number(ds: Dataset, keyword: str) -> float | None:
    """Return the first value of an element as a float, None when it is absent."""
    floats = numbers(ds, keyword)
    return floats[0] if floats else None


def whole(ds: Dataset, keyword: str) -> int | None:
    """Return the first value of an element as a whole number, None when it is absent."""
    value = number(ds, keyword)
    if value is None:
        return None
    if not value.is_integer():  # False for NaN and infinities too
        raise _unreadable(keyword)
    return int(value)


def text(ds: Dataset, keyword: str) -> str:
    """Return the first value of an element as text without padding, "" when absent or undecodable."""
    try:
        texts = values(ds, keyword)
    except UnusableFile:
        return ""
    return str(texts[0]).strip(" \0\t\r\n") if texts else ""


def mend_decimal_commas(ds: Dataset, keywords: Iterable[str]) -> bool:
    """Write decimal commas of these decimal strings (DS) as points, and return whether there were any.

    PS3.5 6.2 allows no comma in a DS, so one between digits can only be a decimal point. A value that holds anything
    else unusual is left as it is.
    """
    is_mended = False
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        raw: Any = ds.get_item(tag) if tag is not None and tag in ds else None
        if not isinstance(raw, RawDataElement) or not isinstance(raw.value, bytes) or b"," not in raw.value:
            continue
        parts = [part.strip(b" \0") for part in raw.value.split(b"\\")]
        if all(_DECIMAL.fullmatch(part) for part in parts):
            ds[raw.tag] = raw._replace(value=b"\\".join(parts).replace(b",", b"."))
            is_mended = True
    return is_mended


def lenient_numbers(ds: Dataset, keyword: str) -> list[float]:
    """Return all values of an element as floats, NaN for each that is no number; [] if the whole element is
    malformed."""
    try:
        return [_float(value) for value in values(ds, keyword) if value not in ("", None)]
    except UnusableFile:
        raw = ds.get_item(tag_for_keyword(keyword) or 0)
        data = getattr(raw, "value", None)
        if not isinstance(data, bytes):
            return []
        return [_float(part) for part in data.decode("ascii", "replace").split("\\")]


def _float(value: Any) -> float:
    try:
        return float(str(value).strip(" \0"))
    except ValueError:
        return math.nan


def items(ds: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, [] when it is absent."""
    value = _value(ds, keyword)
    if value is None:
        return []
    if not isinstance(value, Sequence):
        raise _unreadable(keyword)
    return list(value)
