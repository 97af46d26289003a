"""What a person adds to an alignment on the command line: landmarks, and a canonical image."""

from __future__ import annotations

import argparse
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml_engine.core import files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.engine import landmarks, manifest
from ml_engine.engine.landmarks import Mark
from ml_engine.engine.run_folder import INPUTS

DEEPEST = {"L": 255, "I;16": 65535, "I": 65535}  # Pillow's modes of gray PNGs, and their white


@dataclass(frozen=True)
class AlignmentInputs:
    """What was given; nothing by default."""

    marks: tuple[Mark, ...] = ()
    canonical: bytes = b""
    marks_align: bool = False  # each film, not the canonical image alone

    def for_run(self, rows: Sequence[manifest.ManifestRow]) -> dict[str, bytes]:
        """The files of an alignment fit of these rows by their names in `INPUTS`, with these films' landmarks."""
        found = {"landmarks": landmarks.text_of(self.marks, rows)} if self.marks else {}
        return found | ({"canonical": self.canonical} if self.canonical else {})

    def for_detector(self, rows: Sequence[manifest.ManifestRow]) -> dict[str, bytes]:
        """The files of a run that aligns films but fits no alignment."""
        return {"landmarks": landmarks.text_of(self.marks, rows)} if self.marks and self.marks_align else {}


def add_options(parser: argparse.ArgumentParser, *, canonical: bool) -> None:
    parser.add_argument("--landmarks", type=Path, metavar="FILE", help="CSV of landmarks: filename, name, x, y")
    if canonical:
        parser.add_argument(
            "--canonical", type=Path, metavar="FILE", help="canonical image: a gray PNG, or npy in 0..1"
        )


def given_to_fit(options: argparse.Namespace, config: PipelineConfig, films: Sequence[str]) -> AlignmentInputs:
    """The files that the settings ask for, and no others; ``films`` are all that the CSV names.

    Raises InvalidConfig, InvalidLandmarks, EngineError.
    """
    aligned, alignment = config.align == "network", config.alignment
    wants_marks = aligned and alignment.uses_landmarks
    wants_image = aligned and alignment.canonical == "file"
    _match(options.landmarks, wants_marks, "--landmarks", "alignment.method or alignment.canonical=landmarks")
    _match(options.canonical, wants_image, "--canonical", "alignment.canonical=file")
    return AlignmentInputs(
        _marks(options.landmarks, films) if wants_marks else (),
        _npy(canonical_image(options.canonical)) if wants_image else b"",
        alignment.method == "landmarks",
    )


def given_to_score(options: argparse.Namespace, config: PipelineConfig, films: Sequence[str]) -> AlignmentInputs:
    """The landmarks, where the model aligns films by them. Raises InvalidConfig, InvalidLandmarks."""
    wanted = config.align == "network" and config.alignment.method == "landmarks"
    _match(options.landmarks, wanted, "--landmarks", "a model fitted with alignment.method=landmarks")
    return AlignmentInputs(_marks(options.landmarks, films) if wanted else (), marks_align=wanted)


def _match(path: Path | None, wanted: bool, option: str, setting: str) -> None:
    if wanted and path is None:
        raise InvalidConfig(f"{option} is missing: {setting} needs it.")
    if path is not None and not wanted:
        raise InvalidConfig(f"{option} is given, and only {setting} uses it: leave it out, or choose that.")


def _marks(path: Path, films: Sequence[str]) -> tuple[Mark, ...]:
    marks = landmarks.read(path)
    landmarks.by_row(marks, [manifest.ManifestRow(name) for name in films])  # refuses a film that the CSV does not name
    return tuple(marks)


def canonical_image(path: Path) -> NDArray[np.float32]:
    """A gray square image, float32 (S, S) in [0, 1]: a PNG over its white, or an npy as it is. Raises EngineError."""
    try:
        image = _read_npy(path) if path.suffix == ".npy" else _read_gray(path)
    except (OSError, ValueError):
        raise EngineError(f"{path} is no image that can be read: --canonical takes a gray PNG or an npy.") from None
    if image.ndim != 2 or image.shape[0] != image.shape[1] or image.shape[0] < 32:
        shape = " x ".join(str(side) for side in image.shape)
        raise EngineError(f"The canonical image is {shape} pixels: it must be gray and square, 32 pixels or more.")
    if not (np.isfinite(image).all() and 0 <= image.min() < image.max() <= 1):
        raise EngineError("The canonical image has values outside 0 to 1, or only one: scale it to 0 to 1.")
    return image


def _read_npy(path: Path) -> NDArray[np.float32]:
    return files.read_npy(path).astype(np.float32)


def _read_gray(path: Path) -> NDArray[np.float32]:
    with Image.open(path) as image:
        white = DEEPEST.get(image.mode)
        if white is None:
            return np.zeros((*reversed(image.size), 3), dtype=np.float32)  # refused for its shape
        return (np.asarray(image, dtype=np.float64) / white).astype(np.float32)


def _npy(image: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(image), allow_pickle=False)
    return buffer.getvalue()


def hashes(given: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in given.items()}


def write(folder: Path, given: dict[str, bytes]) -> None:
    """Write the files into a run folder, under their names in `INPUTS`."""
    for name, data in given.items():
        files.write_bytes(folder / INPUTS[name], data)
