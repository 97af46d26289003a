"""The views of radiographs in words, those of DICOM headers and of published tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

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


def in_words(views: Counter[str]) -> str:
    """ "120 PA, 30 AP, 2 unknown", most frequent first."""
    ordered = sorted(views.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {view or 'unknown'}" for view, count in ordered)
