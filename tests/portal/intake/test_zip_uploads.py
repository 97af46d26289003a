"""Zip uploads: unpacked with limits, imported once, and refused with a sentence if unusable."""

from __future__ import annotations

import io
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openpyxl
import pytest
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.utils import timezone

from portal import tasks
from portal.intake import film_files, zip_uploads
from portal.intake.zip_uploads import INTERRUPTED, InvalidUpload, import_zip, receive_zip, unpack, zip_path
from portal.models import AuditEvent, Dataset, Image, LabelEvent, QuarantinedFile, Role, Upload
from tests.paths import ROOT
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def film(tmp_path: Path) -> bytes:
    return factories.png(tmp_path / "a.png", seed=1).read_bytes()


def send(of: Dataset, content: bytes) -> Upload:
    """Upload the zip as the browser does; no worker imports it yet."""
    author = factories.curator(f"curator {Upload.objects.count()}")
    return receive_zip(dataset=of, file=SimpleUploadedFile("films.zip", content), author=author)


def zip_of(members: dict[str, bytes | str | Path], path: Path) -> bytes:
    return factories.zipped(path, members).read_bytes()


def imported(of: Dataset, content: bytes) -> Upload:
    upload = send(of, content)
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    return upload


@pytest.fixture(autouse=True)
def _nothing_works_by_itself(published: list[str]) -> None:
    pass


# a table by itself ------------------------------------------------------------------------------------------


def sent_as_csv(of: Dataset, text: str) -> Upload:
    file = SimpleUploadedFile("New labels.csv", text.encode(), "text/csv")
    upload = receive_zip(dataset=of, file=file, author=factories.curator(f"curator {Upload.objects.count()}"))
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    return upload


def test_a_csv_by_itself_labels_films_that_are_there(of: Dataset) -> None:
    film = factories.film(of, original_name="a.png")
    upload = sent_as_csv(of, "filename,label,finding\na.png,abnormal,nodule\n")
    assert (upload.state, upload.message) == ("done", "1 film that is there was labelled.")
    assert upload.counts == {"labelled": 1}
    film.refresh_from_db()
    assert (film.current_label.value, film.current_label.findings) == ("abnormal", ["nodule"])
    assert list(film_files.upload_path("x").parent.iterdir()) == []


def test_a_zip_of_tables_alone_brings_labels_and_boxes(of: Dataset, tmp_path: Path) -> None:
    film = factories.film(of, original_name="images/a.png")
    members: dict[str, bytes | str | Path] = {
        "labels.csv": "filename,label\na.png,abnormal\n",
        "boxes.csv": "filename,x,y,width,height,finding\na.png,1,2,3,4,nodule\n",
    }
    assert imported(of, zip_of(members, tmp_path / "t.zip")).counts == {"labelled": 1}
    assert film.label_events.get().boxes == [{"x": 1, "y": 2, "width": 3, "height": 4, "finding": "nodule"}]


def test_an_invalid_csv_by_itself_fails_with_its_line(of: Dataset) -> None:
    upload = sent_as_csv(of, "filename,label\n,normal\n")
    assert (upload.state, upload.message.split(":")[0]) == ("failed", "New_labels.csv, line 2")


# what comes out ---------------------------------------------------------------------------------------------


def test_a_zip_with_a_table_and_boxes_in_any_folder(of: Dataset, tmp_path: Path, film: bytes) -> None:
    labels = factories.table_text([{"filename": "images/a.png", "label": "abnormal", "patient_id": "P"}])
    members = {
        "set/images/a.png": film,
        "images/a.png": film,
        "set/labels.csv": labels,
        "set/where.csv": "filename,x,y,width,height\nimages/a.png,1,2,3,4\n",
        "__MACOSX/images/._a.png": b"junk",
        "readme.txt": "hello",
    }
    upload = imported(of, zip_of(members, tmp_path / "z.zip"))
    assert (upload.state, upload.counts) == ("done", {"imported": 1, "not in the CSV": 1})
    assert upload.finished_at is not None
    event = LabelEvent.objects.get()
    assert (event.value, event.boxes) == ("abnormal", [{"x": 1, "y": 2, "width": 3, "height": 4, "finding": ""}])
    assert not zip_path(upload).exists()
    assert not list(zip_path(upload).parent.glob("*"))


