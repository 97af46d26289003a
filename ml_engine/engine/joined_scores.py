"""The results of ranges of films, joined to those of all films: the bytes are those of one run over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.engine.scored_folder import (
    ARRAYS,
    SCORES,
    SEMI_SUPERVISED_SUMMARY,
    SUMMARY,
    ResultsMissing,
    ScoredFolder,
    ScoreSummary,
)

ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class ScoredRange:
    """A scored folder of the films from ``first`` on, counted from 0 in the whole run."""

    first: int
    folder: ScoredFolder


def join_arrays(parts: Sequence[Path], whole: Path) -> None:
    """Write the .npy file of the rows of all ``parts``, in their order; they must agree on all but their number."""
    opened = [files.open_npy(part) for part in parts]
    shape = (sum(len(array) for array in opened), *opened[0].shape[1:])
    if len({array.dtype for array in opened}) > 1:
        raise ResultsMissing(f"{whole.name} has numbers of two kinds in two ranges: score the films again.")
    files.stream_npy(whole, shape, _rows(opened), kind=opened[0].dtype.str)


def _rows(arrays: Sequence[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    for array in arrays:
        for first in range(0, len(array), ROWS_AT_ONCE):
            yield np.asarray(array[first : first + ROWS_AT_ONCE])


def join(parts: Sequence[ScoredRange], whole: ScoredFolder, *, maps: Path, head_maps: Path) -> None:
    """Write the results of all films into ``whole``. ``maps`` and ``head_maps`` are files with the joined maps, to
    which the results link."""
    folders = [part.folder for part in parts]
    for name, file in ARRAYS.items():
        if not (folders[0].path / file).is_file():
            continue
        if name == "maps":
            whole.take_maps(maps)
        elif name == "semi_supervised_maps":
            files.link_or_copy(head_maps, whole.path / file)
        else:
            join_arrays([folder.path / file for folder in folders], whole.path / file)
    files.write_bytes(whole.path / SCORES, _lines([folder.path / SCORES for folder in folders]))
    if folders[0].is_semi_supervised:
        files.write_json(whole.path / SEMI_SUPERVISED_SUMMARY, _one(folders, SEMI_SUPERVISED_SUMMARY))
    whole.write_summary(_summary(parts))
    whole.check()


def _lines(tables: Sequence[Path]) -> bytes:
    """The lines of all tables below one header."""
    header, newline = b"", b""
    texts: list[bytes] = []
    for table in tables:
        first, newline, lines = table.read_bytes().partition(b"\n")
        if header not in (b"", first):
            raise ResultsMissing(f"{SCORES} has other columns in two ranges: score the films again.")
        header = first
        texts.append(lines)
    return b"".join([header, newline, *texts])


def _one(folders: Sequence[ScoredFolder], name: str) -> Any:
    """The content that the file has in all folders. Raises ResultsMissing where two differ."""
    contents = [files.read_json(folder.path / name) for folder in folders]
    if any(content != contents[0] for content in contents):
        raise ResultsMissing(f"{name} differs between two ranges of the run: score the films again.")
    return contents[0]


def _summary(parts: Sequence[ScoredRange]) -> ScoreSummary:
    summaries = [part.folder.summary for part in parts]
    common = [_with_rows(summary, [], [], {}) for summary in summaries]
    if any(summary != common[0] for summary in common):
        raise ResultsMissing(f"{SUMMARY} differs between two ranges of the run: score the films again.")
    flagged: list[int] = []
    by_hand: list[int] = []
    unreadable: dict[str, str] = {}
    for part, summary in zip(parts, summaries, strict=True):
        flagged += [part.first + row for row in summary.flagged or ()]
        by_hand += [part.first + row for row in summary.by_hand]
        unreadable |= rows_from(part.first, summary.unreadable)
    return _with_rows(summaries[0], flagged, by_hand, unreadable)


def _with_rows(
    summary: ScoreSummary, flagged: list[int], by_hand: list[int], unreadable: dict[str, str]
) -> ScoreSummary:
    return replace(summary, flagged=flagged, by_hand=by_hand, unreadable=unreadable)


def rows_from(first: int, by_row: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping by row, whose rows are counted from ``first`` on."""
    return {str(first + int(row)): value for row, value in by_row.items()}
