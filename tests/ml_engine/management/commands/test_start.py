"""`manage.py start`, `status` and `stop`: the processes end with the one that started them, and a second start says who
runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from portal.project import broker, environment, running
from tests.paths import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


@pytest.fixture
def variables(process_environment: dict[str, str], data_dir: Path) -> dict[str, str]:
    return {**process_environment, "HILUM_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}


def manage(*words: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def started(env: dict[str, str]) -> subprocess.Popen[str]:
    process = manage("start", "--port", "8795", env=env)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "Hilum answers at" in line, line + process.communicate()[0]
    return process


def wait_until_gone(pids: list[int]) -> None:
    give_up_at = time.monotonic() + 60
    left = pids
    while left:
        assert time.monotonic() < give_up_at, f"still there: {left}"
        time.sleep(0.1)
        left = [pid for pid in left if Path(f"/proc/{pid}").exists() and not _is_zombie(pid)]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc, which is not here")
def test_a_killed_starter_leaves_no_process_and_the_next_start_is_not_refused(
    variables: dict[str, str], data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = started(variables)
    portal = running.who_runs(data_dir)
    assert portal is not None
    assert list(portal.children) == ["watchdog", "broker", "web", "upkeep", "runs", "imports"]

    second = manage("start", env=variables)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"Hilum already runs with the data folder {data_dir}: process {first.pid} (manage.py start" in output
    assert "manage.py stop" in output
    call_command("status")
    status = capsys.readouterr().out
    assert f"Hilum runs: process {first.pid} (manage.py start --port 8795)" in status
    assert all(f"{name:10} process {pid}" in status for name, pid in portal.children.items())

    first.kill()
    first.communicate()
    wait_until_gone(list(portal.children.values()))
    call_command("status")
    assert f"Hilum does not run with the data folder {data_dir}." in capsys.readouterr().out

    third = started(variables)
    portal = running.who_runs(data_dir)
    assert portal is not None
    os.kill(portal.children.pop("watchdog"), signal.SIGKILL)
    third.kill()
    third.communicate()
    call_command("status")
    status = capsys.readouterr().out
    assert all(f"{name} (process {pid})" in status for name, pid in portal.children.items())

    fourth = started(variables)
    wait_until_gone(list(portal.children.values()))
    call_command("stop")
    assert f"Stopped process {fourth.pid}" in capsys.readouterr().out
    output, _ = fourth.communicate(timeout=60)
    assert (fourth.returncode, "Stopping" in output) == (0, True)
    assert "Nobody has an account yet: `manage.py setup`" in output
    call_command("stop")
    assert "does not run" in capsys.readouterr().out


def test_a_broker_that_was_left_is_named_and_stopped(
    data_dir: Path, variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    program = broker.find_program()
    assert program is not None
    socket = environment.broker_socket(data_dir)
    socket.parent.mkdir(exist_ok=True)
    with subprocess.Popen(broker.command(program, socket, data_dir), stdout=subprocess.DEVNULL) as left:
        while not broker.listens(socket):
            assert left.poll() is None
            time.sleep(0.05)
        refused = manage("start", env=variables)
        output, _ = refused.communicate(timeout=60)
        assert refused.returncode == 1
        assert f"(process {left.pid}): end it with `manage.py stop`" in output
        call_command("stop")
        assert f"(process {left.pid})" in capsys.readouterr().out
        assert left.wait(timeout=30) == 0


def test_one_that_does_not_stop_is_named(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.management.commands.stop.SECONDS", 0.2)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with (
            running.claimed(data_dir, command="manage.py start"),
            pytest.raises(CommandError, match=f"has not stopped within 0 s: process {os.getpid()}"),
        ):
            call_command("stop")
    finally:
        signal.signal(signal.SIGTERM, before)
