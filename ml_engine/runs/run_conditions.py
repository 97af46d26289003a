"""Checks of the doctor on runs, models and weights."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from django.db import DatabaseError
from django.db.models.functions import Now

from ml_engine.core.backbone.weights import verify
from ml_engine.core.errors import EngineError
from ml_engine.models import Run, RunState
from ml_engine.runs import paths
from ml_engine.runs.restored_runs import named_files
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
        if gone := [run.name for run in running if not _is_there(run)]:
            return Condition(
                "run folders",
                f"Runs that are executing without their folder: {len(gone)}.",
                "Something deletes files of the data folder: stop it. Cancel these runs and retry them.",
            )
    return Condition("run folders")


def _is_there(run: Run) -> bool:
    return (paths.run_folder(run.uuid) / "run.json").exists()


CHECKS.extend([weights, models, lost_runs, run_folders])
