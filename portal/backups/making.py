"""Make a backup while the portal runs: first a snapshot of the database, then the files. Files are added, and named
by their content, so that a copy made after the snapshot has all that its rows name."""

import hmac
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from portal.backups import databases, erasure_list
from portal.backups.backup_folder import ERASURES, BackupFile, BackupFolder, Manifest, name_at
from portal.backups.named_files import FileOfBucket, files_of_bucket, named_files
from portal.backups.problems import CannotBackUp
from portal.backups.stores import write_file
from portal.intake import film_bucket, film_files
from portal.intake.film_bucket import BucketAway
from portal.intake.film_files import PART
from portal.models import Image
from portal.people import audit

# Of the data folder: what belongs to running processes, is made anew, or must not be beside the data
UNFINISHED = "restore-unfinished"  # a file of the data folder, while it is being restored
_FOLDERS_LEFT_OUT = ("run", "static", "secrets", "logs", "broker", "decoders", UNFINISHED)
_BEGINNINGS_LEFT_OUT = ("hilum.sqlite3", PART, ".removed-", "unpacked-")


def fingerprint(secret: str) -> str:
    """What tells one secret from another, and nothing of it: 16 hexadecimal digits."""
    return hmac.new(secret.encode(), b"backup fingerprint", sha256).hexdigest()[:16]


def fingerprints() -> dict[str, str]:
    return {
        "HILUM_PSEUDONYM_SECRET": fingerprint(settings.PSEUDONYM_SECRET),
        "HILUM_SECRET_KEY": fingerprint(settings.SECRET_KEY),
    }


def make_backup(folder: BackupFolder, *, keep_days: int | None = None) -> Manifest:
    """Write a backup, then remove those that are older than `keep_days`. Raises CannotBackUp."""
    with folder.locked():
        now = timezone.now()
        try:
            manifest = _write(folder, now)
        except BucketAway as away:
            raise CannotBackUp(f"{away} Films of which the data folder has no copy are read from it.") from away
        _copy_erasures(folder)
        if keep_days is not None:
            folder.remove_older(keep_days, now=now)
    with transaction.atomic():
        audit.record(
            verb="back up", site=None, actor=None, after={"backup": manifest.name, "faults": len(manifest.faults)}
        )
    return manifest


def _write(folder: BackupFolder, now: datetime) -> Manifest:
    name = name_at(now)
    if name in folder.names():
        raise CannotBackUp(f"{folder.store} has a backup of this second already; start it once.")
    migrations = databases.applied_migrations()
    with databases.dumped() as dump:
        database = folder.add(dump, _nothing_yet("database"))
    named = named_files()
    earlier = _earlier(folder)
    of_bucket = list(files_of_bucket())
    files = _store_files(folder, earlier)
    files += _store_films_of_bucket(folder, earlier, {file.name for file in files})
    files = [*_store_files_of_bucket(folder, earlier, files, of_bucket)]
    there = {file.name for file in files}
    missing = {path: what for path, what in named.items() if _name(path) not in there}
    manifest = Manifest(
        name=name,
        release=version("hilum"),
        vendor=connection.vendor,
        migrations=migrations,
        fingerprints=fingerprints(),
        database=database,
        files=files,
        faults=_faults(missing),
    )
    folder.write(manifest)
    return manifest


def _copy_erasures(folder: BackupFolder) -> None:
    before = folder.erasures()
    if (after := erasure_list.grown(before)) != before:
        write_file(folder.store, ERASURES, after)


def _faults(missing: Mapping[Path, str]) -> list[str]:
    """Of what is missing, that which a row names still: others were deleted while the backup was made."""
    still = named_files() if missing else {}
    return [f"{_name(path)} is missing, {what}." for path, what in sorted(missing.items()) if path in still]


def _earlier(folder: BackupFolder) -> dict[str, BackupFile]:
    """The files of the newest backup that can be read, by name."""
    for name in folder.names():
        try:
            return {file.name: file for file in folder.manifest(name).files}
        except CannotBackUp:
            continue
    return {}


