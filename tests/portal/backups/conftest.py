"""Deriving a key takes half a second on purpose, and most tests here make one."""

from __future__ import annotations

import pytest

from portal.backups import backup_key


@pytest.fixture(autouse=True)
def _quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_key, "_COST", 2**10)
