"""The folders of runs in the bucket, where HILUM_RUNS_IN_BUCKET is set: machines then need no common data folder.

Engine and pages work on a folder of their own machine. Whoever ends a run, a range of one, or what ranges start from,
puts the folder's files into the bucket before the row says so. `RunFile` names them with their hashes, and `Run.kept`
names that list. Whoever reads a run asks for its folder `here`, a copy that is fetched where it is missing or is of
another list. Films are not among the files: each machine places those that it needs from its own copies of films.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction

from ml_engine.engine import shards
from ml_engine.models import AlignmentModel, DetectorModel, HeadModel, Run, RunFile, RunState
from ml_engine.runs import paths
from portal.intake import bucket_objects
from portal.intake.bucket_objects import BucketAway
from portal.intake.film_files import PART
from portal.intake.stored_files import locked

logger = logging.getLogger(__name__)

FOLDER = "runs"  # in the bucket
FILMS = "files"  # in a run folder
INPUTS = "inputs/"  # in a run folder; what comes from other runs
STAMP = ".kept"  # in a run folder: the lists of files that it has at least
NEEDED_AGAIN = (
    "run.json",
    "images.csv",
    "inputs",
    "log.txt",
    "events.jsonl",
    "stderr.txt",
)  # of a run that ended badly
NOT_HERE = "The log is on the machine that works on the run, and is shown once the run has ended."
_OWN = (FILMS, shards.FOLDER, "lock", STAMP)  # of this machine, or of a range, which has files of its own
_GONE = ".removed-"
_AT_ONCE = 4  # files that are sent or fetched
_SECONDS_BETWEEN_BEATS = 1.0

Beat = Callable[[], None]


@dataclass(frozen=True)
class KeptFile:
    """A file that the bucket has; `kept_by` is the primary key of a run."""

    path: str
    sha256: str
    size: int
    kept_by: int


def is_used() -> bool:
    return bool(settings.RUNS_IN_BUCKET)


def object_name(run_uuid: UUID, sha256: str) -> str:
    return f"{FOLDER}/{run_uuid}/{sha256}"


def digest_of(files: Iterable[tuple[str, str]]) -> str:
    """The SHA-256 of a list of paths and hashes."""
    lines = "".join(f"{path}\0{sha256}\n" for path, sha256 in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


NOTHING = digest_of([])  # of a run whose folder was deleted

# Where the folder is here ---------------------------------------------------------------------------


def here(run: Run, *, beat: Beat | None = None) -> Path:
    """The run's folder on this machine, after it was fetched where the bucket has what this machine lacks. `beat` is
    called often meanwhile. Raises BucketAway."""
    if run.parent is not None:
        here(run.parent, beat=beat)
    folder = place_of(run)
    if is_current(run, folder):
        return folder
    with locked(f"fetch-{str(run.uuid)[:2]}"):
        run.refresh_from_db(fields=["kept"])
        if not is_current(run, folder):
            _fetch(run, folder, beat)
    return folder


def place_of(run: Run) -> Path:
    """Where the folder of the run, or of a range in that of its run, is or would be."""
    if run.parent is None:
        return paths.run_folder(run.uuid)
    assert run.first_row is not None and run.end_row is not None  # constraint run_child_has_rows
    return shards.folder_of(paths.run_folder(run.parent.uuid), run.first_row, run.end_row)


def is_current(run: Run, folder: Path) -> bool:
    """Whether the folder has what the bucket has of the run, or nothing was put there."""
    if not is_used() or not run.kept:
        return True
    return not folder.exists() if run.kept == NOTHING else run.kept in _lists_of(folder)


def _lists_of(folder: Path) -> list[str]:
    try:
        lists: list[str] = json.loads((folder / STAMP).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return []
    return lists


def _stamp(folder: Path, lists: Sequence[str]) -> None:
    paths.write_text(folder / STAMP, json.dumps(list(dict.fromkeys(lists))))


def _fetch(run: Run, folder: Path, beat: Beat | None) -> None:
    """Put the files that the rows name in the place of the folder; ranges of this machine stay, films are placed anew.
    One that was interrupted, as by a page that took too long, goes on with the files that are there."""
    if run.kept == NOTHING:
        _remove_folder(folder)
        return
    temporary = folder.with_name(f"{PART}{run.uuid}-{run.kept[:16]}")
    temporary.mkdir(parents=True, exist_ok=True)
    files = list(run.files.select_related("kept_by"))
    _carry_out([partial(_fetch_file, file, temporary / file.path) for file in files], beat)
    _stamp(temporary, [digest_of((file.path, file.sha256) for file in files)])
    with suppress(FileNotFoundError):
        os.replace(folder / shards.FOLDER, temporary / shards.FOLDER)
    _remove_folder(folder)
    os.replace(temporary, folder)


def _fetch_file(file: RunFile, target: Path) -> None:
    """Whole and checked, or not at all. Raises BucketAway, WrongBytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".safetensors":  # a fitted model may be here as such
        with suppress(FileNotFoundError):
            paths.link(paths.model_path(file.sha256), target)
    if target.exists():
        return
    temporary = target.with_name(f"{PART}{uuid4().hex}")
    try:
        with temporary.open("wb") as open_target:
            bucket_objects.fetch(object_name(file.kept_by.uuid, file.sha256), open_target, sha256=file.sha256)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_folder(folder: Path) -> None:
    """Renamed first: what is half removed must not be taken for a whole one."""
    gone = folder.with_name(f"{_GONE}{folder.name}-{uuid4().hex[:8]}")
    with suppress(FileNotFoundError):
        os.replace(folder, gone)
        shutil.rmtree(gone, ignore_errors=True)


