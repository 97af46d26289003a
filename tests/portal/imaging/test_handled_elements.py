"""The metadata of pictures is named with what became of it, and no value of it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from portal.imaging.handled_elements import HANDLED, ElementOutcome, HandledElement, from_text, to_text
from portal.imaging.read_film import read_film


def test_metadata_of_pictures_is_removed_by_name(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Jane Doe", "4711")
    path = tmp_path / "film.png"
    picture = Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20))
    picture.save(path, pnginfo=info, exif=Image.Exif().tobytes(), dpi=(300, 300))
    _, header = read_film(path)
    names = {one.name for one in from_text(header[HANDLED])}
    assert names == {"text chunks", "resolution", "EXIF"}
    assert "Jane" not in header[HANDLED]


def test_text_of_tiff_tags_is_removed_by_name(tmp_path: Path) -> None:
    path = tmp_path / "film.tif"
    picture = Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20))
    picture.save(path, tiffinfo={270: "Jane Doe", 315: "Dr. Who", 65000: "4711"})
    _, header = read_film(path)
    names = {one.name for one in from_text(header[HANDLED])}
    assert {"ImageDescription", "Artist", "private TIFF tags"} <= names
    assert "Jane" not in header[HANDLED]


def test_there_and_back() -> None:
    elements = [HandledElement("(0010,0010)", "PatientName", ElementOutcome.REMOVED, is_nested=True)]
    assert from_text(to_text(elements)) == elements


def test_pictures_are_read_without_pydicom() -> None:
    """Which takes 0.2 seconds of each process of the engine."""
    words = "import sys, portal.imaging.read_film; print('pydicom' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False"]
