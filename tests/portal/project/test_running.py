"""One portal at a time runs on a data folder, and other processes can ask which."""

from __future__ import annotations

import os
import subprocess
import sys
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


def test_a_killed_holder_leaves_nothing_that_refuses(tmp_path: Path) -> None:
    process = hold(tmp_path)
    process.kill()
    process.communicate()
    assert running.who_runs(tmp_path) is None
    with running.claimed(tmp_path, command="second"):
        portal = running.who_runs(tmp_path)
        assert portal is not None
        assert portal.pid == os.getpid()
