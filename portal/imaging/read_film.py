"""Load a film from a file: our own stored pixels, or DICOM, PNG, JPEG or TIFF, recognised by content."""

from __future__ import annotations

from pathlib import Path

from portal.imaging.errors import UnusableFile
from portal.imaging.film import EMPTY_HEADER, Film, load_film
from portal.imaging.film_warnings import warned
from portal.imaging.raster import read_raster
from portal.imaging.visibility import leave_out_what_shows_nothing

MAX_FILE_BYTES = 1 << 30


def read_film(path: Path) -> tuple[Film, dict[str, str]]:
    """Return the film in a DICOM, PNG, JPEG, TIFF or `NAME.u16.gz` file and its allowed header.

    The header holds the facts that `deidentify.header` allows and, under the keys "identifier:patient_id",
    "identifier:study_uid" and "identifier:sop_uid" (empty where unknown), the identifiers that the caller must hash
    and discard; "identifier:acquired_on" of a DICOM file is the date that it must shift and discard; "report:elements"
    says what became of each element (`handled_elements`). The kind of a file is decided by its content; only our own
    stored pixels are recognised by name. Raises UnusableFile and no other exception.
    """
    if path.name.endswith(".u16.gz"):
        return load_film(path), dict(EMPTY_HEADER)
    return _read_foreign(path)


def _read_foreign(path: Path) -> tuple[Film, dict[str, str]]:
    """Return the film in a DICOM, PNG, JPEG or TIFF file and its allowed header. Raises UnusableFile only."""
    try:
        return _read(path)
    except UnusableFile:
        raise
    except MemoryError:
        raise UnusableFile(
            "too_large", "Decoding this file needs more memory than a film is allowed. Export it again."
        ) from None
    except RecursionError:
        raise UnusableFile("unreadable", "The header of this file is nested too deeply to be decoded.") from None
    except Exception:  # a hostile file may break a decoder anywhere, and the message may quote the file
        raise UnusableFile("unreadable", "This file is damaged and cannot be decoded. Export it again.") from None


def _read(path: Path) -> tuple[Film, dict[str, str]]:
    data = _whole_file(path)
    kind = _kind(data)
    if kind == "dicom":
        from portal.imaging.dicom import read_dicom  # slow to import, and not needed for PNG

        film, header = read_dicom(data)
    else:
        film, header = read_raster(data, kind)
        header = {**header, **EMPTY_HEADER}
    film, keys = leave_out_what_shows_nothing(film)
    return film, {**header, **warned(keys)}


def _whole_file(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe or a device may never end
            raise UnusableFile("unreadable", "This is not a file.")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UnusableFile("too_large", f"This file is larger than {MAX_FILE_BYTES >> 20} MiB.")
        with path.open("rb") as file:
            data = file.read(size)  # allocates the size it is called with, so not the largest allowed
    except OSError:
        raise UnusableFile("unreadable", "This file could not be opened.") from None
    if not data:
        raise UnusableFile("no_pixels", "This file is empty. Export or copy it again.")
    return data


def _kind(data: bytes) -> str:
    if data[128:132] == b"DICM":  # checked first: the preamble may hold the signature of another format
        return "dicom"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):  # the last two are BigTIFF
        return "tiff"
    return "dicom"  # old DICOM files have neither preamble nor signature
