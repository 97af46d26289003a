"""Hostile zips made by code: field by field, so that each can lie where a library would write the truth."""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

UTF8, ENCRYPTED, STRONG, DESCRIPTOR = 0x800, 1, 0x40, 8
LINK, FIFO, DEVICE, FOLDER = (mode << 16 for mode in (0o120777, 0o010644, 0o060644, 0o040755))


@dataclass(frozen=True)
class Member:
    """A member with its data as they are packed. What is None is the truth."""

    name: bytes
    data: bytes
    method: int = 0
    packed: bytes | None = None
    flags: int = 0
    crc: int | None = None
    packed_size: int | None = None
    size: int | None = None
    mode: int = 0
    extra: bytes = b""
    local_name: bytes | None = None
    local_at: int | None = None
    disk: int = 0
    comment: bytes = b""


@dataclass(frozen=True)
class Archive:
    """`films`: the numbers of films that a full import has, by their seeds; `refused`: what the sentence must match if
    the zip is refused; both where either is right."""

    name: str
    made: bytes | Callable[[], bytes]  # a function where packing takes a second
    films: tuple[int, ...] | None = None
    refused: str = ""
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.made if isinstance(self.made, bytes) else self.made()


def zipped(members: list[Member], *, before: bytes = b"", comment: bytes = b"", **end: int) -> bytes:
    """The archive; `end` replaces fields of its last record: disk, count, size, offset."""
    body, directory = before, b""
    for member in members:
        packed = member.data if member.packed is None else member.packed
        crc = zlib.crc32(member.data) if member.crc is None else member.crc
        packed_size = len(packed) if member.packed_size is None else member.packed_size
        size = len(member.data) if member.size is None else member.size
        common = struct.pack("<HHHHHLLL", 20, member.flags, member.method, 0, 33, crc, packed_size, size)
        at = len(body) if member.local_at is None else member.local_at
        local_name = member.name if member.local_name is None else member.local_name
        if member.local_at is None:
            body += b"PK\3\4" + common + struct.pack("<HH", len(local_name), len(member.extra))
            body += local_name + member.extra + packed
        directory += b"PK\1\2" + struct.pack("<H", 0x0314) + common
        directory += struct.pack("<HHHHHLL", len(member.name), len(member.extra), len(member.comment), member.disk, 0,
                                 member.mode, at)  # fmt: skip
        directory += member.name + member.extra + member.comment
    values = {"disk": 0, "count": len(members), "size": len(directory), "offset": len(body)} | end
    last = struct.pack("<HHHHLL", values["disk"], values["disk"], values["count"] & 0xFFFF, values["count"] & 0xFFFF,
                       values["size"], values["offset"])  # fmt: skip
    return body + directory + b"PK\5\6" + last + struct.pack("<H", len(comment)) + comment


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush()


@cache
def zeros(megabytes: int, method: int) -> Member:
    """A member that is packed a thousandfold or more."""
    data = bytes(megabytes << 20)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive:
        archive.writestr("a.png", data)
    whole = buffer.getvalue()
    info = zipfile.ZipFile(buffer).infolist()[0]
    start = 30 + len("a.png")
    return Member(b"a.png", b"", method, whole[start : start + info.compress_size], flags=info.flag_bits & ~UTF8,
                  crc=info.CRC, size=len(data))  # fmt: skip


def bombs(film: bytes) -> Iterator[Archive]:
    yield Archive("deflated bomb", lambda: zipped([zeros(300, zipfile.ZIP_DEFLATED)]), refused="100 times as large")
    yield Archive("bzip2 bomb", lambda: zipped([zeros(300, zipfile.ZIP_BZIP2)]), refused="100 times as large")
    yield Archive("lzma bomb", lambda: zipped([zeros(300, zipfile.ZIP_LZMA)]), refused="100 times as large")
    yield Archive("bomb that says it has 10 bytes", lambda: zipped([replace(zeros(300, zipfile.ZIP_LZMA), size=10)]),
                  refused="damaged")  # fmt: skip
    inner = zipped([Member(b"a.png", film)])
    for depth in range(6):
        inner = zipped([Member(f"{depth}-{n}.zip".encode(), inner) for n in range(3)])
    yield Archive("zips seven deep", inner, films=(), counts={"zips left closed": 9})
    kernel = zeros(20, zipfile.ZIP_DEFLATED)
    again = [replace(kernel, name=f"{n}.png".encode(), local_at=0) for n in range(1, 50)]
    yield Archive("fifty members that share their bytes", zipped([kernel, *again]), refused="100 times|damaged")
    quoted = [Member(b"a.png", film), Member(b"b.png", film, packed=film, local_at=0)]
    yield Archive("two members on the same bytes", zipped(quoted), films=(1,), refused="damaged")
    many = [Member(f"{n}.png".encode(), b"") for n in range(300)]
    yield Archive("300 empty files", zipped(many), films=(), counts={"quarantined": 1})


