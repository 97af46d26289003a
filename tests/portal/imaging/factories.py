"""Small films and DICOM files of every kind, encoded by hand, since a library's own writer would hide its errors."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from portal.imaging.film import Film, PixelFacts, pack
from portal.imaging.read_film import read_film

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
JPEG_BASELINE, JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_2000, RLE = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"

ROWS, COLUMNS = 0x00280010, 0x00280011
BITS_ALLOCATED, BITS_STORED, HIGH_BIT, REPRESENTATION = 0x00280100, 0x00280101, 0x00280102, 0x00280103
SAMPLES, PHOTOMETRIC, FRAMES = 0x00280002, 0x00280004, 0x00280008
MODALITY, PIXEL_DATA = 0x00080060, 0x7FE00010
LONG_VRS = ("OB", "OW", "OF", "OD", "OL", "OV", "SQ", "UC", "UN", "UR", "UT")
UNDEFINED = 0xFFFFFFFF

Elements = dict[int, tuple[str, Any]]


def ramp(rows: int = 12, columns: int = 10, *, bits: int = 12, signed: bool = False) -> NDArray[np.int64]:
    """(rows, columns) integers over the whole range of `bits` bits."""
    low = -(2 ** (bits - 1)) if signed else 0
    return np.linspace(low, low + 2**bits - 1, rows * columns).round().astype(np.int64).reshape(rows, columns)


def film_elements(pixels: NDArray[Any] | None = None, *, bits: int = 12, signed: bool = False) -> Elements:
    """The elements of a plain CR film; `pixels` defaults to the ramp of `bits` bits."""
    pixels = ramp(bits=bits, signed=signed) if pixels is None else pixels
    allocated = 8 if bits <= 8 else 16
    return {
        0x00080016: ("UI", "1.2.840.10008.5.1.4.1.1.1"),
        0x00080018: ("UI", "1.2.3.4.5"),
        MODALITY: ("CS", "CR"),
        0x00100020: ("LO", "P1"),
        SAMPLES: ("US", 1),
        PHOTOMETRIC: ("CS", "MONOCHROME2"),
        ROWS: ("US", pixels.shape[0]),
        COLUMNS: ("US", pixels.shape[1]),
        BITS_ALLOCATED: ("US", allocated),
        BITS_STORED: ("US", bits),
        HIGH_BIT: ("US", bits - 1),
        REPRESENTATION: ("US", int(signed)),
        PIXEL_DATA: ("OW", pixel_bytes(pixels, allocated, signed=signed)),
    }


def pixel_bytes(pixels: NDArray[Any], allocated: int, *, signed: bool = False, big: bool = False) -> bytes:
    data = pixels.astype(f"{'>' if big else '<'}{'i' if signed else 'u'}{allocated // 8}").tobytes()
    return data + b"\0" * (len(data) % 2)


def element(tag: int, vr: str, value: Any, *, syntax: str = EXPLICIT, length: int | None = None) -> bytes:
    """An encoded element; `length` overrides its length field."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    data = _value(vr, value, order, syntax)
    stated_length = len(data) if length is None else length
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT:
        return head + struct.pack("<L", stated_length) + data
    if vr in LONG_VRS:
        return head + vr.encode() + struct.pack(f"{order}HL", 0, stated_length) + data
    return head + vr.encode() + struct.pack(f"{order}H", stated_length) + data


