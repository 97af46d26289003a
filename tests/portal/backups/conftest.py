"""Deriving a key takes half a second on purpose, and most tests here make one. Backups lie in a folder or a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.backups import backup_key
from tests.portal.backups import places
from tests.portal.backups.places import BucketPlace, FolderPlace, Place


@pytest.fixture(autouse=True)
def _quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_key, "_COST", 2**10)


@pytest.fixture(scope="session")
def _bucket_place(_s3_service: str) -> BucketPlace:
    return BucketPlace(_s3_service)


@pytest.fixture
def backup_bucket(
    _s3_service: str, _bucket_place: BucketPlace, settings: Any, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> BucketPlace:
    """An empty bucket for backups, with an account of its own, for this process and for those that it starts."""
    settings.BACKUP_BUCKET = places.options(_s3_service)
    for name, value in places.environment(_s3_service).items():
        monkeypatch.setenv(name, value)
    _bucket_place.empty()
    return _bucket_place


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, data_dir: Path) -> Place:
    """Where backups are kept: the test runs with a folder and with a bucket."""
    if request.param == "folder":
        return FolderPlace(tmp_path / "backups")
    bucket: BucketPlace = request.getfixturevalue("backup_bucket")
    return bucket
