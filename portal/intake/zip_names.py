"""Names of zip members, as the machines of many countries write them.

A zip says of each name whether it is UTF-8. Otherwise it may be in the code page of the machine that wrote it, and
nothing in the zip says which. Names matter only where a table lists them, so the encoding is the one in which most of
them are names of the table.
"""

import struct
import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from portal.intake.name_matching import loosest

# UTF-8 without the flag (macOS, many libraries), DOS, Japanese, Chinese, Korean, Western Europe. In this order if the
# table does not decide; cp437 decodes everything.
ENCODINGS = ("utf-8", "cp437", "cp932", "gb18030", "big5", "cp949", "cp850", "cp1252")
_IS_UTF8 = 0x800
_UNICODE_PATH = 0x7075


def stored_name(info: zipfile.ZipInfo) -> str | bytes:
    """Return the name if the zip says how it is encoded, otherwise its bytes."""
    name = info.orig_filename.split("\0")[0]
    if info.flag_bits & _IS_UTF8:
        return name
    raw = name.encode("cp437")  # as which zipfile has decoded it
    return _unicode_path(info.extra, raw) or (name if raw.isascii() else raw)


def _unicode_path(extra: bytes, raw: bytes) -> str:
    """The name in the extra field "Info-ZIP Unicode Path", if it belongs to this name."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and len(field) > 5 and struct.unpack_from("<L", field, 1)[0] == zlib.crc32(raw):
            return field[5:].decode("utf-8", errors="replace")
    return ""


def readable_name(stored: str | bytes) -> str:
    """Return a name for messages and for rules that look at ASCII characters only."""
    return with_slashes(stored if isinstance(stored, str) else stored.decode("cp437"))


def decoded_names(stored: Sequence[str | bytes], table: Collection[str]) -> list[str]:
    """Return the names of one zip, those without a stated encoding in the one that fits the `table`'s names best."""
    unclear = [name for name in stored if isinstance(name, bytes)]
    listed = {_last(name) for name in table}
    best, most = "cp437", -1
    for encoding in ENCODINGS if unclear else ():
        try:
            fitting = sum(_last(with_slashes(name.decode(encoding))) in listed for name in unclear)
        except UnicodeDecodeError:
            continue
        if fitting > most:
            best, most = encoding, fitting
    return [with_slashes(name if isinstance(name, str) else name.decode(best)) for name in stored]


def with_slashes(name: str) -> str:
    """The name with / between folders, even if the zip was written on Windows."""
    name = name.replace("\\", "/")
    is_plain = name and name[0] != "." and name[-1] != "/" and "//" not in name and "/." not in name
    return name if is_plain else str(PurePosixPath(name))  # which is slow for a hundred thousand names


def _last(name: str) -> str:
    return loosest(name.rsplit("/", 1)[-1])
