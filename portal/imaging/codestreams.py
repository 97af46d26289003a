"""Pixel Data to an array of integers: native, RLE, JPEG, JPEG-LS, JPEG 2000.

Each kind of codestream has exactly one decoder, so that a file decodes to the same pixels everywhere. Before a C
library gets a codestream, the size in the codestream is compared with the header's, since a codestream can
request any amount of memory; afterwards it is checked that the picture does not go on beyond the coded data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import encapsulate, generate_fragments, get_frame, parse_basic_offsets
from pydicom.pixels.decoders.base import get_decoder

from portal.imaging.codestream_header import (
    END,
    CodestreamHeader,
    has_all_tiles,
    has_whole_segments,
    read_codestream_header,
)
from portal.imaging.errors import UnusableFile

_NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
_LOSSLESS_JPEG = (uid.JPEGLosslessSV1, uid.JPEGLossless)
_JPEG_2000 = (uid.JPEG2000, uid.JPEG2000Lossless, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
# kind of codestream -> decoder, and the syntaxes that name this kind, the one to use for others first
_KINDS: dict[str, tuple[str, tuple[uid.UID, ...]]] = {
    "jpeg": ("pillow", (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)),
    "lossless": ("gdcm", _LOSSLESS_JPEG),
    "jpeg-ls": ("pyjpegls", (uid.JPEGLSNearLossless, uid.JPEGLSLossless)),
    "2000": ("pylibjpeg", _JPEG_2000),
}
_SUPPORTED = (uid.RLELossless, *(syntax for _, syntaxes in _KINDS.values() for syntax in syntaxes))
_CALLED_LOSSLESS = (
    *_LOSSLESS_JPEG,
    *(uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL),
)
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")  # of JPEG and JPEG-LS, of JPEG 2000, of a JP2 box
# Coded data that follow a complete picture are skipped; an incomplete one they change, since decoders go on with zeros.
_MORE_DATA = b"\xaa" * 64


@dataclass(frozen=True)
class Layout:
    """The header's description of Pixel Data (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    photometric: str
    samples: int = 1  # 1, or 3 channels
    is_planar: bool = False  # one channel after the other


def is_native(transfer_syntax: uid.UID) -> bool:
    """Return whether the pixels are stored uncompressed."""
    return transfer_syntax in _NATIVE


