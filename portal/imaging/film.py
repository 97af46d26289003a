"""Films as stored pixels and the few header facts that determine what a viewer sees.

A film keeps *stored* values: uint16, with signed values shifted by 2**(bits_stored - 1), recorded in
`PixelFacts.offset`. The order of the steps from there is fixed (PS3.3 C.11.1, C.11.2, C.11.6):

    stored -> real = stored - offset -> modality LUT or slope and intercept -> VOI LUT or window
           -> inverted once if MONOCHROME1 xor Presentation LUT Shape INVERSE

Since a film has at most 65 536 stored values, each step is a table over them: exact, and fast for any size.

Example: `shown_values(load_film(folder / "a.u16.gz"))` is the film as on screen, float32 in [0, 1].
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from portal.imaging.errors import UnusableFile

MAX_PIXELS = 100_000_000
MAX_SIDE = 65_535
_BLOCK_PIXELS = 1 << 17
PATIENT_ID = "identifier:patient_id"  # of a header: raw, to be hashed and discarded
EMPTY_HEADER = {PATIENT_ID: "", "identifier:study_uid": "", "identifier:sop_uid": ""}
VOI_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True)
class Window:
    """Centre and width in the units of the modality LUT's output (PS3.3 C.11.2.1.2)."""

    center: float
    width: float
    name: str = ""


@dataclass(frozen=True)
class Lut:
    """A lookup table: the input `first` maps to `values[0]`; inputs beyond either end map to that end's value.

    `first` is a stored value (offset included) in a modality LUT, and a value after the modality LUT in a VOI LUT.
    Each value has `bits` bits.
    """

    first: int
    bits: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class PixelFacts:
    """The facts of the header that give the stored values of a film their meaning.

    `offset` was added to signed values, so real = stored - offset. `padding` is an inclusive range of
    stored values. `spacing_mm` is (between rows = y, between columns = x), measured in `spacing_plane`:
    "detector", "patient" or "" when unknown. `pixel_aspect` is a pixel's height over its width, used
    only if there is no spacing.
    """

    rows: int
    columns: int
    bits_stored: int
    offset: int
    photometric: str
    slope: float = 1.0
    intercept: float = 0.0
    modality_lut: Lut | None = None
    windows: tuple[Window, ...] = ()
    voi_function: str = "LINEAR"
    voi_luts: tuple[Lut, ...] = ()
    padding: tuple[int, int] | None = None
    spacing_mm: tuple[float, float] | None = None
    spacing_plane: str = ""
    pixel_aspect: float = 1.0
    presentation_inverse: bool = False
    source: str = "dicom"

    def __post_init__(self) -> None:
        shape = (self.rows, self.columns)
        if not (min(shape) > 0 and max(shape) <= MAX_SIDE and self.rows * self.columns <= MAX_PIXELS):
            raise ValueError(f"A film of {self.rows} x {self.columns} pixels: expected 1 to {MAX_PIXELS:,} pixels.")
        if not 1 <= self.bits_stored <= 16:
            raise ValueError(f"A film of {self.bits_stored} bits: expected 1 to 16.")
        if self.photometric not in ("MONOCHROME1", "MONOCHROME2") or self.voi_function not in VOI_FUNCTIONS:
            raise ValueError("The photometric interpretation or the VOI function of a film is unknown.")

    @property
    def is_inverted(self) -> bool:
        """Whether small values are bright: MONOCHROME1 xor Presentation LUT Shape INVERSE."""
        return (self.photometric == "MONOCHROME1") != self.presentation_inverse

    @property
    def aspect(self) -> float:
        """Height of a pixel over its width, from the spacing if there is one."""
        if self.spacing_mm is not None:
            return self.spacing_mm[0] / self.spacing_mm[1]
        return self.pixel_aspect

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON types; `from_json` returns an equal value."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "bits_stored": self.bits_stored,
            "offset": self.offset,
            "photometric": self.photometric,
            "slope": self.slope,
            "intercept": self.intercept,
            "modality_lut": _lut_to_json(self.modality_lut) if self.modality_lut else None,
            "windows": [{"center": w.center, "width": w.width, "name": w.name} for w in self.windows],
            "voi_function": self.voi_function,
            "voi_luts": [_lut_to_json(lut) for lut in self.voi_luts],
            "padding": list(self.padding) if self.padding else None,
            "spacing_mm": list(self.spacing_mm) if self.spacing_mm else None,
            "spacing_plane": self.spacing_plane,
            "pixel_aspect": self.pixel_aspect,
            "presentation_inverse": self.presentation_inverse,
            "source": self.source,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PixelFacts:
        """The facts that `to_json` wrote; KeyError, TypeError or ValueError for anything else."""
        padding, spacing = data["padding"], data["spacing_mm"]
        return cls(
            rows=int(data["rows"]),
            columns=int(data["columns"]),
            bits_stored=int(data["bits_stored"]),
            offset=int(data["offset"]),
            photometric=str(data["photometric"]),
            slope=float(data["slope"]),
            intercept=float(data["intercept"]),
            modality_lut=_lut_from_json(data["modality_lut"]) if data["modality_lut"] else None,
            windows=tuple(Window(float(w["center"]), float(w["width"]), str(w["name"])) for w in data["windows"]),
            voi_function=str(data["voi_function"]),
            voi_luts=tuple(_lut_from_json(lut) for lut in data["voi_luts"]),
            padding=(int(padding[0]), int(padding[1])) if padding else None,
            spacing_mm=(float(spacing[0]), float(spacing[1])) if spacing else None,
            spacing_plane=str(data["spacing_plane"]),
            pixel_aspect=float(data["pixel_aspect"]),
            presentation_inverse=bool(data["presentation_inverse"]),
            source=str(data["source"]),
        )


