from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from portal.imaging.errors import UnusableFile
from portal.imaging.film import EMPTY_HEADER, Film, linear_values
from portal.imaging.film_warnings import keys_of, warned
from portal.imaging.handled_elements import HANDLED
from tests.portal.imaging.factories import ramp, read_bytes

GREY_8 = ramp(bits=8).astype(np.uint8)
GREY_16 = ramp(bits=16).astype(np.uint16)


def without_report(header: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in header.items() if key != HANDLED}


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, format=kind, **options)
    return target.getvalue()


def read(data: bytes, tmp_path: Path) -> Film:
    film, header = read_bytes(data, tmp_path)
    assert without_report(header) == EMPTY_HEADER
    return film


def refusal(data: bytes, tmp_path: Path) -> str:
    with pytest.raises(UnusableFile) as caught:
        read_bytes(data, tmp_path)
    assert caught.value.sentence.endswith(".")
    return caught.value.reason


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))


def png(header: bytes, rows: bytes, *extra: bytes) -> bytes:
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + end


# --- accepted --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(("pixels", "bits"), [(GREY_8, 8), (GREY_16, 16)])
def test_grey_keeps_its_values(tmp_path: Path, kind: str, pixels: NDArray[Any], bits: int) -> None:
    film = read(saved(Image.fromarray(pixels), kind), tmp_path)
    np.testing.assert_array_equal(film.stored, pixels)
    facts = film.facts
    assert (facts.bits_stored, facts.photometric, facts.source) == (bits, "MONOCHROME2", kind.lower())


def test_grey_jpeg(tmp_path: Path) -> None:
    blocks = np.full((16, 24), 120, np.uint8)  # of 8 x 8 pixels, which JPEG keeps exactly
    blocks[:, :8] = 40
    film = read(saved(Image.fromarray(blocks), "JPEG"), tmp_path)
    assert (film.facts.source, film.facts.bits_stored) == ("jpeg", 8)
    np.testing.assert_array_equal(film.stored, blocks)


def test_12_bits_in_a_16_bit_png_are_not_guessed(tmp_path: Path) -> None:
    film = read(saved(Image.fromarray(ramp(bits=12).astype(np.uint16)), "PNG"), tmp_path)
    assert film.facts.bits_stored == 16
    assert int(film.stored.max()) == 4095


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_equal_channels_are_grey(tmp_path: Path, mode: str) -> None:
    film = read(saved(Image.fromarray(GREY_8).convert(mode), "PNG"), tmp_path)
    np.testing.assert_array_equal(film.stored, GREY_8)


def test_alpha_does_not_change_the_values(tmp_path: Path) -> None:
    image = Image.fromarray(GREY_8).convert("RGBA")
    image.putalpha(10)
    np.testing.assert_array_equal(read(saved(image, "PNG"), tmp_path).stored, GREY_8)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_stretched_to_eight(tmp_path: Path, bits: int) -> None:
    data = png(struct.pack(">LLBBBBB", 2, 1, bits, 0, 0, 0, 0), b"\0" + bytes([(2**bits - 1) << (8 - 2 * bits)]))
    np.testing.assert_array_equal(read(data, tmp_path).stored, [[0, 255]])


def tiff(pixels: NDArray[Any], photometric: int, *, samples: int = 1) -> bytes:
    """A TIFF of one strip, written by hand: Pillow itself inverts when it writes photometric 0."""
    rows, columns = pixels.shape[0], pixels.shape[1] // samples
    bits = 8 * pixels.itemsize
    tags = [(256, columns), (257, rows), (258, bits), (259, 1), (262, photometric), (273, 8), (277, samples)]
    tags += [(278, rows), (279, pixels.nbytes)]
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<L", 0)
    return b"II*\0" + struct.pack("<L", 8 + pixels.nbytes) + pixels.tobytes() + directory


@pytest.mark.parametrize("pixels", [GREY_8, GREY_16])
def test_tiff_whose_zero_is_white_is_inverted_once(tmp_path: Path, pixels: NDArray[Any]) -> None:
    straight = linear_values(read(tiff(pixels, 1), tmp_path))
    np.testing.assert_array_equal(straight, pixels)
    np.testing.assert_array_equal(linear_values(read(tiff(pixels, 0), tmp_path)), straight.max() - straight)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(np.array([[0], [255]], np.uint8), 8, axis=0).repeat(24, axis=1))
    exif = Image.Exif()
    exif[274] = 6  # the camera was rotated: rows become columns
    film, header = read_bytes(saved(image, "JPEG", exif=exif), tmp_path)
    assert without_report(header) == {"exif_orientation": "6", **warned({"turned"}), **EMPTY_HEADER}
    assert film.stored.shape == (24, 16)
    assert film.stored[:, 0].mean() > 250


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    film, _ = read_bytes(saved(Image.fromarray(GREY_8), "PNG"), tmp_path, "film.dcm")
    assert film.facts.source == "png"


@pytest.mark.parametrize("name", [b"tEXt", b"tIME", b"gAMA"])
def test_wrong_checksum_beside_the_pixels_is_a_warning(tmp_path: Path, name: bytes) -> None:
    damaged = bytearray(chunk(name, b"Comment\0made by a console"))
    damaged[-1] ^= 1
    whole = saved(Image.fromarray(GREY_16), "PNG")
    film, header = read_bytes(whole[:33] + bytes(damaged) + whole[33:], tmp_path)
    np.testing.assert_array_equal(film.stored, GREY_16)
    assert keys_of(header) == ["png_checksum"]


