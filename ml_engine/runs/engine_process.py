"""The engine as a child process: starts it in a process group of its own, collects its events, and stops the group."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.conf import settings

from ml_engine.runs.capacity import engine_environment

STOP_SECONDS = 10.0  # between asking the engine to end and killing it


class Task(StrEnum):
    """What an engine does with a run folder: a command of `python -m ml_engine`, and its option."""

    RUN = "run"
    RUN_SHARED = "run --shared"  # what comes before the cells of a study
    MERGE = "merge"


class Engine:
    """`python -m ml_engine run FOLDER`, or another task. It ends by itself when this process ends, which closes its
    stdin. ``images`` is the folder of the films' files, if not the run folder."""

    def __init__(
        self,
        folder: Path,
        *,
        attempt: int,
        device: str,
        threads: int | None = None,
        images: Path | None = None,
        task: Task = Task.RUN,
    ) -> None:
        name, *options = task.split()
        command = [sys.executable, "-m", "ml_engine", name, str(folder), *options]
        command += ["--attempt", str(attempt), "--parent-pipe", "--device", device]
        command += ["--images", str(images)] if images else []
        with (folder / "stderr.txt").open("ab") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=settings.BASE_DIR,
                env=engine_environment(threads=threads or settings.ENGINE_THREADS, device=device),
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._attempt = attempt
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, name=f"engine-{self.pid}", daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                event = _parse_event(line)
                if event is not None and event.get("attempt") == self._attempt:
                    self._events.put(event)
        self._events.put(None)

    def events(self, *, seconds: float) -> tuple[list[dict[str, Any]], bool]:
        """The events since the last call, waiting up to `seconds` for the first; and whether the engine's output has
        ended."""
        events = []
        try:
            event = self._events.get(timeout=seconds)
            while event is not None:
                events.append(event)
                event = self._events.get_nowait()
        except queue.Empty:
            return events, False
        return events, True

    def wait(self, *, seconds: float) -> int | None:
        """The exit status, negative after a signal; None while it still runs."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """Terminate the process group, and kill what is left of it after STOP_SECONDS. Safe after it has ended."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            self.wait(seconds=STOP_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # no process is left (macOS raises PermissionError for zombies)
            pass


def _parse_event(line: bytes) -> dict[str, Any] | None:
    """None for a line that is no event, such as a library's stray print."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
