"""What an import stores of a film, made by the process that decodes it, so that no pixels are handed over."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from portal.imaging.film import Film, PixelFacts, pack, pixel_sha256, preview


@dataclass(frozen=True)
class PreparedFilm:
    """The facts of a film whose pixels are in a file, the hash of its pixels, and its preview, a JPEG."""

    facts: PixelFacts
    pixel_sha256: str
    preview: bytes


def with_bits(film: Film, bits: int) -> Film:
    """The film of a 16-bit picture with the number of bits that are used, if its values fit in them: the file itself
    does not say it."""
    if film.facts.source == "dicom" or film.facts.bits_stored <= bits or int(film.stored.max()) >= 2**bits:
        return film
    return Film(film.stored, replace(film.facts, bits_stored=bits))


def shown_inverted(film: Film) -> Film:
    """The film of a picture of which its makers say that 0 is white; its pixels stay as they are. A DICOM file says it
    itself."""
    if film.facts.source == "dicom":
        return film
    return Film(film.stored, replace(film.facts, photometric="MONOCHROME1"))


def prepare(film: Film, packed: Path) -> PreparedFilm:
    """Write the pixels as they are stored (`pack`) into the file `packed`, flushed to the disk, and return the rest."""
    with packed.open("wb") as file:
        file.write(pack(film.stored))
        file.flush()
        os.fsync(file.fileno())
    return PreparedFilm(film.facts, pixel_sha256(film.stored), preview(film))
