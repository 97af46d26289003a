"""Contents are stored once, found again by their hash, and removed when no backup has them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from portal.backups.backup_folder import BackupFile, BackupFolder, Manifest, name_at
from portal.backups.problems import CannotBackUp
from tests.portal.backups.places import Place, folder_at

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)


@pytest.fixture
def folder(place: Place) -> Iterator[BackupFolder]:
    made = folder_at(place.address, "seven random words of a dice roll")
    with made.locked():
        yield made


def store(folder: BackupFolder, name: str, content: bytes) -> BackupFile:
    nothing = BackupFile(name=name, size=0, mtime_ns=0, mode=0o600, sha256="", stored="")
    return folder.add(io.BytesIO(content), nothing)


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


def object_of(file: BackupFile) -> str:
    return f"objects/{file.stored[:2]}/{file.stored}"


def objects(folder: BackupFolder, place: Place) -> int:
    folder.store.settle()
    return len(place.names("objects/"))


def test_equal_contents_are_stored_once_and_come_back(folder: BackupFolder, place: Place) -> None:
    one, two = store(folder, "one", b"x" * 3_000_000), store(folder, "two", b"x" * 3_000_000)
    assert (one.stored, one.sha256, one.size) == (two.stored, two.sha256, 3_000_000)
    assert objects(folder, place) == 1
    assert b"".join(folder.read(two)) == b"x" * 3_000_000
    assert one.sha256 not in one.stored


def test_a_content_in_the_place_of_another_is_refused(folder: BackupFolder, place: Place) -> None:
    one, two = store(folder, "one", b"one"), store(folder, "two", b"two")
    folder.store.settle()
    place.write(object_of(one), place.read(object_of(two)))
    with pytest.raises(CannotBackUp, match="The backup's copy of one is another file; use another backup"):
        list(folder.read(one))
    place.remove(object_of(one))
    with pytest.raises(CannotBackUp, match="The backup's copy of one is missing"):
        list(folder.read(one))


def test_a_manifest_comes_back_and_cannot_be_passed_off_as_another(folder: BackupFolder, place: Place) -> None:
    manifest = backup(folder, 1, b"a", faults=("x is missing.",))
    assert folder.newest() == manifest
    assert (manifest.is_good, manifest.made_at) == (False, NOW - timedelta(days=1))
    place.write("manifests/2027-01-01T00-00-00Z", place.read(f"manifests/{manifest.name}"))
    with pytest.raises(CannotBackUp, match="The list of the backup 2027-01-01T00-00-00Z is damaged"):
        folder.newest()
    with pytest.raises(CannotBackUp, match=r"There is no backup yesterday in .*; there are: 2027"):
        folder.manifest("yesterday")


def test_old_backups_go_but_never_the_newest_good_one(folder: BackupFolder, place: Place) -> None:
    backup(folder, 30, b"shared", b"old")
    good = backup(folder, 20, b"shared", b"new")
    faulty = backup(folder, 10, b"shared", faults=("x is missing.",))
    before = objects(folder, place)
    assert folder.remove_older(7, now=NOW) == [name_at(NOW - timedelta(days=30)), faulty.name]
    assert folder.names() == [good.name]
    assert b"".join(folder.read(good.files[1])) == b"new"
    assert objects(folder, place) == before - 3  # "old" and two databases
    assert folder.remove_older(7, now=NOW) == []


def test_nothing_is_removed_while_a_manifest_cannot_be_read(folder: BackupFolder, place: Place) -> None:
    backup(folder, 30, b"old")
    backup(folder, 1, b"new")
    broken = f"manifests/{folder.names()[0]}"
    place.write(broken, place.read(broken)[:-1])
    before = objects(folder, place)
    with pytest.raises(CannotBackUp, match="is damaged"):
        folder.remove_older(7, now=NOW)
    assert (objects(folder, place), len(folder.names())) == (before, 2)


def test_two_backups_at_once_are_refused(folder: BackupFolder) -> None:
    with pytest.raises(CannotBackUp, match="Another backup is being written"), folder.locked():
        pass


def test_a_pipe_that_gives_less_than_asked_for_is_read_to_its_end(folder: BackupFolder) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 1000))

    nothing = BackupFile(name="x", size=0, mtime_ns=0, mode=0o600, sha256="", stored="")
    file = folder.add(Slow(b"y" * 2_500_000), nothing)
    folder.store.settle()
    assert b"".join(folder.read(file)) == b"y" * 2_500_000
