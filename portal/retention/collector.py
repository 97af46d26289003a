"""Remove files of the data folder that no row names, such as what killed processes left. Never one that a row names.

Only what lies where the portal puts files of a kind, under a name of its form, is looked at; anything else is left, and
counted. A file has to be older than the age limit, since it is there before its row is: whoever stores gives it the
present time (`portal.intake.stored_files`), and the rows are asked again, one file at a time, when it is removed.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Model

from portal.backups import restoring
from portal.intake import bucket_objects, film_bucket, film_files, stored_files
from portal.intake.bucket_objects import Stored
from portal.models import Image, QuarantinedFile, Site
from portal.people import audit

LEAST_HOURS = 1  # longer than any transaction that stores a film or a model
GONE = ".removed-"  # begins the name of a folder that is being removed
_AT_ONCE = 500  # names that the database is asked for
_FEW = 20  # files of a kind, of which any share may be without a row
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SHA256 = r"[0-9a-f]{64}"


class CannotCollect(Exception):
    """A sentence for the administrator; nothing was removed."""


@dataclass(frozen=True)
class Kind:
    """Files, or whole folders, that rows name. `pattern` is that of a path in `folder`; its group `name` is what rows
    name, by which `named` returns those of some names that are named. `unfinished` is the pattern of the names that
    files of the kind have while they are written."""

    name: str
    folder: str
    pattern: re.Pattern[str]
    named: Callable[[Collection[str]], set[str]]
    unfinished: re.Pattern[str] = re.compile(r"(?:.*/)?\.(?:part-|removed-).*")


@dataclass(frozen=True)
class ObjectKind:
    """Objects of the bucket that rows name. `objects` gives all of them by the name that rows have; `is_expected` says
    of one whether somebody is about to store its row; `object_name` is that in the bucket."""

    kind: Kind
    is_used: Callable[[], bool]
    objects: Callable[[], Mapping[str, Stored]]
    is_expected: Callable[[str], bool]
    object_name: Callable[[str], str]


@dataclass(frozen=True)
class StoredEntry:
    """A file, or a folder that is removed as a whole; of the bucket an object. `name` is "" for one that was being
    written."""

    kind: Kind
    path: Path
    name: str


@dataclass
class Inventory:
    """Of a kind. `young` are too young to be judged, `strange` have no name of its form."""

    kind: Kind
    named: int = 0
    young: int = 0
    strange: int = 0
    unnamed: list[StoredEntry] = field(default_factory=list)
    bytes_unnamed: int = 0
    of_bucket: ObjectKind | None = None
    sizes: dict[str, int] = field(default_factory=dict)  # of objects of the bucket, by name
    removed: int = 0
    bytes_removed: int = 0


_more: list[Kind] = []
_more_objects: list[ObjectKind] = []


def collect_also(kind: Kind) -> None:
    """Let an app that comes after this one add its files; it calls this once, when it is ready."""
    _more.append(kind)


def collect_objects_also(kind: ObjectKind) -> None:
    """As `collect_also`, for objects of the bucket."""
    _more_objects.append(kind)


def uuid_pattern(before: str = "") -> re.Pattern[str]:
    """Of a path that ends in a UUID, which a row has."""
    return re.compile(f"{before}(?P<name>{_UUID})")


def uuids_named(model: type[Model]) -> Callable[[Collection[str]], set[str]]:
    """Those of some UUIDs that rows of the model have."""

    def named(names: Collection[str]) -> set[str]:
        return {str(uuid) for uuid in model._base_manager.filter(uuid__in=names).values_list("uuid", flat=True)}

    return named


def collect(*, hours: float, removes: bool, even_most: bool = False) -> list[Inventory]:
    """Look for files that no row names and that are older than `hours`; remove them with `removes`, else only count.

    Raises CannotCollect: for fewer than LEAST_HOURS, while a restore is unfinished, where the database has no site, and
    where more than half of the files of a kind would go, unless `even_most`: the database may be another one's. Raises
    BucketAway."""
    if hours < LEAST_HOURS:
        raise CannotCollect(
            f"The age limit is {hours:g} hours; expected {LEAST_HOURS} or more, since a file is there before its row."
        )
    if restoring.is_unfinished():
        raise CannotCollect("A restore has not finished, so that rows may be missing; end it, and then collect.")
    if not Site.objects.exists():
        raise CannotCollect(
            f"The database has no site, so that no row names a file of {settings.DATA_DIR}: is DATABASE_URL that of "
            "this data folder?"
        )
    before = time.time() - hours * 3600
    kinds = [*_of_portal(), *_more]
    inventories = [_look(kind, before, others={other.folder for other in kinds} - {kind.folder}) for kind in kinds]
    inventories += [_look_into_bucket(one, before) for one in (_FILMS_OF_BUCKET, *_more_objects) if one.is_used()]
    for inventory in inventories:
        _refuse_most(inventory, even_most=even_most)
    if removes:
        _remove_all(inventories, before, hours)
    return inventories


def _of_portal() -> list[Kind]:
    """The folder of uploads is swept by `zip_uploads.sweep`, which knows which of its files an import still needs."""
    return [
        Kind("pixels of films", "pixels", re.compile(rf"[0-9a-f]{{2}}/(?P<name>{_SHA256})\.u16\.gz"), _pixels_named),
        Kind("previews of films", "previews", re.compile(rf"[0-9a-f]{{2}}/(?P<name>{_UUID})\.jpg"), _films_named),
        Kind(
            "files in quarantine",
            "quarantine",
            re.compile(rf"(?P<name>{_UUID}/{_SHA256})(?:\.row\.json|\.jpg)?"),
            _quarantined_named,
        ),
    ]


def _pixels_named(names: Collection[str]) -> set[str]:
    return set(Image.objects.filter(pixel_sha256__in=names).values_list("pixel_sha256", flat=True))


def _films_named(names: Collection[str]) -> set[str]:
    return {str(uuid) for uuid in Image.objects.filter(uuid__in=names).values_list("uuid", flat=True)}


def _quarantined_named(names: Collection[str]) -> set[str]:
    """Rows whose bytes were kept for long enough name none."""
    hashes = {name.partition("/")[2] for name in names}
    kept = QuarantinedFile.objects.filter(kept_at__isnull=False, source_sha256__in=hashes)
    return {f"{dataset}/{digest}" for dataset, digest in kept.values_list("dataset__uuid", "source_sha256")}


def _has_pixels(sha256: str) -> bool:
    """A copy in the data folder that has no row either, and is younger, is of somebody who is about to store one."""
    return film_files.pixel_path(sha256).exists()


_FILMS_OF_BUCKET = ObjectKind(
    Kind("films in the bucket", "", re.compile(""), _pixels_named),
    is_used=lambda: film_bucket.is_used(),
    objects=lambda: film_bucket.objects(),
    is_expected=_has_pixels,
    object_name=film_bucket.object_name,
)


def _look(kind: Kind, before: float, *, others: set[str]) -> Inventory:
    """`others`: folders of other kinds, some of which are in folders of this one."""
    inventory = Inventory(kind)
    listed = _entries(inventory, others)
    while entries := list(islice(listed, _AT_ONCE)):
        names = {entry.name for entry in entries if entry.name}
        named = kind.named(names) if names else set()
        for entry in entries:
            if entry.name in named:
                inventory.named += 1
            elif _newest(entry.path) >= before:
                inventory.young += 1
            else:
                inventory.unnamed.append(entry)
                inventory.bytes_unnamed += size_of(entry.path)
    return inventory


def _look_into_bucket(of_bucket: ObjectKind, before: float) -> Inventory:
    """An object has the time at which it was put there: one that a second film wants is put there again where it has
    been removed (`film_files.keep_pixels`)."""
    inventory = Inventory(of_bucket.kind, of_bucket=of_bucket)
    listed = iter(of_bucket.objects().items())
    while entries := dict(islice(listed, _AT_ONCE)):
        named = of_bucket.kind.named(entries)
        for name, stored in entries.items():
            if name in named:
                inventory.named += 1
            elif stored.written.timestamp() >= before:
                inventory.young += 1
            else:
                inventory.unnamed.append(StoredEntry(of_bucket.kind, Path(of_bucket.object_name(name)), name))
                inventory.bytes_unnamed += stored.size
                inventory.sizes[name] = stored.size
    return inventory


def _entries(inventory: Inventory, others: set[str]) -> Iterator[StoredEntry]:
    kind = inventory.kind
    top = Path(settings.DATA_DIR) / kind.folder
    for path in _paths(top, kind, {Path(settings.DATA_DIR) / other for other in others}):
        text = path.relative_to(top).as_posix()
        if match := kind.pattern.fullmatch(text):
            yield StoredEntry(kind, path, match["name"])
        elif kind.unfinished.fullmatch(text):
            yield StoredEntry(kind, path, "")
        else:
            inventory.strange += 1


def _paths(top: Path, kind: Kind, others: set[Path]) -> Iterator[Path]:
    """Files, and folders that the kind's patterns name, which are not entered. Links are left alone."""
    for folder, folders, names in os.walk(top):
        here = Path(folder)
        whole = [name for name in folders if _is_entry(here / name, top, kind)]
        folders[:] = sorted(name for name in set(folders) - set(whole) if here / name not in others)
        for name in sorted([*whole, *names]):
            if not (here / name).is_symlink():
                yield here / name


