"""A folder on a disk: nobody else may look in, and what a killed backup left goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.backups.folder_store import FolderStore
from portal.backups.problems import CannotBackUp
from portal.backups.stores import write_file


def test_nobody_else_may_look_in(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "disk" / "backups")
    with store.locked():
        write_file(store, "objects/ab/abc", b"one")
    modes = {path.name: path.stat().st_mode & 0o777 for path in [store.path, *store.path.rglob("*")]}
    assert modes.pop("lock")
    assert modes == {"backups": 0o700, "objects": 0o700, "ab": 0o700, "abc": 0o600}


def test_what_a_killed_backup_left_goes(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    (tmp_path / "objects").mkdir()
    for name in (".part-left", "objects/.part-of-an-earlier-release"):
        (tmp_path / name).touch()
    assert list(store.names("objects")) == []
    with store.locked():
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lock"]
        with pytest.raises(CannotBackUp, match=r"Another backup is being written to /.*; wait for its end"):
            store.locked().__enter__()
    assert store.is_empty() is False  # it has a folder


def test_an_empty_folder(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with store.locked():
        assert store.is_empty()
    assert FolderStore(tmp_path / "none").is_empty()