def names(film: bytes) -> Iterator[Archive]:
    for name in (
        b"../a.png", b"x/../../a.png", b"/etc/a.png", b"\\\\host\\share\\a.png", b"..\\a.png", b"x/..", b".", b"",
    ):  # fmt: skip
        yield Archive(f"name {name!r}", zipped([Member(name, film)]), refused="outside of it")
    path = struct.pack("<BL", 1, zlib.crc32(b"a.png")) + b"../../b.png"
    lie = struct.pack("<HH", 0x7075, len(path)) + path
    yield Archive("traversal in the Unicode name", zipped([Member(b"a.png", film, extra=lie)]), refused="outside of it")
    for mode, kind in ((LINK, "link"), (FIFO, "pipe"), (DEVICE, "device")):
        refused = "a link" if mode == LINK else ""
        yield Archive(f"a {kind}", zipped([Member(b"a.png", film, mode=mode)]), None if refused else (1,), refused)
    yield Archive("a folder with pixels", zipped([Member(b"x/", film, mode=FOLDER)]), films=())
    yield Archive("drive letter", zipped([Member(b"C:\\films\\a.png", film)]), films=(1,))
    yield Archive("name with a zero byte", zipped([Member(b"a.png\0/../../b", film)]), (1,), "outside|damaged")
    yield Archive("name of 60,000 bytes", zipped([Member(b"x" * 60_000 + b".png", film)]), films=(1,))
    yield Archive("3,000 folders deep", zipped([Member(b"x/" * 3000 + b"a.png", film)]), films=(1,))
    yield Archive("UTF-8 that is none", zipped([Member(b"\xff\xfe.png", film, flags=UTF8)]), (1,), "damaged")
    yield Archive("right-to-left override", zipped([Member("\u202egnp.png".encode(), film, flags=UTF8)]), films=(1,))
    twice = [Member(b"a.png", film), Member(b"a.png", film)]
    yield Archive("one name twice", zipped(twice), films=(1,), counts={"names twice": 1, "the same film again": 1})
    yield Archive("other name at the data", zipped([Member(b"a.png", film, local_name=b"../b.png")]), None, "damaged")


def lies(film: bytes) -> Iterator[Archive]:
    good, packed = Member(b"a.png", film), deflated(film)
    yield Archive("encrypted", zipped([replace(good, flags=ENCRYPTED)]), refused="encrypted")
    yield Archive("strongly encrypted", zipped([replace(good, flags=ENCRYPTED | STRONG)]), refused="encrypted")
    yield Archive("AES", zipped([replace(good, method=99)]), refused="damaged or uses an unsupported")
    for method in (1, 6, 9, 96, 255):
        yield Archive(f"method {method}", zipped([replace(good, method=method)]), refused="unsupported compression")
    yield Archive("wrong checksum", zipped([replace(good, crc=1)]), refused="damaged")
    yield Archive("says it is short", zipped([replace(good, size=10)]), refused="damaged")
    yield Archive("says it is long", zipped([Member(b"a.png", film, 8, packed, size=2**31)]), (1,), "damaged")
    yield Archive("packed size beyond the end", zipped([replace(good, packed_size=2**31)]), (1,), "damaged")
    yield Archive("packed size 0", zipped([Member(b"a.png", film, 8, packed, packed_size=0)]), refused="damaged")
    yield Archive("cut deflate stream", zipped([Member(b"a.png", film, 8, packed[:-9])]), refused="damaged")
    yield Archive("bytes behind the stream", zipped([Member(b"a.png", film, 8, packed + bytes(99))]), (1,), "damaged")
    yield Archive("noise as lzma", zipped([Member(b"a.png", film, 14, b"\x09\x04\5\0" + film)]), refused="damaged")
    dictionary = b"\x09\x04\5\0\x5d\xff\xff\xff\xff" + lzma.compress(film, lzma.FORMAT_ALONE)[13:]
    yield Archive("lzma with a dictionary of 4 GB", zipped([Member(b"a.png", film, 14, dictionary)]), (1,), "damaged")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr("a.png", film)
        yield Archive(f"a good zip of method {method}", buffer.getvalue(), films=(1,))
    bunzipped = Member(b"a.png", film, 12, bz2.compress(film))
    yield Archive("bzip2 of another checksum", zipped([replace(bunzipped, crc=1)]), refused="damaged")
    yield Archive("cut bzip2", zipped([replace(bunzipped, packed=bz2.compress(film)[:-9])]), refused="damaged")
    yield Archive("noise as bzip2", zipped([Member(b"a.png", film, 12, film)]), refused="damaged")
    for name, end in {
        "disk 7": {"disk": 7}, "no members": {"count": 0}, "65,534 members": {"count": 65_534},
        "directory of 0 bytes": {"size": 0}, "directory beyond the start": {"size": 2**26},
        "directory of 4 GB": {"size": 2**32 - 2}, "directory at 4 GB": {"offset": 2**32 - 2},
    }.items():  # fmt: skip
        films = (1,) if name in ("disk 7", "no members", "65,534 members") else ()
        yield Archive(name, zipped([good], **end), films, "damaged|too long to be true|multiple disks|not a zip")
    yield Archive("member on another disk", zipped([replace(good, disk=3)]), (1,), "damaged")


