"""A worker whose process of periodic tasks was killed ends, to be started again with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def worker(
    process_environment: dict[str, str], data_dir: Path, broker: str, tmp_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that has begun to send periodic tasks."""
    environment = process_environment | {"HILUM_DATA_DIR": str(data_dir), "HILUM_BROKER_URL": broker}
    command = [sys.executable, "-m", "celery", "-A", "portal", "worker", "--beat", "--queues", "upkeep"]
    command += ["--pool", "threads", "--concurrency", "1", "--loglevel", "INFO", "--schedule", str(tmp_path / "beat")]
    path = tmp_path / "worker.log"
    with path.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    give_up = time.monotonic() + 120
    while not all(words in path.read_bytes() for words in (b"beat: Starting", b" ready.")):
        assert process.poll() is None and time.monotonic() < give_up, path.read_text()
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()


def test_a_worker_ends_when_nothing_sends_its_periodic_tasks_any_more(worker: subprocess.Popen[bytes]) -> None:
    (beat,) = [child for child in psutil.Process(worker.pid).children() if "--beat" in child.cmdline()]
    beat.kill()
    assert worker.wait(timeout=60) == os.EX_OK