def remove_copy(run: Run) -> None:
    """Remove the folder here of a run that has ended; it is fetched again where it is read."""
    with locked(f"fetch-{str(run.uuid)[:2]}"):
        _remove_folder(paths.run_folder(run.uuid))


def has_folder(run: Run) -> bool:
    """Whether there is one, here or in the bucket."""
    if is_used() and run.kept:
        return run.kept != NOTHING
    return paths.run_folder(run.uuid).is_dir()


def read_text(run: Run, name: str) -> str:
    """A text of the run's folder, which is not fetched as a whole for it. Raises FileNotFoundError, BucketAway."""
    folder = paths.run_folder(run.uuid)
    if is_current(run, folder):
        return (folder / name).read_text(encoding="utf-8", errors="replace")
    file = run.files.select_related("kept_by").filter(path=name).first()
    if file is None:
        raise FileNotFoundError(name)
    target = BytesIO()
    bucket_objects.fetch(object_name(file.kept_by.uuid, file.sha256), target, sha256=file.sha256)
    return target.getvalue().decode("utf-8", errors="replace")


def log_tail(run: Run, *, lines: int = 20, limit: int = 16_384) -> str:
    """The last lines of the run's log.txt; "" while there is none, and a sentence where it is elsewhere."""
    if is_current(run, paths.run_folder(run.uuid)):
        text = paths.log_tail(run.uuid, lines=lines, limit=limit)
        return text or (NOT_HERE if is_used() and run.state == RunState.RUNNING else "")
    try:
        return "\n".join(read_text(run, "log.txt")[-limit:].splitlines()[-lines:])
    except FileNotFoundError:
        return ""
    except BucketAway as away:
        return f"The log cannot be shown now. {away}"


def model_here(model: AlignmentModel | DetectorModel | HeadModel, *, beat: Beat | None = None) -> Path:
    """The file of a fitted model, after it was fetched where this machine lacks it. Raises BucketAway."""
    path = paths.model_path(model.sha256)
    if not is_used() or path.exists():
        return path
    file = model.run.files.select_related("kept_by").filter(sha256=model.sha256).first()
    if file is not None:
        _carry_out([partial(_fetch_file, file, path)], beat)
    return path


# Into the bucket ------------------------------------------------------------------------------------


def keep(run: Run, folder: Path, *, beat: Beat, names: Collection[str] | None = None) -> list[KeptFile]:
    """Put the folder's files into the bucket, of `names` only where they are given; `record` makes them the run's. What
    the run has from its parent, its leader and its models is not sent again. Raises BucketAway, OSError."""
    known = _objects_of([run.pk, run.parent_id, run.after_id if run.is_child else None])
    of_models = _objects_of([model.run_id for model in _models_of(run)])
    kept: list[KeptFile] = []

    def keep_file(path: Path) -> None:
        name, sha256 = path.relative_to(folder).as_posix(), paths.file_sha256(path)
        owner = known.get(sha256) or (of_models.get(sha256) if name.startswith(INPUTS) else None)
        if owner is None:
            bucket_objects.put(object_name(run.uuid, sha256), path)
            known[sha256] = run.pk
        kept.append(KeptFile(name, sha256, path.stat().st_size, owner or run.pk))

    _carry_out([partial(keep_file, path) for path in _files_of(folder, names)], beat)
    # before the row names the list: otherwise a reader on this machine would fetch an older one over the folder
    _stamp(folder, [*_lists_of(folder), digest_of((file.path, file.sha256) for file in kept)])
    return kept


def _files_of(folder: Path, names: Collection[str] | None) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        is_left_out = parts[0] in _OWN or any(part.startswith(".") for part in parts)
        if not is_left_out and (names is None or parts[0] in names) and path.is_file() and not path.is_symlink():
            yield path


def _objects_of(runs: Iterable[int | None]) -> dict[str, int]:
    """SHA-256 -> the run under whose name the object lies, of the files of these runs."""
    return dict(RunFile.objects.filter(run__in=[pk for pk in runs if pk]).values_list("sha256", "kept_by"))


def _models_of(run: Run) -> list[AlignmentModel | DetectorModel | HeadModel]:
    models = (run.alignment, run.detector, run.detector.alignment if run.detector else None, run.head)
    return [model for model in models if model is not None]


