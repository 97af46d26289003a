"""The day on which a film was acquired: kept only as a date shifted by a secret number of days, one for each patient.

The shift keeps the order of a patient's films and the days between them, and nothing else of their dates (PS3.15 E.3.6,
Retain Longitudinal Temporal Information With Modified Dates).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import date, timedelta

from pydicom.dataset import Dataset

from portal.imaging.elements import text
from portal.imaging.errors import UnusableFile

LONGEST_SHIFT_DAYS = 3650
_KEYWORDS = ("AcquisitionDate", "AcquisitionDateTime", "StudyDate")  # the first that holds a date
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")


def acquired_on(ds: Dataset) -> str:
    """Return the date of acquisition of a header as YYYY-MM-DD, "" without a valid one: to be shifted and discarded."""
    keyword = dated_by(ds)
    day = _day(ds, keyword) if keyword else None
    return day.isoformat() if day else ""


def dated_by(ds: Dataset) -> str:
    """Return the keyword of the element that gives the date of acquisition, "" where none does."""
    return next((keyword for keyword in _KEYWORDS if _day(ds, keyword) is not None), "")


def _day(ds: Dataset, keyword: str) -> date | None:
    try:
        digits = _DATE.match(text(ds, keyword))
        return date(*map(int, digits.groups())) if digits else None
    except (UnusableFile, ValueError):  # malformed, or no day of the calendar
        return None


def shifted_day(site_key: bytes, patient: str, acquired_on: str) -> date | None:
    """Return the date moved back by 1 to `LONGEST_SHIFT_DAYS` days, the same number for all films of the patient (a
    pseudonym). None without a date. Raises ValueError for an empty key, which would make the shift guessable."""
    if not site_key:
        raise ValueError("The site key is empty: shifts of dates need a secret key.")
    if not acquired_on:
        return None
    digest = hmac.new(site_key, f"days {patient}".encode(), hashlib.sha256).digest()
    days = 1 + int.from_bytes(digest) % LONGEST_SHIFT_DAYS
    try:
        return date.fromisoformat(acquired_on) - timedelta(days=days)
    except OverflowError:  # a date in the first years of the calendar
        return None