def _is_entry(path: Path, top: Path, kind: Kind) -> bool:
    text = path.relative_to(top).as_posix()
    return bool(kind.pattern.fullmatch(text) or kind.unfinished.fullmatch(text))


def _refuse_most(inventory: Inventory, *, even_most: bool) -> None:
    unnamed = len(inventory.unnamed)
    seen = unnamed + inventory.named + inventory.young
    if not even_most and unnamed > _FEW and unnamed > inventory.named + inventory.young:
        raise CannotCollect(
            f"No row names {unnamed} of {seen} {inventory.kind.name}, more than half: is the database "
            "that of this data folder? Nothing was removed. If it is right, collect with --even-most."
        )


def _remove_all(inventories: list[Inventory], before: float, hours: float) -> None:
    for inventory in inventories:
        for entry in inventory.unnamed:
            of_bucket = inventory.of_bucket
            size = inventory.sizes[entry.name] if of_bucket else size_of(entry.path)
            if _remove_object(entry, of_bucket, before) if of_bucket else _remove(entry, before):
                inventory.removed += 1
                inventory.bytes_removed += size
    after = {one.kind.name: {"files": one.removed, "bytes": one.bytes_removed} for one in inventories if one.removed}
    if after:
        with transaction.atomic():
            audit.record(verb="collect files", site=None, actor=None, after={"hours": hours, **after})