def test_a_zip_with_only_dicom_keeps_no_names(of: Dataset, tmp_path: Path) -> None:
    factories.dicom(tmp_path / "1.dcm", seed=1)
    factories.dicom(tmp_path / "2.dcm", seed=2)
    members = {
        "Zzyzxson/IM0001": tmp_path / "1.dcm",
        "Zzyzxson/1.2.840.113619.2": tmp_path / "2.dcm",
        "DICOMDIR": b"x",
        "Zzyzxson/.DS_Store": b"x",
        "viewer.exe": b"MZ",
    }
    upload = imported(of, zip_of(members, tmp_path / "z.zip"))
    assert upload.counts == {"imported": 2, "no films": 1}
    assert set(of.images.values_list("original_name", flat=True)) == {""}
    assert not QuarantinedFile.objects.exists()


def test_a_zip_that_windows_wrote(of: Dataset, tmp_path: Path, film: bytes) -> None:
    labels = "filename;label\r\nimages\\a.png;normal\r\n"
    upload = imported(of, zip_of({"images\\a.png": film, "labels.csv": labels}, tmp_path / "z.zip"))
    assert upload.counts == {"imported": 1}


def test_a_table_in_a_zip_names_nobody(of: Dataset, tmp_path: Path, film: bytes) -> None:
    labels = "FileName,Label,PatientID,Patient Name\na.png,normal,123,Doe John\n"
    upload = imported(of, zip_of({"a.png": film, "labels.csv": labels}, tmp_path / "z.zip"))
    image = of.images.get()
    assert (image.extra, image.patient.identified, image.current_label.value) == ({}, True, "normal")
    assert "1 column of the CSV left out" in upload.message
    assert "(Patient Name)" in upload.message


def test_a_stored_message_repeats_no_name_of_a_table(of: Dataset, tmp_path: Path, film: bytes) -> None:
    labels = "filename,label\na.png,normal\nb.png,odd\n"
    members = {"a.png": film, "Zzyzxson_Anna_labels.csv": labels, "Quirina.csv": "Zzyzxson,Anna\n1,2\n"}
    upload = imported(of, zip_of(members, tmp_path / "z.zip"))
    assert "table.csv, line 3" in upload.message
    assert not {"Zzyzxson", "Anna", "Quirina"} & set(re.findall(r"[A-Za-z]+", upload.message))


def test_a_bad_file_in_the_zip_is_quarantined(of: Dataset, tmp_path: Path, film: bytes) -> None:
    upload = imported(of, zip_of({"a.png": film, "b.dcm": b"no film at all"}, tmp_path / "z.zip"))
    assert upload.counts == {"imported": 1, "quarantined": 1}
    assert upload.quarantined.get().name == ""


def test_tables_whose_names_are_those_of_unpacked_files(of: Dataset, tmp_path: Path, film: bytes) -> None:
    members = {
        "000001.csv": "filename,label\na.png,normal\n",
        "boxes.csv": "filename,x,y,width,height\na.png,1,2,3,4\n",
        "a.png": film,
    }
    assert imported(of, zip_of(members, tmp_path / "z.zip")).counts == {"imported": 1}
    assert len(LabelEvent.objects.get().boxes) == 1


def test_files_that_macos_adds_are_not_tables(of: Dataset, tmp_path: Path, film: bytes) -> None:
    members = {
        "labels.csv": "filename,label\na.png,normal\n",
        "__MACOSX/._labels.csv": b"\0\x05\x16\x07\0\x02\0\0Mac OS X",
        "._labels.csv": b"\0\x05\x16\x07",
        ".csv": "filename,label\nb.png,normal\n",
        "a.png": film,
    }
    upload = imported(of, zip_of(members, tmp_path / "z.zip"))
    assert (upload.state, upload.counts) == ("done", {"imported": 1})


def test_a_table_that_was_unpacked_without_its_ending(tmp_path: Path) -> None:
    (tmp_path / "000000").write_text("filename\na.png\n")
    named = zip_uploads._named_for_messages(tmp_path / "000000", "set/labels.csv", 1)
    assert (named.name, named.read_text()) == ("labels.csv", "filename\na.png\n")


def test_a_table_with_a_very_long_name(of: Dataset, tmp_path: Path, film: bytes) -> None:
    members = {f"{'é' * 200}/{'b' * 240}.csv": "filename\nx.png,y\n", "a.png": film}
    upload = imported(of, zip_of(members, tmp_path / "z.zip"))
    assert upload.state == "failed"
    assert "more values than columns" in upload.message


# names and zips as people have them ------------------------------------------------------------------------------


def labels_of(of: Dataset) -> dict[str, str]:
    return {image.original_name: image.current_label.value for image in of.images.all()}


def films(tmp_path: Path, count: int) -> list[bytes]:
    return [factories.png(tmp_path / f"film{n}.png", seed=n).read_bytes() for n in range(count)]


