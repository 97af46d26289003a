"""Paths of the portal's files in the data folder. Names come from hashes and UUIDs, never from a user's file names."""

import os
import tempfile
from pathlib import Path

from django.conf import settings

from portal.imaging.film import Film, PixelFacts, preview, unpack
from portal.models import Image


def pixel_path(pixel_sha256: str) -> Path:
    """The gzip file of the stored uint16 pixels, named by their hash, so that equal films share a file."""
    return _root("pixels") / pixel_sha256[:2] / f"{pixel_sha256}.u16.gz"


def preview_path(image: Image) -> Path:
    return _root("previews") / str(image.uuid)[:2] / f"{image.uuid}.jpg"


def preview_bytes(image: Image) -> bytes:
    """The preview's JPEG, made again from the pixels where it is lost, for example in a restore."""
    path = preview_path(image)
    if not path.exists():
        stored = unpack(pixel_path(image.pixel_sha256).read_bytes(), image.rows, image.columns)
        write_once(path, preview(Film(stored, PixelFacts.from_json(image.facts))))
    return path.read_bytes()


def upload_path(name: str) -> Path:
    """`name` is the UUID of an upload with a file extension."""
    return _root("uploads") / name


def write_once(path: Path, data: bytes) -> None:
    """Write the file completely or not at all: write a temporary file, flush it to disk and rename it."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _root(name: str) -> Path:
    return Path(settings.DATA_DIR) / name
