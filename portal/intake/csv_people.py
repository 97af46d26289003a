"""Sex and age in the further columns of a table of labels, as the facts that a header of DICOM states: M, F or O, and
whole years, above 89 together."""

import re
from collections.abc import Callable, Mapping

from portal.imaging.deidentify import OLDEST_AGE_YEARS

# Names of columns without spaces, hyphens and underscores, in lower case.
_SEX = frozenset(
    {"sex", "gender", "patientsex", "patientgender", "patientsexdicom", "geschlecht", "sexo", "sexe", "sesso"}
)
_AGE = frozenset({"age", "ageyears", "ageinyears", "patientage", "patientageyears", "alter", "edad", "leeftijd", "eta"})
_SEX_WORDS = {
    **dict.fromkeys(("m", "male", "man", "männlich", "maschio", "hombre", "homme"), "M"),
    **dict.fromkeys(("f", "female", "woman", "w", "weiblich", "femmina", "mujer", "femme"), "F"),
    **dict.fromkeys(("o", "other", "d", "diverse", "divers"), "O"),
}
_AGE_WORDS = re.compile(
    r"(\d{1,3})(?:[.,]\d+)?\s*(?:([dwmy])|(d)ays?|(w)eeks?|(m)onths?|(y)ears?|(y)rs?|(j)ahre?|(a)ños)?", re.IGNORECASE
)
_NOT_STATED = frozenset({"", "-", "?", "u", "unk", "unknown", "na", "n/a", "nan", "none", "null"})
_IN_A_YEAR = {"m": 12, "w": 52, "d": 365}
_OLDEST = 130  # beyond it a number is no age


def facts_of_person(further: Mapping[str, str]) -> tuple[str, str, dict[str, str]]:
    """Sex, age in years, and the further columns without those that say them. Either is blank where no column says it,
    or two say it differently."""
    left = dict(further)
    sex = _taken(left, _SEX, sex_of)
    age = _taken(left, _AGE, age_of)
    return sex, age, left


def are_unread(left: Mapping[str, str]) -> tuple[bool, bool]:
    """Whether the columns that `facts_of_person` has left state a sex, and an age, that cannot be used: no such word or
    number, or two columns that say it differently."""
    stated = [name for name, value in left.items() if value.strip().lower() not in _NOT_STATED]
    return any(map(is_sex_column, stated)), any(map(is_age_column, stated))


def sex_of(text: str) -> str:
    return _SEX_WORDS.get(text.strip().lower(), "")


def age_of(text: str) -> str:
    """Whole years of 47, 47.5, 047Y, 18M, at most 90; blank for anything else."""
    stated = _AGE_WORDS.fullmatch(text.strip())
    if not stated:
        return ""
    unit = next(filter(None, stated.groups()[1:]), "").lower()
    years = int(stated[1]) // _IN_A_YEAR.get(unit, 1)
    return str(min(years, OLDEST_AGE_YEARS)) if years <= _OLDEST else ""


def is_sex_column(name: str) -> bool:
    return _joined(name) in _SEX


def is_age_column(name: str) -> bool:
    return _joined(name) in _AGE


def _joined(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower())


def _taken(further: dict[str, str], names: frozenset[str], read: Callable[[str], str]) -> str:
    stated = {name: read(value) for name, value in further.items() if _joined(name) in names}
    values = {value for value in stated.values() if value}
    if len(values) != 1:
        return ""
    for name, value in stated.items():
        if value:
            del further[name]
    return values.pop()
