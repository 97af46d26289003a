"""One portal at a time runs on a data folder, and other processes can ask which."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from portal.project import running

HOLD = """
import sys
from pathlib import Path
from portal.project import running
with running.claimed(Path(sys.argv[1]), command="manage.py start") as claim:
    claim.publish(address="http://localhost:1/", children={"web": 7})
    print("claimed", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    return process


def test_the_holder_is_known_until_it_ends(tmp_path: Path) -> None:
    assert running.who_runs(tmp_path) is None
    process = hold(tmp_path)
    portal = running.who_runs(tmp_path)
    assert portal is not None
    assert (portal.pid, portal.command) == (process.pid, "manage.py start")
    assert (portal.address, portal.children) == ("http://localhost:1/", {"web": 7})
    assert not running.wait_until_stopped(tmp_path, seconds=0.2)
    process.communicate()
    assert running.wait_until_stopped(tmp_path, seconds=10)


@pytest.mark.slow
def test_a_second_claim_is_refused_and_names_the_first(tmp_path: Path) -> None:
    process = hold(tmp_path)
    with (
        pytest.raises(running.AlreadyRuns, match=rf"process {process.pid} \(manage.py start\), since 20"),
        running.claimed(tmp_path, command="second"),
    ):
        pass
    process.communicate()


LEAVE = """
import subprocess
import sys
from pathlib import Path
from portal.project import running
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
with running.claimed(Path(sys.argv[1]), command="manage.py start") as claim:
    child = subprocess.Popen(sleep, pass_fds=[claim.descriptor], start_new_session=True, stdout=subprocess.DEVNULL)
    other = subprocess.Popen(sleep, start_new_session=True, stdout=subprocess.DEVNULL)
    claim.publish(address="", children={"web": child.pid, "other": other.pid})
    print(child.pid, other.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def left(tmp_path: Path) -> Iterator[list[int]]:
    """The children of a killed holder: one that has the lock, and a process that only has a number of the list."""
    with subprocess.Popen(
        [sys.executable, "-c", LEAVE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        pids = [int(pid) for pid in holder.stdout.readline().split()]
        assert running.left_behind(tmp_path) == {}
        holder.kill()
    yield pids
    for pid in pids:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks for open files in /proc, which is not here")
def test_children_of_a_killed_holder_are_known_and_ended(tmp_path: Path, left: list[int]) -> None:
    assert running.left_behind(tmp_path) == {"web": left[0]}
    assert running.end_left(tmp_path) == {"web": left[0]}
    assert running.left_behind(tmp_path) == {}
    os.kill(left[1], 0)  # a process that is none of them lives on


def test_the_next_holder_ends_them_first(tmp_path: Path, left: list[int]) -> None:
    with running.claimed(tmp_path, command="second") as claim:
        claim.publish(address="", children={})
        assert _is_gone(left[0])


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_killed_holder_leaves_nothing_that_refuses(tmp_path: Path) -> None:
    process = hold(tmp_path)
    process.kill()
    process.communicate()
    assert running.who_runs(tmp_path) is None
    with running.claimed(tmp_path, command="second"):
        portal = running.who_runs(tmp_path)
        assert portal is not None
        assert portal.pid == os.getpid()
