"""Zip uploads from the browser: stored, unpacked with limits, and imported in the background.

Limits apply to the bytes written, never to the sizes that the archive declares.
"""

import bz2
import copy
import errno
import lzma
import shutil
import struct
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from celery import current_app
from django.conf import settings
from django.core.files import File
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.db import transaction
from django.utils import timezone

from portal.intake import film_files
from portal.intake.csv_labels import Box, CsvRow, InvalidCsv
from portal.intake.entries import NamedFile, entries_of, is_clutter
from portal.intake.films import SECONDS_BETWEEN_HEARTBEATS, import_entries
from portal.intake.import_plans import plan_path
from portal.intake.import_report import ImportReport
from portal.intake.name_matching import ENDINGS
from portal.intake.patient_identifiers import PatientSource
from portal.intake.quotas import QuotaReached, require_room
from portal.intake.remembered_mappings import SiteMappings
from portal.intake.scanned_files import RAISE_LIMIT, Infected, TooLargeToScan, record_finding
from portal.intake.sources.choice import OWN_FILES, SourceChoice
from portal.intake.sources.file_index import files_of_folder
from portal.intake.sources.importing import import_source
from portal.intake.sources.registry import source_named
from portal.intake.sources.server_folders import InvalidFolder, server_folder
from portal.intake.sources.source import InvalidSource
from portal.intake.stored_words import table_words
from portal.intake.table_columns import TableFate
from portal.intake.tables import TABLE_ENDINGS, UnclearTable, is_table
from portal.intake.unwritable import is_unwritable
from portal.intake.virus_scan import Address, FileScan, NotScanned, scan
from portal.intake.zip_names import decoded_names, readable_name, stored_name
from portal.intake.zip_tables import MappingOf, by_names, read_tables
from portal.models import Dataset, Upload, User
from portal.people import audit
from portal.people.access import require
from portal.people.retired import refuse_retired

MOST_FILES = 200_000
MOST_DIRECTORY_BYTES = 128 * 2**20  # of the zip's list of members, which is read into memory
# Blank films can be packed a thousandfold, a set of films hardly tenfold.
MOST_TIMES_UNPACKED = 100
BYTES_ALWAYS_UNPACKED = 256 * 2**20
CHUNK = 2**20
# Of LZMA, zipfile inflates all packed bytes of a chunk at once: 4 kB may become 30 MB.
LZMA_CHUNK = 2**12
SECONDS_UNTIL_SWEPT = 86_400.0 * settings.UNFINISHED_UPLOAD_DAYS
IMPORT = "portal.tasks.import_upload"
INTERRUPTED = (
    "The import was interrupted; start it again: the films imported so far are kept, and it continues from there."
)
DISK_IS_FULL = "The disk of the server is full; ask your administrator to free space, then send it again."
# Exceptions that a damaged or malicious archive can cause.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    MemoryError,  # of an LZMA dictionary of 4 GB
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    OSError,
)


class InvalidUpload(Exception):
    """The message is shown to the user."""


@dataclass(frozen=True)
class Contents:
    """The contents of a zip: image files, the tables of labels and boxes, and counts for the report."""

    files: Sequence[NamedFile]
    rows: Mapping[str, CsvRow] | None
    boxes: Mapping[str, tuple[Box, ...]] | None
    counts: Mapping[str, int]
    skipped: Sequence[str]  # rows of the tables
    fates: Sequence[TableFate] = ()


@dataclass(frozen=True)
class _Member:
    """An unpacked file. `stored`: its name in the zip, as bytes where the zip does not say how it is encoded."""

    stored: str | bytes
    path: Path

    @property
    def name(self) -> str:
        return readable_name(self.stored)


