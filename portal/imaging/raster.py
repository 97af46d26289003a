"""PNG, JPEG and TIFF films: 8- or 16-bit grey, one picture per file."""

from __future__ import annotations

import io
import warnings
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from portal.imaging.errors import UnusableFile
from portal.imaging.film import MAX_PIXELS, MAX_SIDE, Film, PixelFacts
from portal.imaging.film_warnings import warned
from portal.imaging.handled_elements import HANDLED, handled_metadata, to_text
from portal.imaging.orientation import ORIENTATIONS, UPRIGHT

NAMES = {"png": "PNG", "jpeg": "JPEG", "tiff": "TIFF"}
_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N")
_CHANNELS = ("1", "P", "PA", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX")  # grey if the channels are equal
_EXIF_ORIENTATION = 274
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_SAMPLES = 258, 262, 277


def read_raster(data: bytes, kind: str) -> tuple[Film, dict[str, str]]:
    """Return the film in the bytes of a PNG, JPEG or TIFF file (`kind`: "png", "jpeg", "tiff"), and its header: its
    warnings, "exif_orientation" where the picture was turned, and what became of its metadata (`handled_elements`).

    A palette or RGB(A) picture with equal channels counts as grey. `bits_stored` is 8 or 16, whatever the largest
    value: the file does not record a smaller number, and we do not guess one. An EXIF orientation is applied, as in
    every viewer. Raises UnusableFile.
    """
    mended: set[str] = set()
    header: dict[str, str] = {}
    if kind == "png":
        data, is_text_damaged = _checked_png(data)
        if is_text_damaged:
            mended.add("png_checksum")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=[NAMES[kind]])
            _check_size(image)
            _check_single(image)
            _check_depth(image)
            image.load()
            orientation = _orientation(image)
            if orientation != UPRIGHT:
                mended.add("turned")
                header["exif_orientation"] = str(orientation)
            stored = _grey(ImageOps.exif_transpose(image))
            photometric = _photometric(image)
            header[HANDLED] = to_text(handled_metadata(image))
    except Image.DecompressionBombError:
        raise UnusableFile("too_large", f"This picture has more than {MAX_PIXELS:,} pixels.") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise _damaged(error, kind) from None
    facts = PixelFacts(
        rows=stored.shape[0],
        columns=stored.shape[1],
        bits_stored=8 if stored.dtype == np.uint8 else 16,
        offset=0,
        photometric=photometric,
        source=kind,
    )
    return Film(np.ascontiguousarray(stored, dtype=np.uint16), facts), {**header, **warned(mended)}


def _orientation(image: Image.Image) -> int:
    """The orientation by which `exif_transpose` turns; 1 for none."""
    value = image.getexif().get(_EXIF_ORIENTATION, UPRIGHT)
    return value if value in ORIENTATIONS else UPRIGHT


def _damaged(error: Exception, kind: str) -> UnusableFile:
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return UnusableFile("truncated", f"This {NAMES[kind]} file is cut off. Copy or export it again.")
    return UnusableFile(
        "unreadable", f"This {NAMES[kind]} file is damaged or of an unsupported kind. Copy or export it again."
    )


def _checked_png(data: bytes) -> tuple[bytes, bool]:
    """Return the file without ancillary chunks whose checksum is wrong, and whether there was one.

    This walks the chunks, because Pillow neither checks the CRC of the pixels nor reports a missing end, but refuses a
    damaged comment. An ancillary chunk has a small first letter (PNG 5.4); of these only eXIf moves pixels.
    """
    at, kept = 8, [data[:8]]
    is_damaged = False
    while True:
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body_end = at + 8 + length
        if body_end + 4 > len(data):
            raise UnusableFile("truncated", "This PNG file is cut off. Copy or export it again.")
        if zlib.crc32(data[at + 4 : body_end]) != int.from_bytes(data[body_end : body_end + 4], "big"):
            if name[0] & 0x20 == 0 or name == b"eXIf":
                raise UnusableFile("unreadable", "A checksum of this PNG file is wrong. Copy or export it again.")
            is_damaged = True
        else:
            kept.append(data[at : body_end + 4])
        if name == b"IHDR" and data[at + 16] == 16 and data[at + 17] != 0:
            raise _too_deep()
        if name == b"IEND":
            return (b"".join(kept) if is_damaged else data), is_damaged
        at = body_end + 4


def _check_depth(image: Image.Image) -> None:
    """Refuse several 16-bit channels, which Pillow reduces to 8 bits; it keeps 16 bits for plain grey only."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits, samples = image.tag_v2.get(_TIFF_BITS, (1,)), image.tag_v2.get(_TIFF_SAMPLES, 1)
        if samples > 1 and max(bits) > 8:
            raise _too_deep()


def _photometric(image: Image.Image) -> str:
    """Pillow inverts an 8-bit TIFF in which 0 is white, but leaves a 16-bit TIFF as stored."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode in (*_GREY_16, "I"):
        return "MONOCHROME1" if image.tag_v2.get(_TIFF_PHOTOMETRIC) == 0 else "MONOCHROME2"
    return "MONOCHROME2"


def _check_size(image: Image.Image) -> None:
    columns, rows = image.size
    if rows * columns > MAX_PIXELS or max(rows, columns) > MAX_SIDE:
        raise UnusableFile(
            "too_large",
            f"This picture has {rows} x {columns} pixels; a film has at most {MAX_PIXELS:,}.",
        )


def _check_single(image: Image.Image) -> None:
    frames = int(getattr(image, "n_frames", 1))
    if frames > 1:
        raise UnusableFile(
            "multi_frame", f"This file holds {frames} pictures; a film is a single picture. Export each one separately."
        )


def _grey(image: Image.Image) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if image.mode == "L":
        return np.asarray(image, dtype=np.uint8)
    if image.mode in _GREY_16:
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        return _from_32_bit(np.asarray(image))
    if image.mode in _CHANNELS:
        return _from_channels(image)
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        raise _coloured()
    raise UnusableFile(
        "unsupported", "The pixels of this picture are neither 8-bit nor 16-bit grey. Export it as 16-bit PNG."
    )


def _from_32_bit(values: NDArray[np.int32]) -> NDArray[np.uint16]:
    """Pillow decodes some 16-bit files to 32-bit integers."""
    if values.size == 0 or int(values.min()) < 0 or int(values.max()) > 65_535:
        raise UnusableFile("unsupported", "This picture has values outside 0 to 65535. Export it as 16-bit PNG.")
    return values.astype(np.uint16)


def _from_channels(image: Image.Image) -> NDArray[np.uint8]:
    """The grey of equal channels. An alpha channel is ignored: it is not a measurement."""
    mode = image.mode
    rgb = np.asarray(image.convert("RGBA" if mode in ("P", "PA") else mode).convert("RGB"))
    if not (np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 0], rgb[..., 2])):
        raise _coloured()
    return np.ascontiguousarray(rgb[..., 0])


def _coloured() -> UnusableFile:
    return UnusableFile("colour", "This is a colour picture; a radiograph is grey. Export it as grey PNG.")


def _too_deep() -> UnusableFile:
    return UnusableFile("unsupported", "This picture has several 16-bit channels. Export it as 16-bit grey PNG.")
