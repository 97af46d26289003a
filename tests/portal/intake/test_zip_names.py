"""Names of zip members as macOS, Windows and old tools of many countries write them."""

from __future__ import annotations

import io
import struct
import unicodedata
import zipfile
import zlib
from pathlib import PurePosixPath

import pytest

from portal.intake.zip_names import decoded_names, stored_name, with_slashes


def members(names: list[tuple[bytes, int]], extra: bytes = b"") -> list[zipfile.ZipInfo]:
    """The members of a zip with exactly these bytes as names, and these flags."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, (raw, _) in enumerate(names):
            info = zipfile.ZipInfo(f"{number}" * len(raw))
            info.extra = extra
            archive.writestr(info, b"x")
    content = bytearray(out.getvalue())
    for number, (raw, flag) in enumerate(names):
        stand_in = f"{number}".encode() * len(raw)
        for signature, flag_at, name_at in ((b"PK\3\4", 6, 30), (b"PK\1\2", 8, 46)):
            at = -1
            while True:
                at = content.index(signature, at + 1)
                if content[at + name_at : at + name_at + len(raw)] == stand_in:
                    break
            content[at + name_at : at + name_at + len(raw)] = raw
            struct.pack_into("<H", content, at + flag_at, flag)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.infolist()


def names_of(raw: list[bytes], table: list[str], flag: int = 0) -> list[str]:
    return decoded_names([stored_name(info) for info in members([(name, flag) for name in raw])], table)


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("utf-8", ["Größe/é1.png", "胸/片2.png", "レントゲン3.png"]),
        ("cp437", ["Größe/é1.png", "ñ2.png"]),
        ("cp850", ["Größe/Ã1.png", "ð2.png"]),
        ("cp1252", ["Größe/é1.png", "Ã2.png"]),
        ("gbk", ["胸片/患者一.png", "患者二.png"]),
        ("cp932", ["レントゲン/ソ表1.png", "能2.png"]),  # the second byte of some letters is a backslash
        ("cp949", ["흉부1.png", "흉부2.png"]),
        ("big5", ["胸部1.png", "許功蓋2.png"]),
    ],
)
def test_the_encoding_is_the_one_that_fits_the_table(encoding: str, names: list[str]) -> None:
    assert names_of([name.encode(encoding) for name in names], names) == names
    table = [unicodedata.normalize("NFD", name.rsplit("/", 1)[-1]).upper() for name in names]
    assert names_of([name.encode(encoding) for name in names], table) == names


def test_a_name_with_the_flag_is_utf_8() -> None:
    assert names_of(["Größe.png".encode()], ["another.png"], flag=0x800) == ["Größe.png"]


def test_without_a_table_utf_8_comes_first_and_cp437_last() -> None:
    assert names_of(["é.png".encode()], []) == ["é.png"]
    assert names_of([b"\x82.png"], []) == ["é.png"]
    assert names_of([b"\xff\xfd\x80.png"], []) == [b"\xff\xfd\x80.png".decode("cp437")]


def test_names_in_one_zip_have_one_encoding() -> None:
    names = ["患者一.png", "患者二.png", "ascii.png"]
    decoded = names_of([name.encode("gbk") for name in names], ["患者二.png"])
    assert decoded == names


def test_backslashes_are_folders() -> None:
    assert names_of([b"images\\a.png", "bös\\é.png".encode("cp437")], []) == ["images/a.png", "bös/é.png"]


def test_the_unicode_path_of_info_zip_counts_if_it_belongs_to_the_name() -> None:
    raw = b"\x90\x91.png"
    for checksum, expected in ((zlib.crc32(raw), "患者.png"), (1, raw.decode("cp437"))):
        field = struct.pack("<BL", 1, checksum) + "患者.png".encode()
        extra = struct.pack("<HH", 0x9999, 2) + b"zz" + struct.pack("<HH", 0x7075, len(field)) + field
        (info,) = members([(raw, 0)], extra)
        assert decoded_names([stored_name(info)], []) == [expected]


@pytest.mark.parametrize("extra", [b"\x75\x70", b"\x75\x70\xff\xff\1", b"\x75\x70\3\0\1\2\3"])
def test_a_damaged_extra_field_is_ignored(extra: bytes) -> None:
    info = zipfile.ZipInfo("\u00e9.png")
    info.extra = extra
    assert stored_name(info) == b"\x82.png"


@pytest.mark.parametrize(
    "name",
    ["a", "a/b.png", "a\\b", "./a", "a/./b", "a//b", "/a", "//a", "///a", "a/", ".", "", "..", "a/..", ".a", "a/.b"],
)
def test_slashes_are_those_of_pathlib(name: str) -> None:
    assert with_slashes(name) == str(PurePosixPath(name.replace("\\", "/")))