def test_a_table_that_begins_above_the_zipped_folder(of: Dataset, tmp_path: Path) -> None:
    names = [f"patient{n}/study1/view1.png" for n in range(2)]
    members: dict[str, Any] = dict(zip(names, films(tmp_path, 2), strict=True))
    members["labels.csv"] = factories.table_text([{"filename": f"S-1.0/train/{n}", "label": "normal"} for n in names])
    upload = imported(of, zip_of(members, tmp_path / "z.zip"))
    assert upload.counts == {"imported": 2, "matched by the end of the path": 2}
    assert upload.message == (
        "2 films imported; 2 names of the CSV matched by the ends of their paths, since the folders above them differ."
    )


def test_names_in_another_case_and_without_an_ending(of: Dataset, tmp_path: Path) -> None:
    members: dict[str, Any] = dict(zip(("IMG_1.PNG", "RA-1.png"), films(tmp_path, 2), strict=True))
    members["labels.csv"] = "filename,label\nimg_1.png,normal\nRA-1,abnormal\n"
    upload = imported(of, zip_of(members, tmp_path / "z.zip"))
    assert upload.counts == {"imported": 2, "matched without case": 1, "matched without ending": 1}
    assert labels_of(of) == {"img_1.png": "normal", "RA-1": "abnormal"}


@pytest.mark.parametrize("encoding", ["gbk", "cp932", "utf-8", "cp437"])
def test_a_zip_of_another_code_page_than_the_table(of: Dataset, tmp_path: Path, encoding: str) -> None:
    names = {"gbk": "患者", "cp932": "ソ表", "utf-8": "Größe", "cp437": "Größe"}
    raws = [f"{names[encoding]}{n}.png".encode(encoding) for n in range(2)]
    members: dict[str, Any] = {
        str(n) * len(raw): film for (n, raw), film in zip(enumerate(raws), films(tmp_path, 2), strict=True)
    }
    table = "".join(f"{names[encoding]}{n}.png,{label}\n" for n, label in enumerate(("normal", "abnormal")))
    members["labels.csv"] = f"filename,label\n{table}".encode()
    content = zip_of(members, tmp_path / "z.zip")
    for n, raw in enumerate(raws):
        content = content.replace(str(n).encode() * len(raw), raw)
    assert imported(of, content).counts == {"imported": 2}
    assert labels_of(of) == {f"{names[encoding]}0.png": "normal", f"{names[encoding]}1.png": "abnormal"}


def test_zips_in_a_zip_are_opened_once(of: Dataset, tmp_path: Path) -> None:
    first, second, third = films(tmp_path, 3)
    innermost = zip_of({"c.png": third}, tmp_path / "3.zip")
    parts = [
        zip_of({"x/a.png": first, "deep.zip": innermost}, tmp_path / "1.zip"),
        zip_of({"a.png": second}, tmp_path / "2.zip"),
    ]
    rows = [{"filename": "part1/x/a.png", "label": "normal"}, {"filename": "part2/a.png", "label": "abnormal"}]
    members = {
        "set/part1.zip": parts[0],
        "set/part2.ZIP": parts[1],
        "__MACOSX/set/._part1.zip": parts[0],
        "not.zip": b"PK",
        "labels.csv": factories.table_text(rows),
    }
    upload = imported(of, zip_of(members, tmp_path / "z.zip"))
    assert upload.counts == {"imported": 2, "zips left closed": 1}
    assert "1 zip inside a zip of the zip left closed; send it by itself" in upload.message
    assert labels_of(of) == {"part1/x/a.png": "normal", "part2/a.png": "abnormal"}
    assert not list(zip_path(upload).parent.glob("*"))


def with_twins(members: dict[str, bytes], tmp_path: Path, names: tuple[str, str] = ("part.zip", "twin.zip")) -> bytes:
    """A zip in which the second name is written as the first."""
    content = factories.zipped(tmp_path / "z.zip", members).read_bytes()
    assert content.count(names[1].encode()) == 2
    return content.replace(names[1].encode(), names[0].encode())


def test_two_zips_of_one_name_in_a_zip(of: Dataset, tmp_path: Path) -> None:
    contents = [zip_of({"a.png": film}, tmp_path / "i.zip") for film in films(tmp_path, 2)]
    upload = imported(of, with_twins({"part.zip": contents[0], "twin.zip": contents[1]}, tmp_path))
    assert upload.counts == {"imported": 2, "names twice": 1}


