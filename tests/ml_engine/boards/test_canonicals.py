"""A canonical image made by hand: films drawn, placed and averaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction

from ml_engine.boards import films, stacks
from ml_engine.boards.canonicals import (
    LANDMARKS,
    BoardRequest,
    CanonicalReport,
    landmark_targets,
    leave_out,
    make_canonical,
    place_film,
    start_board,
)
from ml_engine.core import files
from ml_engine.core.alignment.canonical import mean_of_aligned
from ml_engine.core.alignment.hand_placement import InvalidPlacement, project
from ml_engine.core.alignment.perspective import normalised_perspective
from ml_engine.core.config import PipelineConfig
from ml_engine.core.film.preprocess import prepare, valid_area
from ml_engine.core.json_objects import from_json
from ml_engine.engine.decode_films import as_array
from ml_engine.models import BoardFilm, CanonicalBoard, FilmPlacement, HowPlaced
from ml_engine.runs import paths
from ml_engine.runs.lifecycle import RunRefused
from portal.imaging.film import Film, PixelFacts, unpack
from portal.intake.film_files import pixel_path
from portal.models import AuditEvent, Image, Role, Split, User
from portal.people.blinding import open_for
from tests.ml_engine import made
from tests.portal import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both]
FIT = [80 / 448, 0, 0, 0, 80 / 448, 0, 0, 0, 1.0]  # a film of 80 x 80 pixels fills the frame


@pytest.fixture
def split(data_dir: Path) -> Split:
    return made.small_split(made.site(), fit=5)


@pytest.fixture
def curator(split: Split) -> User:
    return made.person("curator", at=split.site, role=Role.CURATOR)


@pytest.fixture
def board(split: Split, curator: User) -> CanonicalBoard:
    return start_board(asked(split), author=curator)


def asked(of: Split, **changes: Any) -> BoardRequest:
    return BoardRequest(**{"site": of.site, "name": "By hand", "films": 5, "split": of, "part": "fit", **changes})


def film(board: CanonicalBoard, position: int) -> BoardFilm:
    return board.films.get(position=position)


def drawn(board: CanonicalBoard) -> list[int]:
    return list(board.films.values_list("image", flat=True))


def test_films_are_drawn_by_seed_from_the_normal_ones_of_the_part(split: Split, curator: User) -> None:
    fit = set(Image.objects.filter(split_images__member__part="fit").values_list("pk", flat=True))
    boards = [start_board(asked(split, films=4, seed=seed), author=curator) for seed in (7, 7, 8)]
    first, again, other = map(drawn, boards)
    assert first == again
    assert first != other
    assert len(set(first)) == 4
    assert set(first) <= fit


def test_a_dataset_gives_its_normal_frontal_films_that_no_split_tests_on(split: Split) -> None:
    dataset = factories.dataset("Others", at=split.site)
    kept, tested = factories.films(dataset, normal=2)
    factories.films(dataset, abnormal=1, unlabelled=1)
    factories.film(dataset, "normal", view="LATERAL")
    made.split(split.site, {"test": [tested]}, name="Second")
    drawn_from = {"split": None, "part": "", "cohort": None}
    assert films.normal_frontal_films(dataset=dataset, **drawn_from) == [kept.pk]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"part": "test"}, "The part is “test”: a canonical image is made of films of align or fit"),
        ({"films": 501}, "501 films are asked for: choose 2 to 500"),
        ({"name": " "}, "The name has 0 characters"),
        ({"split": None}, "Choose where the films come from"),
        ({"part": "align"}, "There are no normal frontal films to draw from"),
    ],
)
def test_a_board_that_makes_no_sense_is_refused(
    split: Split, curator: User, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RunRefused, match=sentence):
        start_board(asked(split, **changes), author=curator)


def test_a_reader_starts_no_board_and_places_no_film(board: CanonicalBoard) -> None:
    reader = made.person("reader", at=board.site, role=Role.READER)
    assert board.split is not None
    with pytest.raises(PermissionDenied):
        start_board(asked(board.split), author=reader)
    with pytest.raises(PermissionDenied):
        place_film(film=film(board, 1), author=reader, matrix=FIT)
    with pytest.raises(PermissionDenied):
        make_canonical(board=board, name="Mine", author=reader)


def test_a_film_that_is_read_blinded_is_not_placed(board: CanonicalBoard, curator: User) -> None:
    open_for(person=curator, images=[film(board, 1).image], source=board.uuid, words="a worklist", days=1)
    with pytest.raises(PermissionDenied, match="blinded in a worklist"):
        place_film(film=film(board, 1), author=curator, matrix=FIT)
    with pytest.raises(PermissionDenied, match="blinded in a worklist"):
        leave_out(film=film(board, 1), author=curator)


def test_every_placement_is_kept_and_the_last_one_counts(board: CanonicalBoard, curator: User) -> None:
    moved = [*FIT[:2], 3.0, *FIT[3:]]
    place_film(film=film(board, 1), author=curator, matrix=FIT)
    leave_out(film=film(board, 1), author=curator)
    place_film(film=film(board, 1), author=curator, matrix=moved)

    rows = list(FilmPlacement.objects.filter(film__board=board).values_list("how", "author__username"))
    assert rows == [("handles", "curator"), ("left out", "curator"), ("handles", "curator")]
    (current,) = stacks.current_placements(board).values()
    assert current.matrix == moved
    assert AuditEvent.objects.filter(verb="place film on board").count() == 3
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        FilmPlacement.objects.update(matrix=FIT)


def test_the_mean_is_that_of_the_engine_on_the_same_films(board: CanonicalBoard, curator: User) -> None:
    generator = np.random.default_rng(0)
    matrices = []
    for row in board.films.all():
        matrix = np.reshape(FIT, (3, 3)) @ (np.eye(3) + generator.normal(0, 0.02, (3, 3)) * [[1], [1], [0.01]])
        matrices.append(np.array(place_film(film=row, author=curator, matrix=matrix.ravel().tolist()).row.matrix))
    leave_out(film=film(board, 4), author=curator)
    canonical = make_canonical(board=board, name="Mean", author=curator)

    kept = [row for row in board.films.select_related("image") if row.position != 4]
    prepared = [prepare(as_array(pixels_of(row.image)), CONFIG, size=448) for row in kept]
    inputs = torch.stack([torch.linalg.inv(homogeneous(one.original_from_input)) for one in prepared])
    placed = torch.from_numpy(np.stack([matrices[row.position - 1].reshape(3, 3) for row in kept]))
    thetas = normalised_perspective(inputs @ placed, 448).float()
    images = torch.stack([one.image for one in prepared])[:, None]
    mask = valid_area(np.array([one.box for one in prepared]), 448).float()
    expected = mean_of_aligned(images, mask, thetas).image[0, 0].numpy()

    stored = files.read_npy(paths.canonical_path(canonical.sha256))
    assert (stored.dtype, stored.shape) == (np.float32, (448, 448))
    assert np.quantile(np.abs(stored - expected), 0.99) < 2e-3
    report = from_json(CanonicalReport, canonical.report, source="x", advice="y")
    assert (report.films, report.left_out, report.by_handles, report.in_perspective) == (4, 1, 4, 4)
    assert canonical.films == 4


CONFIG = PipelineConfig.from_preset("default")


def pixels_of(image: Image) -> Film:
    stored = unpack(pixel_path(image.pixel_sha256).read_bytes(), image.rows, image.columns)
    return Film(stored, PixelFacts.from_json(image.facts))


def homogeneous(affine: torch.Tensor) -> torch.Tensor:
    return torch.cat([affine, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)])


def test_two_equal_places_give_the_same_file_whatever_was_tried_between(board: CanonicalBoard, curator: User) -> None:
    for position in (1, 2):
        place_film(film=film(board, position), author=curator, matrix=FIT)
    first = make_canonical(board=board, name="First", author=curator)
    place_film(film=film(board, 2), author=curator, matrix=[*FIT[:2], 9.0, *FIT[3:]])
    assert make_canonical(board=board, name="Moved", author=curator).sha256 != first.sha256
    place_film(film=film(board, 2), author=curator, matrix=FIT)
    assert make_canonical(board=board, name="Back", author=curator).sha256 == first.sha256
    stacks.forget(board.uuid)
    assert make_canonical(board=board, name="From nothing", author=curator).sha256 == first.sha256


def test_a_canonical_image_needs_two_films_and_a_name(board: CanonicalBoard, curator: User) -> None:
    place_film(film=film(board, 1), author=curator, matrix=FIT)
    with pytest.raises(RunRefused, match="1 of the board's films is placed: place at least 2"):
        make_canonical(board=board, name="Mine", author=curator)
    with pytest.raises(RunRefused, match="The name has 0 characters"):
        make_canonical(board=board, name=" ", author=curator)


MARKED = {name: [8.0 + 7 * k, 10.0 + (37 * k) % 61] for k, name in enumerate(LANDMARKS[:7])}


def test_the_first_film_with_landmarks_says_where_they_lie(board: CanonicalBoard, curator: User) -> None:
    turned = np.reshape(FIT, (3, 3)) @ [[1, 0.1, 5], [-0.1, 1, -3], [0, 0, 1]]
    placed = place_film(film=film(board, 1), author=curator, matrix=turned.ravel().tolist(), points=MARKED)
    assert placed.row.how == HowPlaced.LANDMARKS
    assert placed.row.matrix == pytest.approx(turned.ravel())
    targets = landmark_targets(board)
    assert set(targets) == set(MARKED)
    np.testing.assert_allclose(
        project(turned, np.array([targets[name] for name in MARKED])), list(MARKED.values()), atol=1e-9
    )


def test_landmarks_of_a_known_affine_place_the_next_film(board: CanonicalBoard, curator: User) -> None:
    place_film(film=film(board, 1), author=curator, matrix=FIT, points=MARKED)
    known = np.array([[0.95, 0.05, 2.0], [-0.04, 1.02, -1.5], [0, 0, 1]])  # film 2 from film 1
    points = dict(zip(MARKED, project(known, np.array(list(MARKED.values()))).tolist(), strict=True))
    far = {**points, LANDMARKS[7]: [40.0, 40.0]}  # of which no film has said where it lies

    placed = place_film(film=film(board, 2), author=curator, matrix=FIT, points=far)
    np.testing.assert_allclose(np.reshape(placed.row.matrix, (3, 3)), known @ np.reshape(FIT, (3, 3)), atol=1e-9)
    assert placed.row.rms_px == pytest.approx(0, abs=1e-9)
    assert set(placed.residuals_px) == set(MARKED)
    assert landmark_targets(board)[LANDMARKS[7]] == pytest.approx(
        project(np.linalg.inv(known @ np.reshape(FIT, (3, 3))), np.array([[40.0, 40.0]]))[0]
    )


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ({"nose": [1, 1]}, "There is no landmark “nose”"),
        ({LANDMARKS[0]: [81, 1]}, "The right lung apex lies outside the film"),
        (dict(list(MARKED.items())[:5]), "5 landmarks are marked: mark at least 6"),
        ({name: [8.0 + k, 9.0] for k, name in enumerate(MARKED)}, "The landmarks lie on a line"),
    ],
)
def test_landmarks_that_cannot_be_are_refused(
    board: CanonicalBoard, curator: User, points: dict[str, list[float]], sentence: str
) -> None:
    with pytest.raises(InvalidPlacement, match=sentence):
        place_film(film=film(board, 1), author=curator, matrix=FIT, points=points)
    assert not FilmPlacement.objects.exists()


def test_landmarks_of_the_first_film_can_be_marked_anew(board: CanonicalBoard, curator: User) -> None:
    mistaken = {name: [80 - x, y] for name, (x, y) in MARKED.items()}  # left and right exchanged
    place_film(film=film(board, 1), author=curator, matrix=FIT, points=mistaken)
    with pytest.raises(InvalidPlacement, match="inside out"):
        place_film(film=film(board, 2), author=curator, matrix=FIT, points=MARKED)
    again = place_film(film=film(board, 1), author=curator, matrix=FIT, points=MARKED)
    assert (again.row.matrix, again.row.rms_px) == (FIT, None)
    placed = place_film(film=film(board, 2), author=curator, matrix=FIT, points=MARKED)
    np.testing.assert_allclose(placed.row.matrix, FIT, atol=1e-9)
    for position in (1, 2):
        leave_out(film=film(board, position), author=curator)
    assert landmark_targets(board) == {}


def test_landmarks_that_no_other_film_has_place_no_film(board: CanonicalBoard, curator: User) -> None:
    place_film(film=film(board, 1), author=curator, matrix=FIT, points=MARKED)
    others = dict(zip(LANDMARKS[5:], [[8.0 + 7 * k, 10.0 + (37 * k) % 61] for k in range(5)], strict=True))
    with pytest.raises(
        InvalidPlacement, match="3 of these landmarks have a place in the frame: mark at least 6 of right"
    ):
        place_film(film=film(board, 2), author=curator, matrix=FIT, points={**others, LANDMARKS[0]: [9.0, 70.0]})
