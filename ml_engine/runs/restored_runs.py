"""What backups have to know of runs: the files that their rows name, and what becomes of them in a restore."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ml_engine.models import AlignmentModel, DetectorModel, HeadModel, Run, RunKind, RunState, WithdrawnModel
from ml_engine.runs import canonical_files, copies_here, lifecycle, paths, run_bucket
from portal.backups.erasure_list import ErasedPatient
from portal.backups.named_files import FileOfBucket
from portal.intake import bucket_objects


def named_files() -> Iterator[tuple[str, Path]]:
    for kind, name in ((AlignmentModel, "alignment"), (DetectorModel, "detector"), (HeadModel, "head")):
        withdrawn = WithdrawnModel.objects.filter(**{f"{name}__isnull": False}).values(name)
        models = kind.objects.exclude(pk__in=withdrawn)
        models = models.filter(run__kept="") if run_bucket.is_used() else models  # the bucket has the others
        for sha256 in models.values_list("sha256", flat=True):
            yield f"a fitted {name}", paths.model_path(sha256)
    scored = Run.objects.filter(kind=RunKind.SCORE, state=RunState.DONE)
    scored = scored.filter(kept="") if run_bucket.is_used() else scored
    for uuid in scored.values_list("uuid", flat=True):
        yield "the scores of a run", paths.run_folder(uuid) / "scores.csv"


def files_of_bucket() -> Iterator[FileOfBucket]:
    """The files of runs whose folder is not on this machine, or is of before another machine changed it, as by an
    erasure; such a copy is removed. Raises BucketAway."""
    if not run_bucket.is_used():
        return
    copies_here.remove_outdated()
    for name in canonical_files.objects():
        sha256 = canonical_files.sha256_of(name)
        fetch = partial(bucket_objects.fetch, canonical_files.object_name(name), sha256=sha256)
        yield FileOfBucket(paths.canonical_path(name), sha256 or "", fetch)
    for run in Run.with_children.exclude(kept="").select_related("parent").iterator():
        folder = run_bucket.place_of(run)
        if run_bucket.is_current(run, folder):
            continue
        for file in run.files.select_related("kept_by"):
            name = run_bucket.object_name(file.kept_by.uuid, file.sha256)
            fetch = partial(bucket_objects.fetch, name, sha256=file.sha256)
            yield FileOfBucket(folder / file.path, file.sha256, fetch)


def go_on(erased: list[ErasedPatient]) -> Iterator[str]:
    """Runs that were executing when the backup was made are queued again, and every queued one is sent to the new
    broker; they go on after the last stage that the backup has."""
    running = lifecycle.hand_back_all()
    queued = Run.objects.filter(state=RunState.QUEUED).update(published_at=None)
    yield f"Runs that go on once workers run: {queued}, of which {running} were executing."