class UnpackedZip:
    """The files of an archive, and those of the zips in it by the name of each."""

    def __init__(
        self, members: Sequence[_Member], inner: Sequence[tuple[str, Sequence[_Member]]], beat: Callable[[], None]
    ) -> None:
        self._members, self._inner, self._beat = members, inner, beat
        everything = [*members, *(member for _, group in inner for member in group)]
        tables = [member for member in everything if _is_table(member)]
        self.tables = [_named_for_messages(table.path, table.name, number) for number, table in enumerate(tables, 1)]

    def contents(self, mapping_of: MappingOf = by_names) -> Contents:
        """The tables, and the other files under the names that fit the tables. Raises InvalidCsv."""
        skipped: list[str] = []
        fates: list[TableFate] = []
        rows, boxes, aside = read_tables(self.tables, mapping_of, skipped, self._beat, fates=fates)
        files = self.files([*(rows or ()), *(boxes or ())])
        names = Counter(file.name for file in files if not is_clutter(file.name))
        counts = {
            "tables left aside": aside,
            "names twice": sum(count > 1 for count in names.values()),
            "zips left closed": sum(_is_zip(member) for _, group in self._inner for member in group),
        }
        return Contents(files, rows, boxes, counts, skipped, fates=fates)

    def files(self, listed: Sequence[str]) -> list[NamedFile]:
        """The files that are no tables, under the names that fit the `listed` ones."""
        files = _named_files("", self._members, listed)
        for name, group in self._inner:
            files += _named_files(f"{name[: -len('.zip')]}/", group, listed)
        return files


class _LimitReached(Exception):
    pass


def receive_zip(
    *,
    dataset: Dataset,
    file: UploadedFile,
    author: User,
    patients: str = Upload.Patients.TABLE,
    check_columns: bool = False,
    of_source: SourceChoice = OWN_FILES,
) -> Upload:
    """Store the zip, or a CSV as a zip of its own, and queue its import. Raises InvalidUpload, storing nothing.
    `patients`: what counts where table and header name two patients. With `check_columns`, a table waits until a person
    has said what its columns mean. `of_source`: the published dataset whose films and tables they are."""
    require(author, "import films", dataset.site)
    refuse_retired(dataset)
    if (file.size or 0) > settings.UPLOAD_LIMIT_BYTES:
        raise InvalidUpload(too_large(file.size or 0))
    try:
        require_room(dataset.site, file.size or 0, what="This upload")
    except QuotaReached as error:
        raise InvalidUpload(str(error)) from error
    upload = Upload(
        dataset=dataset,
        uploaded_by=author,
        heartbeat_at=timezone.now(),
        patients=patients,
        check_columns=check_columns,
        source=of_source.key,
        options=dict(of_source.options),
    )
    path = zip_path(upload)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if (file.name or "").lower().endswith(TABLE_ENDINGS):
            store_as_zip(file, path)
        else:
            _store(file, path)
    except OSError as error:
        path.unlink(missing_ok=True)
        if is_full(error):
            raise InvalidUpload(DISK_IS_FULL) from error
        raise
    accept(upload)
    return upload


def too_large(size_bytes: int) -> str:
    return (
        f"The zip has {size_bytes / 2**30:.1f} GiB; the limit is {settings.UPLOAD_LIMIT_BYTES / 2**30:g}. "
        "Split it, or import the folder with manage.py import_images."
    )


def accept(upload: Upload) -> None:
    """Save the row of a stored zip and queue its import. Raises InvalidUpload and removes the file if it is no zip."""
    path, dataset = zip_path(upload), upload.dataset
    if not zipfile.is_zipfile(path):
        path.unlink()
        raise InvalidUpload(
            "The file is not a zip archive; put the films, and a CSV if you have one, into a zip and send that. "
            "A table of labels for films that are there can be sent by itself, as a file whose name ends in .csv, "
            ".tsv or .xlsx."
        )
    with transaction.atomic():
        upload.save(force_insert=True)
        audit.record(verb="upload films", site=dataset.site, actor=upload.uploaded_by, target=dataset)
        transaction.on_commit(lambda: publish(upload), robust=True)


def publish(upload: Upload) -> None:
    """Queue the import by the name of its task, since the module of the task imports this one."""
    current_app.send_task(IMPORT, args=[str(upload.uuid)])


def _store(file: UploadedFile, path: Path) -> None:
    if isinstance(file, TemporaryUploadedFile):  # large, and already on the same disk
        shutil.move(file.temporary_file_path(), path)
        return
    with path.open("wb") as target:
        for chunk in file.chunks():
            target.write(chunk)


def store_as_zip(file: File, path: Path) -> None:
    """A table by itself is imported like a zip that holds only this table."""
    name = PurePosixPath(file.name or "").name
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as target,
    ):
        for chunk in file.chunks():
            target.write(chunk)


def zip_path(upload: Upload) -> Path:
    return film_files.upload_path(f"{upload.uuid}.zip")


