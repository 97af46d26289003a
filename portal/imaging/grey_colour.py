"""Grey pictures that are stored as colour: three equal channels, or a palette of greys."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from portal.imaging.dicom_display import lut_of
from portal.imaging.errors import UnusableFile
from portal.imaging.film import Lut

_COLOURS = ("Red", "Green", "Blue")


def is_colour(photometric: str, samples: int) -> bool:
    """Return whether the header describes three channels or a palette, which may be grey all the same."""
    return (samples == 3 and photometric.startswith(("RGB", "YBR"))) or is_palette(photometric, samples)


def is_palette(photometric: str, samples: int) -> bool:
    """Return whether stored values are entries of a palette (PS3.3 C.7.6.3.1.2)."""
    return samples == 1 and photometric == "PALETTE COLOR"


def grey_of_channels(values: NDArray[Any], photometric: str) -> NDArray[Any]:
    """Return (rows, columns) of (rows, columns, 3) uncompressed values, exactly. Raises UnusableFile.

    RGB is grey where its channels are equal, YBR_FULL where both of its colour channels are in the middle of their
    range (PS3.3 C.7.6.3.1.2).
    """
    first, second, third = (values[..., channel] for channel in range(3))
    middle = np.iinfo(values.dtype).max // 2 + 1
    if photometric == "YBR_FULL":
        is_grey = bool((second == middle).all() and (third == middle).all())
    else:
        is_grey = photometric == "RGB" and np.array_equal(first, second) and np.array_equal(first, third)
    if not is_grey:
        raise colour()
    return np.ascontiguousarray(first)


def grey_palette(ds: Dataset) -> Lut:
    """Return the palette of a header, whose three tables have to be equal. Raises UnusableFile."""
    names = [(f"{name}PaletteColorLookupTableDescriptor", f"{name}PaletteColorLookupTableData") for name in _COLOURS]
    if not all(descriptor in ds and data in ds for descriptor, data in names):
        raise colour()
    red, green, blue = (
        lut_of(ds, is_signed=False, shift=0, descriptor=descriptor, data=data) for descriptor, data in names
    )
    if not red == green == blue:
        raise colour()
    return red


def colour() -> UnusableFile:
    return UnusableFile("colour", "This is a colour picture; a radiograph is grey.")