@pytest.mark.parametrize(
    ("table", "counts"),
    [
        ("", {"imported": 3}),
        ("filename,label\na.png,normal\nb.png,normal\n", {"imported": 1, "not in the CSV": 2, "ambiguous files": 1}),
    ],
)
def test_two_members_of_one_name(of: Dataset, tmp_path: Path, table: str, counts: dict[str, int]) -> None:
    first, second, third = films(tmp_path, 3)
    members = {"a.png": first, "t.png": second, "b.png": third} | ({"labels.csv": table.encode()} if table else {})
    upload = imported(of, with_twins(members, tmp_path, names=("a.png", "t.png")))
    assert "1 name in the zip stands for several files" in upload.message
    assert upload.counts == {**counts, "names twice": 1}


def test_a_table_that_names_no_films_is_left_aside(of: Dataset, tmp_path: Path, film: bytes) -> None:
    members = {
        "a.png": film,
        "labels.tsv": "filename\tlabel\na.png\tnormal\n",
        "settings.csv": "key,value\nkv,125\n",
    }
    upload = imported(of, zip_of(members, tmp_path / "z.zip"))
    assert upload.counts == {"imported": 1, "tables left aside": 1}
    assert "1 CSV left aside, because it has no column of file names" in upload.message
    assert labels_of(of) == {"a.png": "normal"}


def test_a_single_table_that_names_no_films_waits_for_a_mapping(of: Dataset, tmp_path: Path, film: bytes) -> None:
    upload = imported(
        of, zip_of({"a.png": film, "labels.csv": "name of image,label\na.png,normal\n"}, tmp_path / "z.zip")
    )
    assert (upload.state, zip_path(upload).exists()) == ("mapping", True)
    assert "has no column 'filename'" in upload.message


# refused on upload -------------------------------------------------------------------------------------------


def test_a_file_that_is_not_a_zip_is_refused_and_not_kept(of: Dataset, data_dir: Path) -> None:
    with pytest.raises(InvalidUpload, match="not a zip archive"):
        send(of, b"filename,label\n")
    assert not Upload.objects.exists()
    assert not [path for path in data_dir.rglob("*") if path.is_file()]


def test_a_zip_over_the_limit_is_refused(of: Dataset, tmp_path: Path, film: bytes, settings: Any) -> None:
    settings.UPLOAD_LIMIT_BYTES = 100
    with pytest.raises(InvalidUpload, match="the limit is"):
        send(of, zip_of({"a.png": film}, tmp_path / "z.zip"))
    assert not Upload.objects.exists()


def test_a_full_disk_leaves_no_partial_zip(
    of: Dataset, tmp_path: Path, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, chunk_size: int | None = None) -> Any:
        yield b"PK"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SimpleUploadedFile, "chunks", full)
    with pytest.raises(InvalidUpload, match="disk of the server is full"):
        send(of, zip_of({"a.png": film}, tmp_path / "z.zip"))
    assert not list(film_files.upload_path("x").parent.glob("*"))


def test_a_large_zip_is_moved_and_not_copied(of: Dataset, tmp_path: Path, film: bytes) -> None:
    content = zip_of({"a.png": film}, tmp_path / "z.zip")
    file = TemporaryUploadedFile("films.zip", "application/zip", len(content), None)
    file.write(content)
    file.flush()
    upload = receive_zip(dataset=of, file=file, author=factories.curator())
    assert zip_path(upload).read_bytes() == content
    assert not Path(file.temporary_file_path()).exists()
    file.close()


