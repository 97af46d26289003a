"""Copies in the data folder of what a bucket keeps: films, and what other apps add, such as the folders of runs."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db.models import Max

from portal.intake import film_bucket, stored_files
from portal.models import Erasure

LEAST_SECONDS = 3600.0  # a copy that was just stored or fetched is about to be read


@dataclass(frozen=True)
class Copy:
    """A file, or a folder as a whole, that is fetched again where it is read; `written` is a time of the clock."""

    written: float
    size: int
    remove: Callable[[], None]


@dataclass(frozen=True)
class Removed:
    """What went, and what is left."""

    files: int
    bytes: int
    bytes_left: int


_more: list[Callable[[], Iterable[Copy]]] = []
_outdated: list[Callable[[], int]] = []


def copies_also(copies: Callable[[], Iterable[Copy]]) -> None:
    """Let an app that comes after this one add its copies; it calls this once, when it is ready."""
    _more.append(copies)


def outdated_also(remove: Callable[[], int]) -> None:
    """Let an app remove copies here of what was changed or erased on another machine; `remove` gives their number."""
    _outdated.append(remove)


def remove_outdated() -> int:
    """Remove copies of what was changed or erased on another machine; where machines share the data folder there are
    none."""
    return sum(remove() for remove in _outdated) if settings.RUNS_IN_BUCKET else 0


def made_before_the_last_erasure(name: str) -> Callable[[], int]:
    """For `outdated_also`: what lies in a folder of the data folder is made again where it is missing, so that what was
    made before a patient was erased is removed."""

    def remove() -> int:
        last = Erasure.objects.aggregate(last=Max("finished_at"))["last"]
        folders = (Path(settings.DATA_DIR) / name).glob("*") if last else []
        old = [path for path in folders if path.is_dir() and _newest(path) < last.timestamp()]
        for path in old:
            shutil.rmtree(path, ignore_errors=True)
        return len(old)

    return remove


def _newest(folder: Path) -> float:
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))


def remove_copies(most_bytes: int) -> Removed:
    """Remove copies, those first that came first, until the rest takes at most so many bytes. They are fetched again
    where they are read. Raises BucketAway."""
    copies = [*_films(), *(copy for more in _more for copy in more())]
    left = sum(copy.size for copy in copies)
    files = freed = 0
    for copy in sorted(copies, key=lambda copy: copy.written):
        if left <= most_bytes or copy.written > time.time() - LEAST_SECONDS:
            break
        copy.remove()
        left, freed, files = left - copy.size, freed + copy.size, files + 1
    return Removed(files, freed, left)


def _films() -> Iterator[Copy]:
    """Those that the bucket has in the same size. Runs that have a film keep its bytes while they execute."""
    objects = film_bucket.objects()
    for path in (Path(settings.DATA_DIR) / film_bucket.FOLDER).glob(f"??/*{film_bucket.ENDING}"):
        facts = path.stat()
        sha256 = path.name.removesuffix(film_bucket.ENDING)
        if sha256 in objects and objects[sha256].size == facts.st_size:
            yield Copy(facts.st_mtime, facts.st_size, partial(_remove_film, path))


def _remove_film(path: Path) -> None:
    with stored_files.removing():
        path.unlink(missing_ok=True)
