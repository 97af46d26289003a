"""The nearest normal patches to a patch of a scored film; the engine searches for them in a process of its own."""

import json
import logging
import os
import subprocess
import sys
import threading
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.cache import cache

from ml_engine.engine.outcome import ExitStatus
from ml_engine.models import Run
from ml_engine.runs.paths import run_folder

logger = logging.getLogger(__name__)

MOST_NEIGHBOURS = 20
SECONDS = 120  # one search: the engine starts, loads its model and a few films
WAIT_SECONDS = 20  # for another search to end
KEPT_SECONDS = 3600
_one_at_a_time = threading.Lock()


class CannotExplain(Exception):
    """The text is a sentence for the user."""


def nearest_normals(*, run: Run, image_uuid: UUID, patch: tuple[int, int] | None, neighbours: int) -> dict[str, Any]:
    """`ml_engine.engine.explain.Explanation.to_json` for a film of a scoring run; `patch` None is the hottest one.
    Raises CannotExplain."""
    place = f"{patch[0]}-{patch[1]}" if patch else "hottest"
    key = f"nearest:{run.uuid}:{image_uuid}:{place}:{neighbours}"
    explanation: dict[str, Any] | None = cache.get(key)
    if explanation is None:
        if not _one_at_a_time.acquire(timeout=WAIT_SECONDS):
            raise CannotExplain("Another search for nearest normals is under way. Try again in a minute.")
        try:
            explanation = _search(run, image_uuid, patch, neighbours)
        finally:
            _one_at_a_time.release()
        cache.set(key, explanation, KEPT_SECONDS)
    return explanation


def _search(run: Run, image_uuid: UUID, patch: tuple[int, int] | None, neighbours: int) -> dict[str, Any]:
    assert run.detector is not None  # constraint: a scoring run has one
    model = run_folder(run.detector.run.uuid)
    film = run_folder(run.uuid) / "files" / f"{image_uuid}.u16.gz"
    if not (model / "detector.safetensors").exists() or not (model / "images.csv").exists():
        raise CannotExplain(
            f"The folder of the detector {run.detector.run.name!r} is not in the data folder any more; fit it again."
        )
    if not film.exists():
        raise CannotExplain(
            f"The film is not in the folder of the run {run.name!r} any more; score the films again to search."
        )
    command = [sys.executable, "-m", "ml_engine", "explain", "--model", str(model), "--film", str(film)]
    command += ["--images", str(model), "--neighbours", str(neighbours), "--device", "cpu"]
    if patch is not None:
        command += ["--patch", f"{patch[0]},{patch[1]}"]
    try:
        process = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=settings.BASE_DIR,
            env={**os.environ, "HILUM_DATA_DIR": str(settings.DATA_DIR)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotExplain(
            f"The search took longer than {SECONDS} seconds and was stopped. Try again later."
        ) from None
    if process.returncode == ExitStatus.DONE:
        result: dict[str, Any] = json.loads(process.stdout)
        return result
    lines = process.stderr.strip().splitlines()
    if process.returncode == ExitStatus.REFUSED and lines and lines[-1].startswith("ml_engine: "):
        raise CannotExplain(lines[-1].removeprefix("ml_engine: "))
    logger.error("run %s: explain ended with %s: %s", run.uuid, process.returncode, process.stderr[-2000:])
    raise CannotExplain(
        f"Internal error, reference {run.uuid}. Try again once; if it happens again, give the reference to your "
        "administrator."
    )