def test_the_import_is_queued_after_the_row_is_committed(
    of: Dataset, tmp_path: Path, film: bytes, published: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        upload = send(of, zip_of({"a.png": film}, tmp_path / "z.zip"))
        assert published == []
    assert published == [str(upload.uuid)]
    assert upload.state == "received"


# failing with a sentence --------------------------------------------------------------------------------------


def failure(of: Dataset, content: bytes) -> str:
    upload = imported(of, content)
    assert upload.state == "failed"
    assert upload.finished_at is not None
    assert not Image.objects.exists()
    assert not list(zip_path(upload).parent.glob("*"))
    return upload.message


def test_a_truncated_zip(of: Dataset, tmp_path: Path, film: bytes) -> None:
    """Truncated, with the end of the directory restored, so that the upload accepts it as a zip."""
    content = zip_of({"a.png": film, "b.png": film}, tmp_path / "z.zip")
    assert "damaged" in failure(of, content[: len(content) // 3] + content[-22:])


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("place", [35, 200])  # at the start of the compressed bytes, and in their middle
def test_a_zip_with_flipped_bytes(of: Dataset, film: bytes, method: int, place: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.png", film)
    content = bytearray(buffer.getvalue())
    content[place : place + 20] = b"\xff" * 20
    assert "The zip is damaged" in failure(of, bytes(content))


@pytest.mark.parametrize("seed", range(25))
def test_a_zip_with_a_damaged_directory(tmp_path: Path, film: bytes, seed: int) -> None:
    """Whatever byte is wrong, the result is the contents or a refusal, never another error."""
    content = bytearray(zip_of({f"{n}.png": film for n in range(3)}, tmp_path / "z.zip"))
    directory = content.index(b"PK\x01\x02")
    content[directory + 4 + seed * 7 % (len(content) - directory - 4)] ^= 1 << seed % 8
    path = tmp_path / "bad.zip"
    path.write_bytes(content)
    sentence = "damaged"
    try:
        unpack(path, tmp_path)
    except InvalidUpload as refused:
        sentence = str(refused)
    assert re.search("damaged|encrypted|outside of it", sentence)


def test_an_encrypted_zip(of: Dataset, tmp_path: Path, film: bytes) -> None:
    content = bytearray(zip_of({"a.png": film}, tmp_path / "z.zip"))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert failure(of, bytes(content)) == "The zip is encrypted; send it without a password."


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "..\\evil.png", "\\evil.png"])
def test_a_path_outside_of_the_zip(of: Dataset, tmp_path: Path, film: bytes, name: str) -> None:
    assert "a path outside of it" in failure(of, zip_of({name: film}, tmp_path / "z.zip"))


def test_a_link(of: Dataset, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "link" in failure(of, (tmp_path / "z.zip").read_bytes())


def test_a_bomb_is_stopped_by_the_bytes_written(of: Dataset, tmp_path: Path, settings: Any) -> None:
    content = zip_of({"a.png": b"\0" * 50_000_000}, tmp_path / "z.zip")
    settings.UPLOAD_LIMIT_BYTES = 2 * 2**20
    assert len(content) < settings.UPLOAD_LIMIT_BYTES
    written: list[int] = []
    copy = zip_uploads._copy_at_most

    def watched(source: Any, target: Path, *limits: Any, **chunk: int) -> int:
        try:
            return copy(source, target, *limits, **chunk)
        finally:
            written.append(target.stat().st_size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zip_uploads, "_copy_at_most", watched)
        assert "Unpacked, the zip exceeds" in failure(of, content)
    assert max(written) <= settings.UPLOAD_LIMIT_BYTES


def test_unpacking_leaves_free_space_on_the_disk(
    of: Dataset, tmp_path: Path, film: bytes, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.FREE_BYTES_KEPT = 2**30
    free = iter([2**40, 2**30 + 10])
    monkeypatch.setattr(zip_uploads.shutil, "disk_usage", lambda path: SimpleNamespace(free=next(free)))
    content = zip_of({"a.png": film, "b.png": film}, tmp_path / "z.zip")
    assert failure(of, content).startswith("The disk of the server is full")


def test_many_small_files_together_reach_the_limit(of: Dataset, tmp_path: Path, settings: Any) -> None:
    settings.UPLOAD_LIMIT_BYTES = 10 * 2**20
    members: dict[str, Any] = {f"{number}.png": bytes(2**20) for number in range(11)}
    assert "exceeds" in failure(of, zip_of(members, tmp_path / "z.zip"))


def test_a_zip_that_is_packed_far_too_tightly(
    of: Dataset, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_uploads, "BYTES_ALWAYS_UNPACKED", 2**20)
    content = zip_of({f"{n}.png": bytes(2**20) for n in range(3)}, tmp_path / "z.zip")
    assert len(content) * 100 < 3 * 2**20
    assert "more than 100 times as large as packed" in failure(of, content)
    bomb = zip_of({"in.zip": content}, tmp_path / "n.zip")  # a zip in a zip counts with what is in it
    assert "more than 100 times as large as packed" in failure(of, bomb)


def test_the_limits_hold_for_a_zip_and_the_zips_in_it(
    of: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    parts: dict[str, Any] = {
        f"{n}.zip": zip_of({f"{m}.png": b"" for m in range(3)}, tmp_path / "i.zip") for n in range(2)
    }
    content = zip_of(parts, tmp_path / "z.zip")
    monkeypatch.setattr(zip_uploads, "MOST_FILES", 7)
    assert "holds 8 files; the limit is 7" in failure(of, content)
    monkeypatch.undo()
    settings.UPLOAD_LIMIT_BYTES = 2**20
    inner = zip_of({"a.png": os.urandom(700_000)}, tmp_path / "i.zip")
    unpacked = unpack(
        factories.zipped(tmp_path / "one.zip", {"i.zip": inner}), tmp_path
    )  # its packed bytes count no more
    assert [file.name for file in unpacked.files] == ["i/a.png"]
    both = zip_of({"i.zip": inner, "b.png": bytes(400_000)}, tmp_path / "two.zip")
    assert "Unpacked, the zip exceeds" in failure(of, both)


@pytest.mark.parametrize("is_inner", [False, True])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("password", "The zip is encrypted"),
        ("link", "a link or a path outside of it"),
        ("outside", "a link or a path outside of it"),
        ("flipped", "The zip is damaged"),
        ("directory", "list of its files is too long"),
        ("directory of zip64", "list of its files is too long"),
    ],
)
def test_a_hostile_zip_by_itself_or_in_a_zip(
    of: Dataset, tmp_path: Path, film: bytes, change: str, sentence: str, is_inner: bool
) -> None:
    info = zipfile.ZipInfo("../a.png" if change == "outside" else "a.png")
    info.external_attr = 0o120777 << 16 if change == "link" else 0
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, film)
    content = bytearray(buffer.getvalue())
    if change == "password":
        content[content.index(b"PK\1\2") + 8] |= 1
    elif change == "flipped":
        content[60] ^= 0xFF
    elif change == "directory":
        content[-10:-6] = struct.pack("<L", 2**28)
    elif change == "directory of zip64":
        end = bytes(content[-22:])
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 2**28, 0)
        content[-22:] = record + struct.pack("<4sLQL", b"PK\6\7", 0, len(content) - 22, 1) + end
    whole = zip_of({"in.zip": bytes(content)}, tmp_path / "z.zip") if is_inner else bytes(content)
    assert sentence in failure(of, whole)


def test_a_zip_with_false_sizes(of: Dataset, tmp_path: Path, settings: Any) -> None:
    content = bytearray(zip_of({"a.png": b"\0" * 5_000_000}, tmp_path / "z.zip"))
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 10)  # uncompressed size
    settings.UPLOAD_LIMIT_BYTES = 2**20
    assert re.search("damaged|exceeds", failure(of, bytes(content)))


