"""The Basic Application Level Confidentiality Profile of PS3.15 Annex E as data, and what Hilum does beyond it.

`basic_profile.csv` lists the attributes of Table E.1-1, edition 2024b, that objects of radiography may have, with the
profile's action: D a dummy value, Z an empty or dummy value, X remove, U another UID, several with / where it depends
on the type of the attribute. Hilum does not clean a header by this table: it keeps none, and of some attributes
derives facts from a vocabulary or a range of numbers (`portal.imaging.deidentify`). So each action is met by removing
the attribute, and so are all attributes that the table does not list, private ones, overlays and curves included. The
table serves to check that, and to state it in exported objects.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from pydicom.dataset import Dataset

EDITION = "PS3.15 2024b, Table E.1-1"
ACTIONS = frozenset({"D", "Z", "X", "U", "Z/D", "X/Z", "X/D", "X/Z/D", "X/Z/U*"})
# Options of the profile: their codes (PS3.16, CID 7050), meanings, and what of them Hilum keeps.
BASIC = ("113100", "Basic Application Confidentiality Profile")
OPTIONS = {
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"): (
        "the day of acquisition, moved by a secret number of days that is the same for all films of a patient"
    ),
    ("113108", "Retain Patient Characteristics Option"): "sex, and age in whole years, above 89 together",
}


@cache
def basic_profile() -> dict[str, str]:
    """Keyword -> action."""
    path = Path(__file__).with_suffix(".csv")
    with path.open(encoding="utf-8", newline="") as file:
        return {row["keyword"]: row["action"] for row in csv.DictReader(file)}


def method_codes() -> list[Dataset]:
    """The items of a De-identification Method Code Sequence (0012,0064) of an object that holds none of the facts
    above."""
    item = Dataset()
    item.CodeValue, item.CodeMeaning = BASIC
    item.CodingSchemeDesignator = "DCM"
    return [item]
