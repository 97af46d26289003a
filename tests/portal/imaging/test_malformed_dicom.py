"""Odd and hostile DICOM files: each is decoded correctly or refused with a reason, and nothing else happens."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from portal.imaging.errors import UnusableFile
from portal.imaging.film import linear_values, preview, shown_values
from tests.portal.imaging import factories as make
from tests.portal.imaging.factories import film_elements, ramp

DAMAGED = frozenset({"truncated", "unreadable", "no_pixels"})
LARGE = ramp(48, 40)  # codecs have a minimum size


@dataclass(frozen=True)
class Case:
    name: str
    data: bytes
    real: NDArray[Any] | None = None  # values after the modality LUT, where the film has to be shown
    reasons: frozenset[str] = frozenset()  # if it is refused: the allowed reasons


def shown(name: str, data: bytes, real: NDArray[Any] | None = None) -> Case:
    return Case(name, data, ramp() if real is None else real)


def refused(name: str, data: bytes, *reasons: str) -> Case:
    return Case(name, data, None, frozenset(reasons))


def plain(extra: make.Elements | None = None, **kinds: Any) -> bytes:
    return make.dicom_bytes({**film_elements(**kinds), **(extra or {})})


def without(*tags: int) -> bytes:
    return make.dicom_bytes({tag: value for tag, value in film_elements().items() if tag not in tags})


def encodings() -> Iterator[Case]:
    elements = film_elements()
    big = {**elements, make.PIXEL_DATA: ("OW", make.pixel_bytes(ramp(), 16, big=True))}
    eight = film_elements(bits=8)
    swapped = np.frombuffer(eight[make.PIXEL_DATA][1], "<u2").byteswap().tobytes()
    yield shown("implicit", make.dicom_bytes(elements, syntax=make.IMPLICIT))
    yield shown("big-endian", make.dicom_bytes(big, syntax=make.BIG_ENDIAN))
    yield shown(
        "big-endian-8-in-words",
        make.dicom_bytes({**eight, make.PIXEL_DATA: ("OW", swapped)}, syntax=make.BIG_ENDIAN),
        ramp(bits=8),
    )
    yield shown(
        "big-endian-8-in-bytes",
        make.dicom_bytes({**eight, make.PIXEL_DATA: ("OB", eight[make.PIXEL_DATA][1])}, syntax=make.BIG_ENDIAN),
        ramp(bits=8),
    )
    body = make.bare_bytes(elements, syntax=make.EXPLICIT)
    packer = zlib.compressobj(wbits=-15)
    deflated = packer.compress(body) + packer.flush()
    yield shown("deflated", make.meta(make.DEFLATED) + deflated)
    yield refused("deflated-cut", make.meta(make.DEFLATED) + deflated[:-20], *DAMAGED)
    yield refused("deflated-not", make.meta(make.DEFLATED) + body, *DAMAGED)
    yield shown("no-preamble-implicit", make.bare_bytes(elements))
    yield shown("no-preamble-explicit", make.bare_bytes(elements, syntax=make.EXPLICIT))
    yield shown("no-preamble-big-endian", make.bare_bytes(big, syntax=make.BIG_ENDIAN))
    yield shown("no-preamble-with-meta", make.dicom_bytes(elements)[132:])
    yield shown("signature-without-preamble", make.dicom_bytes(elements)[128:])
    yield shown("no-syntax", make.dicom_bytes(elements, stated_syntax=None))
    yield shown("no-syntax-implicit", make.dicom_bytes(elements, syntax=make.IMPLICIT, stated_syntax=None))
    yield shown("odd-size", plain(pixels=ramp(3, 5, bits=8), bits=8), ramp(3, 5, bits=8))
    yield shown("one-pixel", plain(pixels=np.array([[7]])), np.array([[7]]))
    yield shown("trailing-bytes", make.dicom_bytes(elements) + b"\0" * 100)
    yield shown("elf-preamble", b"\x7fELF" + make.dicom_bytes(elements)[4:])
    yield shown("tiff-preamble", b"II*\0" + make.dicom_bytes(elements)[4:])


def wrong_encodings() -> Iterator[Case]:
    elements = film_elements()
    for name, syntax in (("jpeg", make.JPEG_BASELINE), ("2000", make.JPEG_2000), ("rle", make.RLE)):
        yield refused(f"native-stated-as-{name}", make.dicom_bytes(elements, stated_syntax=syntax), *DAMAGED)
    frame = make.compressed_frame(LARGE, make.RLE)
    rle = make.encapsulated_bytes(film_elements(LARGE), frame, make.EXPLICIT)
    yield refused("rle-stated-as-native", rle, "unreadable")
    yield refused("little-stated-as-big-endian", make.dicom_bytes(elements, stated_syntax=make.BIG_ENDIAN), *DAMAGED)
    unknown = make.encapsulated_bytes(film_elements(LARGE), frame, "1.2.840.10008.1.2.4.102")
    yield refused("video", unknown, "unsupported")
    yield refused("private-syntax", make.dicom_bytes(elements, stated_syntax="1.2.3"), "unsupported")
    yield refused("text-syntax", make.dicom_bytes(elements, stated_syntax="not a uid"), "unsupported")


def codecs() -> Iterator[Case]:
    for name, syntax in (("rle", make.RLE), ("jpeg-ls", make.JPEG_LS), ("jpeg-2000", make.JPEG_2000)):
        frame = make.compressed_frame(LARGE, syntax)
        yield shown(name, make.encapsulated_bytes(film_elements(LARGE), frame, syntax), LARGE)
        yield shown(
            f"{name}-fragments", make.encapsulated_bytes(film_elements(LARGE), frame, syntax, fragments=3), LARGE
        )
        half = make.encapsulated_bytes(film_elements(LARGE), frame[: len(frame) // 2], syntax)
        yield refused(f"{name}-half", half, *DAMAGED)
        other = make.encapsulated_bytes(film_elements(ramp(50, 40)), frame, syntax)
        yield refused(f"{name}-other-size", other, "unreadable")
        noise = bytes(value * 37 % 251 for value in range(len(frame) - 40))
        yield refused(
            f"{name}-noise", make.encapsulated_bytes(film_elements(LARGE), frame[:40] + noise, syntax), *DAMAGED
        )
        empty = make.encapsulated_bytes(film_elements(LARGE), b"", syntax)
        yield refused(f"{name}-empty", empty, *DAMAGED)
    grey = np.full((48, 40), 99)
    jpeg = film_elements(grey, bits=8)
    yield shown("jpeg", make.encapsulated_bytes(jpeg, make.jpeg_bytes(grey), make.JPEG_BASELINE), grey)
    in_words = {**jpeg, make.BITS_ALLOCATED: ("US", 16)}
    yield shown("jpeg-in-16", make.encapsulated_bytes(in_words, make.jpeg_bytes(grey), make.JPEG_BASELINE), grey)
    yield refused(
        "jpeg-colour", make.encapsulated_bytes(jpeg, make.jpeg_bytes(grey, "RGB"), make.JPEG_BASELINE), "colour"
    )
    yield refused(
        "jpeg-cut", make.encapsulated_bytes(jpeg, make.jpeg_bytes(grey)[:-40], make.JPEG_BASELINE), "truncated"
    )
    extended = make.encapsulated_bytes(film_elements(grey), make.jpeg_bytes(grey), make.JPEG_EXTENDED)
    yield shown("jpeg-8-bit-called-extended", extended, grey)
    huge = make.compressed_frame(LARGE, make.JPEG_2000).replace(
        struct.pack(">LL", 40, 48), struct.pack(">LL", 2**31, 2**31)
    )
    yield refused("2000-claims-4-EB", make.encapsulated_bytes(film_elements(LARGE), huge, make.JPEG_2000), *DAMAGED)


def headers() -> Iterator[Case]:
    nested: make.Elements = {0x00081140: ("SQ", [{0x00081150: ("UI", "1.2"), 0x00081140: ("SQ", [{}, {}])}])}
    yield shown("nested-sequences", plain(nested))
    for tag in (make.ROWS, make.COLUMNS, make.PIXEL_DATA):
        yield refused(f"without-{tag:08x}", without(tag), "no_pixels")
    yield refused("without-bits-allocated", without(make.BITS_ALLOCATED), "unsupported")
    yield refused("without-photometric", without(make.PHOTOMETRIC), "unreadable")
    for tag in (make.BITS_STORED, make.HIGH_BIT):
        yield shown(f"without-{tag:08x}", without(tag))
    for tag in (make.REPRESENTATION, make.SAMPLES, 0x00100020, 0x00080018, 0x00080016, make.MODALITY):
        yield shown(f"without-{tag:08x}", without(tag))
    for name, tag in (("rows", make.ROWS), ("bits", make.BITS_STORED), ("frames", make.FRAMES)):
        yield refused(f"text-in-{name}", plain({tag: ("LO", "<script>alert(1)</script>")}), *DAMAGED)
        yield refused(f"three-bytes-in-{name}", plain({tag: ("US", b"abc")}), *DAMAGED)
    yield shown("zero-frames", plain({make.FRAMES: ("IS", "0")}))
    yield shown("script-in-name", plain({0x00100010: ("PN", "<script>alert(1)</script>")}))
    yield shown("unknown-charset", plain({0x00080005: ("CS", "ISO_IR 999"), 0x00100010: ("PN", b"\xff\xfe\xfd\xfc")}))
    yield shown("unknown-vr", plain({0x00091001: ("ZZ", "abcd")}))
    yield shown("odd-private", plain({0x00090010: ("LO", "X"), 0x00091001: ("UN", b"\1\2\3\4")}))
    yield refused("slope-nan", plain({0x00281053: ("DS", "NaN")}), "unreadable")
    yield refused("slope-nothing", plain({0x00281053: ("DS", "1e-300")}), "unreadable")
    yield shown("slope-empty", plain({0x00281053: ("DS", "")}))
    yield shown("window-without-width", plain({0x00281050: ("DS", "5")}))
    yield shown("negative-slope", plain({0x00281053: ("DS", "-1"), 0x00281052: ("DS", "4095")}), 4095 - ramp())
    yield refused("voi-lut-is-text", plain({0x00283010: ("LO", "table")}), "unreadable")


def bombs() -> Iterator[Case]:
    depth = 5000
    item = struct.pack("<HHL", 0xFFFE, 0xE000, make.UNDEFINED)
    opening = make.element(0x00081140, "SQ", b"", length=make.UNDEFINED) + item
    ends = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    tail = make.bare_bytes(
        {tag: film_elements()[tag] for tag in film_elements() if tag > 0x00081140}, syntax=make.EXPLICIT
    )
    yield refused("nested-5000-deep", make.meta(make.EXPLICIT) + opening * depth + ends * depth + tail, *DAMAGED)
    claims = make.meta(make.EXPLICIT) + make.element(0x00081190, "UT", b"", length=0xFFFFFFF0)
    yield refused("claims-4-GiB", claims, *DAMAGED)
    cut = make.meta(make.EXPLICIT) + opening + make.element(make.MODALITY, "CS", "CR")
    yield refused("sequence-without-end", cut, *DAMAGED)


def not_dicom() -> Iterator[Case]:
    yield refused("empty", b"", "no_pixels")
    yield refused("one-byte", b"\0", "no_pixels")
    yield refused("text", b"PatientID,label\n1,normal\n" * 20, "no_pixels")
    yield refused("pdf", b"%PDF-1.7\n" + bytes(500), "no_pixels")
    yield refused("only-signature", b"\0" * 128 + b"DICM", *DAMAGED)
    yield refused("only-meta", make.meta(make.EXPLICIT), "no_pixels")
    yield refused("zeros", bytes(1000), "no_pixels")
    yield refused("signature-and-noise", b"\0" * 128 + b"DICM" + bytes(range(256)) * 4, *DAMAGED)
    yield refused("group-8-and-noise", b"\x08\0" + bytes(range(256)) * 4, *DAMAGED)


def corpus() -> list[Case]:
    return [case for cases in (encodings, wrong_encodings, codecs, headers, bombs, not_dicom) for case in cases()]


CORPUS = corpus()


def test_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= 60
    assert len({case.name for case in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_is_shown_correctly_or_refused_with_a_reason(case: Case, tmp_path: Path) -> None:
    if case.real is not None:
        film, header = make.read_bytes(case.data, tmp_path)
        np.testing.assert_array_equal(linear_values(film), case.real)
        assert shown_values(film).shape == case.real.shape
        assert preview(film).startswith(b"\xff\xd8")
        assert "identifier:patient_id" in header
    else:
        with pytest.raises(UnusableFile) as caught:
            make.read_bytes(case.data, tmp_path)
        assert caught.value.reason in case.reasons, caught.value.sentence
        assert "<script>" not in caught.value.sentence


def test_nesting_too_deep_is_reported(tmp_path: Path) -> None:
    data = next(case.data for case in CORPUS if case.name == "nested-5000-deep")
    with pytest.raises(UnusableFile, match="nested too deeply"):
        make.read_bytes(data, tmp_path)


def _files_to_cut() -> dict[str, bytes]:
    return {
        "explicit": plain(),
        "implicit": make.dicom_bytes(film_elements(), syntax=make.IMPLICIT),
        "rle": make.encapsulated_bytes(film_elements(LARGE), make.compressed_frame(LARGE, make.RLE), make.RLE),
        "2000": make.encapsulated_bytes(
            film_elements(LARGE), make.compressed_frame(LARGE, make.JPEG_2000), make.JPEG_2000
        ),
    }


@pytest.mark.parametrize("name", _files_to_cut())
def test_a_file_cut_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    data = _files_to_cut()[name]
    for end in sorted({*range(0, len(data), max(1, len(data) // 60)), len(data) - 1, len(data) - 2}):
        with pytest.raises(UnusableFile) as caught:
            make.read_bytes(data[:end], tmp_path)
        assert caught.value.reason in DAMAGED | {"unsupported"}, end


@pytest.mark.parametrize("name", _files_to_cut())
def test_flipped_bytes_never_raise_anything_else(name: str, tmp_path: Path) -> None:
    data = _files_to_cut()[name]
    rng = np.random.default_rng(1)
    for _ in range(150):
        damaged = bytearray(data)
        for place in rng.integers(132, len(data), 3):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(UnusableFile):
            film, _ = make.read_bytes(bytes(damaged), tmp_path)
            shown_values(film)