def containers(film: bytes) -> Iterator[Archive]:
    good = Member(b"a.png", film)
    whole = zipped([good])
    yield Archive("nothing but an end", zipped([]), films=())
    yield Archive("a program in front", zipped([good], before=b"MZ" + bytes(5000)), films=(1,))
    yield Archive("a program in front, not counted", b"MZ" + bytes(5000) + whole, (1,), "damaged")
    yield Archive("comment of 65,535 bytes", zipped([good], comment=b"x" * 65_535), films=(1,))
    yield Archive("an end in the comment", zipped([good], comment=b"PK\5\6" + bytes(18)), (), "damaged|not a zip")
    yield Archive("a zip in the comment", zipped([good], comment=zipped([])), (), "damaged|too long")
    yield Archive("an end in a member's comment", zipped([replace(good, comment=b"PK\5\6" * 9)]), films=(1,))
    yield Archive("two zips in a row", whole + whole, (1,), "damaged")
    yield Archive("cut in the middle", whole[: len(whole) // 2], refused="not a zip archive")
    yield Archive("zip64 field of wrong length", zipped([replace(good, extra=struct.pack("<HH", 1, 3) + b"abc",
                  size=2**32 - 1)]), refused="damaged")  # fmt: skip
    sizes = struct.pack("<HHQQ", 1, 16, len(film), len(film))
    true = replace(good, extra=sizes, size=2**32 - 1, packed_size=2**32 - 1)
    yield Archive("zip64 of a small film", zipped([true]), films=(1,))
    lying = replace(true, extra=struct.pack("<HHQQ", 1, 16, 2**62, 2**62))
    yield Archive("zip64 of an exabyte", zipped([lying]), refused="damaged")
    yield Archive("extra field without end", zipped([replace(good, extra=b"\1\0\xff\xff")]), (1,), "damaged")


def inside(film: bytes) -> Iterator[Archive]:
    """Hostile files in a good zip."""
    good = Member(b"a.png", film)
    table = b"filename,label\na.png,normal\n"
    yield Archive("zeros as a table", zipped([good, Member(b"t.csv", bytes(2**20))]), refused="neither UTF-8")
    yield Archive("two tables", zipped([good, Member(b"1.csv", table), Member(b"2.csv", table)]), refused="two label")
    yield Archive("noise as a workbook", zipped([good, Member(b"t.xlsx", film)]), refused="no Excel workbook")
    yield Archive("a workbook that is an empty zip", zipped([good, Member(b"t.xlsx", zipped([]))]), refused="no Excel")
    yield Archive("a workbook of 10 zeros", lambda: _with_workbook(good, size=10), refused="no Excel workbook")
    size = 300 << 20
    yield Archive(f"a workbook of {size} zeros", lambda: _with_workbook(good, size=size), refused="larger than 200 MiB")
    wide = b"filename" + b",x" * 200_000 + b"\na.png\n"
    yield Archive("200,000 columns", zipped([good, Member(b"t.csv", wide)]), films=None, refused="column|valid CSV")
    yield Archive("line of 5 MB", zipped([good, Member(b"t.csv", b"filename,label\n" + b"x" * 5_000_000)]), (),
                  "valid CSV|Nothing|no row")  # fmt: skip
    quotes = b"filename,label\n" + b'"a.png,normal\n' * 50_000
    yield Archive("50,000 open quotes", zipped([good, Member(b"t.csv", quotes)]), refused="close each quote")
    formula = b"filename,label\n=cmd|' /C calc'!A0,normal\na.png,normal\n"
    yield Archive("a formula as a name", zipped([good, Member(b"t.csv", formula)]), films=(1,))
    for name, data in {
        "lzma": lzma.compress(film), "bzip2": bz2.compress(film), "gzip": zlib.compress(film, wbits=31),
        "a page with a script": b"<script>alert(1)</script>" * 99, "a picture of a billion pixels": _huge_png(),
    }.items():  # fmt: skip
        yield Archive(f"{name} as a film", zipped([Member(b"b.png", data)]), films=(), counts={"quarantined": 1})


def _with_workbook(good: Member, *, size: int) -> bytes:
    """A workbook that holds 300 MiB of zeros, and says it holds `size` bytes."""
    checksum = zlib.crc32(bytes(10))
    bomb = replace(zeros(300, zipfile.ZIP_DEFLATED), name=b"[Content_Types].xml", size=size, crc=checksum)
    return zipped([good, Member(b"t.xlsx", zipped([bomb]))])


def _huge_png() -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">LLBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(10**7))) + chunk(b"IEND", b"")


def archives(film: bytes) -> list[Archive]:
    """All of them; `film` is the PNG of the pixels of seed 1."""
    return [each for kind in (bombs, names, lies, containers, inside) for each in kind(film)]
