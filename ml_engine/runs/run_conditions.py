"""Checks of the doctor on runs, models and weights."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from django.db import DatabaseError
from django.db.models.functions import Now

from ml_engine.core.backbone.weights import verify
from ml_engine.core.errors import EngineError
from ml_engine.models import Run, RunFile, RunState
from ml_engine.runs import copies_here, paths, run_bucket
from ml_engine.runs.restored_runs import named_files
from portal.intake.bucket_objects import BucketAway
from portal.project.condition import CHECKS, Condition

LATE = timedelta(minutes=5)


def weights() -> Condition:
    """Whether each imported file of weights is what was imported."""
    folder = paths.weights_folder()
    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        try:
            verify(path.name, folder=folder)
        except (EngineError, OSError) as problem:
            sentence = str(problem) if isinstance(problem, EngineError) else f"{path} cannot be read."
            return Condition(
                "weights",
                f"{path.name}: {sentence}",
                f"Delete {path} and import the file again (`manage.py weights import FILE`); runs wait meanwhile.",
            )
    return Condition("weights")


def models() -> Condition:
    """Whether the file of each fitted model has the content that its row says."""
    with suppress(DatabaseError):
        for path in _files_of_models():
            if path.exists() and paths.file_sha256(path) != path.stem:
                return Condition(
                    "models",
                    f"A fitted model is damaged: {path}.",
                    "Put back the file of a restored backup, or clone the run that made it, to fit it again.",
                )
    return Condition("models")


def _files_of_models() -> Iterator[Path]:
    return (path for _, path in named_files() if path.suffix == ".safetensors")


def lost_runs() -> Condition:
    """Runs whose worker is gone and that nobody has taken up."""
    with suppress(DatabaseError):
        lost = Run.objects.filter(state=RunState.RUNNING, lease_until__lt=Now() - LATE).count()
        if lost:
            return Condition(
                "runs",
                f"Runs that have not been heard of for five minutes: {lost}.",
                "Start the worker for upkeep, which queues them again within seconds, and one for runs.",
            )
    return Condition("runs")


def run_folders() -> Condition:
    """Whether each executing run has its folder."""
    with suppress(DatabaseError):
        running = Run.objects.filter(state=RunState.RUNNING, stage__gt="")
        is_anywhere = run_bucket.is_used()  # on the machine that works on it
        if gone := [run.name for run in running if not is_anywhere and not _is_there(run)]:
            return Condition(
                "run folders",
                f"Runs that are executing without their folder: {len(gone)}.",
                "Something deletes files of the data folder: stop it. Cancel these runs and retry them.",
            )
    return Condition("run folders")


def _is_there(run: Run) -> bool:
    return (paths.run_folder(run.uuid) / "run.json").exists()


def runs_in_bucket() -> Condition:
    """Whether the bucket has the files of runs, where it keeps them."""
    name = "runs in the bucket"
    if not run_bucket.is_used():
        return Condition(name)
    with suppress(DatabaseError):
        try:
            there = copies_here.objects()
        except BucketAway as away:
            return Condition(name, str(away), "See to the bucket of HILUM_FILM_BUCKET: runs lie there.")
        files = RunFile.objects.values_list("run__name", "kept_by__uuid", "sha256").order_by("run")
        if lost := {run: None for run, uuid, sha256 in files.iterator() if f"{uuid}/{sha256}" not in there}:
            return Condition(
                name,
                f"Runs of which the bucket lacks files: {len(lost)}, such as “{next(iter(lost))}”.",
                "Run manage.py fill_bucket on the machine that made them, or on the host of a restored backup.",
            )
        done = Run.objects.filter(state=RunState.DONE, kept="").order_by("pk")
        if here := [run.name for run in done if _is_there(run)]:
            return Condition(
                name,
                f"Runs that the bucket does not have: {len(here)}, such as “{here[0]}”.",
                "Run manage.py fill_bucket, which puts them there.",
            )
    return Condition(name)


CHECKS.extend([weights, models, lost_runs, run_folders, runs_in_bucket])