@pytest.mark.parametrize("name", [b"eXIf", b"PLTE"])
def test_wrong_checksum_of_what_decides_the_pixels_is_refused(tmp_path: Path, name: bytes) -> None:
    damaged = bytearray(chunk(name, b"MM\0*" + bytes(8)))
    damaged[-1] ^= 1
    whole = saved(Image.fromarray(GREY_16), "PNG")
    assert refusal(whole[:33] + bytes(damaged) + whole[33:], tmp_path) == "unreadable"


def test_significant_bits_of_a_png_do_not_change_the_values(tmp_path: Path) -> None:
    whole = saved(Image.fromarray(ramp(bits=12).astype(np.uint16)), "PNG")
    film = read(whole[:33] + chunk(b"sBIT", bytes([12])) + whole[33:], tmp_path)
    np.testing.assert_array_equal(film.stored, ramp(bits=12))


@pytest.mark.parametrize("order", ["<", ">"])
def test_big_tiff(tmp_path: Path, order: str) -> None:
    pixels = GREY_16.astype(f"{order}u2")
    tags = [(256, 4, GREY_16.shape[1]), (257, 4, GREY_16.shape[0]), (258, 3, 16), (259, 3, 1), (262, 3, 1)]
    start = 16 + 8 + 20 * 9 + 8
    tags += [(273, 16, start), (277, 3, 1), (278, 4, GREY_16.shape[0]), (279, 16, pixels.nbytes)]
    forms = {3: "H6x", 4: "L4x", 16: "Q"}
    entries = b"".join(struct.pack(f"{order}HHQ{forms[kind]}", tag, kind, 1, value) for tag, kind, value in tags)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HHHQ", 43, 8, 0, 16)
    data = head + struct.pack(f"{order}Q", 9) + entries + struct.pack(f"{order}Q", 0) + pixels.tobytes()
    if order == ">":  # Pillow takes the version for another
        assert refusal(data, tmp_path) == "unreadable"
        return
    film = read(data, tmp_path)
    np.testing.assert_array_equal(film.stored, GREY_16)
    assert film.facts.source == "tiff"


def test_lzw_tiff(tmp_path: Path) -> None:
    film = read(saved(Image.fromarray(GREY_16), "TIFF", compression="tiff_lzw"), tmp_path)
    np.testing.assert_array_equal(film.stored, GREY_16)


# --- refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_colour(tmp_path: Path, kind: str) -> None:
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[..., 0] = 200
    assert refusal(saved(Image.fromarray(pixels), kind), tmp_path) == "colour"


def test_colour_palette(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2), mode=None).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    assert refusal(saved(image, "PNG"), tmp_path) == "colour"


def test_cmyk_jpeg_is_colour(tmp_path: Path) -> None:
    assert refusal(saved(Image.new("CMYK", (9, 9)), "JPEG"), tmp_path) == "colour"


@pytest.mark.parametrize("colour_type", [2, 4, 6])
def test_several_16_bit_channels_would_lose_bits(tmp_path: Path, colour_type: int) -> None:
    channels = {2: 3, 4: 2, 6: 4}[colour_type]
    data = png(struct.pack(">LLBBBBB", 1, 1, 16, colour_type, 0, 0, 0), b"\0" + b"\1\2" * channels)
    assert refusal(data, tmp_path) == "unsupported"


def test_several_16_bit_channels_of_a_tiff_would_lose_bits(tmp_path: Path) -> None:
    grey = np.repeat(GREY_16, 3, axis=1)
    assert refusal(tiff(grey, 2, samples=3), tmp_path) == "unsupported"


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_several_pictures(tmp_path: Path, kind: str) -> None:
    image = Image.fromarray(GREY_8)
    data = saved(image, kind, save_all=True, append_images=[Image.fromarray(255 - GREY_8)])
    assert refusal(data, tmp_path) == "multi_frame"


def test_wrong_checksum_of_pixels(tmp_path: Path) -> None:
    data = bytearray(saved(Image.fromarray(GREY_16), "PNG"))
    data[data.index(b"IEND") - 5] ^= 1  # the last byte of the pixels' own checksum, which Pillow does not check
    assert refusal(bytes(data), tmp_path) == "unreadable"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_cut_anywhere(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    data = saved(Image.fromarray(noise), kind)
    for share in (0.01, 0.1, 0.3, 0.5, 0.9, 0.99):
        assert refusal(data[: int(len(data) * share)], tmp_path) in ("truncated", "unreadable", "no_pixels")


@pytest.mark.parametrize(("columns", "rows"), [(50_000, 50_000), (70_000, 10), (16_000, 13_000)])
def test_header_with_too_many_pixels(tmp_path: Path, columns: int, rows: int) -> None:
    data = png(struct.pack(">LLBBBBB", columns, rows, 8, 0, 0, 0, 0), b"\0")
    assert refusal(data, tmp_path) == "too_large"


def test_floating_point_pixels_are_unsupported(tmp_path: Path) -> None:
    assert refusal(saved(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), tmp_path) == "unsupported"


@pytest.mark.parametrize("head", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*"])
def test_only_a_signature(tmp_path: Path, head: bytes) -> None:
    assert refusal(head, tmp_path) in ("truncated", "unreadable")
    assert refusal(head + bytes(range(256)) * 4, tmp_path) in ("truncated", "unreadable")


def test_a_folder_or_a_pipe_is_not_a_file(tmp_path: Path) -> None:
    import os

    from portal.imaging.read_film import read_film

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent"):
        with pytest.raises(UnusableFile, match=r"not a file|could not be opened"):
            read_film(path)
