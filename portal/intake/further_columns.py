"""Further columns of a table, beside those that Hilum knows: none is kept, unless a manager declares it a number or a
category. Free text and dates can be neither.

A number is kept to four significant digits, so that a record number that is declared by mistake is no record number
any more. A category keeps the values that are frequent in the table; rare ones, which may be one person's, become one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum

from portal.imaging.deidentify import OLDEST_AGE_YEARS


class ColumnKind(StrEnum):
    NUMBER = "number"
    CATEGORY = "category"


RARE_ROWS = 10  # a value of a category that fewer rows of the table have is rare
MOST_LEVELS = 20  # values of a category
LONGEST_LEVEL = 40  # characters
RARE = "other (rare)"
SIGNIFICANT_DIGITS = 4
_NUMBER = re.compile(r"[+-]?\d{1,15}(?:[.,]\d{1,15})?(?:[eE][+-]?\d{1,2})?")
_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(19|20)\d\d[-./]?(0[1-9]|1[0-2])[-./]?(0[1-9]|[12]\d|3[01])([ T].*)?",  # 2024-01-31, 20240131
        r"\d{1,2}[-./ ]\d{1,2}[-./ ](\d\d|(19|20)\d\d)([ T].*)?",  # 31.1.24, 1/31/2024
        r"\d{1,2}[-. ]?([a-z]{3,9})[-., ]*(19|20)?\d\d",  # 31 Jan 2024
        r"([a-z]{3,9})[-. ]?\d{1,2},? (19|20)\d\d",  # January 31, 2024
        r"\d{1,2}:\d\d(:\d\d([.,]\d+)?)?( ?[ap]m)?",  # 10:15
    )
)
_AGES = frozenset({"age", "alter", "edad", "leeftijd", "eta", "ages"})


def is_date(value: str) -> bool:
    """Whether the value is written as a date or a time of day."""
    return any(pattern.fullmatch(value.strip().lower()) for pattern in _DATES)


def is_age(column: str) -> bool:
    """Whether a column may be one of ages, by its name."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+|\d+", " ", column).lower()
    return not _AGES.isdisjoint(spaced.split())


def number_of(value: str, *, of_age: bool = False) -> str:
    """The number to four significant digits, ages above 89 as 90; blank for anything else."""
    text = value.strip()
    if not _NUMBER.fullmatch(text) or is_date(text):
        return ""
    number = float(text.replace(",", "."))
    if of_age and number >= OLDEST_AGE_YEARS:
        number = float(OLDEST_AGE_YEARS)
    return f"{number:.{SIGNIFICANT_DIGITS}g}"


def levels_of(counts: Mapping[str, int]) -> set[str]:
    """The values of a category that are kept, case folded, by the number of rows of each (in any spelling)."""
    rows: Counter[str] = Counter()
    for value, count in counts.items():
        rows[value.casefold()] += count
    frequent = [
        value
        for value, count in rows.most_common()
        if count >= RARE_ROWS and len(value) <= LONGEST_LEVEL and not is_date(value)
    ]
    return set(frequent[:MOST_LEVELS])


def with_rare_together(values: Iterable[str]) -> dict[str, str]:
    """By each value of a category what is kept of it: its first spelling, or `RARE`."""
    counts = Counter(value for value in values if value)
    levels, spelled = levels_of(counts), dict[str, str]()
    kept = {}
    for value in counts:
        folded = value.casefold()
        kept[value] = spelled.setdefault(folded, value) if folded in levels else RARE
    return kept


def why_no_number(counts: Mapping[str, int]) -> str:
    """Why a column with these values is no number, as the end of a sentence; blank if it may be one."""
    rows = sum(counts.values())
    numbers = {value: count for value, count in counts.items() if _NUMBER.fullmatch(value.strip())}
    if any(map(is_date, counts)):
        return "holds dates or times, which are never kept"
    if 2 * sum(numbers.values()) < rows or not rows:
        return "holds a number in fewer than half of its rows"
    whole = [value for value in numbers if value.strip().isdecimal() and len(value.strip()) >= 4]
    if rows >= RARE_ROWS and len(whole) > 0.9 * rows:
        return "has another whole number in nearly every row, as a record number"
    return ""


def why_no_category(counts: Mapping[str, int], *, is_complete: bool) -> str:
    """Why a column with these values is no category, as the end of a sentence; blank if it may be one."""
    if any(map(is_date, counts)):
        return "holds dates or times, which are never kept"
    frequent = [value for value, count in counts.items() if count >= RARE_ROWS]
    if not frequent:
        return f"has no value in {RARE_ROWS} or more rows, so that all of them would be kept as {RARE!r}"
    if len(frequent) > MOST_LEVELS:
        return f"has {len(frequent)} frequent values; a category has at most {MOST_LEVELS}"
    if not is_complete or any(len(value) > LONGEST_LEVEL for value in frequent):
        return "holds free text, which is never kept"
    return ""
