"""Texts that a spreadsheet would take for a formula: written with an apostrophe before them, read without it."""

from __future__ import annotations

import re

# Behind apostrophes, so that what is read is what was written; full-width signs begin formulas in East Asian Excel.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def neutralised(text: str) -> str:
    """The text as a cell that a spreadsheet shows and does not calculate."""
    return f"'{text}" if _FORMULA.match(text) else text


def restored(cell: str) -> str:
    """The text that `neutralised` wrote as this cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
