"""Files of the data folder that rows name: a backup without one of them is not whole. Other apps add theirs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from portal.intake.film_files import pixel_path
from portal.intake.quarantine_files import kept_path
from portal.intake.zip_uploads import zip_path
from portal.models import Image, QuarantinedFile, Upload


@dataclass(frozen=True)
class FileOfBucket:
    """A file of the bucket that this machine has no copy of: where it would lie, and how to write it to a file."""

    path: Path
    sha256: str
    fetch: Callable[[IO[bytes]], None]


FilesOfBucket = Callable[[], Iterator[FileOfBucket]]
NamedFiles = Callable[[], Iterator[tuple[str, Path]]]  # what the file is, in words, and where it lies
_sources: list[NamedFiles] = []
_of_bucket: list[FilesOfBucket] = []


def name_also(source: NamedFiles) -> None:
    """Count the files that `source` gives; an app calls it once, when it is ready."""
    _sources.append(source)


def store_also(source: FilesOfBucket) -> None:
    """Let backups have the files that `source` gives, which may raise BucketAway; as `name_also`."""
    _of_bucket.append(source)


def files_of_bucket() -> Iterator[FileOfBucket]:
    return (file for source in _of_bucket for file in source())


def named_files() -> dict[Path, str]:
    """Every file that a row names, with what it is."""
    return {path: what for source in [_of_portal, *_sources] for what, path in source()}


def _of_portal() -> Iterator[tuple[str, Path]]:
    for digest in Image.objects.values_list("pixel_sha256", flat=True).distinct().iterator():
        yield "the pixels of a film", pixel_path(digest)
    for file in QuarantinedFile.objects.filter(kept_at__isnull=False).select_related("dataset").iterator():
        yield "a file in quarantine", kept_path(file)
    for upload in Upload.objects.filter(state=Upload.State.MAPPING):
        yield "an upload that waits for an answer", zip_path(upload)
