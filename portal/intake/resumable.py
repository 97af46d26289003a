"""Uploads in parts: a file arrives in any number of requests, and goes on where it was cut, even on another day.

How much has arrived is the size of its file on the disk, and nothing else: after a crash of the server the two cannot
differ. No request holds a lock while it waits for its sender. Each block is written under a lock, and only if the file
still ends where the request is; so a second request takes over from one whose connection is dead but not closed.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from django.conf import settings
from django.core.files import File
from django.db import transaction
from django.utils import timezone

from portal.intake import film_files
from portal.intake.quotas import QuotaReached, require_room
from portal.intake.sources.choice import OWN_FILES, SourceChoice
from portal.intake.tables import TABLE_ENDINGS
from portal.intake.zip_uploads import (
    DISK_IS_FULL,
    MOST_FILES,
    SECONDS_UNTIL_SWEPT,
    InvalidUpload,
    accept,
    fail,
    is_full,
    store_as_zip,
    too_large,
    zip_path,
)
from portal.models import Dataset, PartialUpload, Upload, User
from portal.people import audit
from portal.people.access import require
from portal.people.retired import refuse_retired

BLOCK = 2**20
CONTENT = "application/offset+octet-stream"  # the content type of a part
MOST_UNFINISHED = 50  # of one person
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
CHECKSUMS = ("sha1", "sha256")


class TooLarge(InvalidUpload):
    """More than the limit, or more than was announced."""


class NoSpace(InvalidUpload):
    def __init__(self) -> None:
        super().__init__(DISK_IS_FULL)


class OverQuota(InvalidUpload):
    """More than the site may use."""


class UploadGone(Exception):
    """It was discarded, or nothing was sent for too long."""


class WrongOffset(Exception):
    def __init__(self, offset: int) -> None:
        super().__init__(f"The upload has {offset} bytes; continue there.")


class UploadBusy(Exception):
    """Another request is writing a block, or is completing the upload."""


class WrongChecksum(Exception):
    pass


@dataclass(frozen=True)
class Announced:
    """What the sender says of a file before it arrives. `files`: how many the browser packs into it, else None."""

    bytes_total: int
    ending: str = ".zip"
    files: int | None = None
    is_folder: bool = False
    fingerprint: str = ""
    patients: str = Upload.Patients.TABLE
    check_columns: bool = False
    of_source: SourceChoice = OWN_FILES


def begin(*, dataset: Dataset, author: User, announced: Announced) -> PartialUpload:
    """Make room for a file. Raises InvalidUpload."""
    require(author, "import films", dataset.site)
    refuse_retired(dataset)
    film_files.upload_path("x").parent.mkdir(parents=True, exist_ok=True)
    _check(announced)
    try:
        require_room(dataset.site, announced.bytes_total, what="This upload")
    except QuotaReached as error:
        raise OverQuota(str(error)) from error
    if PartialUpload.objects.filter(author=author, upload=None).count() >= MOST_UNFINISHED:
        raise InvalidUpload(
            f"You have {MOST_UNFINISHED} unfinished uploads, which is the limit; finish or discard some of them first."
        )
    partial = PartialUpload(
        dataset=dataset,
        author=author,
        bytes_total=announced.bytes_total,
        ending=announced.ending,
        files=announced.files,
        is_folder=announced.is_folder,
        fingerprint=announced.fingerprint,
        patients=announced.patients,
        check_columns=announced.check_columns,
        source=announced.of_source.key,
        options=dict(announced.of_source.options),
    )
    path = part_path(partial)
    path.touch(exist_ok=False)
    try:
        partial.save(force_insert=True)
    except BaseException:
        path.unlink()
        raise
    return partial


def _check(announced: Announced) -> None:
    if announced.bytes_total < 1:
        raise InvalidUpload("The file is empty; choose a zip of films, films, or a table of labels.")
    if announced.bytes_total > settings.UPLOAD_LIMIT_BYTES:
        raise TooLarge(too_large(announced.bytes_total))
    if announced.files is not None and not 0 < announced.files <= MOST_FILES:
        raise InvalidUpload(
            f"You chose {announced.files} files; the limit is {MOST_FILES}. Send them in several parts."
        )
    if announced.patients not in Upload.Patients.values:
        raise InvalidUpload(f"What counts for patients is {announced.patients!r}; choose table or header.")
    if announced.bytes_total > _free_bytes():
        raise NoSpace


def ending_of(name: str) -> str:
    """The ending by which a table is recognised; anything else counts as a zip, and is looked at once it is there."""
    ending = PurePosixPath(name).suffix.lower()
    return ending if ending in TABLE_ENDINGS else ".zip"


def part_path(partial: PartialUpload) -> Path:
    return film_files.upload_path(f"{partial.uuid}.part")


@dataclass(frozen=True)
class Unfinished:
    """A partial upload as its page shows it."""

    partial: PartialUpload
    offset: int
    expires_at: datetime

    @property
    def percent(self) -> int:
        return 100 * self.offset // self.partial.bytes_total

    @property
    def words(self) -> str:
        files, is_folder = self.partial.files, self.partial.is_folder
        if files is None:
            what = "A zip" if self.partial.ending == ".zip" else f"A table ({self.partial.ending[1:].upper()})"
        else:
            counted = f"{files:,} files" if files > 1 else "1 file"
            what = f"A folder of {counted}" if is_folder else counted
        return f"{what}, {readable_size(self.partial.bytes_total)}"


def readable_size(count: int) -> str:
    unit = next((unit for unit in ("GiB", "MiB", "KiB") if count >= _UNITS[unit]), "KiB")
    return f"{count / _UNITS[unit]:.1f} {unit}"


def unfinished_of(dataset: Dataset, author: User) -> list[Unfinished]:
    """The person's uploads into the dataset that can be continued."""
    unfinished = []
    for partial in PartialUpload.objects.filter(dataset=dataset, author=author, upload=None):
        with suppress(UploadGone):
            unfinished.append(Unfinished(partial, offset_of(partial), expires_at(partial)))
    return unfinished