def import_zip(upload: Upload) -> None:
    """Import a stored zip; an unusable zip fails the upload with an explanation, and one whose table is not clear waits
    for a person. Running it twice is harmless."""
    path = zip_path(upload)
    try:
        _unpack_and_import(upload, path)
    except UnclearTable as question:  # before any film is stored
        Upload.objects.filter(pk=upload.pk).update(state=Upload.State.MAPPING, message=str(question))
        return
    except Infected as found:
        record_finding(
            signature=found.signature,
            site=upload.dataset.site,
            author=upload.uploaded_by,
            dataset=upload.dataset,
            upload=str(upload.uuid),
        )
        fail(upload, str(found))
    except (InvalidUpload, InvalidCsv, InvalidSource, InvalidFolder, TooLargeToScan) as error:
        fail(upload, str(error))
    except OSError as error:
        if not is_full(error):
            raise
        fail(upload, f"{DISK_IS_FULL} The films imported so far are kept.")
    path.unlink(missing_ok=True)


def _unpack_and_import(upload: Upload, path: Path) -> None:
    if upload.source:
        import_upload_of_source(upload, path)
        return
    with film_files.unpacking_folder(upload) as folder:
        report = ImportReport(patients_of=PatientSource(upload.patients))
        mappings = SiteMappings(
            upload.dataset.site,
            list(upload.mappings.select_related("made_by", "site")),
            asks_first=upload.check_columns,
        )
        unpacked = open_zip(path, folder, heartbeat=lambda: _heartbeat(upload), scanner=settings.SCANNER)
        contents = unpacked.contents(mappings.mapping_of)
        report.mapped = mappings.sentences()
        report.skipped.extend(contents.skipped)
        report.counts.update(contents.counts)
        report.deidentified.tables.extend(contents.fates)
        entries = entries_of(contents.files, contents.rows, contents.boxes, report)
        import_entries(upload=upload, entries=entries, report=report, actor=upload.uploaded_by, are_scanned=True)


def import_upload_of_source(upload: Upload, path: Path) -> None:
    """Import a published dataset from its zip, or from its folder on the server. Raises InvalidUpload and
    InvalidCsv."""
    report = ImportReport(patients_of=PatientSource(upload.patients))
    source = source_named(upload.source)

    def run(files: Iterable[NamedFile], tables: Sequence[NamedFile] = (), *, are_scanned: bool) -> None:
        import_source(
            upload=upload,
            source=source,
            options=source.options_of(upload.options),
            files=files,
            tables=tables,
            report=report,
            actor=upload.uploaded_by,
            are_scanned=are_scanned,
        )

    if upload.folder:
        run(files_of_folder(server_folder(upload.folder), beat=lambda: _heartbeat(upload)), are_scanned=False)
        return
    with film_files.unpacking_folder(upload) as folder:
        unpacked = open_zip(path, folder, heartbeat=lambda: _heartbeat(upload), scanner=settings.SCANNER)
        run(unpacked.files([]), [NamedFile(table.name, table) for table in unpacked.tables], are_scanned=True)


def is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _heartbeat(upload: Upload) -> None:
    Upload.objects.filter(pk=upload.pk).update(heartbeat_at=timezone.now())


def fail(upload: Upload, sentence: str) -> None:
    """Mark the import as failed and delete its zip or plan, whose films and tables may name people."""
    with transaction.atomic():
        Upload.objects.filter(pk=upload.pk).update(
            state=Upload.State.FAILED, message=sentence, finished_at=timezone.now()
        )
        upload.refresh_from_db(fields=["done", "total"])
        audit.record(
            verb="fail to import films",
            site=upload.dataset.site,
            actor=upload.uploaded_by,
            target=upload.dataset,
            after={"upload": str(upload.uuid), "files": upload.done, "of": upload.total},
        )
    zip_path(upload).unlink(missing_ok=True)
    plan_path(upload).unlink(missing_ok=True)


def sweep() -> None:
    """Remove files that killed processes left behind more than HILUM_UNFINISHED_UPLOAD_DAYS ago: partial zips, zips of
    ended imports, and pixels that were being written."""
    kept = Upload.objects.filter(state__in=[Upload.State.RECEIVED, Upload.State.MAPPING, Upload.State.IMPORTING])
    addresses = [str(uuid) for uuid in kept.values_list("uuid", flat=True)]
    for path in (*film_files.upload_path("x").parent.glob("*"), *film_files.unfinished_pixels()):
        with suppress(FileNotFoundError):  # another process removed it first
            is_old = time.time() - path.stat().st_mtime > SECONDS_UNTIL_SWEPT
            if not is_old or any(address in path.name for address in addresses):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def unpack(
    path: Path, folder: Path, *, heartbeat: Callable[[], None] = lambda: None, mapping_of: MappingOf = by_names
) -> Contents:
    """Write the regular files of the archive, and of the zips in it, into `folder` under generated names, with limits
    on bytes and files, and read its tables. `heartbeat` is called every few seconds."""
    return open_zip(path, folder, heartbeat=heartbeat).contents(mapping_of)


