"""Uploads in parts on the disk: cuts, two senders at once, killed processes."""

from __future__ import annotations

import fcntl
import io
import os
import time
from pathlib import Path

import pytest

from portal import tasks
from portal.intake import resumable
from portal.intake.resumable import Announced, UploadBusy, UploadGone, WrongOffset, begin, finish, offset_of, receive
from portal.intake.zip_uploads import zip_path
from portal.models import Dataset, PartialUpload, Upload
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return factories.zipped(tmp_path / "z.zip", {"a.png": factories.png(tmp_path / "a.png")}).read_bytes()


@pytest.fixture(autouse=True)
def _nothing_works_by_itself(published: list[str]) -> None:
    pass


def new(of: Dataset, length: int) -> PartialUpload:
    author = factories.curator(f"curator {PartialUpload.objects.count()}")
    return begin(dataset=of, author=author, announced=Announced(bytes_total=length))


class Cut(io.BytesIO):
    """A connection that is cut once its bytes are read."""

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if not block:
            raise ConnectionResetError
        return block


class Meanwhile(io.BytesIO):
    """A connection during whose first block something happens."""

    def __init__(self, content: bytes, act: object) -> None:
        super().__init__(content)
        self.act = act

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if self.act is not None:
            act, self.act = self.act, None
            act()  # type: ignore[operator]
        return block


def test_what_came_before_a_cut_is_kept(of: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "BLOCK", 4)
    partial = new(of, 100)
    assert receive(partial, Cut(b"0123456789"), offset=0, length=50) == 10
    assert receive(partial, io.BytesIO(b"abc"), offset=10, length=50) == 13
    assert resumable.part_path(partial).read_bytes() == b"0123456789abc"


def test_a_second_request_takes_over_from_a_dead_one(of: Dataset) -> None:
    partial = new(of, 100)
    dead = Meanwhile(b"old", lambda: receive(partial, io.BytesIO(b"newer"), offset=0, length=5))
    with pytest.raises(WrongOffset, match="The upload has 5 bytes"):
        receive(partial, dead, offset=0, length=3)
    assert resumable.part_path(partial).read_bytes() == b"newer"


def test_while_another_request_writes_the_upload_is_busy(of: Dataset) -> None:
    partial = new(of, 100)
    with resumable.part_path(partial).open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UploadBusy):
            receive(partial, io.BytesIO(b"x"), offset=0, length=1)
        with pytest.raises(UploadBusy):
            finish(partial)
    assert receive(partial, io.BytesIO(b"x"), offset=0, length=1) == 1


def test_an_upload_that_is_discarded_while_it_arrives(of: Dataset) -> None:
    partial = new(of, 100)
    with pytest.raises(UploadGone):
        receive(partial, Meanwhile(b"x", lambda: resumable.discard(partial)), offset=0, length=1)
    assert not resumable.part_path(partial).exists()


def test_an_upload_that_a_killed_process_left_complete_is_finished(of: Dataset, content: bytes) -> None:
    partial = new(of, len(content))
    receive(partial, io.BytesIO(content), offset=0, length=len(content))
    zip_path(Upload(uuid=partial.uuid)).write_bytes(b"half of it")  # it died while it made the zip
    tasks.resume_uploads()
    assert finish(partial) == Upload.objects.get()  # the second time changes nothing
    tasks.import_upload(str(partial.uuid))
    assert Upload.objects.get().message == "1 film imported."


def test_rows_of_ended_uploads_are_removed_after_a_day(of: Dataset, content: bytes) -> None:
    partial = new(of, len(content))
    receive(partial, io.BytesIO(content), offset=0, length=len(content))
    finish(partial)
    tasks.resume_uploads()
    assert PartialUpload.objects.count() == 1
    PartialUpload.objects.update(created_at=partial.created_at.replace(year=2020))
    tasks.resume_uploads()
    assert (PartialUpload.objects.count(), Upload.objects.count()) == (0, 1)


def test_a_part_is_swept_a_day_after_its_last_byte_however_old_it_is(of: Dataset) -> None:
    partial = new(of, 100)
    PartialUpload.objects.update(created_at=partial.created_at.replace(year=2020))
    tasks.resume_uploads()
    assert offset_of(partial) == 0
    os.utime(resumable.part_path(partial), (time.time() - 86_500,) * 2)
    tasks.resume_uploads()
    assert not PartialUpload.objects.exists()


def test_the_unfinished_uploads_of_a_person(of: Dataset) -> None:
    partial = new(of, 100)
    receive(partial, io.BytesIO(b"abc"), offset=0, length=3)
    new(of, 50)
    swept = begin(dataset=of, author=partial.author, announced=Announced(bytes_total=10))
    resumable.part_path(swept).unlink()
    (listed,) = resumable.unfinished_of(of, partial.author)
    assert (listed.partial, listed.offset, listed.percent) == (partial, 3, 3)


@pytest.mark.parametrize(
    ("announced", "words"),
    [
        (Announced(bytes_total=3 * 2**29), "A zip, 1.5 GiB"),
        (Announced(bytes_total=2**20, files=5000, is_folder=True), "A folder of 5,000 files, 1.0 MiB"),
        (Announced(bytes_total=300, files=1), "1 file, 0.3 KiB"),
        (Announced(bytes_total=2048, ending=".csv"), "A table (CSV), 2.0 KiB"),
    ],
)
def test_an_unfinished_upload_in_words(of: Dataset, announced: Announced, words: str) -> None:
    partial = begin(dataset=of, author=factories.curator(), announced=announced)
    (listed,) = resumable.unfinished_of(of, partial.author)
    assert (listed.words, listed.percent) == (words, 0)