@dataclass(frozen=True)
class Film:
    """`stored`: (H, W) uint16 below 2**facts.bits_stored, H and W as in `facts`."""

    stored: NDArray[np.uint16]
    facts: PixelFacts

    def __post_init__(self) -> None:
        expected = (self.facts.rows, self.facts.columns)
        if self.stored.shape != expected or self.stored.dtype != np.uint16:
            raise ValueError(f"Pixels are {self.stored.dtype} {self.stored.shape}, expected uint16 {expected}.")
        if int(self.stored.max()) > _highest(self.facts):
            raise ValueError(f"A stored value needs more than the film's {self.facts.bits_stored} bits.")


def _lut_to_json(lut: Lut) -> dict[str, Any]:
    return {"first": lut.first, "bits": lut.bits, "values": list(lut.values)}


def _lut_from_json(data: dict[str, Any]) -> Lut:
    return Lut(int(data["first"]), int(data["bits"]), tuple(int(v) for v in data["values"]))


# --- values as on screen ---------------------------------------------------------------------------------


def linear_range(facts: PixelFacts) -> tuple[float, float]:
    """Return the smallest and the largest value that `linear_values` can return for a film with these facts."""
    if facts.modality_lut is not None:
        return 0.0, float(2**facts.modality_lut.bits - 1)
    ends = [facts.slope * (stored - facts.offset) + facts.intercept for stored in (0, _highest(facts))]
    return min(ends), max(ends)


def linear_values(film: Film) -> NDArray[np.float32]:
    """Return (H, W) float32 values after the modality LUT (PS3.3 C.11.1), larger = brighter on screen.

    If the film is inverted, v becomes low + high - v with (low, high) = `linear_range`.
    """
    table = _modality_table(film.facts)
    if film.facts.is_inverted:
        low, high = linear_range(film.facts)
        table = low + high - table
    return look_up(table.astype(np.float32), film.stored)


def display_values(film: Film) -> NDArray[np.float32] | None:
    """Return (H, W) float32 in [0, 1] as on screen: the first VOI LUT or, without one, the first window (PS3.3 C.11.2).

    None when the header has neither. Inverted once, after the VOI, as PS3.3 C.7.6.3.1.2 requires.
    """
    table = _display_table(film.facts)
    return None if table is None else look_up(table.astype(np.float32), film.stored)


