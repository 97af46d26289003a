"""The files that a user adds to an alignment on the command line: landmarks and a canonical image."""

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

WHITE = {"L": 255, "I;16": 65535, "I": 65535}  # the white value of each Pillow mode of a gray PNG


@dataclass(frozen=True)
class AlignmentInputs:
    """The user's files; none by default. ``marks_align`` if each film is aligned by its landmarks, false if they only
    make the canonical image."""

    marks: tuple[Mark, ...] = ()
    canonical: bytes = b""
    marks_align: bool = False

    def for_run(self, rows: Sequence[manifest.ManifestRow]) -> dict[str, bytes]:
        """The input files of an alignment fit of these rows: contents by name in `INPUTS`."""
        inputs = {"landmarks": landmarks.text_of(self.marks, rows)} if self.marks else {}
        return inputs | ({"canonical": self.canonical} if self.canonical else {})

    def for_detector(self, rows: Sequence[manifest.ManifestRow]) -> dict[str, bytes]:
        """The input files of a run that aligns films but fits no alignment."""
        return {"landmarks": landmarks.text_of(self.marks, rows)} if self.marks and self.marks_align else {}


def inputs_to_fit(options: argparse.Namespace, config: PipelineConfig, films: Sequence[str]) -> AlignmentInputs:
    """The files that the settings require; ``films`` are all film names of the CSV.

    Raises InvalidConfig for a missing or unused file, InvalidLandmarks, EngineError.
    """
    is_aligned, alignment = config.align == "network", config.alignment
    needs_marks = is_aligned and alignment.uses_landmarks
    needs_image = is_aligned and alignment.canonical == "file"
    _match(options.landmarks, needs_marks, "--landmarks", "alignment.method or alignment.canonical=landmarks")
    _match(options.canonical, needs_image, "--canonical", "alignment.canonical=file")
    return AlignmentInputs(
        _read_marks(options.landmarks, films) if needs_marks else (),
        _npy(canonical_image(options.canonical)) if needs_image else b"",
        alignment.method == "landmarks",
    )


def inputs_to_score(options: argparse.Namespace, config: PipelineConfig, films: Sequence[str]) -> AlignmentInputs:
    """The landmarks, if the model aligns films by them. Raises InvalidConfig, InvalidLandmarks."""
    is_needed = config.align == "network" and config.alignment.method == "landmarks"
    _match(options.landmarks, is_needed, "--landmarks", "a model fitted with alignment.method=landmarks")
    return AlignmentInputs(_read_marks(options.landmarks, films) if is_needed else (), marks_align=is_needed)


def _match(path: Path | None, is_needed: bool, option: str, setting: str) -> None:
    if is_needed and path is None:
        raise InvalidConfig(f"{option} is missing: {setting} needs it.")
    if path is not None and not is_needed:
        raise InvalidConfig(f"{option} is set, but only {setting} uses it: leave it out, or choose that setting.")


def _read_marks(path: Path, films: Sequence[str]) -> tuple[Mark, ...]:
    marks = landmarks.read(path)
    landmarks.by_row(
        marks, [manifest.ManifestRow(name) for name in films]
    )  # raises for a film that the CSV does not name
    return tuple(marks)


def canonical_image(path: Path) -> NDArray[np.float32]:
    """A gray square image, float32 (S, S) in [0, 1]: a PNG divided by its white value, or an npy. Raises
    EngineError."""
    try:
        image = _read_npy(path) if path.suffix == ".npy" else _read_gray(path)
    except (OSError, ValueError):
        raise EngineError(f"{path} is not a readable image: --canonical takes a gray PNG or an npy.") from None
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
        white = WHITE.get(image.mode)
        if white is None:
            return np.zeros((*reversed(image.size), 3), dtype=np.float32)  # the caller refuses this shape
        return (np.asarray(image, dtype=np.float64) / white).astype(np.float32)


def _npy(image: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(image), allow_pickle=False)
    return buffer.getvalue()


def hashes(inputs: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in inputs.items()}


def write(folder: Path, inputs: dict[str, bytes]) -> None:
    """Write the files into a run folder, by their names in `INPUTS`."""
    for name, data in inputs.items():
        files.write_bytes(folder / INPUTS[name], data)
