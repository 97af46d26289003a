"""The orientation of an EXIF header (tag 274), by which a picture is turned on reading, and what it does to boxes."""

from __future__ import annotations

UPRIGHT = 1
ORIENTATIONS = range(1, 9)
_TRANSPOSED = (5, 6, 7, 8)  # rows become columns

BoxPx = tuple[float, float, float, float]  # x, y of the upper left corner, width, height


def stored_size(orientation: int, rows: int, columns: int) -> tuple[int, int]:
    """Return (rows, columns) as stored of a picture that has `rows` and `columns` after it was turned."""
    return (columns, rows) if orientation in _TRANSPOSED else (rows, columns)


def turned_box(box: BoxPx, orientation: int, rows: int, columns: int) -> BoxPx:
    """Return a box of the stored picture as a box of the turned one, which has `rows` and `columns`.

    The values of the tag are those of TIFF 6.0: 6 means that the first stored row is the right edge.
    """
    x, y, width, height = box
    if orientation in _TRANSPOSED:  # mirrored at the main diagonal, then as the rest says
        x, y, width, height = y, x, height, width
    if orientation in (2, 3, 6, 7):
        x = columns - x - width
    if orientation in (3, 4, 7, 8):
        y = rows - y - height
    return x, y, width, height
