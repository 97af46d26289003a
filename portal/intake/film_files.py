"""Paths of the portal's files in the data folder. Names come from hashes and UUIDs, never from a user's file names."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from portal.imaging.film import Film, PixelFacts, preview, unpack
from portal.intake import film_bucket, stored_files
from portal.models import Dataset, Image, Upload

_END_OF_JPEG = b"\xff\xd9"
PART = ".part-"  # begins the name of a file that is being written


def pixel_path(pixel_sha256: str) -> Path:
    """The gzip file of the stored uint16 pixels, named by their hash, so that equal films share a file. To read it, ask
    for `pixels_here`."""
    return Path(settings.DATA_DIR) / film_bucket.object_name(pixel_sha256)


def pixels_here(pixel_sha256: str) -> Path:
    """`pixel_path`, after the file was fetched from the bucket if that has it and the data folder does not. Raises
    BucketAway."""
    path = pixel_path(pixel_sha256)
    if film_bucket.is_used() and not path.exists() and (packed := film_bucket.fetched(pixel_sha256)) is not None:
        _write(path, packed, is_flushed=True)  # a copy that a power failure cut off would not be fetched again
    return path


def preview_path(image: Image) -> Path:
    return _root("previews") / str(image.uuid)[:2] / f"{image.uuid}.jpg"


def preview_bytes(image: Image) -> bytes:
    """The preview's JPEG, made again from the pixels where it is lost, for example in a restore, or cut off."""
    path = preview_path(image)
    if path.exists() and (there := path.read_bytes()).endswith(_END_OF_JPEG):
        return there
    stored = unpack(pixels_here(image.pixel_sha256).read_bytes(), image.rows, image.columns)
    made = preview(Film(stored, PixelFacts.from_json(image.facts)))
    write_preview(image, made)
    return made


def write_preview(image: Image, data: bytes) -> None:
    """Not flushed to the disk: one that a power failure cuts off is made again."""
    _write(preview_path(image), data, is_flushed=False)


def upload_path(name: str) -> Path:
    """`name` is the UUID of an upload with a file extension."""
    return _root("uploads") / name


def quarantine_folder(dataset: Dataset) -> Path:
    return _root("quarantine") / str(dataset.uuid)


@contextmanager
def unpacking_folder(upload: Upload) -> Iterator[Path]:
    """An empty folder for the files of an import, removed in the end. What killed imports of the upload left is removed
    first."""
    uploads = _root("uploads")
    for leftover in uploads.glob(f"unpacked-{upload.uuid}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=uploads, prefix=f"unpacked-{upload.uuid}-") as folder:
        yield Path(folder)


@contextmanager
def new_pixels() -> Iterator[Path]:
    """An empty file for packed pixels, which `keep_pixels` gives its name; without it the file is removed in the end,
    or, after a process was killed, by `zip_uploads.sweep`."""
    folder = _root("pixels")
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=PART)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def unfinished_pixels() -> Iterator[Path]:
    """The files of `new_pixels` that are being written, or were when their process was killed."""
    return _root("pixels").glob(f"{PART}*")


def keep_pixels(packed: Path, pixel_sha256: str) -> None:
    """Give the file of `new_pixels`, whose content has been flushed, the name of the hash, unless that is there. The
    bucket, where there is one, has it too then. Raises BucketAway."""
    path = pixel_path(pixel_sha256)
    with stored_files.storing():
        is_there = stored_files.renew(path)
        if not is_there:
            path.parent.mkdir(exist_ok=True)
            os.replace(packed, path)
        _keep_in_bucket(pixel_sha256)
    if is_there:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name too has to outlive a power failure that the film's row outlives
    finally:
        os.close(folder)


def write_pixels(pixel_sha256: str, packed: bytes) -> None:
    """As `keep_pixels`, of bytes. Raises BucketAway."""
    write_once(pixel_path(pixel_sha256), packed)
    with stored_files.storing():
        _keep_in_bucket(pixel_sha256)


def _keep_in_bucket(pixel_sha256: str) -> None:
    if film_bucket.is_used():
        film_bucket.keep(pixel_sha256, pixel_path(pixel_sha256))


def require_pixels(pixel_sha256: str) -> None:
    """For the transaction that stores a film. Raises FileGone: another process removed pixels that no film had."""
    if not stored_files.renew(pixel_path(pixel_sha256)):
        raise stored_files.FileGone(
            f"The pixels {pixel_sha256} were removed before their film was stored; start the import again: the films "
            "stored so far are kept."
        )


def remove_unused_pixels(pixel_sha256: str) -> None:
    """Remove pixels that were decoded and are not stored, unless a film has them."""
    with stored_files.removing():
        if not Image.objects.filter(pixel_sha256=pixel_sha256).exists():
            remove_pixels(pixel_sha256)


def remove_pixels(pixel_sha256: str) -> bool:
    """Remove the file, and the object of the bucket. Returns whether either was there. Raises BucketAway."""
    is_in_bucket = film_bucket.is_used() and film_bucket.remove(pixel_sha256)
    path = pixel_path(pixel_sha256)
    is_here = path.exists()
    path.unlink(missing_ok=True)
    return is_here or is_in_bucket


def write_once(path: Path, data: bytes) -> None:
    """Write the file completely or not at all: write a temporary file, flush it to disk and rename it."""
    with stored_files.storing():
        if not stored_files.renew(path):
            _write(path, data, is_flushed=True)


def _write(path: Path, data: bytes, *, is_flushed: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=PART)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if is_flushed:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _root(name: str) -> Path:
    return Path(settings.DATA_DIR) / name
