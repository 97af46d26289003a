"""Processes end with the process that started them, however that ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from portal.project import watchdog
from portal.project.watchdog import Watchdog

STUBBORN = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); sys.stdin.read()"


@pytest.fixture
def sleeper() -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


def close(guard: Watchdog, ended: subprocess.Popen[bytes]) -> None:
    """While the watchdog waits for the process to end, its parent, this process, has to take note of it."""
    with ThreadPoolExecutor() as pool:
        closed = pool.submit(guard.close)
        assert ended.wait(timeout=30) == -signal.SIGTERM
        closed.result(timeout=30)


def test_what_is_left_when_the_lines_stop_is_returned_in_the_order_of_starting() -> None:
    assert watchdog.watch(["+11\n", "+12\n", "+13\n", "-12\n"]) == [11, 13]


def test_processes_end_when_the_pipe_closes_unless_they_were_forgotten(sleeper: subprocess.Popen[bytes]) -> None:
    guard = Watchdog()
    guard.watch(sleeper.pid)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as forgotten:
        guard.watch(forgotten.pid)
        guard.forget(forgotten.pid)
        close(guard, sleeper)
        assert forgotten.poll() is None
        forgotten.kill()


def test_a_watchdog_that_was_killed_is_replaced_and_knows_all_processes(sleeper: subprocess.Popen[bytes]) -> None:
    guard = Watchdog()
    guard.watch(sleeper.pid)
    first = guard.pid
    os.kill(first, signal.SIGKILL)
    while guard.pid == first:
        guard.keep_alive()
    close(guard, sleeper)


def test_a_process_that_does_not_end_is_killed() -> None:
    command = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it ignores SIGTERM from here on
        watchdog.end([process.pid], seconds=0.3)
        assert process.wait(timeout=30) == -signal.SIGKILL
