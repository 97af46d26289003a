"""The engine kept warm: one `python -m ml_engine serve` for each web process or worker, as its child.

It is started when it is first needed, ends itself when idle, and ends with this process, which closes its stdin. One
that died or ended is started again at the next request; one that does not answer in time is killed.
"""

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from ml_engine.engine.outcome import ExitStatus
from ml_engine.runs.capacity import engine_environment

IDLE_SECONDS = 600.0  # after which the engine ends itself
REUSED_WITHIN = IDLE_SECONDS - 60  # later it may be ending: it is ended, and another is started
LOG_BYTES = 1_000_000  # a longer log is begun anew
_numbers = itertools.count(1)

Message = dict[str, Any]


class EngineBusy(Exception):
    """Other requests took the whole time."""


class EngineHung(Exception):
    """The engine did not answer in time and was killed."""


class EngineGone(Exception):
    """The engine ended before it answered, most often killed for memory."""

    def __init__(self, status: int) -> None:
        super().__init__(f"The warm engine ended with status {status}.")
        self.status = status


class WarmEngine:
    """Handles one request at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._messages: queue.Queue[Message | None] = queue.Queue()
        self._environment: dict[str, str] = {}
        self._used_at = 0.0

    def ask(self, request: Message, *, seconds: float, wait_seconds: float) -> Message:
        """The answer to a request that may be repeated. ``seconds`` includes a start; ``wait_seconds`` is for earlier
        requests. Raises EngineBusy, EngineHung, EngineGone."""
        if not self._lock.acquire(timeout=wait_seconds):
            raise EngineBusy
        try:
            give_up = time.monotonic() + seconds
            try:
                return self._answer(request, give_up)
            except EngineGone:  # killed: once more, by a new one
                return self._answer(request, give_up)
        finally:
            self._lock.release()

    def _answer(self, request: Message, give_up: float) -> Message:
        number = self._send(request)
        while True:
            message = self._next(give_up)
            if message.get("event") == "answer" and message.get("id") == number:
                self.note_answer(message)
                return message

    @contextlib.contextmanager
    def reserved(self) -> Iterator[None]:
        """This thread alone may use `begin`, `take` and `end` inside the block."""
        with self._lock:
            yield

    def begin(self, request: Message) -> tuple[int, int]:
        """Send a request whose messages `take` returns. Returns its number and the engine's process id."""
        number = self._send(request)
        assert self._process is not None
        return number, self._process.pid

    def take(self, *, seconds: float) -> list[Message] | None:
        """The messages since the last call, waiting up to ``seconds`` for the first; None once the engine has ended and
        all are taken."""
        messages = []
        try:
            message = self._messages.get(timeout=seconds)
            while message is not None:
                messages.append(message)
                message = self._messages.get_nowait()
        except queue.Empty:
            return messages
        self._messages.put(None)
        return messages or None

    def note_answer(self, answer: Message) -> None:
        """Take note of an answer that `take` returned."""
        self._used_at = time.monotonic()
        if answer.get("ends"):  # its memory stays above the limit
            self.end()

    def end(self) -> int | None:
        """Kill the engine, if there is one; its exit status."""
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS raises the latter for a zombie
            os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # a request that it did not read
            process.stdin.close()
        return status

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _send(self, request: Message) -> int:
        """Write the request, which the engine reads once it is up, and return its number. Raises EngineGone."""
        self._start_if_needed()
        assert self._process is not None
        assert self._process.stdin is not None
        number = next(_numbers)
        self._used_at = time.monotonic()
        try:
            self._process.stdin.write(json.dumps({"id": number, **request}) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise self._gone() from None
        return number

    def _start_if_needed(self) -> None:
        environment = engine_environment(threads=settings.ENGINE_THREADS, device=settings.RUN_DEVICE)
        is_fresh = time.monotonic() - self._used_at < REUSED_WITHIN
        if self.is_running() and is_fresh and environment == self._environment:
            return
        self.end()
        self._environment, self._messages = environment, queue.Queue()
        command = [sys.executable, "-m", "ml_engine", "serve", "--parent-pipe", "--idle", str(IDLE_SECONDS)]
        with _log() as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                cwd=settings.BASE_DIR,
                env=environment,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        threading.Thread(target=_listen, args=(self._process.stdout, self._messages), daemon=True).start()

    def _next(self, give_up: float) -> Message:
        """The next message. Raises EngineHung, EngineGone."""
        try:
            message = self._messages.get(timeout=max(0.0, give_up - time.monotonic()))
        except queue.Empty:
            self.end()
            raise EngineHung from None
        if message is None:
            raise self._gone()
        return message

    def _gone(self) -> EngineGone:
        return EngineGone(self.end() or 0)


class ServedRun:
    """A scoring run in the warm engine, which it has to itself until `stop`; as `engine_process.Engine`, but the engine
    stays for the next run."""

    def __init__(
        self, engine: WarmEngine, folder: Path, *, attempt: int, device: str, images: Path | None = None
    ) -> None:
        self._engine, self._attempt = engine, attempt
        self._answer: Message | None = None
        self._reserved = contextlib.ExitStack()
        self._reserved.enter_context(engine.reserved())
        try:
            request: Message = {"do": "score", "folder": str(folder), "attempt": attempt, "device": device}
            request |= {"images": str(images)} if images else {}
            self._number, self.pid = engine.begin(request)
        except BaseException:
            self._reserved.close()
            raise

    def events(self, *, seconds: float) -> tuple[list[Message], bool]:
        """The events since the last call, waiting up to `seconds` for the first; and whether the run has ended."""
        messages = self._engine.take(seconds=seconds)
        if messages is None:
            return [], True
        events = []
        for message in messages:
            if message.get("event") == "answer" and message.get("id") == self._number:
                self._answer = message
                self._engine.note_answer(message)
            elif message.get("attempt") == self._attempt:
                events.append(message)
        return events, self._answer is not None

    def wait(self, *, seconds: float) -> int | None:
        """The exit status of the run; negative if the engine ended by a signal before it."""
        if self._answer is not None:
            return int(self._answer.get("status", ExitStatus.BUG))
        return self._engine.end() or ExitStatus.BUG

    def stop(self) -> None:
        """Kill the engine unless the run has ended; in either case it is free for another request."""
        try:
            if self._answer is None:
                self._engine.end()
        finally:
            self._reserved.close()


def _listen(stdout: IO[str], messages: queue.Queue[Message | None]) -> None:
    with stdout:
        for line in stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                messages.put(message)
    messages.put(None)


def _log() -> IO[bytes]:
    path = Path(settings.DATA_DIR) / "logs" / "warm-engine.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    is_long = path.is_file() and path.stat().st_size > LOG_BYTES
    return path.open("wb" if is_long else "ab")


warm_engine = WarmEngine()
