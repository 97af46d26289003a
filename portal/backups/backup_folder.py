"""A folder of backups. Contents are stored once, whatever number of backups has them.

hilum-backups.json     salt and parameters of the key (portal.backups.backup_key)
manifests/NAME         a backup: the list of its files with their SHA-256, encrypted; NAME is its time in UTC
objects/ab/abcd...     the contents, encrypted, each under a name computed from its SHA-256 and the key
erasures.jsonl         who was erased, by keyed hashes (portal.backups.erasure_list); in no backup
"""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from portal.backups.backup_key import BackupKey, decrypt_all
from portal.backups.problems import CannotBackUp
from portal.intake.encrypted_files import NotDecrypted

ERASURES = "erasures.jsonl"
_NAME = "%Y-%m-%dT%H-%M-%SZ"
_UNFINISHED = ".part-"


@dataclass(frozen=True)
class BackupFile:
    """A file of the data folder. `stored` names its content in the folder of backups; `link` is an earlier file of
    which this one is a hard link."""

    name: str
    size: int
    mtime_ns: int
    mode: int
    sha256: str
    stored: str
    link: str = ""


@dataclass(frozen=True)
class Manifest:
    """A backup. `faults`: files that a row names and that were missing, as sentences. `fingerprints`: of the secrets,
    by their name, which tell one secret from another and nothing of it."""

    name: str
    release: str
    vendor: str
    migrations: list[str]
    fingerprints: dict[str, str]
    database: BackupFile
    files: list[BackupFile]
    faults: list[str] = field(default_factory=list)

    @property
    def made_at(self) -> datetime:
        return datetime.strptime(self.name, _NAME).replace(tzinfo=UTC)

    @property
    def is_good(self) -> bool:
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Manifest":
        files = [BackupFile(**file) for file in values["files"]]
        return cls(**{**values, "database": BackupFile(**values["database"]), "files": files})


def name_at(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_NAME)


class BackupFolder:
    """What is read is checked: the contents against their hashes, the lists against their authentication."""

    def __init__(self, path: Path, key: BackupKey) -> None:
        self.path, self.key = path, key
        self.manifests, self.objects = path / "manifests", path / "objects"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Raises CannotBackUp where another process writes to the folder."""
        for folder in (self.manifests, self.objects):
            folder.mkdir(exist_ok=True, mode=0o700)
        with (self.path / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotBackUp(f"Another backup is being written to {self.path}; wait for its end.") from None
            for left in self.path.rglob(f"{_UNFINISHED}*"):  # of a backup that was killed
                left.unlink(missing_ok=True)
            yield

    # contents ---------------------------------------------------------------------------------------

    def store(self, source: IO[bytes], facts: BackupFile) -> BackupFile:
        """Encrypt a content, unless it is there, and return the file with its size and hashes."""
        reader = _HashingReader(source)
        with self._unfinished(self.objects) as (target, temporary):
            self.key.encrypt(reader, target, about="content")  # type: ignore[arg-type]
            sha256 = reader.sha256.hexdigest()
            stored = self.key.name_of(sha256)
            if not self.has(stored):
                _finish(target, temporary, self._object(stored))
        return replace(facts, size=reader.size, sha256=sha256, stored=stored)

    def has(self, stored: str) -> bool:
        return self._object(stored).exists()

    def read(self, file: BackupFile) -> Iterator[bytes]:
        """The content in pieces. Raises CannotBackUp at the first piece that is damaged, or at the end if it is not
        what the manifest says."""
        digest = hashlib.sha256()
        try:
            with self._object(file.stored).open("rb") as source:
                for piece in self.key.decrypt(source, about="content"):
                    digest.update(piece)
                    yield piece
        except (OSError, NotDecrypted) as problem:
            what = "missing" if isinstance(problem, FileNotFoundError) else "damaged"
            raise CannotBackUp(f"The backup's copy of {file.name} is {what}; use another backup.") from problem
        if digest.hexdigest() != file.sha256:
            raise CannotBackUp(f"The backup's copy of {file.name} is another file; use another backup.")

    def _object(self, stored: str) -> Path:
        return self.objects / stored[:2] / stored

    @contextmanager
    def _unfinished(self, folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=_UNFINISHED)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file, Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    # backups ----------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The backups, the newest first."""
        there = [path.name for path in self.manifests.glob("*Z")] if self.manifests.is_dir() else []
        return sorted(there, reverse=True)

    def write(self, manifest: Manifest) -> None:
        text = json.dumps(manifest.to_json()).encode()
        with self._unfinished(self.manifests) as (target, temporary), tempfile.TemporaryFile() as plain:
            plain.write(text)
            plain.seek(0)
            self.key.encrypt(plain, target, about=f"manifest {manifest.name}")
            _finish(target, temporary, self.manifests / manifest.name)

    def manifest(self, name: str) -> Manifest:
        """Raises CannotBackUp."""
        try:
            text = decrypt_all(self.key, self.manifests / name, about=f"manifest {name}")
            return Manifest.from_json(json.loads(text))
        except FileNotFoundError:
            there = ", ".join(self.names()[:5]) or "none"
            raise CannotBackUp(f"There is no backup {name} in {self.path}; there are: {there}.") from None
        except (OSError, NotDecrypted, ValueError, KeyError, TypeError) as problem:
            raise CannotBackUp(f"The list of the backup {name} is damaged; use another backup.") from problem

    def newest(self) -> Manifest:
        """Raises CannotBackUp."""
        if not self.names():
            raise CannotBackUp(f"{self.path} holds no finished backup.")
        return self.manifest(self.names()[0])

    def remove_older(self, days: int, *, now: datetime) -> list[str]:
        """Remove backups that are older than `days`, but never the newest good one, and contents that no backup has.
        Returns the names of the backups. Raises CannotBackUp before anything is removed if one cannot be read, since
        its contents are not known then."""
        manifests = [self.manifest(name) for name in self.names()]
        newest_good = next((manifest.name for manifest in manifests if manifest.is_good), "")
        old = {one.name for one in manifests if one.made_at < now - timedelta(days=days)} - {newest_good}
        for name in old:
            (self.manifests / name).unlink()
        kept = {file.stored for one in manifests if one.name not in old for file in [one.database, *one.files]}
        for path in self.objects.glob("??/*"):
            if path.name not in kept:
                path.unlink()
        return sorted(old)


class _HashingReader:
    """Reads on, and knows what it has read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.size, self.sha256 = 0, hashlib.sha256()

    def read(self, size: int) -> bytes:
        pieces, left = [], size
        while left and (piece := self._source.read(left)):  # a pipe gives less than it is asked for
            pieces.append(piece)
            left -= len(piece)
        data = b"".join(pieces)
        self.size += len(data)
        self.sha256.update(data)
        return data


def _finish(file: IO[bytes], temporary: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    path.parent.mkdir(exist_ok=True, mode=0o700)
    os.replace(temporary, path)
