"""The engine as a child process: started in a process group of its own, listened to, and really stopped."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from django.conf import settings

STOP_SECONDS = 10.0  # between asking the engine to end and killing it


class Engine:
    """`python -m ml_engine run FOLDER`. It ends by itself when this process is gone: its stdin closes then."""

    def __init__(self, folder: Path, *, attempt: int, device: str) -> None:
        command = [sys.executable, "-m", "ml_engine", "run", str(folder)]
        command += ["--attempt", str(attempt), "--device", device, "--parent-pipe"]
        with (folder / "stderr.txt").open("ab") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=settings.BASE_DIR,
                env={**os.environ, "HILUM_DATA_DIR": str(settings.DATA_DIR)},
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
                event = _read_event(line)
                if event is not None and event.get("attempt") == self._attempt:
                    self._events.put(event)
        self._events.put(None)

    def events(self, *, seconds: float) -> tuple[list[dict[str, Any]], bool]:
        """What was said since the last call, waiting up to `seconds` for a word; and whether that was the last."""
        said = []
        try:
            event = self._events.get(timeout=seconds)
            while event is not None:
                said.append(event)
                event = self._events.get_nowait()
        except queue.Empty:
            return said, False
        return said, True

    def wait(self, *, seconds: float) -> int | None:
        """The exit status, negative after a signal; None while it still runs."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """Ask the process group to end, and kill what is left of it after STOP_SECONDS. Harmless when it ended."""
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
        except (ProcessLookupError, PermissionError):  # nobody is left (macOS says the second of zombies)
            pass


def _read_event(line: bytes) -> dict[str, Any] | None:
    """A stray print of a library is no event."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