def offset_of(partial: PartialUpload) -> int:
    """How many bytes are there, and are still there after the power fails. Raises UploadGone."""
    try:
        with _opened(part_path(partial)) as file:
            os.fsync(file.fileno())
            return _size(file)
    except UploadGone:
        if _upload_of(partial) is None:
            raise
        return partial.bytes_total


def _upload_of(partial: PartialUpload) -> Upload | None:
    """The import, also if another request completed it just now."""
    if partial.upload is None:
        try:
            partial.refresh_from_db(fields=["upload"])
        except PartialUpload.DoesNotExist:  # discarded
            raise UploadGone from None
    return partial.upload


def expires_at(partial: PartialUpload) -> datetime:
    """HILUM_UNFINISHED_UPLOAD_DAYS after the last byte. Raises UploadGone."""
    try:
        seconds = part_path(partial).stat().st_mtime
    except FileNotFoundError:
        raise UploadGone from None
    return datetime.fromtimestamp(seconds, timezone.get_current_timezone()) + timedelta(seconds=SECONDS_UNTIL_SWEPT)


def receive(partial: PartialUpload, source: IO[bytes], *, offset: int, length: int, checksum: str = "") -> int:
    """Append up to `length` bytes, and return the new offset; what came before the connection was cut is kept.

    `checksum`: algorithm and digest in hexadecimal, "sha256 ab12..."; with it all bytes are kept or none. Raises
    UploadGone, WrongOffset, UploadBusy, WrongChecksum, TooLarge, NoSpace."""
    has_now = offset_of(partial)
    if has_now != offset:
        raise WrongOffset(has_now)
    if offset + length > partial.bytes_total:
        raise TooLarge(f"{offset + length} bytes would be there, and {partial.bytes_total} were announced.")
    if not checksum:
        _append_all(partial, source, offset, length)
        return offset_of(partial)
    path = part_path(partial)
    with tempfile.SpooledTemporaryFile(max_size=8 * BLOCK, dir=str(path.parent), prefix="checked-") as checked:
        if _digest_of(source, checked, length, checksum.partition(" ")[0]) != checksum.partition(" ")[2]:
            raise WrongChecksum
        checked.seek(0)
        _append_all(partial, checked, offset, length)
    return offset_of(partial)


