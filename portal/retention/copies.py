"""Copies of films in the data folder, where a bucket keeps the films."""

import time
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from portal.intake import film_bucket, film_files, stored_files

LEAST_SECONDS = 3600.0  # a copy that was just stored or fetched is about to be read


@dataclass(frozen=True)
class Removed:
    """What went, and what is left."""

    files: int
    bytes: int
    bytes_left: int


def remove_copies(most_bytes: int) -> Removed:
    """Remove copies that the bucket has in the same size, those first that came first, until the rest takes at most so
    many bytes. They are fetched again where they are read. Runs that have a film keep its bytes. Raises BucketAway."""
    objects = film_bucket.objects()
    copies: list[tuple[float, int, Path]] = []
    for path in (Path(settings.DATA_DIR) / film_bucket.FOLDER).glob(f"??/*{film_bucket.ENDING}"):
        facts = path.stat()
        copies.append((facts.st_mtime, facts.st_size, path))
    left = sum(size for _, size, _ in copies)
    files = freed = 0
    for written, size, path in sorted(copies):
        if left <= most_bytes or written > time.time() - LEAST_SECONDS:
            break
        sha256 = path.name.removesuffix(film_bucket.ENDING)
        if sha256 not in objects or objects[sha256].size != size:
            continue
        with stored_files.removing():
            film_files.pixel_path(sha256).unlink(missing_ok=True)
        left, freed, files = left - size, freed + size, files + 1
    return Removed(files, freed, left)
