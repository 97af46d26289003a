"""Ends the processes of the embedded portal when the process that started them is gone, however it ended.

The watchdog is a process of its own. It reads the numbers of process groups from its stdin, which closes even if the
process at the other end is killed, and then ends the groups that are left. Only the standard library is imported, so
that it takes little memory.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

SECONDS_TO_STOP = 20.0


class Watchdog:
    """The starter's side. `groups` are led by processes that this process started."""

    def __init__(self) -> None:
        self._groups: list[int] = []
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def watch(self, group: int) -> None:
        self._groups.append(group)
        self._write(f"+{group}")

    def forget(self, group: int) -> None:
        """The group has ended."""
        self._groups.remove(group)
        self._write(f"-{group}")

    def keep_alive(self) -> None:
        """Start the watchdog again if it died. Call it periodically."""
        if self._process.poll() is not None:
            self._close_pipe()
            self._start()

    def close(self) -> None:
        """End the watchdog, and with it the groups that were not forgotten."""
        self._close_pipe()
        self._process.wait()

    def _close_pipe(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died, with a line unread
            self._process.stdin.close()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", __file__], stdin=subprocess.PIPE, start_new_session=True, text=True
        )
        for group in self._groups:
            self._write(f"+{group}")

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died; the next one is given all groups
            print(line, file=self._process.stdin, flush=True)


def watch(lines: Iterable[str]) -> list[int]:
    """Read lines `+PID` (started) and `-PID` (ended) until they stop; return the processes that are left, in the order
    of their start."""
    left: dict[int, None] = {}
    for line in lines:
        pid = int(line[1:])
        if line.startswith("+"):
            left[pid] = None
        else:
            left.pop(pid, None)
    return list(left)


def end(groups: Iterable[int], *, seconds: float = SECONDS_TO_STOP) -> None:
    """Ask these process groups to end, the newest first, and kill what is left after `seconds`."""
    left = [pid for pid in reversed(list(groups)) if _signal(pid, signal.SIGTERM)]
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = [pid for pid in left if _signal(pid, 0)]
    for pid in left:
        _signal(pid, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Signal the group; False where no process of it is left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS raises PermissionError for zombies
        return False
    return True


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends after the processes that it watches
    end(watch(sys.stdin))


if __name__ == "__main__":
    main()
