"""A small picture of a file that cannot become a film, so that a person can see what it is: a colour photograph, the
first frame of several, another modality, the upper part of a film that is cut off.

Only looked at, never measured: the grey values are stretched, and a missing part is grey.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from portal.imaging.errors import UnusableFile
from portal.imaging.film import MAX_PIXELS

# Of other reasons, a file holds no picture, or nothing that may be decoded without risk or in little memory.
PREVIEWED = frozenset({"colour", "multi_frame", "not_a_radiograph", "unsupported", "truncated"})
_FORMATS = ["PNG", "JPEG", "TIFF"]
_LONG_SIDE = 320


def preview_unusable(path: Path) -> bytes:
    """Return a JPEG whose longer side has at most 320 pixels. Raises UnusableFile where no picture can be made."""
    data = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = _raster(data) if _is_raster(data) else _first_frame(data)
            picture.thumbnail((_LONG_SIDE, _LONG_SIDE), Image.Resampling.LANCZOS)
            target = io.BytesIO()
            picture.save(target, format="JPEG", quality=88)
    except Exception:  # the file is unusable as it is, and its damage may break a decoder anywhere
        raise UnusableFile("unreadable", "No preview can be made of this file.") from None
    return target.getvalue()


def _is_raster(data: bytes) -> bool:
    return data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def _raster(data: bytes) -> Image.Image:
    accepts_cut_off = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        opened = Image.open(io.BytesIO(data), formats=_FORMATS)
        _check_pixels(*opened.size)
        opened.load()
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = accepts_cut_off
    picture = ImageOps.exif_transpose(opened)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return Image.fromarray(_stretched(np.asarray(picture)))
    return picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")


def _first_frame(data: bytes) -> Image.Image:
    from pydicom.pixels.decoders.base import get_decoder  # slow to import, and needed in the decoder's process only

    from portal.imaging.dicom_file import parse

    file = parse(data)
    _check_pixels(int(file.ds.Rows), int(file.ds.Columns))
    values, facts = get_decoder(file.transfer_syntax).as_array(file.ds, index=0)
    if values.ndim == 3:
        colours = values if values.dtype == np.uint8 else _stretched(values)
        return Image.fromarray(np.ascontiguousarray(colours))
    grey = Image.fromarray(_stretched(values))
    return ImageOps.invert(grey) if facts["photometric_interpretation"] == "MONOCHROME1" else grey


def _check_pixels(rows: int, columns: int) -> None:
    if rows * columns > MAX_PIXELS:
        raise UnusableFile("too_large", f"This picture has more than {MAX_PIXELS:,} pixels.")


def _stretched(values: NDArray[Any]) -> NDArray[np.uint8]:
    """The values between their percentiles 0.5 and 99.5 as 8-bit grey."""
    low, high = np.percentile(values, (0.5, 99.5))
    scaled = (values.astype(np.float64) - low) / max(float(high - low), 1e-9)
    return np.asarray(np.clip(scaled, 0, 1) * 255, dtype=np.uint8)
