"""The engine kept warm: it answers requests for one film, or for a scoring run, without starting or loading again.

A request is one line of JSON with ``id`` and ``do``; every answer is one line with the same ``id``, ``"event":
"answer"`` and ``status``, an `ExitStatus`. Where that is not 0, ``sentence`` gives the reason. ``ends`` is true where
the process ends after the answer, since its memory stays above the limit.

- ``score``: ``folder``, a run folder of kind score, and ``images``, ``attempt`` and ``device`` as of the command
  ``run``. The run's events come first; the answer has ``unreadable``.
- ``explain``: ``model`` and ``film``, and ``images``, ``patch`` (a list of row and column), ``neighbours`` and
  ``device`` as of the command ``explain``; ``scored``, the folder of a run with this detector that scored the film,
  saves its alignment. The answer has ``explanation``.

The first line, ``{"event": "ready"}``, is written once everything is imported.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from ml_engine.core import determinism, files
from ml_engine.core.errors import EngineError
from ml_engine.engine.explain import explain
from ml_engine.engine.failures import known_failure
from ml_engine.engine.model_cache import ModelCache
from ml_engine.engine.outcome import ExitStatus, Outcome
from ml_engine.engine.run_folder import forget_peak_memory, memory_mib
from ml_engine.engine.stages.runner import run_folder

MOST_KEPT = 64  # objects: a detector, its scorer, alignment and backbone, and the last films of nearest normals
LONGEST_REQUEST = 65536  # characters
DEVICES = ("auto", "cpu", "cuda")


class InvalidRequest(EngineError):
    """A line that is no request."""


def serve(
    *,
    stdout: TextIO,
    idle_seconds: float,
    memory_limit_mib: float,
    ends_with_parent: bool,
    stdin: TextIO | None = None,
) -> ExitStatus:
    """Answer requests in their order until standard input ends, none has come for ``idle_seconds``, or the process
    keeps more than ``memory_limit_mib`` although it has dropped all models. With ``ends_with_parent`` the end of
    standard input ends the process at once, with PARENT_GONE, even while it computes."""
    lines: queue.Queue[str] = queue.Queue()
    reading = threading.Thread(target=_read, args=(stdin or sys.stdin, lines, ends_with_parent), daemon=True)
    reading.start()
    server = Server(stdout, ModelCache(most=MOST_KEPT))
    determinism.keep_freed_memory()
    server.write({"event": "ready"})
    while True:
        try:
            line = lines.get(timeout=idle_seconds)
        except queue.Empty:
            return ExitStatus.DONE
        if not line:
            return ExitStatus.DONE
        answer = server.answer(line)
        ends = not is_within(server.models, memory_limit_mib)
        server.write(answer | {"ends": ends})
        if ends:
            return ExitStatus.DONE


def _read(stdin: TextIO, lines: queue.Queue[str], ends_with_parent: bool) -> None:
    """Put the lines into the queue, "" for the end."""
    while line := stdin.readline(LONGEST_REQUEST + 1):
        lines.put(line)
    if ends_with_parent:
        os._exit(ExitStatus.PARENT_GONE)
    lines.put("")


def is_within(models: ModelCache, limit_mib: float) -> bool:
    """Drop the models that were used least recently while this process holds more than the limit. False if it still
    does when none is left."""
    determinism.give_back_memory()
    while memory_mib() > limit_mib:
        if not models.drop_oldest():
            return False
    return True


class Server:
    """Answers requests on ``stdout``, with the models that it has loaded."""

    def __init__(self, stdout: TextIO, models: ModelCache) -> None:
        self.stdout, self.models = stdout, models
        self._actions: Mapping[str, Callable[[_Fields], dict[str, Any]]] = {
            "explain": self._explain,
            "score": self._score,
        }

    def write(self, message: Mapping[str, Any]) -> None:
        self.stdout.write(json.dumps(message) + "\n")
        self.stdout.flush()

    def answer(self, line: str) -> dict[str, Any]:
        """The answer to one request; never raises."""
        number: Any = None
        try:
            values = _parse(line)
            number = values.pop("id", None)
            answer = self._act(values)
        except Exception as problem:
            answer = _failure(problem)
        return {"id": number, "event": "answer", **answer}

    def _act(self, values: dict[str, Any]) -> dict[str, Any]:
        name = values.pop("do", None)
        if not isinstance(name, str) or name not in self._actions:
            raise InvalidRequest(f"do is {name!r}: it must be one of {', '.join(self._actions)}.")
        fields = _Fields(values)
        return self._actions[name](fields)

    def _explain(self, fields: _Fields) -> dict[str, Any]:
        model, film, images = fields.path("model"), fields.path("film"), fields.optional_path("images")
        scored, patch = fields.optional_path("scored"), fields.patch()
        neighbours = fields.whole("neighbours", default=5, least=1)
        device = fields.device() or "auto"
        fields.require_no_more()
        explanation = explain(
            model,
            film,
            patch=patch,
            neighbours=neighbours,
            images=images,
            scored=scored,
            device=device,
            models=self.models,
        )
        return {"status": ExitStatus.DONE, "explanation": explanation.to_json()}

    def _score(self, fields: _Fields) -> dict[str, Any]:
        folder, images = fields.path("folder"), fields.optional_path("images")
        attempt, device = fields.whole("attempt", default=0, least=1), fields.device()
        fields.require_no_more()
        if (kind := _kind_of(folder)) != "score":
            raise InvalidRequest(f"{folder} is a run of kind {kind}: serve takes score; use run for any other kind.")
        forget_peak_memory()  # a budget is that of the run
        outcome = run_folder(
            folder, images=images, attempt=attempt or None, device=device, stdout=self.stdout, models=self.models
        )
        return _json_of(outcome)


class _Fields:
    """The fields of a request; each is taken once. Raises InvalidRequest."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def path(self, name: str) -> Path:
        value = self._values.pop(name, None)
        if not isinstance(value, str) or not value or "\0" in value:
            raise InvalidRequest(f"{name} is {value!r}: it must be a path.")
        return Path(value)

    def optional_path(self, name: str) -> Path | None:
        return self.path(name) if self._values.get(name) is not None else None

    def whole(self, name: str, *, default: int, least: int) -> int:
        value = self._values.pop(name, None)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InvalidRequest(f"{name} is {value!r}: it must be a whole number of at least {least}.")
        return value

    def patch(self) -> tuple[int, int] | None:
        value = self._values.pop("patch", None)
        if value is None:
            return None
        if not (isinstance(value, list) and len(value) == 2 and all(type(number) is int for number in value)):
            raise InvalidRequest(f"patch is {value!r}: it must be a list of row and column.")
        return value[0], value[1]

    def device(self) -> str | None:
        value = self._values.pop("device", None)
        if value is not None and value not in DEVICES:
            raise InvalidRequest(f"device is {value!r}: it must be one of {', '.join(DEVICES)}.")
        return value

    def require_no_more(self) -> None:
        if self._values:
            raise InvalidRequest(f"The request has a field {min(self._values)!r}, which this request does not know.")


def _parse(line: str) -> dict[str, Any]:
    if len(line) > LONGEST_REQUEST:
        raise InvalidRequest(f"A request has more than {LONGEST_REQUEST} characters in one line: it was not read.")
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InvalidRequest("A line is no JSON object: write one request a line, with id and do.")
    return values


def _kind_of(folder: Path) -> Any:
    try:
        values = files.read_json(folder / "run.json")
    except (OSError, ValueError):
        raise EngineError(f"{folder} is not a run folder: it has no run.json.") from None
    return values.get("kind") if isinstance(values, dict) else None


def _failure(problem: Exception) -> dict[str, Any]:
    failure = known_failure(problem)
    if failure is None:
        traceback.print_exc(file=sys.stderr)
        failure = Outcome(ExitStatus.BUG, "Internal error: the details are on standard error of the engine.")
    return _json_of(failure)


def _json_of(outcome: Outcome) -> dict[str, Any]:
    return {"status": outcome.status, "sentence": outcome.sentence, "unreadable": outcome.unreadable}
