"""A worker whose process of periodic tasks was killed ends, to be started again with it."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.paths import ROOT

WORKER = """
import os, signal, sys, time
from billiard import Process
from portal.project import beat_process
beat = Process(target=time.sleep, args=(600,))
beat.start()
beat_process.watch(None)  # as in a worker that sends no periodic tasks
beat_process.watch(beat)
os.kill(beat.pid, signal.SIGKILL)
time.sleep(float(sys.argv[1]))
"""


def test_a_process_ends_when_the_one_below_it_that_sends_periodic_tasks_was_killed() -> None:
    ended = subprocess.run([sys.executable, "-c", WORKER, "60"], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGTERM
    assert "this worker ends, to be started again" in ended.stderr
