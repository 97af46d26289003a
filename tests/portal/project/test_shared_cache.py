"""Counts that all web processes share in Redis, and each process's own while it does not answer."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from portal.project import broker
from portal.project.shared_cache import SharedCache


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = Path("/tmp") / f"hilum-cache-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    program = broker.find_program()
    assert program is not None
    socket = folder / "s"
    with subprocess.Popen(broker.command(program, socket, folder), stdout=subprocess.DEVNULL) as process:
        while not broker.listens(socket):
            assert process.poll() is None
        yield f"unix://{socket}"
        process.terminate()
    for left in sorted(folder.rglob("*"), reverse=True):
        left.rmdir() if left.is_dir() else left.unlink()
    folder.rmdir()


def test_two_processes_see_the_same_values_and_nothing_is_pickled(server: str) -> None:
    cache = SharedCache(server, {})
    assert cache.add("count", [1.5, 2.5])
    assert not cache.add("count", [])
    code = f"from portal.project.shared_cache import SharedCache; print(SharedCache({server!r}, {{}}).get('count'))"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == "[1.5, 2.5]"
    with redis.Redis.from_url(server) as client:
        assert client.get(cache.make_key("count")) == b"[1.5, 2.5]"
    cache.set("count", [3])
    assert cache.get("count") == [3]
    assert cache.delete("count")
    assert cache.get("count", []) == []


def test_without_the_server_a_process_counts_by_itself_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    cache = SharedCache("unix:///tmp/no-such-socket", {})
    with caplog.at_level(logging.WARNING):
        assert cache.add("count", [1])
        assert not cache.add("count", [2])
        assert cache.get("count") == [1]
    assert "the broker does not answer" in caplog.text
