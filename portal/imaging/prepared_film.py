"""A film with all that an import stores of it, so that the process that decodes it does this work too."""

from __future__ import annotations

from dataclasses import dataclass

from portal.imaging.film import Film, pack, pixel_sha256, preview


@dataclass(frozen=True)
class PreparedFilm(Film):
    """A film with the hash of its pixels, its pixels as they are stored (`pack`), and its preview, a JPEG."""

    pixel_sha256: str
    packed: bytes
    preview: bytes


def prepare(film: Film) -> PreparedFilm:
    """Return the film with what is stored of it."""
    return PreparedFilm(film.stored, film.facts, pixel_sha256(film.stored), pack(film.stored), preview(film))