def _store_files(folder: BackupFolder, earlier: Mapping[str, BackupFile]) -> list[BackupFile]:
    """A file that has the size and the time of the earlier backup's is not read again."""
    files: list[BackupFile] = []
    by_inode: dict[tuple[int, int], BackupFile] = {}
    for path in files_of(Path(settings.DATA_DIR)):
        try:
            with path.open("rb") as source:
                facts = os.fstat(source.fileno())
                here = replace(_nothing_yet(_name(path)), mtime_ns=facts.st_mtime_ns, mode=stat.S_IMODE(facts.st_mode))
                first = by_inode.get((facts.st_dev, facts.st_ino))
                before = earlier.get(here.name)
                if first is not None:
                    file = replace(first, name=here.name, link=first.link or first.name)
                elif (
                    before
                    and (before.size, before.mtime_ns) == (facts.st_size, here.mtime_ns)
                    and folder.has(before.stored)
                ):
                    file = replace(here, size=before.size, sha256=before.sha256, stored=before.stored)
                else:
                    file = folder.add(source, here)
        except FileNotFoundError:  # deleted in the meantime
            continue
        by_inode.setdefault((facts.st_dev, facts.st_ino), file)
        files.append(file)
    return files


def _store_films_of_bucket(
    folder: BackupFolder, earlier: Mapping[str, BackupFile], there: Collection[str]
) -> list[BackupFile]:
    """The films of which the data folder has no copy: those of an earlier backup stay, since a name has one content,
    and the others are fetched. Raises BucketAway."""
    if not film_bucket.is_used():
        return []
    files: list[BackupFile] = []
    for digest in Image.objects.values_list("pixel_sha256", flat=True).distinct().iterator():
        name = _name(film_files.pixel_path(digest))
        before = earlier.get(name)
        if name in there:
            continue
        if before and folder.has(before.stored):
            files.append(replace(before, link=""))
        elif (path := film_files.pixels_here(digest)).exists():
            with path.open("rb") as source:
                facts = os.fstat(source.fileno())
                here = replace(_nothing_yet(name), mtime_ns=facts.st_mtime_ns, mode=stat.S_IMODE(facts.st_mode))
                files.append(folder.add(source, here))
    return files


def _store_files_of_bucket(
    folder: BackupFolder,
    earlier: Mapping[str, BackupFile],
    here: Collection[BackupFile],
    of_bucket: Collection[FileOfBucket],
) -> Collection[BackupFile]:
    """With the files that the data folder lacks. Raises BucketAway."""
    files = {file.name: file for file in here}
    for one in of_bucket:
        name = _name(one.path)
        before = earlier.get(name)
        if before and before.sha256 == one.sha256 and folder.has(before.stored):
            files[name] = replace(before, link="")
            continue
        with TemporaryFile(dir=folder.store.scratch) as fetched:
            one.fetch(fetched)
            fetched.seek(0)
            files[name] = folder.add(fetched, _nothing_yet(name))
    return files.values()


def _nothing_yet(name: str) -> BackupFile:
    return BackupFile(name=name, size=0, mtime_ns=0, mode=0o600, sha256="", stored="")


def files_of(top: Path) -> Iterator[Path]:
    """The files of a data folder that belong to a backup, in the order of their names."""
    for folder, folders, names in os.walk(top):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not _is_left_out(here / name, top))
        for name in sorted(names):
            path = here / name
            if not _is_left_out(path, top) and not path.is_symlink() and path.is_file():
                yield path


def _is_left_out(path: Path, top: Path) -> bool:
    if path.parent == top and path.name in _FOLDERS_LEFT_OUT:
        return True
    if path.parent.parent == top / "runs" and path.name == "lock":  # of the engine that works in it
        return True
    return path.name.startswith(_BEGINNINGS_LEFT_OUT) or path == erasure_list.list_path()


def _name(path: Path) -> str:
    return path.relative_to(settings.DATA_DIR).as_posix()
