"""Search for words in everything that an installation stores: each row of each table, and each file of the data
folder, packed ones unpacked."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connection
from pypdf import PdfReader


def traces(needles: Iterable[str], *, skipped: Iterable[str] = ()) -> list[str]:
    """Where the needles occur, in any case: "table: needle" and "file: needle". Not in the tables `skipped`."""
    words = [needle.casefold() for needle in needles]
    found = []
    for model in apps.get_models(include_auto_created=True):
        if model._meta.db_table in skipped:
            continue
        for row in model._base_manager.values():
            text = json.dumps(row, default=_text, ensure_ascii=False).casefold()
            found += [f"{model._meta.db_table}: {word}" for word in words if word in text]
    return found + in_files(words)


def _text(value: Any) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)


def in_files(words: Iterable[str]) -> list[str]:
    found = []
    for path in sorted(Path(settings.DATA_DIR).rglob("*")):
        name = path.relative_to(settings.DATA_DIR).as_posix()
        content = path.read_bytes() if path.is_file() else b""
        found += [f"{name}: {word}" for word in words if occurs(word, name.encode(), content)]
    return found


def occurs(word: str, *contents: bytes) -> bool:
    """Whether a word is in one of the contents, as UTF-8, Latin-1 or UTF-16, in any case, also where it is packed."""
    spellings = {word.casefold().encode(name, "ignore") for name in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")}
    spellings |= {word.casefold().replace("-", "").encode()} if len(word) == 36 else set()
    spellings.discard(b"")
    return any(spelling in layer.lower() for content in contents for layer in layers(content) for spelling in spellings)


def layers(content: bytes) -> Iterator[bytes]:
    """The content, and what is packed in it: gzip, zip, the streams of a PDF."""
    yield content
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    elif content[:4] == b"PK\3\4":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                yield info.filename.encode()
                yield from layers(archive.read(info))
    elif content[:5] == b"%PDF-":
        yield "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages).encode()
        for part in content.split(b"stream")[1:]:
            try:
                yield zlib.decompressobj().decompress(part.lstrip(b"\r\n"))
            except zlib.error:
                continue


def dump() -> bytes:
    """The database as its own tools write it; nothing where PostgreSQL's are not at hand."""
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        return "\n".join(connection.connection.iterdump()).encode()
    program = shutil.which("pg_dump")
    if program is None:
        return b""
    facts = connection.get_connection_params()
    arguments = [f"--host={facts['host']}", f"--username={facts['user']}", f"--dbname={facts['dbname']}"]
    port = [f"--port={facts['port']}"] if facts.get("port") else []
    return subprocess.run([program, *arguments, *port], check=True, capture_output=True).stdout
