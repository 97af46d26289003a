"""The bytes of files in quarantine, as they came: with all identifiers. They are kept for HILUM_QUARANTINE_DAYS, and
encrypted, so that a person can look at a file, and import it without asking for it again.

Beside the bytes lie the row of the table that named the file, which its film will need, and a preview.
"""

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from portal.intake import film_files
from portal.intake.csv_labels import Box, CsvRow, RowReading
from portal.intake.encrypted_files import decrypt, decrypted, encrypt_bytes, encrypt_file
from portal.intake.entries import Entry
from portal.models import QuarantinedFile


def kept_path(file: QuarantinedFile) -> Path:
    return film_files.quarantine_folder(file.dataset) / file.source_sha256


def row_path(file: QuarantinedFile) -> Path:
    return kept_path(file).with_suffix(".row.json")


def preview_path(file: QuarantinedFile) -> Path:
    return kept_path(file).with_suffix(".jpg")


def kept_until(file: QuarantinedFile) -> datetime | None:
    """When the bytes will be removed; None if they are not there."""
    return file.kept_at + timedelta(days=settings.QUARANTINE_DAYS) if file.kept_at else None


def keep(file: QuarantinedFile, entry: Entry, preview: bytes) -> None:
    """Store the bytes of the entry's file and its preview, if they are not there, and its row, which may be a corrected
    one. Raises OSError if the disk is full."""
    if not settings.QUARANTINE_DAYS or entry.path is None:
        return
    kept_path(file).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if file.kept_at is None:
        encrypt_file(entry.path, kept_path(file))
        if preview:
            _write(preview_path(file), preview)
    if entry.row is not None:
        _write(row_path(file), json.dumps(_row_to_json(entry)).encode())
    if file.kept_at is None:
        file.kept_at, file.bytes_kept, file.has_preview = timezone.now(), entry.path.stat().st_size, bool(preview)
        file.save(update_fields=["kept_at", "bytes_kept", "has_preview"])


def _write(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    film_files.write_once(path, encrypt_bytes(data))


def entry_of(file: QuarantinedFile, folder: Path) -> Entry:
    """The kept file as an entry of an import, decrypted into the folder. Raises OSError and NotDecrypted."""
    path = folder / file.source_sha256
    with path.open("wb") as target:
        for piece in decrypted(kept_path(file)):
            target.write(piece)
    try:
        stored = json.loads(decrypt(row_path(file)))
    except FileNotFoundError:
        return Entry(path, "")
    return _entry_from_json(path, stored)


def row_of(file: QuarantinedFile) -> CsvRow | None:
    """The row of the table that named the kept file; None without one. Raises NotDecrypted."""
    try:
        stored = json.loads(decrypt(row_path(file)))
    except FileNotFoundError:
        return None
    return _entry_from_json(kept_path(file), stored).row


def write_head(file: QuarantinedFile, target: Path, *, size_bytes: int) -> None:
    """Write the beginning of the kept file, decrypted. Raises OSError and NotDecrypted."""
    left = size_bytes
    with target.open("wb") as head:
        for piece in decrypted(kept_path(file)):
            left -= head.write(piece)
            if left <= 0:
                return


def remove(file: QuarantinedFile) -> None:
    """Remove the bytes, row and preview; the database's row is the caller's."""
    for path in (kept_path(file), row_path(file), preview_path(file)):
        path.unlink(missing_ok=True)


def forget(file: QuarantinedFile) -> None:
    """Remove bytes, row and preview, if they are there; the database's row says so."""
    remove(file)
    file.kept_at, file.bytes_kept, file.has_preview = None, 0, False
    file.save(update_fields=["kept_at", "bytes_kept", "has_preview"])


def _row_to_json(entry: Entry) -> dict[str, object]:
    assert entry.row is not None
    boxes = None if entry.boxes is None else [box.to_json() for box in entry.boxes]
    return {"row": {**asdict(entry.row), "columns": sorted(entry.row.columns)}, "boxes": boxes}


def _entry_from_json(path: Path, stored: dict[str, object]) -> Entry:
    row, boxes = stored["row"], stored["boxes"]
    assert isinstance(row, dict)
    tuples: dict[str, tuple[object, ...]] = {name: tuple(row[name]) for name in ("findings", "attributes", "left_out")}
    tuples["readings"] = tuple(
        RowReading(one["reader"], one["label"], tuple(one["findings"]), tuple(Box(**box) for box in one["boxes"]))
        for one in row["readings"]
    )
    read = CsvRow(**{**row, **tuples, "columns": frozenset(row["columns"])})
    if boxes is None:
        return Entry(path, read.filename, read)
    assert isinstance(boxes, list)
    return Entry(path, read.filename, read, tuple(Box(**box) for box in boxes))
