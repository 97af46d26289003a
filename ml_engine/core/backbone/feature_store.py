"""A store on disk for placed films and their features, so that no run computes them twice."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core import files
from ml_engine.core.backbone.feature_file import TooLargeForHalf, as_kept, in_half
from ml_engine.core.backbone.feature_key import AFTERWARDS as AFTERWARDS
from ml_engine.core.backbone.feature_key import key_of as key_of
from ml_engine.core.errors import IncompatibleModel

FOLDER = "features"  # the feature stores inside a run folder


@dataclass(frozen=True)
class PlacedFilm:
    """A film with its position: the input of feature extraction.

    ``image`` float32 (S, S) in [0, 1]; ``box`` int64 (4,), the top, left, bottom and right of the film in it;
    ``original_from_input`` and ``input_from_canonical`` float64 (2, 3) in pixels; ``flagged`` if its alignment failed
    a check.
    """

    image: NDArray[np.float32]
    box: NDArray[np.int64]
    original_from_input: NDArray[np.float64]
    input_from_canonical: NDArray[np.float64]
    flagged: bool


def folder_of(folder: Path, key: dict[str, Any]) -> Path:
    """The path of the store with this key in a folder of stores, whether it exists or not."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return folder / digest[:32]


class FeatureStore:
    """A folder for each key, with a safetensors file per film, named by the SHA-256 of the film's file.

    Files are written atomically. A film takes about 2.6 MB at 224 px and 1536 dimensions: 784 patches in half
    precision, including masked ones, so that the mask can change.
    """

    def __init__(self, folder: Path, key: dict[str, Any]) -> None:
        self.folder = folder_of(folder, key)
        self._is_half = key["settings"].get("kept_precision", "single") == "half"
        if not (self.folder / "key.json").is_file():
            files.write_json(self.folder / "key.json", key)

    def path(self, sha256: str) -> Path:
        """The file of a film, whether it exists or not."""
        return self.folder / f"{sha256}.safetensors"

    def holds(self, sha256: str) -> bool:
        """Whether the film with this hash is in the store; False for an empty hash."""
        return bool(sha256) and self.path(sha256).is_file()

    def placed(self, sha256: str) -> PlacedFilm:
        """The film with its position. Raises IncompatibleModel where the file is missing or damaged."""
        tensors = self._read(sha256, but="features")
        return PlacedFilm(
            tensors["image"].numpy(),
            tensors["box"].numpy(),
            tensors["original_from_input"].numpy(),
            tensors["input_from_canonical"].numpy(),
            bool(tensors["flagged"]),
        )

    def features(self, sha256: str) -> Tensor:
        """The features of all patches, row by row, float32 (h * w, D). Raises IncompatibleModel as `placed` does."""
        features = self._read(sha256, only="features")["features"].float()
        return as_kept(features[None])[0] if self._is_half else features

    def keep(self, sha256: str, placed: PlacedFilm, features: Tensor) -> None:
        """Add a film with the features of all its patches, row by row, float32 (h * w, D). They are kept in half
        precision where the key says so, unless a value is too large for it."""
        if self._is_half:
            with suppress(TooLargeForHalf):
                features = in_half(features)
        tensors = {
            "image": torch.from_numpy(np.array(placed.image)),
            "box": torch.from_numpy(np.array(placed.box)),
            "original_from_input": torch.from_numpy(np.array(placed.original_from_input)),
            "input_from_canonical": torch.from_numpy(np.array(placed.input_from_canonical)),
            "flagged": torch.tensor(placed.flagged),
            "features": features,
        }
        files.write_tensors(self.path(sha256), tensors, {})

    def _read(self, sha256: str, *, only: str = "", but: str = "") -> dict[str, Tensor]:
        from safetensors import SafetensorError, safe_open

        path = self.path(sha256)
        try:
            with safe_open(path, framework="pt") as file:
                names = [only] if only else [name for name in file.keys() if name != but]  # noqa: SIM118 (no mapping)
                return {name: file.get_tensor(name) for name in names}
        except (OSError, SafetensorError):
            raise IncompatibleModel(
                f"The stored features of a film, {path.name} in {path.parent}, cannot be read: delete that file, and "
                "the film is computed again."
            ) from None


def link(source: Path, target: Path, *, without: frozenset[str] = frozenset()) -> None:
    """Add the content of all stores in the folder ``source`` to the folder ``target``, except the films with the hashes
    ``without``. Files are hard-linked if possible, otherwise copied."""
    for path in sorted(source.glob("*/*")):
        if path.stem not in without and not path.name.startswith("."):
            files.link_or_copy(path, target / path.parent.name / path.name)
