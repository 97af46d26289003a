"""Whose a file is that cannot become a film: it stays in quarantine as it was sent, until the patient is erased."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

from pydicom import uid
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag

from portal.imaging.deidentify import identifiers
from portal.imaging.dicom_file import MAX_ELEMENTS, dataset_start, encoding, guess_transfer_syntax, read_transfer_syntax

HEAD_BYTES = 4 << 20  # in which the patient stands, before large private elements and the pixels
_PATIENT_ID = Tag("PatientID")


def patient_of_unusable(path: Path) -> str:
    """Return the raw identifier of the patient in the beginning of a DICOM file, however damaged the rest is; blank
    where there is none. To be hashed and discarded, never stored or logged."""
    with path.open("rb") as file:
        data = file.read(HEAD_BYTES)
    try:
        return _patient(data)
    except Exception:  # the file is unusable as it is, and its damage may break a reader anywhere
        return ""


def _patient(data: bytes) -> str:
    source = io.BytesIO(data)
    source.seek(dataset_start(data))
    syntax = read_transfer_syntax(source)
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        source = io.BytesIO(zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(source.read(), HEAD_BYTES))
    elif syntax is None:
        syntax = guess_transfer_syntax(data, source.tell())
    is_implicit, is_little = encoding(syntax)
    left = MAX_ELEMENTS

    def is_past(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal left
        left -= 1
        return tag > _PATIENT_ID or left < 0

    return identifiers(read_dataset(source, is_implicit, is_little, stop_when=is_past)).patient_id
