"""Contents are stored once, found again by their hash, and removed when no backup has them."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from portal.backups.backup_folder import BackupFile, BackupFolder, Manifest, name_at
from portal.backups.backup_key import make_key
from portal.backups.problems import CannotBackUp

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> BackupFolder:
    made = BackupFolder(tmp_path / "b", make_key(tmp_path / "b", "seven random words of a dice roll"))
    with made.locked():
        pass
    return made


def store(folder: BackupFolder, name: str, content: bytes) -> BackupFile:
    nothing = BackupFile(name=name, size=0, mtime_ns=0, mode=0o600, sha256="", stored="")
    return folder.store(io.BytesIO(content), nothing)


def backup(folder: BackupFolder, days_ago: int, *contents: bytes, faults: tuple[str, ...] = ()) -> Manifest:
    files = [store(folder, f"file {number}", content) for number, content in enumerate(contents)]
    manifest = Manifest(
        name=name_at(NOW - timedelta(days=days_ago)),
        release="0.4.0",
        vendor="sqlite",
        migrations=[],
        fingerprints={},
        database=store(folder, "database", f"rows of {days_ago}".encode()),
        files=files,
        faults=list(faults),
    )
    folder.write(manifest)
    return manifest


def objects(folder: BackupFolder) -> int:
    return len(list(folder.objects.glob("??/*")))


def test_equal_contents_are_stored_once_and_come_back(folder: BackupFolder) -> None:
    one, two = store(folder, "one", b"x" * 3_000_000), store(folder, "two", b"x" * 3_000_000)
    assert (one.stored, one.sha256, one.size) == (two.stored, two.sha256, 3_000_000)
    assert objects(folder) == 1
    assert b"".join(folder.read(two)) == b"x" * 3_000_000
    assert one.sha256 not in one.stored


def test_a_content_in_the_place_of_another_is_refused(folder: BackupFolder) -> None:
    one, two = store(folder, "one", b"one"), store(folder, "two", b"two")
    (folder.objects / one.stored[:2] / one.stored).write_bytes(
        (folder.objects / two.stored[:2] / two.stored).read_bytes()
    )
    with pytest.raises(CannotBackUp, match="The backup's copy of one is another file; use another backup"):
        list(folder.read(one))
    (folder.objects / one.stored[:2] / one.stored).unlink()
    with pytest.raises(CannotBackUp, match="The backup's copy of one is missing"):
        list(folder.read(one))


def test_a_manifest_comes_back_and_cannot_be_passed_off_as_another(folder: BackupFolder) -> None:
    manifest = backup(folder, 1, b"a", faults=("x is missing.",))
    assert folder.newest() == manifest
    assert (manifest.is_good, manifest.made_at) == (False, NOW - timedelta(days=1))
    (folder.manifests / "2027-01-01T00-00-00Z").write_bytes((folder.manifests / manifest.name).read_bytes())
    with pytest.raises(CannotBackUp, match="The list of the backup 2027-01-01T00-00-00Z is damaged"):
        folder.newest()
    with pytest.raises(CannotBackUp, match=r"There is no backup yesterday in .*; there are: 2027"):
        folder.manifest("yesterday")


def test_old_backups_go_but_never_the_newest_good_one(folder: BackupFolder) -> None:
    backup(folder, 30, b"shared", b"old")
    good = backup(folder, 20, b"shared", b"new")
    faulty = backup(folder, 10, b"shared", faults=("x is missing.",))
    before = objects(folder)
    assert folder.remove_older(7, now=NOW) == [name_at(NOW - timedelta(days=30)), faulty.name]
    assert folder.names() == [good.name]
    assert b"".join(folder.read(good.files[1])) == b"new"
    assert objects(folder) == before - 3  # "old" and two databases
    assert folder.remove_older(7, now=NOW) == []


def test_nothing_is_removed_while_a_manifest_cannot_be_read(folder: BackupFolder) -> None:
    backup(folder, 30, b"old")
    backup(folder, 1, b"new")
    broken = folder.manifests / folder.names()[0]
    broken.write_bytes(broken.read_bytes()[:-1])
    before = objects(folder)
    with pytest.raises(CannotBackUp, match="is damaged"):
        folder.remove_older(7, now=NOW)
    assert (objects(folder), len(folder.names())) == (before, 2)


def test_two_backups_at_once_are_refused_and_what_a_killed_one_left_goes(folder: BackupFolder) -> None:
    (folder.objects / ".part-left").touch()
    with folder.locked():
        assert not (folder.objects / ".part-left").exists()
        with pytest.raises(CannotBackUp, match="Another backup is being written"), folder.locked():
            pass


def test_a_pipe_that_gives_less_than_asked_for_is_read_to_its_end(folder: BackupFolder) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 1000))

    nothing = BackupFile(name="x", size=0, mtime_ns=0, mode=0o600, sha256="", stored="")
    file = folder.store(Slow(b"y" * 2_500_000), nothing)
    assert b"".join(folder.read(replace(file))) == b"y" * 2_500_000
