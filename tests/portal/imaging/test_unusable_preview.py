"""What can be seen of files that are no films, and that nothing of it harms the decoder."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from portal.imaging.decoding import Decoder
from portal.imaging.errors import UnusableFile
from portal.imaging.unusable_preview import preview_unusable
from tests.portal import factories


def shown(data: bytes) -> PIL.Image.Image:
    picture = PIL.Image.open(io.BytesIO(data))
    picture.load()
    return picture


def ct(path: Path, stored: NDArray[np.uint16], **elements: str) -> Path:
    """A DICOM file of another modality."""
    rows, columns = stored.shape[-2:]
    fields = {"Rows": rows, "Columns": columns, "PixelData": stored.tobytes(), "Modality": "CT"}
    return factories.dicom(path, **fields, **elements)


def test_a_colour_picture_keeps_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    PIL.Image.new("RGB", (900, 300), (200, 30, 30)).save(path)
    picture = shown(preview_unusable(path))
    assert picture.size == (320, 107)
    red, green, blue = picture.getpixel((160, 50))  # type: ignore[misc]
    assert (abs(red - 200) < 9, green < 50, blue < 50) == (True, True, True)


def test_the_upper_part_of_a_cut_off_picture_is_shown(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.jpg", tmp_path / "cut.jpg"
    grey = np.tile(np.linspace(0, 255, 600, dtype=np.uint8), (600, 1))
    PIL.Image.fromarray(grey).save(whole, quality=95)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    top = np.asarray(shown(preview_unusable(path)).convert("L"))[20]
    assert top[0] < 20
    assert top[-1] > 235


def test_sixteen_bits_are_stretched_and_monochrome1_is_inverted(tmp_path: Path) -> None:
    slope = np.tile(np.linspace(1000, 3000, 64).astype(np.uint16), (64, 1))
    usual = ct(tmp_path / "a.dcm", slope)
    inverted = ct(tmp_path / "b.dcm", slope, PhotometricInterpretation="MONOCHROME1")
    row = np.asarray(shown(preview_unusable(usual)))[32].astype(int)
    other = np.asarray(shown(preview_unusable(inverted)))[32].astype(int)
    assert row[0] < 15 < 240 < row[-1]
    assert np.abs(row + other - 255).max() < 8


def test_the_first_of_several_frames_is_shown(tmp_path: Path) -> None:
    frames = np.stack([np.full((32, 32), 500), np.zeros((32, 32))]).astype(np.uint16)
    frames[0, :, 16:] = 2000
    path = ct(tmp_path / "a.dcm", frames, NumberOfFrames="2")
    picture = np.asarray(shown(preview_unusable(path)))
    assert picture.shape == (32, 32)
    assert picture[16, 4] < 15 < 240 < picture[16, 28]


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50), b"\0" * 128 + b"DICM" + bytes(9)]
)
def test_what_shows_nothing_is_refused(tmp_path: Path, decoder: Decoder, data: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    with pytest.raises(UnusableFile, match="No preview can be made of this file"):
        decoder.preview_unusable(path)


def test_the_decoder_makes_the_same_preview_in_its_own_process(tmp_path: Path, decoder: Decoder) -> None:
    path = factories.colour_png(tmp_path / "a.png")
    assert decoder.preview_unusable(path) == preview_unusable(path)


def test_a_picture_beyond_the_limit_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.imaging.unusable_preview.MAX_PIXELS", 399)
    with pytest.raises(UnusableFile):
        preview_unusable(factories.colour_png(tmp_path / "a.png"))