def _value(vr: str, value: Any, order: str, syntax: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if vr == "SQ":  # a list of items, each a dict of elements
        return b"".join(_item(_join(item, syntax), order) for item in value)
    if vr in ("US", "SS"):
        numbers = value if isinstance(value, list) else [value]
        return b"".join(struct.pack(f"{order}{'h' if vr == 'SS' else 'H'}", number) for number in numbers)
    if vr == "UL":
        return struct.pack(f"{order}L", value)
    text = str(value).encode()
    return text + (b"\0" if vr == "UI" else b" ") * (len(text) % 2)


def _item(data: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HHL", 0xFFFE, 0xE000, len(data)) + data


def _join(elements: Elements, syntax: str) -> bytes:
    return b"".join(element(tag, *elements[tag], syntax=syntax) for tag in sorted(elements))


def meta(syntax: str | None) -> bytes:
    """Preamble, "DICM" and file meta, without a transfer syntax if `syntax` is None."""
    elements: Elements = {0x00020002: ("UI", "1.2.840.10008.5.1.4.1.1.1")}
    if syntax is not None:
        elements[0x00020010] = ("UI", syntax)
    body = _join(elements, EXPLICIT)
    return b"\0" * 128 + b"DICM" + element(0x00020000, "UL", len(body)) + body


def dicom_bytes(elements: Elements, *, syntax: str = EXPLICIT, stated_syntax: str | None = "same") -> bytes:
    """A whole file, encoded in `syntax`, whose file meta names `stated_syntax`."""
    stated = syntax if stated_syntax == "same" else stated_syntax
    return meta(stated) + _join(elements, syntax)


def bare_bytes(elements: Elements, *, syntax: str = IMPLICIT) -> bytes:
    """A dataset without preamble and file meta."""
    return _join(elements, syntax)


def encapsulated_bytes(elements: Elements, frame: bytes, syntax: str, *, fragments: int = 1) -> bytes:
    """A file whose Pixel Data is a codestream in `fragments` fragments, with an empty offset table."""
    frame += b"\0" * (len(frame) % 2)
    size = max(2, -(-len(frame) // fragments // 2) * 2)
    parts = [frame[at : at + size] for at in range(0, len(frame), size)]
    body = _item(b"") + b"".join(_item(part) for part in parts) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    others = {tag: value for tag, value in elements.items() if tag != PIXEL_DATA}
    return meta(syntax) + _join(others, EXPLICIT) + element(PIXEL_DATA, "OB", body, length=UNDEFINED)


def compressed_frame(pixels: NDArray[Any], syntax: str, *, bits: int = 12) -> bytes:
    """A codestream of a grey frame, from pydicom's encoder."""
    from pydicom import uid
    from pydicom.pixels import get_encoder

    allocated = 8 if bits <= 8 else 16
    return get_encoder(uid.UID(syntax)).encode(
        pixels.astype(f"<u{allocated // 8}").tobytes(),
        index=0,
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        samples_per_pixel=1,
        bits_allocated=allocated,
        bits_stored=bits,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        number_of_frames=1,
    )


def encoded_frame(
    pixels: NDArray[np.int64], syntax: str, *, bits: int = 12, signed: bool = False, **options: Any
) -> bytes:
    """A codestream whose bits and sign need not be those of a header."""
    import jpeg_ls
    import openjpeg.utils

    kind = "<i2" if signed else "<u2" if bits > 8 else "u1"
    sizes = {"rows": pixels.shape[0], "columns": pixels.shape[1], "samples_per_pixel": 1, "bits_stored": bits}
    sizes |= {"bits_allocated": 16 if bits > 8 or signed else 8}
    data = pixels.astype(kind).tobytes()
    if syntax == JPEG_LS:
        return bytes(jpeg_ls.encode_pixel_data(data, **sizes, **options)).rstrip(b"\0")
    grey = {"photometric_interpretation": "MONOCHROME2", "number_of_frames": 1, "pixel_representation": int(signed)}
    return bytes(openjpeg.utils.encode_pixel_data(data, **sizes, **grey))


def frame_by_gdcm(folder: Path, pixels: NDArray[np.int64], *, is_lossy: bool = False, bits: int = 12) -> bytes:
    """The lossless or, with 12 bits, lossy JPEG that gdcm makes of a plain film."""
    import gdcm
    import pydicom

    elements = film_elements(pixels, bits=bits)
    words = {BITS_ALLOCATED: ("US", 16), PIXEL_DATA: ("OW", pixel_bytes(pixels, 16))}
    (folder / "plain.dcm").write_bytes(dicom_bytes({**elements, **words}))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    kinds = gdcm.TransferSyntax
    kind = kinds.JPEGExtendedProcess2_4 if is_lossy else kinds.JPEGLosslessProcess14_1
    change.SetTransferSyntax(gdcm.TransferSyntax(kind))
    change.SetInput(reader.GetImage())
    if is_lossy:
        codec = gdcm.JPEGCodec()
        codec.SetLossless(False)
        codec.SetQuality(95)
        change.SetUserCodec(codec)
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "encoded.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    data = pydicom.dcmread(folder / "encoded.dcm").PixelData
    return pydicom.encaps.get_frame(data, 0, number_of_frames=1).rstrip(b"\0")


def jpeg_bytes(pixels: NDArray[Any], mode: str = "L") -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(target, format="JPEG", quality=95)
    return target.getvalue()


def make_film(pixels: NDArray[Any] | None = None, **facts: Any) -> Film:
    """A film, by default of the 12-bit ramp, with these facts."""
    bits = facts.pop("bits_stored", 12)
    pixels = ramp(bits=bits) if pixels is None else pixels
    stored = pixels.astype(np.uint16)
    base = {"offset": 0, "photometric": "MONOCHROME2", "bits_stored": bits}
    return Film(stored, PixelFacts(rows=stored.shape[0], columns=stored.shape[1], **{**base, **facts}))


def save_film(film: Film, folder: Path) -> Path:
    """The film as a run's folder holds it: the pixels as the portal packs them, beside them the facts."""
    (folder / "a.json").write_text(json.dumps(film.facts.to_json()))
    path = folder / "a.u16.gz"
    path.write_bytes(pack(film.stored))
    return path


def read_bytes(data: bytes, folder: Path, name: str = "film") -> tuple[Film, dict[str, str]]:
    path = folder / name
    path.write_bytes(data)
    return read_film(path)