def shown_values(film: Film) -> NDArray[np.float32]:
    """Return `display_values` or, if None, the linear values scaled to [0, 1] between percentiles 0.5 and 99.5.

    The percentiles ignore padding. A film with a single value becomes all 0.
    """
    return look_up(_shown_table(film), film.stored)


def padding_mask(film: Film) -> NDArray[np.bool_]:
    """Return (H, W) bool, True where the stored value is padding (PS3.3 C.7.5.1.1.2)."""
    if film.facts.padding is None:
        return np.zeros(film.stored.shape, dtype=np.bool_)
    low, high = film.facts.padding
    return np.asarray((film.stored >= low) & (film.stored <= high), dtype=np.bool_)


def preview(film: Film, *, long_side: int = 320) -> bytes:
    """Return an 8-bit grey JPEG of the whole film whose longer side has `long_side` pixels, with square pixels."""
    height_mm, width_mm = film.facts.rows * film.facts.aspect, float(film.facts.columns)
    scale = long_side / max(height_mm, width_mm)
    size = (max(1, round(width_mm * scale)), max(1, round(height_mm * scale)))
    grey = look_up(np.rint(_shown_table(film) * 255).astype(np.uint8), film.stored)  # of `shown_values`
    small = Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    target = io.BytesIO()
    small.save(target, format="JPEG", quality=88)
    return target.getvalue()


def _highest(facts: PixelFacts) -> int:
    return int(2**facts.bits_stored) - 1


def _modality_table(facts: PixelFacts) -> NDArray[np.float64]:
    """(2**bits_stored,) float64: the value after the modality LUT for each stored value."""
    stored = np.arange(_highest(facts) + 1)
    if facts.modality_lut is not None:
        return _look_up(facts.modality_lut, stored.astype(np.float64))
    return np.asarray(facts.slope * (stored - facts.offset) + facts.intercept, dtype=np.float64)