def decode_native(data: bytes, layout: Layout, *, is_little_endian: bool, is_word_swapped: bool) -> NDArray[Any]:
    """Return (rows, columns), or (rows, columns, 3) of three channels, uint8 or uint16 with all allocated bits
    (PS3.5 8.1.1). Raises UnusableFile."""
    count, size = layout.rows * layout.columns * layout.samples, layout.bits_allocated // 8
    if len(data) < count * size:
        raise UnusableFile(
            "truncated",
            f"The file holds {len(data):,} of the {count * size:,} bytes of its picture. Copy it again.",
        )
    if len(data) > count * size + 1:  # one byte of padding makes the length even (PS3.5 8.1.1)
        raise UnusableFile(
            "unreadable",
            f"The file holds {len(data):,} bytes of pixels, but its header gives a picture of {count * size:,} bytes: "
            "size, bits or frames in the header are wrong. Export it again.",
        )
    if is_word_swapped:  # 8-bit pixels written as big-endian 16-bit words
        data = np.frombuffer(data[: len(data) // 2 * 2], dtype="<u2").byteswap().tobytes()
    dtype = np.dtype(f"u{size}").newbyteorder("<" if is_little_endian else ">")
    values = np.frombuffer(data, dtype=dtype, count=count)
    values = values.astype(dtype.newbyteorder("="))
    if layout.samples == 1:
        return values.reshape(layout.rows, layout.columns)
    if layout.is_planar:
        return np.moveaxis(values.reshape(layout.samples, layout.rows, layout.columns), 0, -1)
    return values.reshape(layout.rows, layout.columns, layout.samples)


def decode_encapsulated(data: bytes, transfer_syntax: uid.UID, layout: Layout, mended: set[str]) -> NDArray[Any]:
    """Return (rows, columns) integers, signed where the header says so, or (rows, columns, 3) of RGB (PS3.5 A.4).

    The keys of warnings are added to `mended`: the codestream decides how it is decoded, whatever the header says.
    Raises UnusableFile.
    """
    if transfer_syntax not in _SUPPORTED:
        raise _unsupported("with a method that is not supported")
    frame = _frame(data)
    if transfer_syntax == uid.RLELossless:
        _check_segments(frame, layout)
        return _decode(frame, transfer_syntax, "pylibjpeg", layout)
    has_end = END in frame.rstrip(b"\0")[-4:]  # zeros may follow, or two bytes of another padding
    frame = frame[: frame.rindex(END) + len(END)] if has_end else _with_end(frame)
    try:
        header = _checked_header(frame, layout)
        values = _decode_codestream(frame, header, transfer_syntax, layout, mended)
    except UnusableFile as error:
        raise (error if has_end else _cut_off()) from None
    if not has_end:
        mended.add("end_marker")
    return values


def _unsupported(how: str) -> UnusableFile:
    return UnusableFile("unsupported", f"The picture is compressed {how}. Export it uncompressed or as JPEG 2000.")


def _cut_off() -> UnusableFile:
    return UnusableFile("truncated", "The compressed picture is cut off. Copy or export the file again.")


def _frame(data: bytes) -> bytes:
    try:
        _, at = _fragments_start(data)
        starts = sum(fragment.startswith(_STARTS) for fragment in generate_fragments(data[at:]))
        frame = get_frame(data, 0, number_of_frames=1)
    except Exception:  # pydicom raises several kinds on damaged items
        raise UnusableFile(
            "unreadable",
            "The picture is not encoded as the header's transfer syntax says. Export it again.",
        ) from None
    if starts > 1:
        raise UnusableFile(
            "multi_frame", f"This file holds {starts} compressed pictures; a film is one picture. Export it alone."
        )
    return frame


def _fragments_start(data: bytes) -> tuple[list[int], int]:
    """The Basic Offset Table, and the offset of the first fragment after it (PS3.5 A.4)."""
    offsets = parse_basic_offsets(data)
    return offsets, 8 + int.from_bytes(data[4:8], "little")


def _check_segments(frame: bytes, layout: Layout) -> None:
    """RLE carries no size but one segment for each byte of a pixel (PS3.5 G.5)."""
    segments = int.from_bytes(frame[:4], "little")
    if 1 <= segments <= 15 and segments != layout.samples * layout.bits_allocated // 8:
        raise UnusableFile(
            "unreadable",
            f"The header allocates {layout.bits_allocated} bits for a pixel, but the compressed picture has "
            f"{8 * segments // layout.samples}. Export it again.",
        )


def _with_end(frame: bytes) -> bytes:
    """The codestream with the end marker that it lacks, in place of the byte that makes the length even. That byte must
    not be decoded as data; a zero after FF belongs to the data (ITU-T T.81 B.1.1.5)."""
    is_padded = frame.endswith(b"\0") and not frame.endswith(b"\xff\0")
    return (frame[:-1] if is_padded else frame) + END


def _checked_header(frame: bytes, layout: Layout) -> CodestreamHeader:
    header = read_codestream_header(frame)
    if header is None or (header.rows, header.columns) != (layout.rows, layout.columns):
        raise UnusableFile(
            "unreadable",
            f"The header gives {layout.rows} x {layout.columns} pixels, but the compressed picture has another size. "
            "Export it again.",
        )
    if header.components != layout.samples:
        raise UnusableFile("colour", "This is a colour picture; a radiograph is grey.")
    if header.is_subsampled or (header.bits < layout.bits_stored and header.coded_bits > header.bits + 1):
        raise UnusableFile(
            "unreadable", "Sizes or bits in the compressed picture contradict its data and the header. Export it again."
        )
    if header.bits > layout.bits_allocated:
        raise UnusableFile(
            "unreadable",
            f"The header allocates {layout.bits_allocated} bits for a pixel, but the compressed picture has "
            f"{header.bits}. Export it again.",
        )
    return header


def _decode_codestream(
    frame: bytes, header: CodestreamHeader, transfer_syntax: uid.UID, layout: Layout, mended: set[str]
) -> NDArray[Any]:
    if header.kind not in _KINDS or (
        header.kind == "jpeg" and header.bits not in ((8, 12, 16) if layout.samples == 1 else (8,))
    ):
        raise _unsupported("with a method that is not supported")
    plugin, syntaxes = _KINDS[header.kind]
    if transfer_syntax not in syntaxes:
        mended.add("syntax")
    if transfer_syntax in _CALLED_LOSSLESS and not header.is_lossless:
        mended.add("lossy")
    if header.is_signed is not None and header.is_signed != layout.is_signed:
        mended.add("sign")
    syntax = transfer_syntax if transfer_syntax in syntaxes else syntaxes[0]
    if header.kind == "2000" and not has_all_tiles(frame, header):
        raise _cut_off()
    if header.kind == "jpeg-ls":
        return _decode_jpeg_ls(frame, syntax, layout, mended)
    if header.kind == "jpeg":
        syntax = uid.JPEGBaseline8Bit if header.bits == 8 else uid.JPEGExtended12Bit
        layout = replace(layout, bits_allocated=8, bits_stored=8) if header.bits == 8 else layout
    is_by_gdcm = header.kind == "lossless" or syntax == uid.JPEGExtended12Bit
    if is_by_gdcm and not has_whole_segments(frame):
        raise UnusableFile("unreadable", "The compressed picture in this file is damaged. Export it again.")
    # gdcm drops the bits beyond those of the header
    decoded = replace(layout, bits_stored=layout.bits_allocated, is_signed=False) if is_by_gdcm else layout
    values = _decode(frame, syntax, plugin, decoded)
    if header.kind in ("jpeg", "lossless"):
        longer = _decode(frame[: -len(END)] + _MORE_DATA + END, syntax, plugin, decoded)
        if not np.array_equal(longer, values):
            raise _cut_off()
    return _with_sign(values, layout) if is_by_gdcm and layout.is_signed else values


def _with_sign(values: NDArray[Any], layout: Layout) -> NDArray[np.int32]:
    """Two's complement of the stored bits, above which all bits are 0 or repeat the sign."""
    sign, above = 1 << (layout.bits_stored - 1), values.astype(np.int32) >> layout.bits_stored
    is_negative = (values & sign) != 0
    repeated = (1 << (layout.bits_allocated - layout.bits_stored)) - 1
    if not ((above == 0) | (is_negative & (above == repeated))).all():
        raise UnusableFile(
            "unreadable",
            f"The compressed picture has values beyond the {layout.bits_stored} bits of its header. Export it again.",
        )
    return ((values.astype(np.int32) & (2 * sign - 1)) ^ sign) - sign


def _decode_jpeg_ls(frame: bytes, syntax: uid.UID, layout: Layout, mended: set[str]) -> NDArray[Any]:
    """CharLS refuses data that end too early or too late; some devices write a zero before the end marker."""
    try:
        return _decode(frame, syntax, "pyjpegls", layout)
    except UnusableFile:
        body = frame[: -len(END)]
        if not body.endswith(b"\0"):
            raise
    values = _decode(body[:-1] + END, syntax, "pyjpegls", layout)
    mended.add("end_marker")
    return values


def _decode(frame: bytes, syntax: uid.UID, plugin: str, layout: Layout) -> NDArray[Any]:
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": int(layout.is_signed),
        "photometric_interpretation": layout.photometric,
        "samples_per_pixel": layout.samples,
        "planar_configuration": int(layout.is_planar),
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    is_raw = layout.samples == 1  # otherwise converted to RGB
    try:
        if syntax == uid.JPEGExtended12Bit:
            return _decode_12_bit_jpeg(frame, layout)
        decoder = get_decoder(syntax)
        if plugin not in decoder.available_plugins:
            raise ImportError
        data = encapsulate([frame], has_bot=False)
        values, _ = decoder.as_array(data, index=0, raw=is_raw, decoding_plugin=plugin, **options)
    except (MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except ImportError:
        raise UnusableFile(
            "unsupported",
            f"The picture is compressed and its decoder ({plugin}) is not installed on this server. "
            "Install it and import the file again, or export the file uncompressed.",
        ) from None
    except BaseException:  # each decoder raises its own errors; a panic of the RLE decoder is not an Exception
        raise UnusableFile("unreadable", "The compressed picture in this file is damaged. Export it again.") from None
    return np.asarray(values)


def _decode_12_bit_jpeg(frame: bytes, layout: Layout) -> NDArray[Any]:
    """Lossy JPEG with 12 bits by gdcm itself: it decodes them, but pydicom does not ask it to. gdcm's own encoder
    writes 16 for the number of bits."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2"))
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(uid.JPEGExtended12Bit))))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
    data = image.GetBuffer().encode("utf-8", "surrogateescape")  # gdcm returns bytes as a string
    return np.frombuffer(data, dtype=np.dtype("<u2")).reshape(layout.rows, layout.columns)
