"""Parse the bytes of a DICOM file: with or without preamble, file meta and transfer syntax.

This works one layer below `pydicom.dcmread`, which returns an empty dataset for a truncated file and inflates a
deflated file without limit.
"""

from __future__ import annotations

import io
import itertools
import logging
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import pydicom.config
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from portal.imaging.errors import UnusableFile

MAX_INFLATED_BYTES = 200 << 20  # the largest film, 100 million pixels, and a header
MAX_ELEMENTS = 20_000  # outside of sequences; films have hundreds, and a file of empty ones is parsed for minutes
_UNDEFINED_LENGTH = 0xFFFFFFFF
_SEQUENCE_DELIMITERS = (b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xff\xfe\xe0\xdd\0\0\0\0")

# We judge values that break a rule of their VR ourselves, and pydicom's log would quote them.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True)
class DicomFile:
    """A dataset and its encoding; `is_cut_off`: a value other than Pixel Data is shorter than its stated length."""

    ds: Dataset
    transfer_syntax: uid.UID
    is_little_endian: bool
    is_cut_off: bool


def parse(data: bytes) -> DicomFile:
    """Return the dataset in the bytes of a DICOM file. Raises UnusableFile; damage may raise other exceptions."""
    source = io.BytesIO(data)
    source.seek(dataset_start(data))
    try:
        transfer_syntax = read_transfer_syntax(source)
        if transfer_syntax == uid.DeflatedExplicitVRLittleEndian:
            source = io.BytesIO(_inflate(source.read()))
        elif transfer_syntax is None:
            transfer_syntax = guess_transfer_syntax(data, source.tell())
        is_implicit, is_little = encoding(transfer_syntax)
        start = source.tell()
        ds = read_dataset(source, is_implicit, is_little, stop_when=_count_elements())
    except (EOFError, struct.error):
        raise cut_off() from None
    _check_end(ds, source, start)
    return DicomFile(ds, transfer_syntax, is_little, is_cut_off=_is_last_value_short(ds))


def cut_off() -> UnusableFile:
    return UnusableFile("truncated", "This DICOM file ends too early. Copy or export it again.")


def _count_elements() -> Callable[[BaseTag, str | None, int], bool]:
    """A condition for pydicom's reader that never holds, and raises UnusableFile after too many elements."""
    elements = itertools.count(1)

    def is_end(tag: BaseTag, vr: str | None, length: int) -> bool:
        if next(elements) > MAX_ELEMENTS:
            raise UnusableFile("too_large", f"The header of this DICOM file has more than {MAX_ELEMENTS} elements.")
        return False

    return is_end


def dataset_start(data: bytes) -> int:
    """Offset of the file meta or, if there is none, of the dataset (PS3.10 7.1)."""
    if data[128:132] == b"DICM":
        return 132
    if data[:4] == b"DICM":
        return 4
    first_groups = (b"\x02\x00", b"\x08\x00", b"\x00\x08")  # file meta, identification, the same big endian
    if len(data) < 8 or data[:2] not in first_groups:
        raise UnusableFile("no_pixels", "This file holds no picture: it is not a DICOM, PNG, JPEG or TIFF file.")
    return 0


def read_transfer_syntax(source: io.BytesIO) -> uid.UID | None:
    """The transfer syntax in the file meta group, which is always explicit little endian (PS3.10 7.1)."""

    def is_past_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
        return tag.group != 2

    start = source.tell()
    if source.read(2) != b"\x02\x00":
        source.seek(start)
        return None
    source.seek(start)
    meta = read_dataset(source, False, True, stop_when=is_past_meta)
    value = meta.get("TransferSyntaxUID")
    return uid.UID(str(value).strip(" \0")) if value else None


def guess_transfer_syntax(data: bytes, start: int) -> uid.UID:
    """The likely syntax of a file without one: implicit little endian unless the first element has a VR (PS3.5 7.1)."""
    vr = data[start + 4 : start + 6]
    if not (len(vr) == 2 and vr.isalpha() and vr.isupper()):
        return uid.ImplicitVRLittleEndian
    is_big = data[start : start + 2] == b"\x00\x08"
    return uid.ExplicitVRBigEndian if is_big else uid.ExplicitVRLittleEndian


def encoding(transfer_syntax: uid.UID) -> tuple[bool, bool]:
    """(is implicit VR, is little endian); all but two syntaxes are explicit little endian (PS3.5 A.4)."""
    return transfer_syntax == uid.ImplicitVRLittleEndian, transfer_syntax != uid.ExplicitVRBigEndian


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, MAX_INFLATED_BYTES)
    except zlib.error:
        raise UnusableFile(
            "unreadable", "The compressed content of this DICOM file is damaged. Export it again."
        ) from None
    if inflater.unconsumed_tail:
        raise UnusableFile("too_large", f"This DICOM file inflates to more than {MAX_INFLATED_BYTES >> 20} MiB.")
    if not inflater.eof:
        raise cut_off()
    return inflated


def _check_end(ds: Dataset, source: io.BytesIO, start: int) -> None:
    """Refuse a truncated dataset: pydicom returns an empty one if a value of undefined length lacks its delimiter."""
    end = source.tell()
    if len(ds) == 0 and end - start >= 8:
        raise cut_off()
    if len(ds) == 0:
        return
    last = ds.get_item(max(ds.keys()))
    is_undefined = getattr(last, "is_undefined_length", False) or getattr(last, "length", 0) == _UNDEFINED_LENGTH
    if is_undefined and source.getvalue()[end - 8 : end] not in _SEQUENCE_DELIMITERS:
        raise cut_off()


def _is_last_value_short(ds: Dataset) -> bool:
    """Whether the file ends inside a value other than Pixel Data, whose length is checked on decoding."""
    for tag in ds.keys():  # noqa: SIM118 - iterating over the dataset itself converts every element
        raw = ds.get_item(tag)
        length, value = getattr(raw, "length", None), getattr(raw, "value", None)
        if length is None or length == _UNDEFINED_LENGTH or not isinstance(value, bytes):
            continue
        if len(value) < length and tag.group != 0x7FE0:
            return True
    return False
