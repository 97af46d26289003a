"""A folder of backups, on a disk or in a bucket (portal.backups.stores). Contents are stored once, whatever number of
backups has them.

hilum-backups.json     salt and parameters of the key (portal.backups.backup_key)
manifests/NAME         a backup: the list of its files with their SHA-256, encrypted; NAME is its time in UTC
objects/ab/abcd...     the contents, encrypted, each under a name computed from its SHA-256 and the key
erasures.jsonl         who was erased, by keyed hashes (portal.backups.erasure_list); in no backup
"""

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from portal.backups.backup_key import BackupKey
from portal.backups.problems import CannotBackUp
from portal.backups.stores import Store, read_file
from portal.intake.encrypted_files import NotDecrypted

ERASURES = "erasures.jsonl"
_MANIFESTS, _OBJECTS = "manifests", "objects"
_NAME = "%Y-%m-%dT%H-%M-%SZ"


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

    def __init__(self, store: Store, key: BackupKey) -> None:
        self.store, self.key = store, key

    def locked(self) -> AbstractContextManager[None]:
        """Whoever writes or removes has to hold it. Raises CannotBackUp where another process does."""
        return self.store.locked()

    # contents ---------------------------------------------------------------------------------------

    def add(self, source: IO[bytes], facts: BackupFile) -> BackupFile:
        """Encrypt a content, unless it is there, and return the file with its size and hashes."""
        reader = _HashingReader(source)
        with self.store.unfinished() as target:
            self.key.encrypt(reader, target, about="content")
            sha256 = reader.sha256.hexdigest()
            stored = self.key.name_of(sha256)
            if not self.has(stored):
                self.store.finish(target, _object(stored))
        return replace(facts, size=reader.size, sha256=sha256, stored=stored)

    def has(self, stored: str) -> bool:
        return self.store.has(_object(stored))

    def read(self, file: BackupFile) -> Iterator[bytes]:
        """The content in pieces. Raises CannotBackUp at the first piece that is damaged, or at the end if it is not
        what the manifest says."""
        digest = hashlib.sha256()
        try:
            with self.store.open(_object(file.stored)) as source:
                for piece in self.key.decrypt(source, about="content"):
                    digest.update(piece)
                    yield piece
        except (OSError, NotDecrypted) as problem:
            what = "missing" if isinstance(problem, FileNotFoundError) else "damaged"
            raise CannotBackUp(f"The backup's copy of {file.name} is {what}; use another backup.") from problem
        if digest.hexdigest() != file.sha256:
            raise CannotBackUp(f"The backup's copy of {file.name} is another file; use another backup.")

    # backups ----------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The backups, the newest first."""
        return sorted((name for name in self.store.names(_MANIFESTS) if name.endswith("Z")), reverse=True)

    def write(self, manifest: Manifest) -> None:
        """Once all contents are there, and unless somebody has taken the lock away."""
        text = json.dumps(manifest.to_json()).encode()
        self.store.settle()
        with self.store.unfinished() as target:
            self.key.encrypt(io.BytesIO(text), target, about=f"manifest {manifest.name}")
            self.store.finish(target, f"{_MANIFESTS}/{manifest.name}")
        self.store.settle()

    def manifest(self, name: str) -> Manifest:
        """Raises CannotBackUp."""
        try:
            with self.store.open(f"{_MANIFESTS}/{name}") as file:
                text = b"".join(self.key.decrypt(file, about=f"manifest {name}"))
            return Manifest.from_json(json.loads(text))
        except FileNotFoundError:
            there = ", ".join(self.names()[:5]) or "none"
            raise CannotBackUp(f"There is no backup {name} in {self.store}; there are: {there}.") from None
        except (OSError, NotDecrypted, ValueError, KeyError, TypeError) as problem:
            raise CannotBackUp(f"The list of the backup {name} is damaged; use another backup.") from problem

    def newest(self) -> Manifest:
        """Raises CannotBackUp."""
        names = self.names()
        if not names:
            raise CannotBackUp(f"{self.store} holds no finished backup.")
        return self.manifest(names[0])

    def remove_older(self, days: int, *, now: datetime) -> list[str]:
        """Remove backups that are older than `days`, but never the newest good one, and contents that no backup has.
        Returns the names of the backups. Raises CannotBackUp before anything is removed if one cannot be read, since
        its contents are not known then."""
        manifests = [self.manifest(name) for name in self.names()]
        newest_good = next((manifest.name for manifest in manifests if manifest.is_good), "")
        old = {one.name for one in manifests if one.made_at < now - timedelta(days=days)} - {newest_good}
        kept = {file.stored for one in manifests if one.name not in old for file in [one.database, *one.files]}
        unused = [stored for stored in self.store.names(_OBJECTS) if stored not in kept]
        self.store.settle()
        for name in old:
            self.store.remove(f"{_MANIFESTS}/{name}")
        for stored in unused:
            self.store.remove(_object(stored))
        return sorted(old)

    # the list of erasures ---------------------------------------------------------------------------

    def erasures(self) -> bytes:
        """As `erasure_list.parsed` reads it; empty where there is none."""
        try:
            return read_file(self.store, ERASURES)
        except FileNotFoundError:
            return b""


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


def _object(stored: str) -> str:
    return f"{_OBJECTS}/{stored[:2]}/{stored}"
