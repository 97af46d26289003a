"""Films as files to films as the algorithms take them: the one place where the engine decodes."""

from __future__ import annotations

from pathlib import Path

from ml_engine.core import files
from ml_engine.core.errors import UnreadableImage
from ml_engine.core.film.preprocess import FilmArray
from portal.imaging.errors import UnusableFile
from portal.imaging.film import Film, display_values, linear_range, linear_values, padding_mask, pixel_sha256
from portal.imaging.read_film import read_film


def read(path: Path, *, sha256: str = "") -> FilmArray:
    """The film in a file of any kind that the portal takes.

    ``sha256``, where given, is that of the file or of its decoded pixels. Raises UnreadableImage with a
    sentence that a curator understands.
    """
    if not path.is_file():
        raise UnreadableImage("The file is not there.")
    try:
        film, _ = read_film(path)
    except UnusableFile as problem:
        raise UnreadableImage(problem.sentence) from problem
    if sha256 and sha256 != files.sha256_of(path) and sha256 != pixel_sha256(film.stored):
        raise UnreadableImage("The file is not the one that the run was asked for: its SHA-256 differs.")
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