def test_too_many_files(of: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_uploads, "MOST_FILES", 3)
    members: dict[str, Any] = {f"{number}.png": b"" for number in range(4)}
    assert "holds 4 files; the limit is 3" in failure(of, zip_of(members, tmp_path / "z.zip"))


def test_two_tables_of_one_kind(of: Dataset, tmp_path: Path, film: bytes) -> None:
    labels = "filename,label\na.png,normal\n"
    assert "two label tables" in failure(
        of, zip_of({"a.png": film, "one.csv": labels, "two.csv": labels}, tmp_path / "1.zip")
    )
    boxes = "filename,x,y,width,height\na.png,1,2,3,4\n"
    assert "two tables of boxes" in failure(
        of, zip_of({"a.png": film, "one.csv": boxes, "two.csv": boxes}, tmp_path / "2.zip")
    )


def test_an_unknown_label_costs_its_row_and_the_report_names_the_line(of: Dataset, tmp_path: Path, film: bytes) -> None:
    members = {"a.png": film, "b.png": film, "d/labels.csv": "filename,label\na.png,normal\nb.png,Zzyzxson\n"}
    members["boxes.csv"] = "filename,x,y,width,height\na.png,1,1,4,4\na.png,1,1,4,\n"
    upload = imported(of, zip_of(members, tmp_path / "z.zip"))
    assert (upload.counts["imported"], upload.counts["rows skipped"]) == (1, 2)
    assert "2 rows of tables skipped, because a value in each cannot be used (" in upload.message
    assert "labels.csv, line 3: the label is unknown" in upload.message
    assert "boxes.csv, line 3: height is not a valid number" in upload.message
    assert "zzyzxson" not in upload.message.lower()


def test_only_a_table_in_which_no_row_can_be_used_fails_the_import(of: Dataset, tmp_path: Path, film: bytes) -> None:
    labels = "filename,label\n,normal\n,abnormal\n"
    message = failure(of, zip_of({"a.png": film, "labels.csv": labels}, tmp_path / "z.zip"))
    assert message.startswith("labels.csv, line 2: the file name is empty")
    assert message.endswith("The other row cannot be used either.")