def open_zip(
    path: Path,
    folder: Path,
    *,
    heartbeat: Callable[[], None] = lambda: None,
    has_films: bool = True,
    scanner: Address | None = None,
) -> UnpackedZip:
    """`unpack` without reading the tables. Without `has_films`, only tables are written, and the films have names. Each
    file is sent to the `scanner` as it is written. Raises InvalidUpload, Infected and ScannerAway."""
    unpacking = _Unpacking(
        folder, packed_bytes=path.stat().st_size, heartbeat=heartbeat, has_films=has_films, scanner=scanner
    )
    try:
        members = unpacking.members_of(path)
        zips = [member for member in members if _is_zip(member)]
        inner = [(member.name, unpacking.members_of(member.path, is_inner=True)) for member in zips]
    except _DAMAGE as error:
        if is_full(error):
            raise InvalidUpload(DISK_IS_FULL) from error
        if is_unwritable(error):
            raise
        raise InvalidUpload(
            "The zip is damaged or uses an unsupported compression; create it again with standard zip compression."
        ) from error
    return UnpackedZip([member for member in members if member not in zips], inner, unpacking.beat)


def _is_zip(member: _Member) -> bool:
    is_named_so = member.name.lower().endswith(".zip") and not is_clutter(member.name)
    return is_named_so and zipfile.is_zipfile(member.path)


class _Unpacking:
    """One upload being unpacked; its limits hold for the zip and the zips in it together."""

    def __init__(
        self,
        folder: Path,
        *,
        packed_bytes: int,
        heartbeat: Callable[[], None],
        has_films: bool,
        scanner: Address | None,
    ) -> None:
        self._folder, self._heartbeat, self._has_films, self._scanner = folder, heartbeat, has_films, scanner
        self._files = 0
        by_ratio = max(BYTES_ALWAYS_UNPACKED, MOST_TIMES_UNPACKED * packed_bytes)
        self._is_ratio_smaller = by_ratio < settings.UPLOAD_LIMIT_BYTES
        self._bytes_left = min(by_ratio, settings.UPLOAD_LIMIT_BYTES)
        self._last_heartbeat = time.monotonic()

    def members_of(self, path: Path, *, is_inner: bool = False) -> list[_Member]:
        """Unpack one zip. A zip in the zip is removed, and its packed bytes do not count beside its contents."""
        self._bytes_left += path.stat().st_size if is_inner else 0
        if _directory_bytes(path) > MOST_DIRECTORY_BYTES:
            raise InvalidUpload("The zip's list of its files is too long to be true; create the zip again.")
        members = []
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
            self._files += len(infos)
            if self._files > MOST_FILES:
                raise InvalidUpload(
                    f"The zip holds {self._files} files; the limit is {MOST_FILES}. Split it into several."
                )
            for number, info in enumerate(infos, start=self._files - len(infos)):
                stored = _checked_name(info)
                target = self._folder / f"{number:06d}{_ending(readable_name(stored))}"
                if self._has_films or target.suffix in (*TABLE_ENDINGS, ".zip"):
                    chunk = LZMA_CHUNK if info.compress_type == zipfile.ZIP_LZMA else CHUNK
                    with _opened(archive, info) as source:
                        self._bytes_left -= self._copy_scanned(source, target, chunk, number + 1)
                members.append(_Member(stored, target))
        if is_inner:
            path.unlink()
        return members

    def _copy_scanned(self, source: IO[bytes], target: Path, chunk: int, number: int) -> int:
        """Nothing reads the file before the scanner has given its verdict."""
        if self._scanner is None:
            return self._copy(source, target, chunk)
        try:
            with scan(self._scanner) as scanned:
                size = self._copy(source, target, chunk, scanned)
                signature = scanned.signature()
        except NotScanned:
            raise InvalidUpload(
                f"File {number} of the zip is larger than what the virus scanner takes, and nothing is imported "
                f"unscanned. {RAISE_LIMIT}"
            ) from None
        if signature:
            raise Infected(
                signature,
                f"The virus scanner found {signature} in file {number} of the zip. Nothing of it was imported, and it "
                "was deleted. Have the computer that it came from looked at, and send the films without that file.",
            )
        return size

    def _copy(self, source: IO[bytes], target: Path, chunk: int, scanned: FileScan | None = None) -> int:
        try:
            return _copy_at_most(source, target, self._bytes_left, self.beat, chunk=chunk, scanned=scanned)
        except _LimitReached:
            if self._is_ratio_smaller:
                raise InvalidUpload(
                    f"Unpacked, the zip is more than {MOST_TIMES_UNPACKED} times as large as packed, which films are "
                    "not; create it again, or import the folder with manage.py import_images."
                ) from None
            raise InvalidUpload(
                f"Unpacked, the zip exceeds {settings.UPLOAD_LIMIT_BYTES / 2**30:g} GiB; split it into several."
            ) from None

    def beat(self) -> None:
        if time.monotonic() - self._last_heartbeat > SECONDS_BETWEEN_HEARTBEATS:
            self._last_heartbeat = time.monotonic()
            self._heartbeat()


