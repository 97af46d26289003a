"""The bucket of an S3 service that keeps the pixels of films, where HILUM_FILM_BUCKET names one.

An object has the name that the file has in the data folder, which comes from the hash of the pixels. The bucket has an
object before the film has its row. The file is a copy from then on: it is fetched where it is missing, and is checked
against the hash.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import storages

from portal.imaging.errors import UnusableFile
from portal.imaging.film import pixel_sha256, unpack
from portal.models import Image

ALIAS = "films"
FOLDER = "pixels"
ENDING = ".u16.gz"
AWAY = (
    "Waiting for the bucket in which films are kept, which does not answer. What was sent is kept; the import begins, "
    "or goes on, within minutes once it answers"
)


class BucketAway(Exception):
    """The bucket does not answer, or refuses. A sentence."""


class WrongPixels(BucketAway):
    """The bucket has other bytes under the name than those of the film. A sentence."""


@dataclass(frozen=True)
class Stored:
    """An object: its bytes and when it was written."""

    size: int
    written: datetime


def is_used() -> bool:
    return ALIAS in settings.STORAGES


def object_name(sha256: str) -> str:
    return f"{FOLDER}/{sha256[:2]}/{sha256}{ENDING}"


def keep(sha256: str, path: Path) -> None:
    """Put the file into the bucket, unless it is there. Raises BucketAway."""
    with _answering(), path.open("rb") as file:
        if not _storage().exists(object_name(sha256)):
            _storage().save(object_name(sha256), File(file))


def fetched(sha256: str) -> bytes | None:
    """The object of a film, packed as in its file, checked; None where there is none. Raises BucketAway, and
    WrongPixels."""
    film = Image.objects.filter(pixel_sha256=sha256).only("rows", "columns").first()
    if film is None:
        return None
    with _answering():
        if not _storage().exists(object_name(sha256)):
            return None
        with _storage().open(object_name(sha256)) as source:
            packed: bytes = source.read()
    try:
        is_ours = pixel_sha256(unpack(packed, film.rows, film.columns)) == sha256
    except UnusableFile:
        is_ours = False
    if not is_ours:
        raise WrongPixels(
            f"The bucket has other bytes than those of the film under {object_name(sha256)}: restore that object from "
            "a backup."
        )
    return packed


def remove(sha256: str) -> bool:
    """Returns whether there was an object. Raises BucketAway."""
    with _answering():
        is_there = bool(_storage().exists(object_name(sha256)))
        if is_there:
            _storage().delete(object_name(sha256))
    return is_there


def objects() -> Mapping[str, Stored]:
    """All films of the bucket, by hash: one request for a thousand. Raises BucketAway."""
    storage = _storage()
    before = "/".join(filter(None, (storage.location.strip("/"), FOLDER, "")))
    with _answering():
        return {
            Path(one.key).name.removesuffix(ENDING): Stored(one.size, one.last_modified)
            for one in storage.bucket.objects.filter(Prefix=before)
            if one.key.endswith(ENDING)
        }


def _storage() -> Any:
    return storages[ALIAS]


@contextmanager
def _answering() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError  # an optional package

    try:
        yield
    except BotoCoreError as error:
        raise BucketAway(f"The bucket of films does not answer: {type(error).__name__}.") from error
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise BucketAway(f"The bucket of films refuses: {code}.") from error
