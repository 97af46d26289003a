from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from portal.imaging.orientation import ORIENTATIONS, stored_size, turned_box


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_box_marks_the_same_pixels_after_the_turn(orientation: int) -> None:
    """Against Pillow, which turns the picture: the box is white in it."""
    stored = np.zeros((20, 30), np.uint8)
    stored[3:9, 21:25] = 255
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "PNG", exif=exif)
    turned = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    rows, columns = turned.shape
    assert stored_size(orientation, rows, columns) == stored.shape
    x, y, width, height = map(int, turned_box((21, 3, 4, 6), orientation, rows, columns))
    expected = np.zeros_like(turned)
    expected[y : y + height, x : x + width] = 255
    np.testing.assert_array_equal(turned, expected)
