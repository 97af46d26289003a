"""Malformed DICOM files made by code: good films in every encoding, each broken in every place of its structure.

A film's elements are encoded one by one, so that a change is made to one of them and the rest of the file stays right.
Coded pixel data are never changed within: no checksum of DICOM would reveal it.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.portal.imaging import factories as make

SYNTAXES = {
    "implicit": make.IMPLICIT,
    "explicit": make.EXPLICIT,
    "deflated": make.DEFLATED,
    "big-endian": make.BIG_ENDIAN,
    "jpeg": make.JPEG_BASELINE,
    "extended": make.JPEG_EXTENDED,
    "lossless": make.JPEG_LOSSLESS,
    "jpeg-ls": make.JPEG_LS,
    "2000": make.JPEG_2000,
    "rle": make.RLE,
    "video": "1.2.840.10008.1.2.4.102",
    "private": "1.2.3.4",
    "nothing": "",
}
_DELIMITER = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
_ITEM_END = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
_OPEN_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, make.UNDEFINED)


@dataclass(frozen=True)
class Good:
    """A good film: its elements in order, each with its bytes. `frame`: the codestream, b"" of native pixels."""

    name: str
    syntax: str
    parts: tuple[tuple[int, bytes], ...]
    pixels: NDArray[np.int64]
    frame: bytes = b""

    @property
    def is_implicit(self) -> bool:
        return self.syntax == make.IMPLICIT

    @property
    def order(self) -> str:
        return ">" if self.syntax == make.BIG_ENDIAN else "<"

    def file(self, parts: list[tuple[int, bytes]] | None = None, *, stated: str | None = "same") -> bytes:
        body = b"".join(data for _, data in (self.parts if parts is None else parts))
        return make.meta(self.syntax if stated == "same" else stated) + self.packed(body)

    def packed(self, body: bytes) -> bytes:
        if self.syntax != make.DEFLATED:
            return body
        packer = zlib.compressobj(wbits=-15)
        return packer.compress(body) + packer.flush()

    def with_part(self, tag: int, data: bytes) -> bytes:
        return self.file([(each, data if each == tag else old) for each, old in self.parts])

    def with_pixel_items(self, items: bytes) -> bytes:
        return self.with_part(make.PIXEL_DATA, make.element(make.PIXEL_DATA, "OB", items, length=make.UNDEFINED))


@dataclass(frozen=True)
class Malformed:
    """A broken file of the good film `film`. `pixels`: the values that it has if it is accepted."""

    film: str
    name: str
    data: bytes
    pixels: NDArray[np.int64]


def good(name: str, syntax: str, elements: make.Elements, pixels: NDArray[np.int64], frame: bytes = b"") -> Good:
    written = {**elements, 0x00091001: ("UN", b"\1\2\3\4"), 0x00081140: ("SQ", [{0x00081155: ("UI", "1.2")}])}
    if frame:
        written[make.PIXEL_DATA] = ("OB", b"")
    kind = syntax if syntax in (make.IMPLICIT, make.BIG_ENDIAN) else make.EXPLICIT
    parts = [(tag, make.element(tag, *written[tag], syntax=kind)) for tag in sorted(written)]
    film = Good(name, syntax, tuple(parts), pixels, frame)
    if not frame:
        return film
    whole = make.element(make.PIXEL_DATA, "OB", pixel_items(frame), length=make.UNDEFINED)
    return replace(film, parts=tuple((tag, whole if tag == make.PIXEL_DATA else data) for tag, data in parts))


def item(data: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(data) if length is None else length) + data


def pixel_items(frame: bytes) -> bytes:
    return item(b"") + item(frame + b"\0" * (len(frame) % 2)) + _DELIMITER


def gdcm_values(path: Path, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The 16-bit values that gdcm reads from a file by itself."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    data = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(data, "<u2").reshape(shape).astype(np.int64)


def good_films() -> list[Good]:
    large, flat = make.ramp(48, 40), np.full((48, 40), 99)
    native = make.film_elements()
    signed = make.film_elements(bits=16, signed=True)
    big = {**native, make.PIXEL_DATA: ("OW", make.pixel_bytes(make.ramp(), 16, big=True))}
    overlay = {0x60000010: ("US", 12), 0x60000011: ("US", 10), 0x60000040: ("CS", "G"), 0x60000100: ("US", 1)}
    overlay |= {0x60000102: ("US", 0), 0x60003000: ("OW", bytes(16))}
    eight = make.ramp(bits=8)
    greys = struct.pack("<256H", *(value * 257 for value in range(256)))
    palette: make.Elements = {make.PHOTOMETRIC: ("CS", "PALETTE COLOR")}
    for tag in (1, 2, 3):
        palette |= {0x00281100 + tag: ("US", [256, 0, 16]), 0x00281200 + tag: ("OW", greys)}
    three = {make.SAMPLES: ("US", 3), make.PHOTOMETRIC: ("CS", "RGB"), 0x00280006: ("US", 0)}
    three |= {make.PIXEL_DATA: ("OW", np.repeat(eight.astype(np.uint8), 3).tobytes())}
    coded = make.film_elements(large)
    with tempfile.TemporaryDirectory() as folder:
        by_gdcm = {lossy: make.frame_by_gdcm(Path(folder), large, is_lossy=lossy) for lossy in (False, True)}
        # lossy, so the right values are those that gdcm reads from its own file
        lossy = gdcm_values(Path(folder) / "encoded.dcm", large.shape)
    films = [
        good("implicit", make.IMPLICIT, native, make.ramp()),
        good("explicit", make.EXPLICIT, native, make.ramp()),
        good("deflated", make.DEFLATED, native, make.ramp()),
        good("big-endian", make.BIG_ENDIAN, big, make.ramp()),
        good("8-bit", make.EXPLICIT, make.film_elements(bits=8), eight),
        good("signed", make.EXPLICIT, signed, make.ramp(bits=16, signed=True)),
        good("overlay", make.EXPLICIT, {**native, **overlay}, make.ramp()),
        good("palette", make.EXPLICIT, {**make.film_elements(bits=8), **palette}, eight),
        good("three-channels", make.EXPLICIT, {**make.film_elements(bits=8), **three}, eight),
        good("lossless", make.JPEG_LOSSLESS, coded, large, by_gdcm[False]),
        good("extended", make.JPEG_EXTENDED, coded, lossy, by_gdcm[True]),
        good("jpeg", make.JPEG_BASELINE, make.film_elements(flat, bits=8), flat, make.jpeg_bytes(flat)),
    ]
    for name, syntax in (("rle", make.RLE), ("jpeg-ls", make.JPEG_LS), ("2000", make.JPEG_2000)):
        films.append(good(name, syntax, coded, large, make.compressed_frame(large, syntax).rstrip(b"\0")))
    return films


Cases = Iterator[tuple[str, bytes]]


def corpus(films: list[Good]) -> list[Malformed]:
    """Every change of every film to which it applies."""
    return [
        Malformed(film.name, name, data, film.pixels)
        for film in films
        for change in CHANGES
        for name, data in change(film)
    ]


# --- structure -------------------------------------------------------------------------------------


def _header_length(film: Good, data: bytes) -> tuple[int, int]:
    """The number of bytes before the value, and of its length field, which is the last of them."""
    if film.is_implicit:
        return 8, 4
    return (12, 4) if data[4:6].decode() in make.LONG_VRS else (8, 2)


def cut_everywhere(film: Good) -> Cases:
    """Cut inside the tag, inside the length, inside the value and at the end of every element."""
    body = b""
    start = make.meta(film.syntax)
    for tag, data in film.parts:
        head, _ = _header_length(film, data)
        for place, end in {"tag": 2, "length": head - 1, "value": (head + len(data)) // 2, "end": len(data)}.items():
            if (tag, place) != (film.parts[-1][0], "end"):
                yield f"cut at {place} of {tag:08x}", start + film.packed(body + data[:end])
        body += data
    if film.syntax == make.DEFLATED:
        packed = film.packed(body)
        for part in (1, 2, 3):
            yield f"deflated stream cut at {part}/4", start + packed[: len(packed) * part // 4]


def lying_lengths(film: Good) -> Cases:
    for tag, data in film.parts:
        head, size = _header_length(film, data)
        true = len(data) - head
        lies = {"zero": 0, "short": max(0, true - 2), "long": true + 2, "odd": true + 1, "huge": 2 ** (8 * size) - 2}
        for name, length in (lies | {"undefined": 2 ** (8 * size) - 1}).items():
            stated = struct.pack(film.order + ("L" if size == 4 else "H"), length)
            yield f"{name} length of {tag:08x}", film.with_part(tag, data[: head - size] + stated + data[head:])


def wrong_vrs(film: Good) -> Cases:
    if film.is_implicit:
        return
    for tag, data in film.parts:
        for vr in (b"OB", b"LO", b"SQ", b"US", b"ZZ", b"\0\0"):
            yield f"{tag:08x} as {vr!r}", film.with_part(tag, data[:4] + vr + data[6:])


def missing_and_repeated(film: Good) -> Cases:
    for index, (tag, data) in enumerate(film.parts):
        if tag != make.REPRESENTATION or film.name != "signed":  # without it values are unsigned
            yield f"without {tag:08x}", film.file([*film.parts[:index], *film.parts[index + 1 :]])
        yield f"{tag:08x} twice", film.file([*film.parts[: index + 1], (tag, data), *film.parts[index + 1 :]])
        yield f"{tag:08x} last", film.file([*film.parts[:index], *film.parts[index + 1 :], (tag, data)])
    yield "in reverse order", film.file(list(reversed(film.parts)))


def stray_items(film: Good) -> Cases:
    for name, stray in {"item": item(b""), "item end": _ITEM_END, "sequence end": _DELIMITER}.items():
        for index in range(0, len(film.parts), 5):
            yield f"stray {name} at {index}", film.file([*film.parts[:index], (0, stray), *film.parts[index:]])


def deep_sequences(film: Good) -> Cases:
    if film.syntax in (make.IMPLICIT, make.BIG_ENDIAN):
        return
    opening = make.element(0x00081140, "SQ", b"", length=make.UNDEFINED) + _OPEN_ITEM
    for depth in (1, 30, 3000):
        closed = opening * depth + (_ITEM_END + _DELIMITER) * depth
        for name, data in {
            f"nested {depth} deep": closed,
            f"nested {depth} deep without ends": opening * depth,
            f"nested {depth} deep with half of its ends": opening * depth + (_ITEM_END + _DELIMITER) * (depth // 2),
        }.items():
            yield name, film.with_part(0x00081140, data)
    for length in (1, 7, 0xFFFFFFFE):
        yield (
            f"item of length {length}",
            film.with_part(0x00081140, make.element(0x00081140, "SQ", item(b"\0" * 8, length=length))),
        )


# --- meta and values -------------------------------------------------------------------------------


def other_syntaxes(film: Good) -> Cases:
    for name, syntax in SYNTAXES.items():
        if syntax != film.syntax:
            yield f"stated as {name}", film.file(stated=syntax)
    if film.syntax not in (make.DEFLATED, make.BIG_ENDIAN, make.IMPLICIT):
        yield "without a syntax", film.file(stated=None)


def broken_meta(film: Good) -> Cases:
    whole = film.file()
    start = len(make.meta(film.syntax))
    yield "without preamble", whole[132:]
    yield "without preamble, with DICM", whole[128:]
    yield "without meta", whole[start:]
    yield "meta twice", make.meta(film.syntax) + whole[132:]
    for name, length in (("zero", 0), ("short", 10), ("long", 400), ("huge", 0xFFFFFFFF)):
        yield f"meta of {name} length", whole[:140] + struct.pack("<L", length) + whole[144:]
    yield "meta in big endian", whole[:132] + b"\0\2\0\0" + whole[136:]
    yield "a PDF in the preamble", b"%PDF-1.7" + whole[8:]
    yield "half a megabyte of zeros behind", whole + bytes(2**19)
    yield "another film behind", whole + whole


NUMBERS = {
    "rows": make.ROWS,
    "columns": make.COLUMNS,
    "allocated": make.BITS_ALLOCATED,
    "stored": make.BITS_STORED,
    "high bit": make.HIGH_BIT,
    "samples": make.SAMPLES,
}


def lying_numbers(film: Good) -> Cases:
    """Sizes, bits and samples that contradict the pixels. More stored bits than used leave the values as they are."""
    kind = film.syntax if film.syntax in (make.IMPLICIT, make.BIG_ENDIAN) else make.EXPLICIT
    there = {tag for tag, _ in film.parts}
    for name, tag in NUMBERS.items():
        for value in (0, 1, 2, 7, 9, 32, 33, 64, 65535):
            if tag in there:
                yield f"{name} {value}", film.with_part(tag, make.element(tag, "US", value, syntax=kind))
    for name, tag, vr, values in (
        ("frames", make.FRAMES, "IS", ("-1", "2", "1000000", "x", "1e9", "")),
        ("photometric", make.PHOTOMETRIC, "CS", ("", "RGB", "YBR_FULL", "PALETTE COLOR", "MONOCHROME3", "\0\0")),
        ("slope", 0x00281053, "DS", ("0", "NaN", "1e400", "-1e-300", "1\\2", "x")),
        ("intercept", 0x00281052, "DS", ("NaN", "-inf", "1e300", "x")),
        ("window", 0x00281050, "DS", ("NaN", "1e300", "x", "\\" * 40)),
        ("modality", make.MODALITY, "CS", ("", "MR", "<b>", "CR\\MR")),
        ("padding", 0x00280120, "US", (b"", b"x", b"\xff" * 64)),
    ):
        for given in values:
            changed = [(each, data) for each, data in film.parts if each != tag]
            changed.append((tag, make.element(tag, vr, given, syntax=kind)))
            yield f"{name} {given!r}", film.file(sorted(changed))


# --- encapsulated pixels ---------------------------------------------------------------------------


def broken_fragments(film: Good) -> Cases:
    if not film.frame:
        return
    frame = film.frame + b"\0" * (len(film.frame) % 2)
    half = len(frame) // 4 * 2
    table = item(struct.pack("<L", 0))
    for name, items in {
        "without offset table": item(frame) + _DELIMITER,
        "offset table of three bytes": item(b"\0\0\0") + item(frame) + _DELIMITER,
        "offset beyond the end": item(struct.pack("<L", 2**31)) + item(frame) + _DELIMITER,
        "two offsets": item(struct.pack("<LL", 0, 8)) + item(frame) + _DELIMITER,
        "without delimiter": table + item(frame),
        "delimiter with a length": table + item(frame) + _DELIMITER[:4] + struct.pack("<L", 8),
        "two fragments": table + item(frame[:half]) + item(frame[half:]) + _DELIMITER,
        "odd fragments": table + item(frame[: half + 1]) + item(frame[half + 1 :]) + _DELIMITER,
        "an empty fragment first": table + item(b"") + item(frame) + _DELIMITER,
        "an empty fragment last": table + item(frame) + item(b"") + _DELIMITER,
        "fragments the wrong way round": table + item(frame[half:]) + item(frame[:half]) + _DELIMITER,
        "the first half": table + item(frame[:half]) + _DELIMITER,
        "the second half": table + item(frame[half:]) + _DELIMITER,
        "fragment twice": table + item(frame) * 2 + _DELIMITER,
        "fragment that says it is longer": table + item(frame, length=len(frame) + 100) + _DELIMITER,
        "fragment that says it is shorter": table + item(frame, length=half) + _DELIMITER,
        "fragment of undefined length": table + item(frame, length=make.UNDEFINED) + _DELIMITER,
        "no fragment": table + _DELIMITER,
        "nothing": b"",
        "a tag between": table + b"\x10\0\x10\0" + item(frame) + _DELIMITER,
        "300 empty fragments": table + item(b"") * 300 + item(frame) + _DELIMITER,
    }.items():
        yield name, film.with_pixel_items(items)
    yield "compressed, of stated length", film.with_part(make.PIXEL_DATA, make.element(make.PIXEL_DATA, "OB", frame))


def broken_codestreams(film: Good) -> Cases:
    """Cut codestreams, and each 16-bit field before the coded data as 0, 1, 65535 and 9."""
    if not film.frame:
        return
    for part in range(1, 12):
        yield (
            f"codestream cut at {part}/12",
            film.with_pixel_items(pixel_items(film.frame[: len(film.frame) * part // 12])),
        )
    for name, at in _size_fields(film).items():
        for value in (0, 1, 9, 65_535):
            frame = bytearray(film.frame)
            frame[at : at + 2] = struct.pack("<H" if film.syntax == make.RLE else ">H", value)
            yield f"{name} in the codestream {value}", film.with_pixel_items(pixel_items(bytes(frame)))


def _size_fields(film: Good) -> dict[str, int]:
    """Places of fields that say how large something is."""
    frame = film.frame
    if film.syntax == make.RLE:
        return {"segments": 0, "first offset": 4, "second offset": 8}
    if film.syntax == make.JPEG_2000:
        siz, cod, sot = (frame.index(bytes((0xFF, marker))) for marker in (0x51, 0x52, 0x90))
        return {"columns": siz + 8, "rows": siz + 12, "tile columns": siz + 24, "tile rows": siz + 28} | {
            "components": siz + 38, "bits": siz + 40, "sampling": siz + 41, "length of SIZ": siz + 2,
            "layers": cod + 6, "tile length": sot + 8,
        }  # fmt: skip
    starts = (b"\xff\xf7",) if film.syntax == make.JPEG_LS else (b"\xff\xc3", b"\xff\xc1", b"\xff\xc0")
    sof = next(frame.index(start) for start in starts if start in frame)
    scan = frame.index(b"\xff\xda")
    return {"length of SOF": sof + 2, "rows": sof + 5, "columns": sof + 7, "length of SOS": scan + 2}


CHANGES: tuple[Callable[[Good], Cases], ...] = (
    cut_everywhere,
    lying_lengths,
    wrong_vrs,
    missing_and_repeated,
    stray_items,
    deep_sequences,
    other_syntaxes,
    broken_meta,
    lying_numbers,
    broken_fragments,
    broken_codestreams,
)
