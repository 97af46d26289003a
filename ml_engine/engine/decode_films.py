"""Film files to the arrays that the algorithms take: the only place where the engine decodes a film."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from ml_engine.core import files
from ml_engine.core.errors import UnreadableImage
from ml_engine.core.film.gray_scale import FilmArray
from portal.imaging.errors import UnusableFile
from portal.imaging.film import Film, display_values, linear_range, linear_values, padding_mask, pixel_sha256
from portal.imaging.read_film import read_film

Result = TypeVar("Result")


def ahead(work: Callable[[int], Result], count: int, *, workers: int) -> Iterator[Callable[[], Result]]:
    """For each number from 0 to ``count`` - 1, in order, a function that returns, or raises, what ``work`` does for it.

    With several ``workers`` these threads run ahead by one film each, so that only as many are in memory: decoders and
    torch let other threads run.
    """
    if workers == 1:
        yield from (partial(work, number) for number in range(count))
        return
    waiting: deque[Future[Result]] = deque()
    with warnings.catch_warnings(), ThreadPoolExecutor(workers, thread_name_prefix="film") as pool:
        warnings.simplefilter("ignore")  # as the readers do for each film: their filters are shared by all threads
        try:
            for number in range(count):
                waiting.append(pool.submit(work, number))
                if len(waiting) > workers:
                    yield waiting.popleft().result
            while waiting:
                yield waiting.popleft().result
        finally:
            for future in waiting:
                future.cancel()


def decode_film(path: Path, *, sha256: str = "") -> FilmArray:
    """The film in a file of any format that the portal accepts.

    ``sha256``, unless empty, must be that of the file or of its decoded pixels. Raises UnreadableImage with a sentence
    for the curator.
    """
    if not path.is_file():
        raise UnreadableImage("The file is not there.")
    try:
        film, _ = read_film(path)
    except UnusableFile as problem:
        raise UnreadableImage(problem.sentence) from problem
    if sha256 and sha256 != files.sha256_of(path) and sha256 != pixel_sha256(film.stored):
        raise UnreadableImage("The file is not the one that the run was requested for: its SHA-256 differs.")
    return as_array(film)


def as_array(film: Film) -> FilmArray:
    return FilmArray(
        values=linear_values(film),
        bits=film.facts.bits_stored,
        ends=linear_range(film.facts),
        display=display_values(film),
        padding=padding_mask(film),
        pixel_aspect=film.facts.aspect,
        spacing_mm=film.facts.spacing_mm,
    )
