"""Numbers in the tables of published datasets."""

from __future__ import annotations

import math
from collections.abc import Mapping

from portal.intake.tables import InvalidCsv


def number_of(row: Mapping[str, str], column: str, table: str) -> float:
    """A finite number. Raises InvalidCsv, which names table and column."""
    try:
        number = float(row.get(column, ""))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidCsv(
            f"A value in the column {column!r} of {table} is not a number; the table is not as it was published. "
            "Download it again."
        )
    return number
