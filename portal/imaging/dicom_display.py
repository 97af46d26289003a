"""Windows and lookup tables of a DICOM header."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from portal.imaging.elements import items, lenient_numbers, numbers, text, values
from portal.imaging.errors import UnusableFile
from portal.imaging.film import VOI_FUNCTIONS, Lut, Window

_WINDOW_NAMES = frozenset(
    {
        "NORMAL", "HARDER", "SOFTER", "BONE", "LUNG", "CHEST", "THORAX", "SOFT", "TISSUE",
        "MEDIASTINUM", "ABDOMEN", "DEFAULT", "USER", "AUTO", "STANDARD", "OPT", "OPT1", "OPT2",
        "WINDOW", "WINDOW1", "WINDOW2", "PRESET", "LINEAR", "ALGO1", "ALGO2", "LOW", "MEDIUM",
        "HIGH", "CONTRAST"
    }
)  # fmt: skip
MAX_FACTOR = 1e9  # no physical unit needs a larger slope, intercept or window
_MIN_WIDTH = 1e-9
_MAX_WINDOWS, _MAX_LUTS = 16, 8


def windows_of(ds: Dataset) -> tuple[tuple[Window, ...], bool]:
    """Return the windows that can be shown, in the order of the header, and whether one was left out.

    PS3.3 C.11.2.1.2 requires a width of at least 1, or above 0 for the functions LINEAR_EXACT and SIGMOID. Devices
    that know no window write 0, -1 or no number.
    """
    centers, widths = lenient_numbers(ds, "WindowCenter"), lenient_numbers(ds, "WindowWidth")
    names = [str(name).strip().upper() for name in values(ds, "WindowCenterWidthExplanation")]
    least = 1.0 if voi_function_of(ds) == "LINEAR" else 0.0
    windows = []
    is_incomplete = bool(centers) != bool(widths)
    for index, (center, width) in enumerate(zip(centers, widths, strict=False)):
        if not (abs(center) <= MAX_FACTOR and max(least, _MIN_WIDTH) <= width <= MAX_FACTOR):  # False for NaN
            is_incomplete = True
            continue
        name = names[index] if index < len(names) else ""
        is_known = all(word in _WINDOW_NAMES for word in name.split())
        windows.append(Window(center, width, name if is_known else ""))
    return tuple(windows[:_MAX_WINDOWS]), is_incomplete


def voi_function_of(ds: Dataset) -> str:
    function = text(ds, "VOILUTFunction").upper()
    return function if function in VOI_FUNCTIONS else "LINEAR"


def voi_luts_of(ds: Dataset, *, is_signed: bool) -> tuple[tuple[Lut, ...], bool]:
    """Return the VOI LUTs of a header, and whether one uses fewer bits than it declares.

    Such a table is scaled by the bits that it uses: consoles declare 16 bits for tables of 12, which would show the
    film nearly black. `is_signed`: the first input may be negative.
    """
    declared = [lut_of(item, is_signed=is_signed, shift=0) for item in items(ds, "VOILUTSequence")[:_MAX_LUTS]]
    used = [narrowed(lut) for lut in declared]
    return tuple(used), used != declared


def narrowed(lut: Lut) -> Lut:
    """Return the table with as many bits as its largest value needs."""
    return replace(lut, bits=max(1, max(lut.values).bit_length()))


def lut_of(
    item: Dataset, *, is_signed: bool, shift: int, descriptor: str = "LUTDescriptor", data: str = "LUTData"
) -> Lut:
    """A LUT of PS3.3 C.11.1.1 or C.11.2.1.1, or one of a palette; `shift` is added to its first input."""
    described = [int(value) & 0xFFFF for value in numbers(item, descriptor)]
    if len(described) != 3 or not 1 <= described[2] <= 16:
        raise _bad_lut()
    count, first, bits = described[0] or 65_536, described[1], described[2]
    if is_signed and first >= 0x8000:  # the VR, and with it the sign, is often wrong
        first -= 0x10000
    is_little_endian = item.original_encoding[1] is not False
    entries = _lut_entries(values(item, data), count, is_little_endian=is_little_endian)
    if len(entries) < count:
        raise _bad_lut()
    entries = entries[:count]
    return Lut(first + shift, max(bits, int(entries.max()).bit_length()), tuple(entries.tolist()))


def _lut_entries(stored: list[Any], count: int, *, is_little_endian: bool) -> NDArray[np.int64]:
    """Entries of LUT Data: 16-bit words, bytes, or bytes packed two to a word (the first in the low byte)."""
    if len(stored) == 1 and isinstance(stored[0], bytes):
        data = stored[0]
        if len(data) in (count, count + count % 2):
            return np.frombuffer(data, dtype="u1").astype(np.int64)
        order = "<" if is_little_endian else ">"
        return np.frombuffer(data[: len(data) // 2 * 2], dtype=f"{order}u2").astype(np.int64)
    words = np.array([int(value) & 0xFFFF for value in stored], dtype=np.int64)
    if len(words) * 2 in (count, count + 1) and count > 1:
        return np.column_stack([words & 0xFF, words >> 8]).ravel()
    return words


def _bad_lut() -> UnusableFile:
    return UnusableFile("unreadable", "A lookup table in the header is damaged. Export the film again.")
