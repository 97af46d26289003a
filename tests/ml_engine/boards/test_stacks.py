from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_engine.boards import stacks
from ml_engine.boards.canonicals import BoardRequest, place_film, start_board
from ml_engine.models import CanonicalBoard
from ml_engine.runs import paths
from portal.models import Role
from tests.ml_engine import made

pytestmark = [pytest.mark.django_db]
FIT = [80 / 448, 0, 0, 0, 80 / 448, 0, 0, 0, 1.0]


@pytest.fixture
def board(data_dir: Path) -> CanonicalBoard:
    split = made.small_split(made.site(), fit=4)
    curator = made.person("curator", at=split.site, role=Role.CURATOR)
    board = start_board(BoardRequest(site=split.site, name="By hand", films=4, split=split, part="fit"), author=curator)
    for film in board.films.all():
        place_film(film=film, author=curator, matrix=FIT)
    return board


def test_a_long_stack_is_put_together_over_several_requests(board: CanonicalBoard) -> None:
    whole = stacks.stack_of(board)
    stacks.forget(board.uuid)
    parts = [stacks.stack_of(board, most=3) for _ in range(2)]
    assert [(part.aligned.films, part.missing) for part in parts] == [(3, 1), (4, 0)]
    assert parts[-1].aligned.sums.tobytes() == whole.aligned.sums.tobytes()


def test_a_damaged_file_of_sums_is_made_again(board: CanonicalBoard) -> None:
    whole = stacks.stack_of(board)
    (paths.board_folder(board.uuid) / "sums.npz").write_bytes(b"PK nothing")
    assert stacks.stack_of(board).aligned.sums.tobytes() == whole.aligned.sums.tobytes()


def test_the_stack_without_a_film_is_that_of_the_others(board: CanonicalBoard) -> None:
    whole = stacks.stack_of(board)
    without = stacks.stack_without(board, 2, whole)
    assert without.films == 3
    kept = np.sum([stacks._layers(row, 448)[0] for row in placed(board) if row.film.position != 2], axis=0)
    assert without.sums.tobytes() == kept.tobytes()
    assert stacks.stack_without(board, 99, whole) is whole.aligned


def placed(board: CanonicalBoard) -> list[object]:
    return list(stacks.current_placements(board).values())


def test_unmoved_films_have_the_variance_of_the_unaligned_ones(board: CanonicalBoard) -> None:
    whole = stacks.stack_of(board)
    assert whole.aligned.mean_variance() == pytest.approx(whole.unaligned.mean_variance(), rel=1e-3)
