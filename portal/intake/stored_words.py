"""Names of tables and columns as stored messages may repeat them. In a table without a header, the first patient's
values stand in the place of the names; and a table may be named after a patient. So only words that tables of films
usually have are repeated; anything else is named by its place."""

import re
from pathlib import PurePosixPath

# Of tables, of published sources, and of what is said of films and people.
_USUAL = """
    accession acquisition address admission age align all alter annotation annotations author band bbox bboxes
    befund birth bits block bmi body born box boxes burned by calibrate cases category chest chexpert city class
    clinical code column columns comment comments consultant country cpr csv cxr data dataset date datum day
    department description device diagnose diagnosis diastolic dicom discharge dob doctor dose dx email entered
    entry exam export exposure fallnummer fax file filename film films final finding findings first fit folds follow
    followup from full geburtsdatum gender geschlecht given groundtruth group header height history hospital hour id
    identifier image images index indication initials insurance invented is iu jpg jsrt klasse kv kvp label labels
    last laterality list maiden mail main manufacturer mas master medical meta metadata method mimic mobile modality
    model montgomery month mr mrn nachname name names national new next nhs nih no note notes number of old one
    openi operator orientation original oxygen pack padchest part passport patient patients performing pfad phone
    physician pid pixel place png position post postal postcode pressure projection proyeccion race radiologist ray
    reading readings record reference referring region registration religion remark remarks report reports requested
    requesting results room row rows rsna saturation score second set sex sheet shenzhen sid site size smoker
    smoking social source spacing split ssn state station status strasse street study subject surname systolic table
    tables taken target technician tel telephone temperature test text the three time title to train training tube
    tune two type uhid uid unit unnamed up val valid validation value view vindr visit vorname ward weight width
    xray xrays year years zip
"""
_WORDS = frozenset(_USUAL.split())
_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]+")


def column_words(header: str, place: int) -> str:
    """The name of a column, where it consists of usual words; otherwise its place, from 1."""
    name = " ".join(header.split())[:40]
    return name if name and _is_usual(name) else f"column {place}"


def table_words(name: str, number: int = 1) -> str:
    """The file name of a table, where it consists of usual words; otherwise table.csv, table-2.csv for the second."""
    path = PurePosixPath(re.sub(r"[^\w.-]+", "_", PurePosixPath(name).name)[-80:])
    if _is_usual(path.stem):
        return path.name
    return f"table{f'-{number}' if number > 1 else ''}{path.suffix.lower()}"


def _is_usual(text: str) -> bool:
    parts = _PARTS.findall(text)
    return bool(parts) and all(map(_is_usual_word, parts))


def _is_usual_word(word: str) -> bool:
    """One letter names nobody, nor does a number of at most two digits, or of a year since 2000."""
    if word.isdigit():
        return len(word) <= 2 or re.fullmatch(r"20\d\d", word) is not None
    return len(word) == 1 or word.lower() in _WORDS
