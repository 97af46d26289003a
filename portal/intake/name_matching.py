"""Match the names of a table with those of files: by whole path, then by the longest common end of the paths; letter by
letter, then without regard to case, then without the ending. A name that fits several files matches none.

Example: a table's `CheXpert/train/p1/view1.png` is the file `p1/view1.PNG`, or `films/p1/view1.png` where all files lie
in the folder `films`; it never is `p2/view1.png`.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from portal.intake.tables import clean

ENDINGS = frozenset({".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff"})
LONGEST_SHAPE = 40  # characters


class Rule(StrEnum):
    """How a name was matched; the last three are also the names of counts of an import's report."""

    EXACT = "exact"  # the whole path, or all of the table's name is the end of the path
    FOLDERS = "matched by the end of the path"
    CASE = "matched without case"
    ENDING = "matched without ending"


@dataclass(frozen=True)
class Match:
    """`index` of the matched name; None if there is none, or several (`is_ambiguous`)."""

    index: int | None = None
    rule: Rule = Rule.EXACT
    is_ambiguous: bool = False


@dataclass(frozen=True)
class _Candidate:
    index: int
    common: int  # parts of the common end
    rule: Rule


def match_names(wanted: Sequence[str], there: Sequence[str], above: Sequence[int] | None = None) -> list[Match]:
    """Return a match for each wanted name. `above`: how many folders at the beginning of each name in `there` may
    differ, as that of a zip in a zip; the only top folder of all files always may.

    A name in `there` is matched once. Of several wanted names that fit it, the stricter comparison wins, then the
    longer common end; equal ones are ambiguous.
    """
    matches: dict[int, Match] = {}
    taken: set[int] = set()
    for rule, key in ((Rule.EXACT, _composed), (Rule.CASE, _folded), (Rule.ENDING, loosest)):
        pending = [index for index in range(len(wanted)) if index not in matches]
        if not pending:
            break
        index = _Index([key(name).split("/") for name in there], _may_differ(there, above), rule)
        for candidates_of in (index.whole, index.by_end):
            _assign({row: candidates_of(key(wanted[row])) for row in pending if row not in matches}, matches, taken)
    return [matches.get(row, Match()) for row in range(len(wanted))]


def _assign(candidates: dict[int, list[_Candidate]], matches: dict[int, Match], taken: set[int]) -> None:
    """Settle the rows that have candidates."""
    rows_of: dict[int, list[tuple[int, _Candidate]]] = defaultdict(list)
    for row, fitting in candidates.items():
        if len(fitting) > 1:
            matches[row] = Match(is_ambiguous=True)
        elif fitting and fitting[0].index in taken:  # by a row that names it more strictly
            matches[row] = Match()
        elif fitting:
            rows_of[fitting[0].index].append((row, fitting[0]))
    for index, rows in rows_of.items():
        taken.add(index)
        longest = max(candidate.common for _, candidate in rows)
        best = [row for row, candidate in rows if candidate.common == longest]
        for row, candidate in rows:
            if candidate.common < longest:
                matches[row] = Match()
            else:
                matches[row] = Match(index, candidate.rule) if len(best) == 1 else Match(is_ambiguous=True)


class _Index:
    """Names as lists of parts. A list of candidates ends at two, which is enough to know that there are several."""

    def __init__(self, names: Sequence[list[str]], may_differ: Sequence[int], rule: Rule) -> None:
        self._names, self._rule = names, rule
        self._whole: dict[str, list[int]] = defaultdict(list)
        self._ends: dict[str, list[int]] = defaultdict(list)  # each end of each name
        self._below: dict[str, list[int]] = defaultdict(list)  # names without the folders that may differ
        for index, (parts, most) in enumerate(zip(names, may_differ, strict=True)):
            _add(self._whole, "/".join(parts), index)
            for first in range(len(parts)):
                end = "/".join(parts[first:])
                _add(self._ends, end, index)
                if first <= most:
                    _add(self._below, end, index)

    def whole(self, name: str) -> list[_Candidate]:
        return [_Candidate(index, name.count("/") + 1, self._rule) for index in self._whole.get(name, ())]

    def by_end(self, name: str) -> list[_Candidate]:
        """The names with the longest common end: all of `name`, or all of theirs that may not differ."""
        parts = name.split("/")
        if fitting := self._ends.get(name):
            return [_Candidate(index, len(parts), self._rule) for index in fitting]
        for first in range(1, len(parts)):
            if fitting := self._below.get("/".join(parts[first:])):
                rule = Rule.FOLDERS if self._rule == Rule.EXACT else self._rule
                common = len(parts) - first
                if len(fitting) == 1 and self._contradicts(fitting[0], parts, common):
                    return []
                return [_Candidate(index, common, rule) for index in fitting]
        return []

    def _contradicts(self, index: int, parts: list[str], common: int) -> bool:
        """Whether the folders above the common end are numbered, such as patient1 and patient3."""
        theirs = self._names[index]
        if common == len(theirs):
            return False
        return _has_digit(theirs[-common - 1]) and _has_digit(parts[-common - 1])


def _add(lists: dict[str, list[int]], key: str, index: int) -> None:
    if len(lists[key]) < 2:
        lists[key].append(index)


def _has_digit(text: str) -> bool:
    return any(sign.isdigit() for sign in text)


def _may_differ(names: Sequence[str], above: Sequence[int] | None) -> Sequence[int]:
    tops = {name.split("/")[0] for name in names if "/" in name} if all("/" in name for name in names) else set()
    only = 1 if len(tops) == 1 else 0
    return [max(only, most) for most in above] if above is not None else [only] * len(names)


def _composed(name: str) -> str:
    """macOS writes é as e and an accent; the names of a table are clean."""
    return unicodedata.normalize("NFC", clean(name))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", _composed(name).casefold())


def loosest(name: str) -> str:
    """Return what the loosest comparison compares: the name without case and ending."""
    folded = _folded(name)
    ending = PurePosixPath(folded).suffix
    return folded.removesuffix(ending) if ending in ENDINGS else folded


def name_shape(name: str) -> str:
    """Return the shape of the last part of a path, such as aaa_999.png for IMG_001.png: a name may be a patient's."""
    last = _composed(name.rsplit("/", 1)[-1])
    ending = PurePosixPath(last).suffix.lower()
    ending = ending if ending in ENDINGS else ""
    return _signs(last[: len(last) - len(ending)])[:LONGEST_SHAPE] + ending


def _signs(text: Iterable[str]) -> str:
    kinds: list[tuple[str, Callable[[str], bool]]] = [("9", str.isdigit), ("a", str.isalpha), (" ", str.isspace)]
    shape = ""
    for sign in text:
        shape += next(
            (kind for kind, fits in kinds if fits(sign)), sign if sign.isascii() and sign.isprintable() else ""
        )
    return shape