def _remove(entry: StoredEntry, before: float) -> bool:
    """Whether it was removed: meanwhile a row may have come, or somebody who is about to store one."""
    path = entry.path
    with stored_files.removing():
        is_named = bool(entry.name and entry.kind.named([entry.name]))
        if not path.exists() or is_named or _newest(path) >= before:
            return False
        if not path.is_dir():
            path.unlink()
            return True
        # renamed first: what is half removed when the process is killed must not be taken for a whole one
        gone = path if path.name.startswith(GONE) else path.with_name(f"{GONE}{path.name}")
        if gone != path:
            os.replace(path, gone)
    shutil.rmtree(gone, ignore_errors=True)
    return True


def _remove_object(entry: StoredEntry, of_bucket: ObjectKind, before: float) -> bool:
    """The lock holds back those who share the data folder; others give the object the present time."""
    name = of_bucket.object_name(entry.name)
    with stored_files.removing():
        written = bucket_objects.written(name)
        is_young = written is None or written.timestamp() >= before
        if is_young or of_bucket.kind.named([entry.name]) or of_bucket.is_expected(entry.name):
            return False
        return bucket_objects.remove(name)


def _newest(path: Path) -> float:
    """The latest change of a file, or of a folder and everything in it; that of what is gone is now."""
    try:
        times = [path.lstat().st_mtime]
        for folder, folders, names in os.walk(path):
            times += [os.lstat(os.path.join(folder, name)).st_mtime for name in (*folders, *names)]
    except FileNotFoundError:
        return time.time()
    return max(times)


def size_of(path: Path) -> int:
    """Bytes that are freed when the file, or the folder with all in it, is removed: shared ones stay."""
    paths = [path]
    if path.is_dir():
        paths = [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    total = 0
    for one in paths:
        try:
            facts = one.lstat()
        except OSError:  # removed in the meantime
            continue
        total += facts.st_size if facts.st_nlink == 1 else 0
    return total
