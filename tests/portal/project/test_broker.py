"""The broker of the embedded default."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.project import broker


def test_a_server_on_the_path_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    before = broker.find_program()
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        assert broker.find_program() == str(tmp_path / name)
    assert before is None or not before.startswith(str(tmp_path))


def test_the_server_listens_only_on_its_socket_and_keeps_its_queue(tmp_path: Path) -> None:
    line = " ".join(broker.command("redis-server", tmp_path / "broker.sock", tmp_path))
    assert f"--port 0 --unixsocket {tmp_path}/broker.sock --unixsocketperm 700" in line
    assert f"--dir {tmp_path} --appendonly yes" in line