@pytest.mark.parametrize("ending", ["tsv", "xlsx"])
def test_tables_of_other_kinds_by_themselves_and_beside_films(
    of: Dataset, tmp_path: Path, film: bytes, ending: str
) -> None:
    if ending == "tsv":
        table = b"filename\tlabel\na.png\tnormal\n"
    else:
        book = openpyxl.Workbook()
        book.active.append(["filename", "label"])
        book.active.append(["a.png", "normal"])
        book.save(tmp_path / "l.xlsx")
        table = (tmp_path / "l.xlsx").read_bytes()
    upload = imported(of, zip_of({"a.png": film, f"l.{ending}": table, "~$l.xlsx": "x"}, tmp_path / "z.zip"))
    assert upload.counts == {"imported": 1}
    file = SimpleUploadedFile(f"Labels.{ending.upper()}", table)
    upload = receive_zip(dataset=of, file=file, author=factories.curator("second"))
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    assert (upload.state, upload.counts) == ("done", {"labels unchanged": 1})


def test_a_bug_ends_the_import_with_a_reference(
    of: Dataset, tmp_path: Path, film: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**_: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(zip_uploads, "import_entries", broken)
    upload = imported(of, zip_of({"a.png": film}, tmp_path / "z.zip"))
    assert upload.state == "failed"
    assert upload.message.startswith(f"Internal error; give your administrator the reference {upload.uuid}")
    assert "a bug" not in upload.message
    assert str(upload.uuid) in caplog.text
    assert not list(zip_path(upload).parent.glob("*"))


def test_a_disk_that_fills_up_during_the_import_is_reported(
    of: Dataset, tmp_path: Path, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is space for the first film, and for the pixels of the second, which are written ahead."""
    factories.png(tmp_path / "b.png", seed=2)
    really, written = film_files.write_preview, []

    def full(image: Image, data: bytes) -> None:
        written.append(image)
        if len(written) > 1:
            raise OSError(28, "No space left on device")
        really(image, data)

    monkeypatch.setattr(film_files, "write_preview", full)
    upload = imported(of, zip_of({"a.png": film, "b.png": tmp_path / "b.png"}, tmp_path / "z.zip"))
    assert upload.state == "failed"
    assert upload.message == (
        "The disk of the server is full; ask your administrator to free space, then send it again. "
        "The films imported so far are kept."
    )
    assert of.images.count() == 1
    assert not list(zip_path(upload).parent.glob("*"))
    audited = AuditEvent.objects.get(verb="fail to import films")
    assert (audited.actor, audited.site, audited.target_uuid) == (upload.uploaded_by, of.site, of.uuid)
    assert audited.after == {"upload": str(upload.uuid), "files": 1, "of": 2}


# again, and after a kill ----------------------------------------------------------------------------------------


def test_a_second_delivery_does_nothing(of: Dataset, tmp_path: Path, film: bytes) -> None:
    upload = imported(of, zip_of({"a.png": film}, tmp_path / "z.zip"))
    finished = upload.finished_at
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    assert (upload.state, upload.finished_at) == ("done", finished)
    assert Image.objects.count() == 1


def test_a_running_import_is_not_started_again(of: Dataset, tmp_path: Path, film: bytes) -> None:
    upload = send(of, zip_of({"a.png": film}, tmp_path / "z.zip"))
    Upload.objects.update(state="importing", heartbeat_at=timezone.now())
    tasks.import_upload(str(upload.uuid))
    assert not Image.objects.exists()


KILLED = """
import os, sys, django
django.setup()
from pathlib import Path
from django.conf import settings
settings.DATA_DIR = Path(sys.argv[2])
from portal import tasks
from portal.intake import films
really, count = films._import_one, 0
def import_one(*args, **options):
    global count
    count += 1
    if count == 3:
        os.kill(os.getpid(), 9)
    return really(*args, **options)
films._import_one = import_one
tasks.import_upload(sys.argv[1])
"""


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_an_import_killed_in_the_middle_continues(
    of: Dataset, tmp_path: Path, process_environment: dict[str, str], published: list[str], data_dir: Path
) -> None:
    members: dict[str, Any] = {f"{n}.png": factories.png(tmp_path / f"{n}.png", seed=n) for n in range(5)}
    members["labels.csv"] = factories.table_text([{"filename": f"{n}.png", "label": "normal"} for n in range(5)])
    upload = send(of, zip_of(members, tmp_path / "z.zip"))
    published.clear()
    environment = {**process_environment, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    command = [sys.executable, "-c", KILLED, str(upload.uuid), str(data_dir)]
    root = ROOT
    killed = subprocess.run(command, env=environment, cwd=root, check=False, timeout=120)
    upload.refresh_from_db()
    assert (killed.returncode, upload.state, upload.message) == (-9, "importing", "")
    assert Image.objects.count() == 2

    tasks.resume_uploads()
    assert published == []  # it may still be alive
    Upload.objects.update(heartbeat_at=timezone.now() - tasks.SILENCE - timedelta(seconds=1))
    tasks.resume_uploads()
    assert published == [str(upload.uuid)]
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    assert (upload.state, upload.counts) == ("done", {"imported": 3, "there already": 2})
    assert (Image.objects.count(), LabelEvent.objects.count()) == (5, 5)
    assert not list(zip_path(upload).parent.glob("*"))  # neither the zip nor the unpacked files


def test_a_lost_message_is_sent_again(of: Dataset, tmp_path: Path, film: bytes, published: list[str]) -> None:
    upload = send(of, zip_of({"a.png": film}, tmp_path / "z.zip"))
    published.clear()
    Upload.objects.update(heartbeat_at=timezone.now() - tasks.SILENCE - timedelta(seconds=1))
    tasks.resume_uploads()
    assert published == [str(upload.uuid)]


def test_an_import_of_the_command_line_that_died_is_failed(of: Dataset, published: list[str]) -> None:
    silent = timezone.now() - tasks.SILENCE - timedelta(seconds=1)
    upload = Upload.objects.create(dataset=of, state="importing", heartbeat_at=silent)
    tasks.resume_uploads()
    upload.refresh_from_db()
    assert (upload.state, upload.message, published) == ("failed", INTERRUPTED, [])


def test_leftovers_of_killed_processes_are_removed_after_a_day(of: Dataset, tmp_path: Path, film: bytes) -> None:
    waiting = send(of, zip_of({"a.png": film}, tmp_path / "z.zip"))
    ended = Upload.objects.create(dataset=of, state="failed")
    folder = zip_path(ended).parent
    (folder / f"unpacked-{ended.uuid}-x").mkdir()
    for path in (zip_path(ended), folder / "tmpabc.upload.zip", folder / "fresh.upload.zip"):
        path.write_bytes(b"PK")
    with film_files.new_pixels() as old, film_files.new_pixels() as fresh:
        for path in (old, *folder.iterdir()):
            if "fresh" not in path.name:
                os.utime(path, (0, 0))
        zip_uploads.sweep()
        assert {path.name for path in folder.iterdir()} == {zip_path(waiting).name, "fresh.upload.zip"}
        assert list(film_files.unfinished_pixels()) == [fresh]


def test_the_sweep_needs_no_folder(of: Dataset) -> None:
    tasks.resume_uploads()
    assert not zip_path(Upload(dataset=of)).parent.exists()


def test_unpacking_sends_heartbeats(tmp_path: Path, film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_uploads, "SECONDS_BETWEEN_HEARTBEATS", 0)
    factories.zipped(tmp_path / "z.zip", {f"{n}.png": film for n in range(3)})
    beats: list[int] = []
    unpack(tmp_path / "z.zip", tmp_path, heartbeat=lambda: beats.append(1))
    assert len(beats) == 3


def test_reading_tables_sends_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_uploads, "SECONDS_BETWEEN_HEARTBEATS", 0)
    rows = "".join(f"{n}.png,normal\n" for n in range(3000))
    factories.zipped(tmp_path / "z.zip", {"labels.csv": f"filename,label\n{rows}"})
    beats: list[int] = []
    unpack(tmp_path / "z.zip", tmp_path, heartbeat=lambda: beats.append(1))
    assert len(beats) == 1 + 3  # the one file, and its rows


def test_importing_twice_is_harmless(of: Dataset, tmp_path: Path, film: bytes) -> None:
    """Two workers at once, as after a pause of five minutes: the second finds all films imported."""
    upload = send(of, zip_of({"a.png": film}, tmp_path / "z.zip"))
    shutil.copy(zip_path(upload), tmp_path / "kept.zip")
    import_zip(upload)
    shutil.copy(tmp_path / "kept.zip", zip_path(upload))
    import_zip(upload)
    upload.refresh_from_db()
    assert (upload.state, upload.counts, Image.objects.count()) == ("done", {"there already": 1}, 1)


def test_a_reader_may_not_upload(of: Dataset, tmp_path: Path, film: bytes) -> None:
    reader = factories.user("reader", Role.READER)
    file = SimpleUploadedFile("z.zip", zip_of({"a.png": film}, tmp_path / "z.zip"))
    with pytest.raises(PermissionDenied, match="curator, manager"):
        receive_zip(dataset=of, file=file, author=reader)
    assert not zip_path(Upload(dataset=of)).parent.exists()
