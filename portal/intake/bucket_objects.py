"""Objects of the bucket that HILUM_FILM_BUCKET names: those of films, and with HILUM_RUNS_IN_BUCKET those of runs."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import storages

ALIAS = "films"
_CHUNK = 2**20


class BucketAway(Exception):
    """The bucket does not answer, or refuses. A sentence."""


class WrongBytes(BucketAway):
    """An object has other bytes than its row says. A sentence."""


@dataclass(frozen=True)
class Stored:
    """An object: its bytes and when it was written."""

    size: int
    written: datetime


@dataclass
class Filled:
    """How many things of a kind `manage.py fill_bucket` has put into the bucket, how many were there, and how many are
    missing in the data folder too."""

    what: str
    put: int = 0
    there: int = 0
    missing: int = 0


_fillers: list[Callable[[], Filled]] = []


def fill_also(filler: Callable[[], Filled]) -> None:
    """Let an app that comes after this one fill the bucket too; it calls this once, when it is ready."""
    _fillers.append(filler)


def fill_more() -> list[Filled]:
    """Raises BucketAway."""
    return [filler() for filler in _fillers]


def is_used() -> bool:
    return ALIAS in settings.STORAGES


def storage() -> Any:
    return storages[ALIAS]


def put(name: str, path: Path) -> None:
    """Put the file into the bucket, in the place of an object of that name. Raises BucketAway, OSError."""
    with answering(), path.open("rb") as file:
        storage().save(name, File(file))


def exists(name: str) -> bool:
    """Raises BucketAway."""
    with answering():
        return bool(storage().exists(name))


def written(name: str) -> datetime | None:
    """When the object was put there; None where there is none. Raises BucketAway."""
    if not exists(name):
        return None
    with answering():
        last_modified: datetime = storage().bucket.Object(_key(name)).last_modified
    return last_modified


def fetch(name: str, target: IO[bytes], *, sha256: str | None) -> None:
    """Write the object to an open file; `sha256` is None where nobody knows it. What was written is of no use where it
    raises WrongBytes or BucketAway."""
    digest = hashlib.sha256()
    with answering():
        body = storage().bucket.Object(_key(name)).get()["Body"]
        for chunk in body.iter_chunks(_CHUNK):
            digest.update(chunk)
            target.write(chunk)
    if sha256 is not None and digest.hexdigest() != sha256:
        raise WrongBytes(
            f"The bucket has other bytes under {name} than were put there: restore that object from a backup."
        )


def remove(name: str) -> bool:
    """Returns whether there was an object. Raises BucketAway."""
    is_there = exists(name)
    if is_there:
        with answering():
            storage().delete(name)
    return is_there


def listed(folder: str) -> Iterator[tuple[str, Stored]]:
    """The objects whose names begin with that of the folder, a thousand a request. Raises BucketAway."""
    before = len(_key(""))
    with answering():
        for one in storage().bucket.objects.filter(Prefix=_key(f"{folder}/")):
            yield one.key[before:], Stored(one.size, one.last_modified)


def _key(name: str) -> str:
    prefix = storage().location.strip("/")
    return f"{prefix}/{name}" if prefix else name


@contextmanager
def answering() -> Iterator[None]:
    """Raises BucketAway where the block's request is not answered."""
    from botocore.exceptions import BotoCoreError, ClientError  # an optional package

    try:
        yield
    except BotoCoreError as error:
        raise BucketAway(f"The bucket of films does not answer: {type(error).__name__}.") from error
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise BucketAway(f"The bucket of films refuses: {code}.") from error
