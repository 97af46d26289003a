"""A worker whose process of periodic tasks was killed ends, to be started again with it."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.paths import ROOT

WORKER = """
import os, signal, sys, time
from billiard import Process
from portal import beat_process
beat = Process(target=time.sleep, args=(600,))
beat.start()
beat_process.watch(None)  # as in a worker that sends no periodic tasks
beat_process.watch(beat)
os.kill(beat.pid, signal.SIGKILL)
time.sleep(float(sys.argv[1]))
"""
STOPPED = """
from celery.worker import state
from types import SimpleNamespace
from portal import beat_process
state.should_stop = 0
beat_process._end_after(SimpleNamespace(is_alive=lambda: False))
"""


def test_a_process_ends_when_the_one_below_it_that_sends_periodic_tasks_was_killed() -> None:
    ended = subprocess.run([sys.executable, "-c", WORKER, "60"], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGTERM
    assert "this worker ends, to be started again" in ended.stderr


def test_a_worker_that_is_being_stopped_is_not_stopped_again() -> None:
    stopped = subprocess.run([sys.executable, "-c", STOPPED], cwd=ROOT, capture_output=True, text=True)
    assert (stopped.returncode, stopped.stderr) == (0, "")
