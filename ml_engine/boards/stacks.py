"""The stack of a board's films as they are placed now, kept on disk as sums of whole numbers.

The file is a cache: its sums are those of the placements that it names, whoever wrote it last. A film that is placed
again is taken out and put in; nothing else is read.
"""

from __future__ import annotations

import io
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ml_engine.boards.films import square_of
from ml_engine.core import files
from ml_engine.core.alignment.hand_stack import Stack, layer
from ml_engine.models import CanonicalBoard, FilmPlacement, HowPlaced
from ml_engine.runs import paths
from ml_engine.runs.lifecycle import RunRefused

MOST_AT_ONCE = 24  # films that one request adds: the next request goes on


@dataclass(frozen=True)
class BoardStack:
    """The films as they were placed, and as they are without an alignment, in the same frame. ``missing`` films are
    placed and not in it yet."""

    aligned: Stack
    unaligned: Stack
    missing: int


def current_placements(board: CanonicalBoard) -> dict[int, FilmPlacement]:
    """The last placement of each film of the board, by the primary key of the film; of those left out, too."""
    rows = FilmPlacement.objects.filter(film__board=board).select_related("film__image").order_by("pk")
    return {row.film_id: row for row in rows}


def placed_counts(boards: Sequence[CanonicalBoard]) -> Counter[int]:
    """How many films of each board are placed, by its primary key (a single query)."""
    rows = FilmPlacement.objects.filter(film__board__in=boards).order_by("pk")
    last = {film: (board, how) for film, board, how in rows.values_list("film", "film__board", "how")}
    return Counter(board for board, how in last.values() if how != HowPlaced.LEFT_OUT)


def stack_of(board: CanonicalBoard, *, most: int = MOST_AT_ONCE) -> BoardStack:
    """The stack, after at most ``most`` films were added or taken out. Raises RunRefused for a film without pixels."""
    wanted = {row.pk: row for row in current_placements(board).values() if row.matrix is not None}
    sums, kept = _read(board)
    gone = kept - set(wanted)
    old = {row.pk: row for row in FilmPlacement.objects.filter(pk__in=gone).select_related("film__image")}
    if len(old) < len(gone):  # of an erased patient
        sums, kept, old = _nothing(board), set(), {}
    changes = [(row, -1) for row in old.values()]
    changes += [(wanted[pk], 1) for pk in sorted(set(wanted) - kept)]
    for row, sign in changes[:most]:
        sums = sums + sign * _layers(row, board.side)
        kept = kept | {row.pk} if sign > 0 else kept - {row.pk}
    if changes:
        _write(board, sums, kept)
    left = changes[most:]
    return BoardStack(Stack(sums[0], len(kept)), Stack(sums[1], len(kept)), len(left))


def forget(board: UUID) -> None:
    """Delete the sums, in which a film of an erased patient may be."""
    shutil.rmtree(paths.board_folder(board), ignore_errors=True)


def _layers(row: FilmPlacement, side: int) -> NDArray[np.int64]:
    try:
        film = square_of(row.film.image, side)
    except RunRefused as refusal:
        raise RunRefused(f"Film {row.film.position} cannot be averaged. {refusal}") from refusal
    original_from_canonical = np.array(row.matrix, dtype=np.float64).reshape(3, 3)
    input_from_canonical = np.linalg.inv(film.original_from_input) @ original_from_canonical
    return np.stack([layer(film.image, film.box, input_from_canonical), layer(film.image, film.box, np.eye(3))])


def _nothing(board: CanonicalBoard) -> NDArray[np.int64]:
    return np.zeros((2, 3, board.side, board.side), dtype=np.int64)


def _read(board: CanonicalBoard) -> tuple[NDArray[np.int64], set[int]]:
    try:
        with np.load(paths.board_folder(board.uuid) / "sums.npz", allow_pickle=False) as stored:
            return stored["sums"], set(stored["placements"].tolist())
    except (OSError, ValueError, KeyError, EOFError):  # none yet, or damaged: made again
        return _nothing(board), set()


def _write(board: CanonicalBoard, sums: NDArray[np.int64], placements: set[int]) -> None:
    target = io.BytesIO()
    np.savez(target, sums=sums, placements=np.array(sorted(placements), dtype=np.int64))
    folder = paths.board_folder(board.uuid)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_bytes(folder / "sums.npz", target.getvalue())


def stack_without(board: CanonicalBoard, position: int, now: BoardStack) -> Stack:
    """The aligned films without the one at the position; all of them where it is not placed, or alone."""
    row = next((row for row in current_placements(board).values() if row.film.position == position), None)
    if row is None or row.matrix is None or now.missing or now.aligned.films < 2:
        return now.aligned
    return now.aligned.minus(_layers(row, board.side)[0])
