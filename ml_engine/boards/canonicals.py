"""A canonical image made by hand (paper, section 3.1): start a board, place its films one by one, average them.

Each function is one transaction with its audit event. A placement is a row of its own, so that nothing is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
from django.db import transaction

from ml_engine.boards import films, stacks
from ml_engine.core import files
from ml_engine.core.alignment.hand_placement import (
    LEAST_LANDMARKS,
    InvalidPlacement,
    fit_affine,
    project,
    require_spread,
    usable,
)
from ml_engine.core.json_objects import to_json
from ml_engine.models import AlignmentModel, BoardFilm, CanonicalBoard, FilmPlacement, HandMadeCanonical, HowPlaced
from ml_engine.runs import canonical_files, paths
from ml_engine.runs.lifecycle import RunRefused
from portal.models import Cohort, Dataset, Site, Split, User
from portal.people import audit
from portal.people.access import require
from portal.people.blinding import refuse_withheld

MOST_FILMS = 500  # the paper's N
LEAST_AVERAGED = 2
LONGEST_NAME = 100
# Points that a frontal film shows; a film may lack some.
LANDMARKS = (
    "right lung apex",
    "left lung apex",
    "carina",
    "right costophrenic angle",
    "left costophrenic angle",
    "right cardiophrenic angle",
    "left cardiophrenic angle",
    "aortic knob",
    "right diaphragm dome",
    "left diaphragm dome",
)


@dataclass(frozen=True, kw_only=True)
class BoardRequest:
    """Films are drawn from one of: a part of a split, a cohort, a dataset."""

    site: Site
    name: str
    films: int
    seed: int = 0
    split: Split | None = None
    part: str = ""
    cohort: Cohort | None = None
    dataset: Dataset | None = None
    start: AlignmentModel | None = None


@dataclass(frozen=True, kw_only=True)
class CanonicalReport:
    """How a canonical image was made. The variances are across films, averaged over the pixels that half of them cover,
    in squared units of [0, 1]; ``unaligned`` of the same films in the same frame before."""

    films: int
    left_out: int
    people: int
    by_handles: int
    by_landmarks: int
    in_perspective: int
    variance_unaligned: float | None
    variance_aligned: float | None
    landmarks_rms_median_px: float | None


@dataclass(frozen=True)
class StoredPlacement:
    """A stored placement, with the distance of each landmark from its target in canonical pixels."""

    row: FilmPlacement
    residuals_px: Mapping[str, float]


@transaction.atomic
def start_board(request: BoardRequest, *, author: User) -> CanonicalBoard:
    """Raises RunRefused, PermissionDenied."""
    require(author, "align by hand", request.site)
    _check(request)
    ids = films.normal_frontal_films(
        split=request.split, part=request.part, cohort=request.cohort, dataset=request.dataset
    )
    chosen = films.drawn(ids, count=request.films, seed=request.seed)
    if len(chosen) < LEAST_AVERAGED:
        raise RunRefused(
            f"There {'is 1 normal frontal film' if len(chosen) == 1 else 'are no normal frontal films'} to draw from, "
            f"and a canonical image needs at least {LEAST_AVERAGED}: label some, or choose another set."
        )
    board = CanonicalBoard.objects.create(
        site=request.site,
        name=request.name.strip(),
        seed=request.seed,
        split=request.split,
        part=request.part if request.split else "",
        cohort=request.cohort,
        dataset=request.dataset,
        start=request.start,
        created_by=author,
    )
    BoardFilm.objects.bulk_create(
        [BoardFilm(board=board, image_id=pk, position=position) for position, pk in enumerate(chosen, start=1)]
    )
    after = {"name": board.name, "films": len(chosen), "seed": board.seed}
    audit.record(verb="start alignment board", site=board.site, actor=author, target=board, after=after)
    return board


def _check(request: BoardRequest) -> None:
    name = request.name.strip()
    if not name or len(name) > LONGEST_NAME:
        raise RunRefused(f"The name has {len(name)} characters: use 1 to {LONGEST_NAME}.", field="name")
    if not LEAST_AVERAGED <= request.films <= MOST_FILMS:
        raise RunRefused(
            f"{request.films} films are asked for: choose {LEAST_AVERAGED} to {MOST_FILMS}.", field="films"
        )
    sources: list[Any] = [thing for thing in (request.split, request.cohort, request.dataset) if thing is not None]
    if len(sources) != 1:
        raise RunRefused("Choose where the films come from: one split, one cohort or one dataset.", field="source")
    for thing in [*sources, *([request.start] if request.start else [])]:
        if thing.site_id != request.site.pk:
            raise RunRefused("What the films are drawn from belongs to another site; choose one of this site.")
    if request.split is not None and request.part not in films.PARTS:
        raise RunRefused(
            f"The part is “{request.part}”: a canonical image is made of films of align or fit, since the others judge "
            "what is fitted.",
            field="source",
        )


@transaction.atomic
def place_film(
    *,
    film: BoardFilm,
    author: User,
    matrix: Sequence[float],
    points: Mapping[str, Sequence[float]] | None = None,
) -> StoredPlacement:
    """Store where the film lies: by ``matrix`` (9), original_from_canonical, or by ``points``, its landmarks in
    original pixels, whose least-squares affine replaces the matrix. The first film with landmarks says, by its matrix,
    where they lie in the frame, and says it anew while no other film has any.

    Raises InvalidPlacement, PermissionDenied.
    """
    board, image = film.board, film.image
    require(author, "align by hand", board.site)
    refuse_withheld(author, image)
    size = (image.rows, image.columns)
    residuals: dict[str, float] = {}
    targets: dict[str, list[float]] = {}
    rms: float | None = None
    how = HowPlaced.HANDLES
    if points:
        how, known = HowPlaced.LANDMARKS, landmark_targets(board, without=film)
        _check_landmarks(points, size)
        shared = [name for name in LANDMARKS if name in points and name in known]
        if known:
            _check_shared(shared, known)
            fit = fit_affine([points[name] for name in shared], [known[name] for name in shared])
            matrix, rms = fit.matrix.ravel().tolist(), fit.rms_px
            residuals = dict(zip(shared, fit.residuals_px, strict=True))
        targets = _targets(points, known, usable(matrix, side=board.side, film=size))
    placed = usable(matrix, side=board.side, film=size)
    row = FilmPlacement.objects.create(
        film=film,
        how=how,
        matrix=placed.ravel().tolist(),
        points={name: [float(x), float(y)] for name, (x, y) in (points or {}).items()},
        targets=targets,
        rms_px=rms,
        author=author,
    )
    _record(row)
    return StoredPlacement(row, residuals)


def _check_landmarks(points: Mapping[str, Sequence[float]], size: tuple[int, int]) -> None:
    height, width = size
    for name, at in points.items():
        if name not in LANDMARKS:
            raise InvalidPlacement(f"There is no landmark “{name[:40]}”: the landmarks are {', '.join(LANDMARKS)}.")
        if len(at) != 2 or not np.isfinite(at).all() or not (0 <= at[0] <= width and 0 <= at[1] <= height):
            raise InvalidPlacement(f"The {name} lies outside the film: mark it again.")
    if len(points) < LEAST_LANDMARKS:
        raise InvalidPlacement(f"{len(points)} landmarks are marked: mark at least {LEAST_LANDMARKS}.")
    require_spread(list(points.values()))


def _check_shared(shared: Sequence[str], known: Mapping[str, Sequence[float]]) -> None:
    if len(shared) < LEAST_LANDMARKS:
        raise InvalidPlacement(
            f"{len(shared)} of these landmarks have a place in the frame: mark at least {LEAST_LANDMARKS} of "
            f"{', '.join(name for name in LANDMARKS if name in known)}."
        )


def _targets(
    points: Mapping[str, Sequence[float]], known: Mapping[str, Sequence[float]], matrix: Any
) -> dict[str, list[float]]:
    """Where the landmarks lie in the frame: as known, and otherwise where this film has them."""
    names = list(points)
    own = project(np.linalg.inv(matrix), np.array([points[name] for name in names], dtype=np.float64)).tolist()
    return {name: list(known.get(name, at)) for name, at in zip(names, own, strict=True)}


def landmark_targets(board: CanonicalBoard, *, without: BoardFilm | None = None) -> dict[str, list[float]]:
    """The place of each landmark in the frame, as the first film that has it says; empty before there is one. Films
    count as they are placed now, those `without` the one that is being placed: what was marked by mistake can be
    marked anew."""
    targets: dict[str, list[float]] = {}
    current = stacks.current_placements(board)
    for row in sorted(current.values(), key=lambda row: row.pk):
        if row.how != HowPlaced.LANDMARKS or row.film == without:
            continue
        for name, at in row.targets.items():
            targets.setdefault(name, at)
    return targets


@transaction.atomic
def leave_out(*, film: BoardFilm, author: User) -> FilmPlacement:
    """The film is not averaged: it is rotated, cut off, no chest … It can be placed later. Raises PermissionDenied."""
    require(author, "align by hand", film.board.site)
    refuse_withheld(author, film.image)
    row = FilmPlacement.objects.create(film=film, how=HowPlaced.LEFT_OUT, author=author)
    _record(row)
    return row


def _record(row: FilmPlacement) -> None:
    board = row.film.board
    after = {"film": row.film.position, "how": row.how}
    audit.record(verb="place film on board", site=board.site, actor=row.author, target=board, after=after)


@transaction.atomic
def make_canonical(*, board: CanonicalBoard, name: str, author: User) -> HandMadeCanonical:
    """Average the films as they are placed now. Raises RunRefused, PermissionDenied."""
    require(author, "align by hand", board.site)
    name = name.strip()
    if not name or len(name) > LONGEST_NAME:
        raise RunRefused(f"The name has {len(name)} characters: use 1 to {LONGEST_NAME}.", field="name")
    stack = stacks.stack_of(board)
    if stack.missing:
        raise RunRefused("The mean is still being put together: open the board, and make the canonical image then.")
    if stack.aligned.films < LEAST_AVERAGED:
        raise RunRefused(
            f"{stack.aligned.films} of the board's films {'is' if stack.aligned.films == 1 else 'are'} placed: place "
            f"at least {LEAST_AVERAGED}."
        )
    sha256 = _keep(stack)
    canonical = HandMadeCanonical.objects.create(
        site=board.site,
        board=board,
        name=name,
        sha256=sha256,
        films=stack.aligned.films,
        report=to_json(_report(board, stack)),
        made_by=author,
    )
    after = {"name": name, "films": canonical.films, "sha256": sha256}
    audit.record(verb="make canonical image", site=board.site, actor=author, target=canonical, after=after)
    return canonical


def _keep(stack: stacks.BoardStack) -> str:
    """Write canonical image and variance; the SHA-256 of the image's file."""
    folder = paths.canonical_path("x").parent
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{uuid4().hex}.npy"
    files.write_npy(temporary, stack.aligned.mean())
    sha256 = paths.file_sha256(temporary)
    variance = f"{sha256}{canonical_files.VARIANCE}"
    files.write_npy(paths.canonical_path(variance), stack.aligned.variance().astype(np.float32))
    temporary.replace(paths.canonical_path(sha256))
    for name in (variance, sha256):
        canonical_files.keep(name)
    return sha256


def _report(board: CanonicalBoard, stack: stacks.BoardStack) -> CanonicalReport:
    current = list(stacks.current_placements(board).values())
    placed = [row for row in current if row.matrix is not None]
    matrices = [row.matrix for row in placed if row.matrix is not None]
    how = Counter(row.how for row in current)
    rms = [row.rms_px for row in placed if row.rms_px is not None]
    return CanonicalReport(
        films=len(placed),
        left_out=how[HowPlaced.LEFT_OUT],
        people=len({row.author_id for row in placed}),
        by_handles=how[HowPlaced.HANDLES],
        by_landmarks=how[HowPlaced.LANDMARKS],
        in_perspective=len([matrix for matrix in matrices if max(abs(x) for x in matrix[6:8]) > 1e-9]),
        variance_unaligned=stack.unaligned.mean_variance(),
        variance_aligned=stack.aligned.mean_variance(),
        landmarks_rms_median_px=float(np.median(rms)) if rms else None,
    )
