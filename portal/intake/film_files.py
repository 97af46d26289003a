"""Where the files of finished work lie in the data folder. Names come from hashes and row addresses, never from
what a user sent."""

import os
import tempfile
from pathlib import Path

from django.conf import settings

from portal.models import Image


def pixel_path(pixel_sha256: str) -> Path:
    """gzip of the stored uint16 pixels, named by the hash of the pixels: one file for equal films."""
    return _root("pixels") / pixel_sha256[:2] / f"{pixel_sha256}.u16.gz"


def preview_path(image: Image) -> Path:
    return _root("previews") / str(image.uuid)[:2] / f"{image.uuid}.jpg"


def upload_path(name: str) -> Path:
    """`name` is a row's address, with an ending of ours."""
    return _root("uploads") / name


def write_once(path: Path, data: bytes) -> None:
    """The whole file under its name, or nothing: written aside, flushed to disk and renamed."""
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
