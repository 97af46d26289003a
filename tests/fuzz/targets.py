"""What is fuzzed: the reader of films and the parser of tables, and inputs to start from.

A target takes any bytes and returns quietly unless the product breaks its promise: any exception but a refusal with a
sentence, or a film that cannot be shown.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import openpyxl
from PIL import Image

from portal.imaging.errors import UnusableFile
from portal.imaging.film import PixelFacts, pack, pixel_sha256, preview, unpack
from portal.imaging.read_film import read_film
from portal.intake.csv_labels import InvalidCsv, is_box_table, names_files, read_boxes, read_labels
from portal.intake.tables import is_table
from tests.portal.imaging import factories as make
from tests.portal.imaging.malformed import good_films

MOST_BYTES = 1 << 16
# Numbers and words at which formats turn.
_EDGES = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff",
    b"\x80\0",
    b"\xff\xd9",
    b"\xfe\xff\xdd\xe0",
    b"\xfe\xff\0\xe0",
)
_WORDS = (b",", b";", b"\t", b'"', b"\n", b"\r\n", b"NA", b"nan", b"1e999", b"-0", b"=1+1", b"\xef\xbb\xbf", b"sep=;\n")


def read_any_film(data: bytes, folder: Path) -> None:
    path = folder / "film"
    path.write_bytes(data)
    try:
        film, header = read_film(path)
    except UnusableFile as refused:
        _check_sentence(refused.sentence)
        return
    json.dumps(header)
    assert PixelFacts.from_json(json.loads(json.dumps(film.facts.to_json()))) == film.facts
    assert preview(film).startswith(b"\xff\xd8")
    assert len(pixel_sha256(film.stored)) == 64
    assert np.array_equal(unpack(pack(film.stored), *film.stored.shape), film.stored)


def read_any_table(data: bytes, folder: Path) -> None:
    path = folder / ("table.xlsx" if data.startswith(b"PK") else "table.csv")
    path.write_bytes(data)
    skipped: list[str] = []
    for read in (read_labels, read_boxes):
        try:
            assert is_table(path.name)
            assert is_box_table(path) in (True, False)
            assert names_files(path) in (True, False)
            rows = read(path, skipped)
        except InvalidCsv as refused:
            _check_sentence(str(refused))
        else:
            assert all(rows)
            assert "\0" not in "".join(rows)
    for sentence in skipped:
        _check_sentence(sentence)


def _check_sentence(sentence: str) -> None:
    assert len(sentence) > 15
    assert sentence.replace("\t", " ").isprintable()  # a tab is a delimiter that may be named


Target = Callable[[bytes, Path], None]
TARGETS: dict[str, Target] = {"reader": read_any_film, "tables": read_any_table}


def seeds(target: str) -> list[bytes]:
    return _films() if target == "reader" else _tables()


def _films() -> list[bytes]:
    pictures = []
    for kind in ("PNG", "TIFF", "JPEG"):
        buffer = io.BytesIO()
        pixels = make.ramp(bits=8 if kind == "JPEG" else 16).astype(np.uint8 if kind == "JPEG" else np.uint16)
        Image.fromarray(pixels).save(buffer, kind)
        pictures.append(buffer.getvalue())
    return [*(film.file() for film in good_films()), *pictures]


def _tables() -> list[bytes]:
    book = openpyxl.Workbook()
    book.active.append(["filename", "label", "patient_id"])
    book.active.append(["a.png", "normal", 12])
    buffer = io.BytesIO()
    book.save(buffer)
    return [
        b"filename,label,patient_id,projection,split,finding\na.png,normal,1,PA,fit,\nb.png,abnormal,2,AP,test,a|b\n",
        b'sep=;\nfilename;label;x\n"a;b.png";normal;1,5\n',
        b"filename,x,y,width,height,finding\na.png,1,2,3,4,nodule\nb.png,,,,,\n",
        "\ufefffilename\tlabel\n\u200ba.png\tnormal\xa0\n".encode(),
        "filename,label\na.png,normal\n".encode("utf-16"),
        b"image,label\n123e4567-e89b-42d3-a456-426614174000,unsure\n",
        b"filename,attributes,label\na.png,device;variant,normal\n",
        buffer.getvalue(),
    ]


def mutated(data: bytes, others: list[bytes], random: Random) -> bytes:
    """One to eight random changes: bits, bytes, blocks cut, doubled or moved, parts of another input."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 8)):
        at = random.randrange(len(changed) + 1)
        end = min(len(changed), at + random.choice((1, 2, 4, 16, 256)))
        match random.randrange(8):
            case 0 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 1:
                changed[at:end] = random.randbytes(end - at)
            case 2:
                del changed[at:end]
            case 3:
                changed[at:at] = changed[at:end] * random.choice((1, 2, 20))
            case 4:
                edge = random.choice(_EDGES + _WORDS)
                changed[at : at + len(edge)] = edge
            case 5:
                changed[at:at] = random.choice(_EDGES + _WORDS)
            case 6:
                other = random.choice(others)
                start = random.randrange(len(other))
                changed[at:at] = other[start : start + random.choice((4, 32, 512))]
            case _:
                changed = changed[: max(1, at)] if random.random() < 0.1 else changed
    return bytes(changed[:MOST_BYTES]) or b"\0"
