"""Runs of before the bucket, and of a restored backup, come into it (`manage.py fill_bucket`)."""

from pathlib import Path

from django.db import transaction

from ml_engine.models import HandMadeCanonical, Run, RunFile, RunState
from ml_engine.runs import canonical_files, paths, run_bucket
from portal.intake import bucket_objects
from portal.intake.bucket_objects import Filled

_ENDED_BADLY = (RunState.FAILED, RunState.CANCELLED)


def fill_canonicals() -> Filled:
    """Move the hand-made canonical images that are here into the bucket. Raises BucketAway."""
    filled = Filled("canonical images")
    for canonical in HandMadeCanonical.objects.order_by("pk"):
        is_here = paths.canonical_path(canonical.sha256).is_file()
        for name in canonical_files.names_of(canonical):
            canonical_files.keep(name)
        filled.put += is_here
        filled.there += not is_here and canonical_files.is_there(canonical)
    return filled


def fill() -> Filled:
    """Put into the bucket the folders here that it has not, and the objects that it lacks. Raises BucketAway."""
    filled, new = Filled("runs"), []
    for run in Run.objects.filter(state__in=[*_ENDED_BADLY, RunState.DONE], kept="").order_by("pk"):
        folder = paths.run_folder(run.uuid)
        if (folder / "run.json").is_file():
            _put_folder(run, folder)
            filled.put += 1
            new.append(run.pk)
    there = {name for name, _ in bucket_objects.listed(run_bucket.FOLDER)} if run_bucket.is_used() else set()
    kept = Run.with_children.exclude(kept__in=["", run_bucket.NOTHING]).exclude(pk__in=new)
    for run in kept.select_related("parent").order_by("pk"):
        files = list(run.files.select_related("kept_by"))
        lacking = [file for file in files if run_bucket.object_name(file.kept_by.uuid, file.sha256) not in there]
        done = [file for file in lacking if _put_again(file, run_bucket.place_of(run))]
        there |= {run_bucket.object_name(file.kept_by.uuid, file.sha256) for file in done}
        filled.put += bool(done)
        filled.there += not lacking
        filled.missing += len(done) < len(lacking)
    return filled


def _put_folder(run: Run, folder: Path) -> None:
    is_divided = Run.with_children.filter(parent=run).exists()
    names = run_bucket.NEEDED_AGAIN if run.state in _ENDED_BADLY and not is_divided else None
    kept = run_bucket.keep(run, folder, beat=lambda: None, names=names)
    with transaction.atomic():
        run_bucket.record(Run.with_children.select_for_update(of=("self",)).get(pk=run.pk), kept)


def _put_again(file: RunFile, folder: Path) -> bool:
    """Whether the folder has the file as the row says."""
    path = folder / file.path
    if not path.is_file() or paths.file_sha256(path) != file.sha256:
        return False
    bucket_objects.put(run_bucket.object_name(file.kept_by.uuid, file.sha256), path)
    return True
