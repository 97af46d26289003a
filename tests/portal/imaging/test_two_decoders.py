"""Lossless films of the product's own making decode equally by two decoders that share no code, and as encoded."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from tests.portal.imaging import factories as make
from tests.portal.imaging.malformed import gdcm_values
from tests.portal.imaging.test_repaired_dicom import lossless_rows

ROWS, COLUMNS = 70, 90


def pixels(bits: int, *, signed: bool = False) -> NDArray[np.int64]:
    """Smooth, with noise, a flat part, and both ends of the range."""
    low = -(2 ** (bits - 1)) if signed else 0
    y, x = np.mgrid[:ROWS, :COLUMNS]
    noise = np.random.default_rng(bits).integers(0, max(2, 2**bits // 50), (ROWS, COLUMNS))
    field = ((np.sin(x / 15) * np.cos(y / 20) + 1) / 2 * (2**bits * 0.95)).astype(np.int64) + noise
    field[:10, :10] = 0
    field[-1, -1] = 2**bits - 1
    return np.clip(field, 0, 2**bits - 1) + low


def by_product(folder: Path, elements: make.Elements, frame: bytes, syntax: str) -> NDArray[np.int64]:
    film, _ = make.read_bytes(make.encapsulated_bytes(elements, frame, syntax), folder)
    return film.stored.astype(np.int64) - film.facts.offset


def by_pydicom(frame: bytes, syntax: str, plugin: str, bits: int, *, signed: bool = False) -> NDArray[np.int64]:
    decoder = get_decoder(uid.UID(syntax))
    assert plugin in decoder.available_plugins
    values, _ = decoder.as_array(
        encapsulate([frame], has_bot=False),
        index=0,
        raw=True,
        decoding_plugin=plugin,
        rows=ROWS,
        columns=COLUMNS,
        bits_allocated=16 if bits > 8 or signed else 8,
        bits_stored=bits,
        pixel_representation=int(signed),
        photometric_interpretation="MONOCHROME2",
        samples_per_pixel=1,
        number_of_frames=1,
        pixel_keyword="PixelData",
    )
    return values.astype(np.int64)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize(
    ("syntax", "plugin"),
    [(make.RLE, "pydicom"), (make.JPEG_LS, "gdcm"), (make.JPEG_2000, "gdcm")],
    ids=["rle", "jpeg-ls", "2000"],
)
def test_coded_films(tmp_path: Path, syntax: str, plugin: str, bits: int) -> None:
    """The product's decoders are pylibjpeg-rle, CharLS and OpenJPEG; gdcm brings its own of the latter two."""
    film = pixels(bits)
    frame = make.compressed_frame(film, syntax, bits=bits)
    ours = by_product(tmp_path, make.film_elements(film, bits=bits), frame, syntax)
    np.testing.assert_array_equal(ours, by_pydicom(frame, syntax, plugin, bits))
    np.testing.assert_array_equal(ours, film)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_2000_by_pillow(tmp_path: Path, bits: int) -> None:
    film = pixels(bits)
    frame = make.compressed_frame(film, make.JPEG_2000, bits=bits)
    with Image.open(io.BytesIO(frame)) as picture:
        theirs = np.asarray(picture).astype(np.int64) >> (16 - bits if bits > 8 else 0)  # Pillow widens to 16 bits
    np.testing.assert_array_equal(
        by_product(tmp_path, make.film_elements(film, bits=bits), frame, make.JPEG_2000), theirs
    )


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_lossless_jpeg(tmp_path: Path, bits: int) -> None:
    """gdcm against the decoder that is written out, and against gdcm's own reader of files."""
    film = pixels(bits)
    frame = make.frame_by_gdcm(tmp_path, film, bits=bits)
    elements = {**make.film_elements(film, bits=bits), make.BITS_ALLOCATED: ("US", 16)}
    ours = by_product(tmp_path, elements, frame, make.JPEG_LOSSLESS)
    np.testing.assert_array_equal(ours, lossless_rows(frame, ROWS, COLUMNS, 16 if bits == 16 else bits))
    np.testing.assert_array_equal(ours, gdcm_values(tmp_path / "encoded.dcm", film.shape))
    np.testing.assert_array_equal(ours, film)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_signed_and_unsigned_jpeg_2000(tmp_path: Path, bits: int, signed: bool) -> None:
    film = pixels(bits, signed=signed)
    frame = make.encoded_frame(film, make.JPEG_2000, bits=bits, signed=signed)
    elements = make.film_elements(film, bits=bits, signed=signed)
    ours = by_product(tmp_path, elements, frame, make.JPEG_2000)
    np.testing.assert_array_equal(ours, by_pydicom(frame, make.JPEG_2000, "gdcm", bits, signed=signed))
    np.testing.assert_array_equal(ours, film)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", [make.IMPLICIT, make.EXPLICIT, make.BIG_ENDIAN, make.DEFLATED])
def test_uncompressed_films(tmp_path: Path, syntax: str, bits: int, signed: bool) -> None:
    film = pixels(bits, signed=signed)
    elements = make.film_elements(film, bits=bits, signed=signed)
    allocated = elements[make.BITS_ALLOCATED][1]
    big = syntax == make.BIG_ENDIAN
    vr = "OW" if allocated == 16 or not big else "OB"
    elements |= {make.PIXEL_DATA: (vr, make.pixel_bytes(film, allocated, signed=signed, big=big))}
    if syntax == make.DEFLATED:
        packer = zlib.compressobj(wbits=-15)
        body = make.bare_bytes(elements, syntax=make.EXPLICIT)
        data = make.meta(syntax) + packer.compress(body) + packer.flush()
    else:
        data = make.dicom_bytes(elements, syntax=syntax)
    ours, _ = make.read_bytes(data, tmp_path)
    theirs = pydicom.dcmread(io.BytesIO(data)).pixel_array
    np.testing.assert_array_equal(ours.stored.astype(np.int64) - ours.facts.offset, theirs)
    np.testing.assert_array_equal(theirs, film)