@transaction.atomic
def record(run: Run, kept: Sequence[KeptFile] | None) -> None:
    """Make the files those of the run, and remove the objects that no row names any more; None where runs are not in
    the bucket. The caller holds the row."""
    if kept is None:
        return
    _remove_unnamed_on_commit(run)
    run.files.all().delete()
    RunFile.objects.bulk_create(
        [RunFile(run=run, path=one.path, sha256=one.sha256, size=one.size, kept_by_id=one.kept_by) for one in kept],
        batch_size=1000,
    )
    run.kept = digest_of((file.path, file.sha256) for file in kept)
    Run.with_children.filter(pk=run.pk).update(kept=run.kept)


@transaction.atomic
def forget_ranges(run: Run) -> None:
    """Of a run that has merged them."""
    if not is_used():
        return
    ranges = list(Run.with_children.filter(parent=run).exclude(kept=""))
    for child in ranges:
        _remove_unnamed_on_commit(child)
    RunFile.objects.filter(run__in=ranges).delete()
    Run.with_children.filter(parent=run).update(kept="")


def _remove_unnamed_on_commit(run: Run) -> None:
    """Of the objects that rows name now, remove those that no row names after the transaction. Only these: other
    objects may be those of an attempt on another machine."""
    before = set(RunFile.objects.filter(kept_by=run).values_list("sha256", flat=True))

    def remove() -> None:
        after = set(RunFile.objects.filter(kept_by=run).values_list("sha256", flat=True))
        try:
            for sha256 in before - after:
                bucket_objects.remove(object_name(run.uuid, sha256))
        except BucketAway as away:  # the collector removes them
            logger.warning("run %s: objects that no row names are left in the bucket: %s", run.uuid, away)

    if before:
        transaction.on_commit(remove)


def _remove_objects(run: Run, *, named: Collection[str] = ()) -> None:
    """Remove what lies under the run's name, but for what rows name. Raises BucketAway."""
    for name, _ in list(bucket_objects.listed(f"{FOLDER}/{run.uuid}")):
        if name.rpartition("/")[2] not in named:
            bucket_objects.remove(name)


def tidy(run: Run) -> None:
    """Of a run that has ended, a machine needs no films: each page that shows one places it."""
    if is_used() and not run.is_child:
        shutil.rmtree(paths.run_folder(run.uuid) / FILMS, ignore_errors=True)


def _carry_out(jobs: Sequence[Callable[[], None]], beat: Beat | None) -> None:
    """In threads, since a bucket that does not answer keeps a request for minutes. No job asks the database."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        waiting = {pool.submit(job) for job in jobs}
        while waiting:
            done, waiting = wait(waiting, timeout=_SECONDS_BETWEEN_BEATS, return_when=FIRST_EXCEPTION)
            for one in done:
                one.result()
            if beat is not None:
                beat()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


# Erasing --------------------------------------------------------------------------------------------


def delete_folder(run: Run) -> None:
    """Remove the run's folder, here and in the bucket, with what others have of it. Raises BucketAway."""
    if is_used():
        gone = [run, *Run.with_children.filter(parent=run)]
        for one in gone:
            _remove_objects(one)
        with transaction.atomic():
            others = list(Run.with_children.filter(files__kept_by__in=gone).exclude(pk=run.pk).distinct())
            RunFile.objects.filter(kept_by__in=gone).delete()
            record(run, [])
            for other in others:
                _renew_list(other)
    shutil.rmtree(paths.run_folder(run.uuid), ignore_errors=True)


def forget_file(run: Run, name: str) -> None:
    """Remove one file of the run's folder, here and in the bucket. Raises BucketAway."""
    folder = paths.run_folder(run.uuid)
    file = run.files.filter(path=name).first() if is_used() else None
    if file is not None:
        is_shared = RunFile.objects.filter(kept_by=file.kept_by, sha256=file.sha256).exclude(pk=file.pk).exists()
        if file.kept_by_id == run.pk and not is_shared:
            bucket_objects.remove(object_name(run.uuid, file.sha256))
        with transaction.atomic():
            file.delete()
            _renew_list(run)
    (folder / name).unlink(missing_ok=True)


def _renew_list(run: Run) -> None:
    """After a row was deleted. A copy here keeps its other files; one elsewhere is fetched anew."""
    was_current = run.kept in _lists_of(paths.run_folder(run.uuid))
    files = list(run.files.values_list("path", "sha256"))
    run.kept = digest_of(files)
    Run.with_children.filter(pk=run.pk).update(kept=run.kept)
    if was_current:
        _stamp(paths.run_folder(run.uuid), [run.kept])


@contextmanager
def changing(run: Run) -> Iterator[Path]:
    """The folder of a run that has ended, whose changes are put into the bucket in the end. Raises BucketAway."""
    folder = here(run)
    yield folder
    if not is_used() or not run.kept:
        return
    if not folder.is_dir():
        delete_folder(run)
        return
    kept = keep(run, folder, beat=lambda: None)
    with transaction.atomic():
        record(Run.with_children.select_for_update(of=("self",)).get(pk=run.pk), kept)
    _remove_objects(run, named=set(RunFile.objects.filter(kept_by=run).values_list("sha256", flat=True)))
