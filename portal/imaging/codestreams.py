"""Pixel Data to an array of integers: native, RLE, JPEG, JPEG-LS, JPEG 2000.

Each transfer syntax has exactly one decoder, so that a file decodes to the same pixels everywhere. Before a C
library gets a codestream, the size in the codestream is compared with the header's, since a codestream can
request any amount of memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder

from portal.imaging.errors import UnusableFile

_NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
_JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
_JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
_PLUGINS = {
    **dict.fromkeys((uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit), "pillow"),
    **dict.fromkeys((uid.JPEGLossless, uid.JPEGLosslessSV1), "gdcm"),
    **dict.fromkeys(_JPEG_LS, "pyjpegls"),
    **dict.fromkeys((*_JPEG_2000, uid.RLELossless), "pylibjpeg"),
}
_END_OF_CODESTREAM = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000


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


def is_native(transfer_syntax: uid.UID) -> bool:
    """Return whether the pixels are stored uncompressed."""
    return transfer_syntax in _NATIVE


def is_jpeg(transfer_syntax: uid.UID) -> bool:
    """Return whether the codestream itself records how many bits its values have."""
    return transfer_syntax in (*_JPEG, *_JPEG_LS, *_JPEG_2000)


def decode_native(data: bytes, layout: Layout, *, is_little_endian: bool, is_word_swapped: bool) -> NDArray[np.uint16]:
    """Return (rows, columns) uint16 with all allocated bits (PS3.5 8.1.1). Raises UnusableFile."""
    count, size = layout.rows * layout.columns, layout.bits_allocated // 8
    if len(data) < count * size:
        raise UnusableFile(
            "truncated",
            f"The file holds {len(data):,} of the {count * size:,} bytes of its picture. Copy it again.",
        )
    if is_word_swapped:  # 8-bit pixels written as big-endian 16-bit words
        data = np.frombuffer(data[: len(data) // 2 * 2], dtype="<u2").byteswap().tobytes()
    dtype = np.dtype(f"u{size}").newbyteorder("<" if is_little_endian else ">")
    values = np.frombuffer(data, dtype=dtype, count=count)
    return values.reshape(layout.rows, layout.columns).astype(np.uint16)


def decode_encapsulated(data: bytes, transfer_syntax: uid.UID, layout: Layout) -> NDArray[Any]:
    """Return (rows, columns) integers, signed where the header says so (PS3.5 A.4). Raises UnusableFile."""
    plugin = _PLUGINS.get(transfer_syntax)
    if plugin is None:
        raise _unsupported("with a method that is not supported")
    if transfer_syntax == uid.JPEGExtended12Bit and layout.bits_stored > 8:
        raise _unsupported("as lossy JPEG with 12 bits, which no free decoder supports")
    decoder = get_decoder(transfer_syntax)
    if plugin not in decoder.available_plugins:
        raise UnusableFile(
            "unsupported",
            f"The picture is compressed and its decoder ({plugin}) is not installed on this server. "
            "Install it and import the file again, or export the file uncompressed.",
        )
    _check_codestream(_frame(data), transfer_syntax, layout)
    is_8_bit = transfer_syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "bits_allocated": 8 if is_8_bit else layout.bits_allocated,
        "bits_stored": 8 if is_8_bit else layout.bits_stored,
        "pixel_representation": int(layout.is_signed),
        "photometric_interpretation": layout.photometric,
        "samples_per_pixel": 1,
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    try:
        values, _ = decoder.as_array(data, index=0, raw=True, decoding_plugin=plugin, **options)
    except (MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # each decoder raises its own errors; a panic of the RLE decoder is not an Exception
        raise UnusableFile("unreadable", "The compressed picture in this file is damaged. Export it again.") from None
    return np.asarray(values)


def _unsupported(how: str) -> UnusableFile:
    return UnusableFile("unsupported", f"The picture is compressed {how}. Export it uncompressed or as JPEG 2000.")


def _frame(data: bytes) -> bytes:
    try:
        return get_frame(data, 0, number_of_frames=1)
    except Exception:  # pydicom raises several kinds on damaged items
        raise UnusableFile(
            "unreadable",
            "The picture is not encoded as the header's transfer syntax says. Export it again.",
        ) from None


def _check_codestream(frame: bytes, transfer_syntax: uid.UID, layout: Layout) -> None:
    if transfer_syntax == uid.RLELossless:
        return  # carries no size; the decoder uses the header's
    if _END_OF_CODESTREAM not in frame[-4:]:  # up to two bytes of padding may follow
        raise UnusableFile("truncated", "The compressed picture is cut off. Copy or export the file again.")
    size = _size_2000(frame) if transfer_syntax in _JPEG_2000 else _size_jpeg(frame)
    if size is None or size[:2] != (layout.rows, layout.columns):
        raise UnusableFile(
            "unreadable",
            f"The header gives {layout.rows} x {layout.columns} pixels, but the compressed picture has another size. "
            "Export it again.",
        )
    if size[2] != 1:
        raise UnusableFile("colour", "This is a colour picture; a radiograph is grey.")


def _size_jpeg(frame: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) from the first SOF marker (ITU-T T.81 B.2.2, T.87 C.2.2)."""
    at = 2
    while at + 9 < len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns = (int.from_bytes(frame[at + i : at + i + 2], "big") for i in (5, 7))
            return rows, columns, frame[at + 9]
        else:
            at += 2 + length
    return None


def _size_2000(frame: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) from the SIZ marker (ITU-T T.800 A.5.1), inside or outside a JP2 box."""
    at = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if at < 0 or len(frame) < at + 42:
        return None
    right, bottom, left, top = (int.from_bytes(frame[at + i : at + i + 4], "big") for i in (8, 12, 16, 20))
    return bottom - top, right - left, int.from_bytes(frame[at + 40 : at + 42], "big")
