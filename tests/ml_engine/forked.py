"""The engine in its own process, forked from a process that has loaded the libraries. Starting Python and torch takes
four seconds, and a test that kills the engine in every stage starts it twenty times."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ml_engine.engine import chunked_rows
from ml_engine.engine import run_folder as run_folders
from ml_engine.engine.stages import read_and_align
from ml_engine.engine.stages.runner import run_folder
from tests.ml_engine.pausing import pause

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.ml_engine.forked"])


def _run(folder: Path, images: Path, events: Connection, chunk: int) -> None:
    pause.install()
    if chunk:
        chunked_rows.CHUNK = read_and_align.CHUNK = chunk
        run_folders.SECONDS_BETWEEN_EVENTS = 0.0
    run_folder(folder, images=images, listener=events.send)


class ForkedEngine:
    """An engine running on the folder, which stops itself at ``held_at``, "STAGE DONE". Its chunks have ``chunk`` films
    if that is not 0."""

    def __init__(self, folder: Path, images: Path, *, held_at: str = "", chunk: int = 0) -> None:
        if held_at:
            (folder / "pause").write_text(held_at, encoding="utf-8")
        self.events, theirs = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(target=_run, args=(folder, images, theirs, chunk))
        self.process.start()
        theirs.close()

    def next_event(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next event that is wanted. Raises EOFError if the engine ends first."""
        while True:
            event: dict[str, Any] = self.events.recv()
            if is_wanted(event):
                return event

    def kill(self) -> None:
        """Kill the engine with SIGKILL."""
        self.process.kill()
        self.process.join()
        self.events.close()
