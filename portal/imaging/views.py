"""The views of radiographs: in the words of DICOM headers and of published tables, and in the codes of headers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from pydicom.dataset import Dataset

from portal.imaging.elements import items, text
from portal.imaging.errors import UnusableFile

# Words as they are written -> the view as it is stored, of at most 8 characters. Upper case, one space between words.
_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("PA", "POSTEROANTERIOR", "POSTERO ANTERIOR", "POSTERIOR ANTERIOR", "PA ERECT", "ERECT PA"), "PA"),
    **dict.fromkeys(("AP", "ANTEROPOSTERIOR", "ANTERO POSTERIOR", "ANTERIOR POSTERIOR"), "AP"),
    # of patients who lie, sit or are X-rayed in bed: PadChest, hospital tables
    **dict.fromkeys(("AP HORIZONTAL", "AP SUPINE", "SUPINE AP", "AP ERECT", "AP PORTABLE", "PORTABLE AP"), "AP"),
    **dict.fromkeys(("LATERAL", "LAT", "L", "LATERAL PROJECTION", "XTABLE LATERAL", "CROSS TABLE LATERAL"), "LATERAL"),
    **dict.fromkeys(("LL", "LEFT LATERAL"), "LL"),
    **dict.fromkeys(("RL", "RIGHT LATERAL"), "RL"),
    **dict.fromkeys(("LLD", "AP LLD", "PA LLD", "LEFT LATERAL DECUBITUS"), "LLD"),
    **dict.fromkeys(("RLD", "AP RLD", "PA RLD", "RIGHT LATERAL DECUBITUS"), "RLD"),
    **dict.fromkeys(("FRONTAL",), "FRONTAL"),
    **dict.fromkeys(("AP AXIAL",), "AP AXIAL"),
    **dict.fromkeys(("LORDOTIC", "AP LORDOTIC", "APICAL LORDOTIC"), "LORDOTIC"),
    **dict.fromkeys(("OBLIQUE", "OBL"), "OBLIQUE"),
    **dict.fromkeys(("RAO", "RIGHT ANTERIOR OBLIQUE"), "RAO"),
    **dict.fromkeys(("LAO", "LEFT ANTERIOR OBLIQUE"), "LAO"),
    **dict.fromkeys(("RPO", "RIGHT POSTERIOR OBLIQUE"), "RPO"),
    **dict.fromkeys(("LPO", "LEFT POSTERIOR OBLIQUE"), "LPO"),
    **dict.fromkeys(("LLO", "LEFT LATERAL OBLIQUE"), "LLO"),
    **dict.fromkeys(("RLO", "RIGHT LATERAL OBLIQUE"), "RLO"),
}
FRONTAL = frozenset({"PA", "AP", "FRONTAL", ""})  # "": nothing states the view
# How the patient was placed; the view alone does not say it.
_PLACED = re.compile(r"HORIZONTAL|SUPINE|ERECT|PORTABLE|XTABLE|CROSS TABLE|(AP|PA) [LR]LD")
_NO_VIEW = frozenset({"", "UNK", "UNKNOWN", "NA", "N/A", "NAN", "NONE", "NULL", "-"})
# Words of tables that say something else than the view; they may be quoted, since they are no names.
_QUOTABLE = frozenset({"COSTAL", "EXCLUDE", "SWIMMERS", "OTHER", "PORTABLE", "SUPINE", "ERECT", "BEDSIDE", "DECUBITUS"})
# Codes of DX View (PS3.16 CID 4010), SNOMED CT and, before 2019, SNOMED RT.
_CODES: Mapping[str, str] = {
    **dict.fromkeys(("272479007", "R-40888", "R-10214"), "PA"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399067008", "R-102CD"), "LATERAL"),
    **dict.fromkeys(("399173006", "R-10236"), "LL"),
    **dict.fromkeys(("399198007", "R-10232"), "RL"),
    **dict.fromkeys(("399033003", "R-10202"), "FRONTAL"),
    **dict.fromkeys(("399182000", "R-102C1"), "OBLIQUE"),
    **dict.fromkeys(("399356000", "R-40985"), "RAO"),
    **dict.fromkeys(("399135007", "R-10220"), "LAO"),
    **dict.fromkeys(("399038007", "R-10210"), "RPO"),
    **dict.fromkeys(("399006002", "R-10212"), "LPO"),
}


def view_of_word(word: str) -> str | None:
    """Return the view, "" where the word says that there is none, and None for a word that is not known."""
    return "" if word.strip().upper() in _NO_VIEW else _WORDS.get(_normal(word))


def placement_of_word(word: str) -> str:
    """Return a known word that says more than its view, such as AP HORIZONTAL, and "" for any other."""
    normal = _normal(word)
    return normal if normal in _WORDS and _PLACED.search(normal) else ""


def _normal(word: str) -> str:
    return re.sub(r"[\s_-]+", " ", word).strip().upper()


def quoted(word: str) -> str:
    """Return a word that is no known view as it may be stored and shown: itself if it is a known term, otherwise its
    shape, such as "AAAA AAAA", since in a table with shifted columns it may be a name."""
    normal = _normal(word)
    if normal in _QUOTABLE:
        return normal
    return "".join(map(_shape, normal[:20]))


def _shape(sign: str) -> str:
    """A control character could write a line of its own where the shape is shown."""
    if sign.isdigit():
        return "9"
    return "A" if sign.isalpha() else sign if sign.isprintable() else "?"


def view_of_header(ds: Dataset) -> tuple[str, list[str]]:
    """Return the view of a DICOM header, "" if it is not known, and the keys of warnings.

    View Position comes first; the View Code Sequence, which DX images carry in its place, gives it where it is absent.
    """
    word = text(ds, "ViewPosition")
    stated = view_of_word(word)
    coded, warnings = _coded_view(ds)
    if stated is None:
        return coded, [*warnings, *([] if coded else ["view"])]
    if stated and coded and not _agree(stated, coded):
        warnings = [*warnings, "two_views"]
    return stated or coded, warnings


def _coded_view(ds: Dataset) -> tuple[str, list[str]]:
    """The view of the View Code Sequence. Where code and meaning name different views, the meaning counts: it is what
    the person at the console has read."""
    try:
        sequence = items(ds, "ViewCodeSequence")
    except UnusableFile:
        return "", ["view"]
    if not sequence:
        return "", []
    code, meaning = text(sequence[0], "CodeValue").upper(), view_of_word(text(sequence[0], "CodeMeaning"))
    view = _CODES.get(code, "")
    if not view and not meaning:
        return "", ["view"]
    if view and meaning and not _agree(view, meaning):
        return meaning, ["two_views"]
    return view or meaning or "", []


def _agree(one: str, other: str) -> bool:
    """Whether two views do not exclude each other: a left lateral film is a lateral one."""
    kinds = ({"PA", "FRONTAL"}, {"AP", "FRONTAL"}, {"LATERAL", "LL", "RL"}, {"OBLIQUE", "RAO", "LAO", "RPO", "LPO"})
    return one == other or (any({one, other} <= kind for kind in kinds) and {one, other} != {"LL", "RL"})


def in_words(views: Counter[str]) -> str:
    """ "120 PA, 30 AP, 2 unknown", most frequent first."""
    ordered = sorted(views.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {view or 'unknown'}" for view, count in ordered)
