"""An address names a folder or a bucket, and nothing else."""

from __future__ import annotations

from contextlib import suppress

import pytest

from portal.backups.bucket_store import BucketStore
from portal.backups.folder_store import FolderStore
from portal.backups.problems import CannotBackUp
from portal.backups.stores import open_store, read_file, write_file
from tests.portal.backups.places import Place


@pytest.mark.parametrize("address", ["/mnt/backups", "backups", "s3/backups"])
def test_a_folder(address: str) -> None:
    store = open_store(address)
    assert isinstance(store, FolderStore)
    assert str(store) == address


@pytest.mark.usefixtures("backup_bucket")
@pytest.mark.parametrize(
    ("address", "prefix"),
    [("s3://hilum-backups", ""), ("s3://hilum-backups/", ""), ("s3://hilum-backups/a/b/", "a/b/")],
)
def test_a_bucket(address: str, prefix: str) -> None:
    store = open_store(address)
    assert isinstance(store, BucketStore)
    assert (store.bucket, store.prefix, str(store)) == ("hilum-backups", prefix, address.rstrip("/"))


@pytest.mark.parametrize("address", ["s3://", "s3://Bucket", "gs://hilum-backups", "https://host/bucket", "s3://b-b/ä"])
def test_no_place(address: str) -> None:
    with pytest.raises(
        CannotBackUp, match="is no place for backups; expected a folder, or a bucket such as s3://hilum"
    ):
        open_store(address)


def test_files_appear_whole_and_what_is_not_finished_is_gone(place: Place) -> None:
    store = open_store(place.address)
    with store.locked():
        write_file(store, "a/b", b"one")
        write_file(store, "a/b", b"two")
        with store.unfinished() as file:
            file.write(b"x")
        with suppress(ZeroDivisionError), store.unfinished() as file:
            file.write(b"x" * 10_000_000)
            raise ZeroDivisionError
    assert place.names() == ["a/b"]
    assert (read_file(store, "a/b"), store.has("a/b"), store.has("a"), list(store.names("a"))) == (
        b"two",
        True,
        False,
        ["b"],
    )
    with pytest.raises(FileNotFoundError):
        read_file(store, "a/c")