def _look_up(lut: Lut, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of `lut` at `inputs`, rounded to the nearest entry; beyond an end, that end's value."""
    values = np.asarray(lut.values, dtype=np.float64)
    index = np.clip(np.rint(inputs - lut.first), 0, len(values) - 1)
    return np.asarray(values[index.astype(np.int64)], dtype=np.float64)


def _display_table(facts: PixelFacts) -> NDArray[np.float64] | None:
    """(2**bits_stored,) float64 in [0, 1]: the brightness on screen of each stored value."""
    modality = _modality_table(facts)
    brightness: NDArray[np.float64]
    if facts.voi_luts:
        lut = facts.voi_luts[0]
        brightness = np.clip(_look_up(lut, modality) / (2**lut.bits - 1), 0.0, 1.0)
    elif facts.windows:
        brightness = _window(modality, facts.windows[0], facts.voi_function)
    else:
        return None
    return 1.0 - brightness if facts.is_inverted else brightness


def _window(values: NDArray[np.float64], window: Window, function: str) -> NDArray[np.float64]:
    """PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID) and C.11.2.1.3.2 (LINEAR_EXACT), y in [0, 1]."""
    center, width = window.center, window.width
    if function == "SIGMOID":
        exponent = np.clip(-4.0 * (values - center) / width, -700.0, 700.0)
        return np.asarray(1.0 / (1.0 + np.exp(exponent)), dtype=np.float64)
    if function == "LINEAR":  # the standard requires a width of at least 1; a width of 1 is a step
        center, width = center - 0.5, width - 1.0
    if width <= 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _shown_table(film: Film) -> NDArray[np.float32]:
    """(2**bits_stored,) float32 in [0, 1]: the value of `shown_values` for each stored value."""
    display = _display_table(film.facts)
    return _percentile_table(film) if display is None else display.astype(np.float32)


def _percentile_table(film: Film) -> NDArray[np.float32]:
    facts = film.facts
    counts = counts_of_values(film.stored, minlength=_highest(facts) + 1)
    if facts.padding is not None:
        counts[max(0, facts.padding[0]) : facts.padding[1] + 1] = 0
    table = _modality_table(facts)
    if facts.is_inverted:
        table = -table
    order = np.argsort(table, kind="stable")
    below = np.cumsum(counts[order])
    if below[-1] == 0:
        return np.zeros(len(table), dtype=np.float32)
    low, high = (
        float(table[order[np.searchsorted(below, math.ceil(q * below[-1]), side="left")]]) for q in (0.005, 0.995)
    )
    if high <= low:
        return np.zeros(len(table), dtype=np.float32)
    return np.clip((table - low) / (high - low), 0.0, 1.0).astype(np.float32)


_Value = TypeVar("_Value", bound=np.generic)


def look_up(table: NDArray[_Value], stored: NDArray[np.uint16]) -> NDArray[_Value]:
    """`table[stored]`, some rows at a time: numpy first turns the indices into 64-bit numbers, which do not fit in a
    cache and, of the largest films, hardly in memory."""
    values = np.empty(stored.shape, dtype=table.dtype)
    for rows in _blocks(stored):
        np.take(table, stored[rows], out=values[rows], mode="clip")
    return values


def counts_of_values(stored: NDArray[np.uint16], *, minlength: int) -> NDArray[np.int64]:
    """How often each value occurs, `np.bincount`, some rows at a time for the same reason."""
    counts = np.zeros(max(minlength, int(stored.max()) + 1), dtype=np.int64)
    for rows in _blocks(stored):
        counts += np.bincount(stored[rows].ravel(), minlength=len(counts))
    return counts


def _blocks(stored: NDArray[np.uint16]) -> Iterator[slice]:
    height = max(1, _BLOCK_PIXELS // stored.shape[1])
    for start in range(0, stored.shape[0], height):
        yield slice(start, start + height)


# --- files -----------------------------------------------------------------------------------------------


def pack(stored: NDArray[np.uint16]) -> bytes:
    """Return gzip of row-major little-endian uint16; the same pixels give the same bytes.

    By ISA-L, whose level 2 takes an eighth of the time of zlib's level 3; real films are 1 to 13 % larger.
    """
    packer = isal_zlib.compressobj(2, wbits=31)
    return packer.compress(np.ascontiguousarray(stored, dtype="<u2")) + packer.flush()


def unpack(data: bytes, rows: int, columns: int) -> NDArray[np.uint16]:
    """Return the (rows, columns) uint16 array that `pack` stored. Raises UnusableFile."""
    size = rows * columns * 2
    inflater = isal_zlib.decompressobj(wbits=31)  # in a third of zlib's time
    try:
        raw = inflater.decompress(data, size + 1)  # bounded, whatever the file contains
    except isal_zlib.error:  # type: ignore[misc]  # its stub has an instance
        raise UnusableFile("unreadable", "The stored pixel file is damaged. Import the film again.") from None
    if len(raw) != size:
        raise UnusableFile(
            "truncated",
            f"The stored pixel file does not hold {rows} x {columns} pixels. Import the film again.",
        )
    return np.frombuffer(raw, dtype="<u2").reshape(rows, columns).astype(np.uint16)


def pixel_sha256(stored: NDArray[np.uint16]) -> str:
    """Return the SHA-256 of the shape and the little-endian pixel bytes, in hex."""
    digest = hashlib.sha256(f"{stored.shape[0]}x{stored.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(stored, dtype="<u2").data)
    return digest.hexdigest()


def load_film(path: Path) -> Film:
    """Return the film in `path` (NAME.u16.gz, with NAME.json beside it). Raises UnusableFile."""
    facts_path = path.with_name(path.name.removesuffix(".u16.gz") + ".json")
    try:
        facts = PixelFacts.from_json(json.loads(facts_path.read_bytes()))
        return Film(unpack(path.read_bytes(), facts.rows, facts.columns), facts)
    except (OSError, ValueError, KeyError, TypeError):
        raise UnusableFile(
            "unreadable",
            "A stored film needs its .u16.gz file and, beside it, its .json file with the facts.",
        ) from None