class _Bunzipped(bz2.BZ2File):
    """A member packed with bzip2. zipfile would inflate it all at once, and 4 kB of it may become 4 GB."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        packed = copy.copy(info)
        packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
        packed.CRC = None  # type: ignore[assignment]  # the checksum is that of the inflated bytes
        super().__init__(archive.open(packed))
        self._stated, self._crc = info.CRC, 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._crc = zlib.crc32(data, self._crc)
        if not data and self._crc != self._stated:
            raise zipfile.BadZipFile
        return data


def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    is_bzip2 = info.compress_type == zipfile.ZIP_BZIP2 and not info.flag_bits & 0x1
    return cast(IO[bytes], _Bunzipped(archive, info)) if is_bzip2 else archive.open(info)


def _directory_bytes(path: Path) -> int:
    """The length of the list of members that the end of the zip states, which zipfile reads without looking at it
    (APPNOTE.TXT 4.3.14 to 4.3.16)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**16 - 98))
        end = file.read()
    at = end.rfind(b"PK\5\6")
    if end[max(0, at - 20) : at].startswith(b"PK\6\7") and at >= 76:  # ZIP64
        return int(struct.unpack_from("<Q", end, at - 36)[0])
    return int(struct.unpack_from("<L", end, at + 12)[0]) if at >= 0 else 0


def _checked_name(info: zipfile.ZipInfo) -> str | bytes:
    """The stored name of a member that may be unpacked."""
    if info.flag_bits & 0x1:
        raise InvalidUpload("The zip is encrypted; send it without a password.")
    is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
    stored = stored_name(info)
    name = PurePosixPath(readable_name(stored))
    if is_link or name.is_absolute() or ".." in name.parts or not name.name:
        raise InvalidUpload("The zip contains a link or a path outside of it; include only regular files in folders.")
    return stored


def _ending(name: str) -> str:
    ending = PurePosixPath(name).suffix.lower()
    return ending if ending in (*ENDINGS, *TABLE_ENDINGS, ".zip") else ""


def _copy_at_most(
    source: IO[bytes],
    target: Path,
    limit: int,
    beat: Callable[[], None],
    *,
    chunk: int = CHUNK,
    scanned: FileScan | None = None,
) -> int:
    written = 0
    with target.open("wb") as file:
        while data := source.read(chunk):
            written += len(data)
            if written > limit:
                raise _LimitReached
            if shutil.disk_usage(target.parent).free < settings.FREE_BYTES_KEPT + len(data):
                raise InvalidUpload(DISK_IS_FULL)
            file.write(data)
            if scanned is not None:
                scanned.send(data)
            beat()
    return written


def _is_table(member: _Member) -> bool:
    return is_table(member.name) and not is_clutter(member.name)


def _named_files(folder: str, members: Sequence[_Member], listed: Sequence[str]) -> list[NamedFile]:
    films = [member for member in members if not _is_table(member)]
    names = decoded_names([member.stored for member in films], listed)
    return [NamedFile(folder + name, member.path, folder.count("/")) for name, member in zip(names, films, strict=True)]


def _named_for_messages(path: Path, name: str, number: int) -> Path:
    """Move the file to its own folder under the name that messages, which are stored, use for it."""
    folder = path.parent / f"table-{path.stem}"
    folder.mkdir()
    return path.rename(folder / table_words(name, number))
