"""Copies of runs and models on this machine, where the bucket keeps them (`run_bucket`)."""

import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

from django.conf import settings

from ml_engine.models import AlignmentModel, DetectorModel, HeadModel, Run, RunFile, RunState
from ml_engine.runs import canonical_files, paths, run_bucket
from ml_engine.runs.collected import canonicals_named
from ml_engine.runs.withdrawn import withdrawn_models
from portal.intake import bucket_objects
from portal.intake.bucket_objects import Stored
from portal.retention.collector import Kind, ObjectKind, size_of
from portal.retention.copies import Copy

_ENDED = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)
_MODELS = (AlignmentModel, DetectorModel, HeadModel)


def copies() -> Iterator[Copy]:
    """The folders of runs that have ended, and the files of models, that the bucket has as they are here."""
    if not run_bucket.is_used():
        return
    for run, folder in _folders():
        if run.kept and run_bucket.is_current(run, folder):
            written = (folder / run_bucket.STAMP).stat().st_mtime
            yield Copy(written, size_of(folder), partial(run_bucket.remove_copy, run))
    kept = set(RunFile.objects.filter(path__endswith=".safetensors").values_list("sha256", flat=True))
    for path in _models_here():
        if path.stem in kept:
            facts = path.stat()
            yield Copy(facts.st_mtime, facts.st_size, partial(path.unlink, missing_ok=True))


def remove_outdated() -> int:
    """Remove folders of runs that another machine has changed, such as by an erasure, films in those that have ended,
    and models that were withdrawn. Returns how many."""
    removed = 0
    for run, folder in _folders():
        if not run_bucket.is_current(run, folder):
            run_bucket.remove_copy(run)
            shutil.rmtree(paths.picture_path(run.uuid, "x").parent, ignore_errors=True)
            removed += 1
        elif run.kept:
            run_bucket.tidy(run)
    for path in _models_here():
        rows = [row for kind in _MODELS for row in kind.objects.filter(sha256=path.stem)]
        if rows and len(withdrawn_models(rows)) == len(rows):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _folders() -> Iterator[tuple[Run, Path]]:
    """The folders here of runs that have ended."""
    for run in Run.objects.filter(state__in=_ENDED).order_by("pk").iterator():
        folder = paths.run_folder(run.uuid)
        if folder.is_dir():
            yield run, folder


def _models_here() -> list[Path]:
    return sorted((Path(settings.DATA_DIR) / "models").glob("??/*.safetensors"))


# Of the bucket, for the collector -------------------------------------------------------------------


def objects() -> Mapping[str, Stored]:
    """By the UUID of the run and the SHA-256, with a slash between. Raises BucketAway."""
    before = f"{run_bucket.FOLDER}/"
    return {name.removeprefix(before): stored for name, stored in bucket_objects.listed(run_bucket.FOLDER)}


def _named(names: Collection[str]) -> set[str]:
    """Those that files of runs name, and all of runs that have not ended: an engine may be about to end with them."""
    uuids = {uuid for uuid, _, _ in (name.partition("/") for name in names)}
    runs = Run.with_children.filter(uuid__in=uuids)
    going = {str(uuid) for uuid in runs.exclude(state__in=_ENDED).values_list("uuid", flat=True)}
    files = RunFile.objects.filter(kept_by__in=runs).values_list("kept_by__uuid", "sha256")
    named = {f"{uuid}/{sha256}" for uuid, sha256 in files}
    return {name for name in names if name in named or name.partition("/")[0] in going}


def _is_expected(name: str) -> bool:
    return False


CANONICALS = ObjectKind(
    Kind("hand-made canonical images in the bucket", "", re.compile(""), canonicals_named),
    is_used=run_bucket.is_used,
    objects=canonical_files.objects,
    is_expected=_is_expected,
    object_name=canonical_files.object_name,
)
OF_BUCKET = ObjectKind(
    Kind("files of runs in the bucket", "", re.compile(""), _named),
    is_used=run_bucket.is_used,
    objects=objects,
    is_expected=_is_expected,
    object_name=lambda name: f"{run_bucket.FOLDER}/{name}",
)
