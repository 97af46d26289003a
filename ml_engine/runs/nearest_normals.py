"""The nearest normal patches to a patch of a scored film; the warm engine searches for them."""

import logging
from typing import Any
from uuid import UUID

from django.core.cache import cache

from ml_engine.engine.outcome import ExitStatus
from ml_engine.models import Run
from ml_engine.runs import write_folder
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.run_bucket import here
from ml_engine.runs.warm_engine import EngineBusy, EngineGone, EngineHung, warm_engine

logger = logging.getLogger(__name__)

MOST_NEIGHBOURS = 20
SECONDS = 60  # one search, with the start of the engine on a busy machine
WAIT_SECONDS = 20  # for another search to end
KEPT_SECONDS = 3600


class CannotExplain(Exception):
    """The text is a sentence for the user."""


def nearest_normals(*, run: Run, image_uuid: UUID, patch: tuple[int, int] | None, neighbours: int) -> dict[str, Any]:
    """`ml_engine.engine.explain.Explanation.to_json` for a film of a scoring run; `patch` None is the hottest one.
    Raises CannotExplain."""
    place = f"{patch[0]}-{patch[1]}" if patch else "hottest"
    key = f"nearest:{run.uuid}:{image_uuid}:{place}:{neighbours}"
    explanation: dict[str, Any] | None = cache.get(key)
    if explanation is None:
        explanation = _search(run, image_uuid, patch, neighbours)
        cache.set(key, explanation, KEPT_SECONDS)
    return explanation


def _search(run: Run, image_uuid: UUID, patch: tuple[int, int] | None, neighbours: int) -> dict[str, Any]:
    assert run.detector is not None  # constraint: a scoring run has one
    model, scored = here(run.detector.run), here(run)
    film = scored / "files" / f"{image_uuid}.u16.gz"
    if not (model / "detector.safetensors").exists() or not (model / "images.csv").exists():
        raise CannotExplain(
            f"The folder of the detector {run.detector.run.name!r} is not in the data folder any more; fit it again."
        )
    try:
        write_folder.place_films(scored, [str(image_uuid)])
        write_folder.place_films(model)
    except RunRefused as refusal:
        raise CannotExplain(str(refusal)) from refusal
    if not film.exists():
        raise CannotExplain(
            f"The film is not in the folder of the run {run.name!r} any more; score the films again to search."
        )
    request: dict[str, Any] = {
        "do": "explain",
        "model": str(model),
        "film": str(film),
        "images": str(model),
        "scored": str(scored),
        "neighbours": neighbours,
        "device": "cpu",
    }
    if patch is not None:
        request["patch"] = list(patch)
    try:
        answer = warm_engine.ask(request, seconds=SECONDS, wait_seconds=WAIT_SECONDS)
    except EngineBusy:
        raise CannotExplain("Another search for nearest normals is under way. Try again in a minute.") from None
    except EngineHung:
        raise CannotExplain(
            f"The search took longer than {SECONDS} seconds and was stopped. Try again later."
        ) from None
    except EngineGone as gone:
        logger.error("run %s: %s", run.uuid, gone)
        raise CannotExplain(
            "The engine ended twice during the search, most often because the memory ran out. Try again later."
        ) from None
    if answer["status"] == ExitStatus.DONE:
        explanation: dict[str, Any] = answer["explanation"]
        return explanation
    if answer["status"] == ExitStatus.REFUSED:
        raise CannotExplain(str(answer["sentence"]))
    logger.error("run %s: internal error while searching, see logs/warm-engine.log of the data folder", run.uuid)
    raise CannotExplain(
        f"Internal error, reference {run.uuid}. Try again once; if it happens again, give the reference to your "
        "administrator."
    )
