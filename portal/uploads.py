"""A zip from the browser: received whole, unpacked with limits, imported in the background.

Limits are on bytes written, never on what the archive says of itself.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone

from portal import audit, storage
from portal.access import require
from portal.importers.plain_csv import Box, CsvRow, InvalidCsv, read_boxes, read_labels
from portal.ingest import Entry, Report, entries_of_folder, import_entries, match_rows
from portal.models import Dataset, Upload, User

MOST_FILES = 200_000
CHUNK = 2**20


class InvalidUpload(Exception):
    """A sentence for the user."""


@dataclass(frozen=True)
class Contents:
    """What an import found: image files by their name in it, and the tables beside them."""

    files: Mapping[str, Path]
    rows: Mapping[str, CsvRow] | None
    boxes: Mapping[str, tuple[Box, ...]]


def receive_zip(*, dataset: Dataset, file: UploadedFile, author: User) -> Upload:
    """Keep the zip and queue its import. Raises InvalidUpload; then nothing is kept."""
    from portal.tasks import import_upload  # here, since the task calls this module

    require(author, "import films", dataset.site)
    if (file.size or 0) > settings.UPLOAD_LIMIT_BYTES:
        raise InvalidUpload(
            f"The zip has {(file.size or 0) / 2**30:.1f} GiB; the limit is {settings.UPLOAD_LIMIT_BYTES / 2**30:g}. "
            "Split it, or import the folder with manage.py import_images."
        )
    upload = Upload(dataset=dataset, uploaded_by=author, heartbeat_at=timezone.now())
    path = zip_path(upload)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        for chunk in file.chunks():
            target.write(chunk)
    if not zipfile.is_zipfile(path):
        path.unlink()
        raise InvalidUpload(
            "The file is not a zip archive; put the films, and a CSV if you have one, into one zip and send that."
        )
    with transaction.atomic():
        upload.save(force_insert=True)
        audit.record(verb="upload films", site=dataset.site, actor=author, target=dataset)
        transaction.on_commit(lambda: import_upload.delay(str(upload.uuid)), robust=True)
    return upload


def zip_path(upload: Upload) -> Path:
    return storage.upload_path(f"{upload.uuid}.zip")


def import_zip(upload: Upload) -> None:
    """Import a received zip; a bad one fails the upload with a sentence. Running it twice is harmless."""
    path = zip_path(upload)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="unpacked-") as folder:
        try:
            report = Report()
            contents = unpack(path, Path(folder))
            entries = _entries(contents, Path(folder), report)
        except (InvalidUpload, InvalidCsv) as error:
            fail(upload, str(error))
        else:
            import_entries(upload=upload, entries=entries, report=report, actor=upload.uploaded_by)
    path.unlink(missing_ok=True)


def fail(upload: Upload, sentence: str) -> None:
    Upload.objects.filter(pk=upload.pk).update(state=Upload.State.FAILED, message=sentence, finished_at=timezone.now())


def _entries(contents: Contents, folder: Path, report: Report) -> list[Entry]:
    if contents.rows is not None:
        return match_rows(contents.files, contents.rows, contents.boxes, report)
    return entries_of_folder(folder, None, contents.boxes, report)


def unpack(path: Path, folder: Path) -> Contents:
    """Write the archive's plain files into `folder` under names of our own, with limits on bytes and files."""
    files: dict[str, Path] = {}
    left = settings.UPLOAD_LIMIT_BYTES
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            if len(members) > MOST_FILES:
                raise InvalidUpload(f"The zip holds {len(members)} files; the limit is {MOST_FILES}. Split it.")
            for index, info in enumerate(members):
                _check_member(info)
                target = folder / f"{index:06d}{_ending(info.filename)}"
                with archive.open(info) as source:
                    left -= _copy_at_most(source, target, left)
                files[info.filename] = target
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
        raise InvalidUpload(
            "The zip is damaged or uses a compression that Hilum does not read; make it anew with ordinary zip."
        ) from error
    return _sort_out(files)


def _check_member(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 0x1:
        raise InvalidUpload("The zip is encrypted; send it without a password.")
    is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
    if is_link or PurePosixPath(info.filename).is_absolute() or ".." in PurePosixPath(info.filename).parts:
        raise InvalidUpload("The zip holds a link or a path that leads out of it; pack plain files in plain folders.")


def _ending(name: str) -> str:
    ending = PurePosixPath(name).suffix.lower()
    return ending if ending in (".dcm", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".csv", ".zip") else ""


def _copy_at_most(source: BinaryIO | zipfile.ZipExtFile, target: Path, limit: int) -> int:
    written = 0
    with target.open("wb") as file:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > limit:
                raise InvalidUpload(
                    f"Unpacked, the zip is larger than {settings.UPLOAD_LIMIT_BYTES / 2**30:g} GiB; split it."
                )
            file.write(chunk)
    if shutil.disk_usage(target.parent).free < CHUNK:
        raise InvalidUpload("The disk of the server is full; ask your administrator to make room, then send it again.")
    return written


def _sort_out(files: dict[str, Path]) -> Contents:
    """Tell the tables from the films: boxes have a column x, labels have none."""
    rows: dict[str, CsvRow] | None = None
    boxes: dict[str, tuple[Box, ...]] = {}
    for name in [name for name in files if name.lower().endswith(".csv")]:
        path = files.pop(name)
        named = path.rename(path.with_name(PurePosixPath(name).name.replace("/", "_")))
        if "boxes" in named.name.lower():
            boxes |= read_boxes(named)
        elif rows is None:
            rows = read_labels(named)
        else:
            raise InvalidUpload(
                "The zip holds two label tables; keep one CSV of labels, and name the one of boxes boxes.csv."
            )
        named.unlink()
    return Contents(files, rows, boxes)
