"""What an import stores of a film, made by the process that decodes it, so that no pixels are handed over."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from portal.imaging.film import Film, PixelFacts, pack, pixel_sha256, preview


@dataclass(frozen=True)
class PreparedFilm:
    """The facts of a film whose pixels are in a file, the hash of its pixels, and its preview, a JPEG."""

    facts: PixelFacts
    pixel_sha256: str
    preview: bytes


def prepare(film: Film, packed: Path) -> PreparedFilm:
    """Write the pixels as they are stored (`pack`) into the file `packed`, flushed to the disk, and return the rest."""
    with packed.open("wb") as file:
        file.write(pack(film.stored))
        file.flush()
        os.fsync(file.fileno())
    return PreparedFilm(film.facts, pixel_sha256(film.stored), preview(film))
