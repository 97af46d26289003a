"""The view of a radiograph in its DICOM header: in words, and in codes."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.dataset import Dataset

from portal.imaging.elements import items, text
from portal.imaging.errors import UnusableFile
from portal.imaging.views import view_of_word

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