def _append_all(partial: PartialUpload, source: IO[bytes], offset: int, length: int) -> None:
    at, end = offset, offset + length
    while at < end and (block := _read(source, end - at)):
        _append(part_path(partial), block, at)
        at += len(block)


def _read(source: IO[bytes], left: int) -> bytes:
    try:
        return source.read(min(BLOCK, left))
    except OSError:  # the connection was cut
        return b""


def _append(path: Path, block: bytes, at: int) -> None:
    with _opened(path, lock=True) as file:
        if _size(file) != at:
            raise WrongOffset(_size(file))
        if _free_bytes() < len(block):
            raise NoSpace
        file.seek(at)
        try:
            file.write(block)
            file.flush()
        except OSError as error:
            if is_full(error):
                raise NoSpace from error
            raise


def _digest_of(source: IO[bytes], target: IO[bytes], length: int, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    while length and (block := _read(source, length)):
        if _free_bytes() < len(block):
            raise NoSpace
        target.write(block)
        digest.update(block)
        length -= len(block)
    return digest.hexdigest()


def finish(partial: PartialUpload) -> Upload:
    """Queue the import of a file that has arrived completely. A file that is no zip makes an upload that has failed.
    Doing it twice is harmless. Raises UploadGone, UploadBusy, NoSpace."""
    try:
        return _finish(partial, part_path(partial))
    except UploadGone:
        if (upload := _upload_of(partial)) is None:
            raise
        return upload


def _finish(partial: PartialUpload, path: Path) -> Upload:
    with _opened(path, lock=True), transaction.atomic():
        if (upload := _upload_of(partial)) is not None:  # another request was first
            return upload
        # the UUID of the partial upload: a zip that a killed process left here is made again, not left behind
        upload = Upload(
            uuid=partial.uuid,
            dataset=partial.dataset,
            uploaded_by=partial.author,
            heartbeat_at=timezone.now(),
            patients=partial.patients,
            check_columns=partial.check_columns,
            source=partial.source,
            options=partial.options,
        )
        _make_zip(partial, zip_path(upload))
        try:
            accept(upload)
        except InvalidUpload as error:
            upload.save(force_insert=True)
            fail(upload, str(error))
            upload.refresh_from_db()
        partial.upload = upload
        partial.save(update_fields=["upload"])
    path.unlink(missing_ok=True)
    return upload


def _make_zip(partial: PartialUpload, target: Path) -> None:
    target.unlink(missing_ok=True)
    source = part_path(partial)
    if partial.ending == ".zip":
        os.link(source, target)
        return
    try:
        with source.open("rb") as file:
            store_as_zip(File(file, name=f"table{partial.ending}"), target)
    except OSError as error:
        target.unlink(missing_ok=True)
        if is_full(error):
            raise NoSpace from error
        raise


def discard(partial: PartialUpload) -> None:
    part_path(partial).unlink(missing_ok=True)
    partial.delete()


def look_after_partial_uploads() -> None:
    """Finish the uploads that a killed process left complete, and remove the rows of those that were swept."""
    for partial in PartialUpload.objects.filter(upload=None):
        try:
            if offset_of(partial) == partial.bytes_total:
                finish(partial)
        except UploadGone:
            _forget(partial)
        except (UploadBusy, NoSpace):
            continue
    before = timezone.now() - timedelta(seconds=SECONDS_UNTIL_SWEPT)
    PartialUpload.objects.filter(created_at__lt=before, upload__isnull=False).delete()


def _forget(partial: PartialUpload) -> None:
    """Remove the row of an upload whose bytes were swept, and record that."""
    with transaction.atomic():
        after = {"bytes announced": partial.bytes_total, "begun": partial.created_at.date().isoformat()}
        audit.record(
            verb="remove unfinished upload", site=partial.dataset.site, actor=None, target=partial.dataset, after=after
        )
        partial.delete()


@contextmanager
def _opened(path: Path, *, lock: bool = False) -> Iterator[BinaryIO]:
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        raise UploadGone from None
    with file:
        if lock:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UploadBusy from None
        yield file


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _free_bytes() -> int:
    return shutil.disk_usage(film_files.upload_path("x").parent).free - settings.FREE_BYTES_KEPT
