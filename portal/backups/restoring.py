"""Restore a backup on an empty host: files, each checked against its hash, then the database, then what has to follow
before anybody is served. Until the end a file in the data folder says that it is not finished, and web servers and
workers refuse to start; begun again, it goes on."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader

from portal.backups import databases, erasure_list
from portal.backups.backup_folder import BackupFile, BackupFolder, Manifest
from portal.backups.erasure_list import ErasedPatient
from portal.backups.making import UNFINISHED, files_of, fingerprints
from portal.backups.problems import CannotBackUp
from portal.intake.film_files import PART
from portal.intake.pseudonym_key import has_other_key
from portal.models import Site
from portal.people import audit, audit_chain

GIB = 2**30

# What apps do once rows and files are there; each gives sentences for the administrator.
AfterRestore = Callable[[list[ErasedPatient]], Iterator[str]]
_after: list[AfterRestore] = []


def do_after_restore(act: AfterRestore) -> None:
    """Register what has to follow; an app calls it once, when it is ready."""
    _after.append(act)


def is_unfinished() -> bool:
    return (Path(settings.DATA_DIR) / UNFINISHED).exists()


def refuse_unfinished() -> None:
    """For whatever would serve or work with half a restore."""
    if is_unfinished():
        raise SystemExit(
            f"A restore into {settings.DATA_DIR} has not finished: start `manage.py restore` again, and then Hilum."
        )


def check(folder: BackupFolder, manifest: Manifest) -> int:
    """Read everything of a backup. Returns the number of files. Raises CannotBackUp at the first fault."""

    def read(file: BackupFile) -> None:
        for _ in folder.read(file):
            pass

    once = {file.stored: file for file in [manifest.database, *manifest.files]}
    _for_each(once.values(), read, at_once=folder.store.at_once)
    return len(manifest.files)


def restore_backup(folder: BackupFolder, manifest: Manifest) -> list[str]:
    """Restore, and return what was done as sentences. Raises CannotBackUp; nothing is served then."""
    _require_right_secret(manifest)
    _require_known_migrations(manifest)
    _require_empty_host()
    databases.require_restorable(manifest.vendor)
    _require_room(manifest)
    if not erasure_list.can_be_kept():
        raise CannotBackUp(
            f"The list of erasures, {erasure_list.list_path()}, cannot be read and written, and a restore without it "
            "brings erased patients back: name a file in HILUM_ERASURE_LIST, in a folder that is mounted and that this "
            "user may write. Nothing was changed."
        )
    (Path(settings.DATA_DIR) / UNFINISHED).touch()
    _restore_files(folder, manifest.files)
    databases.restore(folder.read(manifest.database), vendor=manifest.vendor)
    call_command("migrate", verbosity=0)
    sentences = [f"Restored: {len(manifest.files)} files and the database of {manifest.name}.", *manifest.faults]
    sentences += _check_sites()
    erased = erasure_list.new_ones(
        [*erasure_list.parsed(folder.erasures()), *erasure_list.read(erasure_list.list_path())], []
    )
    for act in _after:
        sentences += act(erased)
    erasure_list.merge_into_own(erased)
    with transaction.atomic():
        audit.record(verb="restore backup", site=None, actor=None, after={"backup": manifest.name})
    connection.close()
    (Path(settings.DATA_DIR) / UNFINISHED).unlink()
    return sentences


def _require_right_secret(manifest: Manifest) -> None:
    if manifest.fingerprints["HILUM_PSEUDONYM_SECRET"] != fingerprints()["HILUM_PSEUDONYM_SECRET"]:
        raise CannotBackUp(
            "HILUM_PSEUDONYM_SECRET is not the secret of the installation that was backed up. Set it to that one, from "
            f"a copy of .env or of the folder {settings.DATA_DIR / 'secrets'}: without it no later film of a patient "
            "finds the earlier ones, and files in quarantine cannot be read. Nothing was changed."
        )


def _require_known_migrations(manifest: Manifest) -> None:
    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}
    if unknown := [name for name in manifest.migrations if name not in known]:
        raise CannotBackUp(
            f"The backup was made by Hilum {manifest.release}, whose database has {unknown[0]}, which this release "
            "does not know: restore with that release. Nothing was changed."
        )


def _require_empty_host() -> None:
    if is_unfinished():
        return
    first = next(files_of(Path(settings.DATA_DIR)), None)
    if first is not None:
        raise CannotBackUp(
            f"The data folder is not empty: it has {first}. A restore replaces everything, so it needs an empty folder "
            "(HILUM_DATA_DIR) and an empty database. Nothing was changed."
        )
    if not databases.is_empty():
        raise CannotBackUp(
            "The database has rows. A restore replaces everything, so it needs an empty database: create another one, "
            "and name it in DATABASE_URL. Nothing was changed."
        )


def _require_room(manifest: Manifest) -> None:
    """For what is not there yet, and for the dump, which lies beside it while it is read. Disks change while they are
    written to, so a full one can still end a restore, which then goes on."""
    top = Path(settings.DATA_DIR)
    needed = manifest.database.size
    needed += sum(file.size for file in manifest.files if not file.link and not (top / file.name).exists())
    free = shutil.disk_usage(top).free
    if needed > free:
        raise CannotBackUp(
            f"The backup needs {needed / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free on the disk of {top}. Free or "
            "mount a larger disk. Nothing was changed."
        )


def _restore_files(folder: BackupFolder, files: list[BackupFile]) -> None:
    _for_each(
        (file for file in files if not file.link),
        lambda file: _restore_file(folder, file),
        at_once=folder.store.at_once,
    )
    for file in files:
        if file.link:
            _restore_file(folder, file)


def _for_each(files: Iterable[BackupFile], act: Callable[[BackupFile], None], *, at_once: int) -> None:
    """By several threads, which wait for a bucket and not for each other. Raises the first problem, and begins nothing
    afterwards."""
    with ThreadPoolExecutor(at_once) as pool:
        acts = [pool.submit(act, file) for file in files]
        try:
            for one in acts:
                one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _restore_file(folder: BackupFolder, file: BackupFile) -> None:
    path = _place(file.name)
    if path.exists() and path.stat().st_size == file.size and _sha256(path) == file.sha256:
        return  # of a restore that was interrupted
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{PART}{path.name}")
    temporary.unlink(missing_ok=True)
    try:
        if file.link:
            os.link(_place(file.link), temporary)
        else:
            with temporary.open("wb") as target:
                for piece in folder.read(file):
                    target.write(piece)
                os.fchmod(target.fileno(), file.mode)
                target.flush()
                os.fsync(target.fileno())
            os.utime(temporary, ns=(file.mtime_ns, file.mtime_ns))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _place(name: str) -> Path:
    top = Path(settings.DATA_DIR)
    path = top / name
    if not path.resolve().is_relative_to(top.resolve()):
        raise CannotBackUp("The list of the backup names a file outside the data folder; use another backup.")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_sites() -> Iterator[str]:
    for site in Site.objects.order_by("name"):
        if has_other_key(site):
            raise CannotBackUp(f"HILUM_PSEUDONYM_SECRET is not the secret that the films of {site.name} came in with.")
    for place in audit_chain.chains():
        if fault := audit_chain.verify(place).fault:
            yield f"The audit of {place.name if place else 'the installation'} does not verify: {fault}"
