"""The results of an embedding map as one type, which writes, checks and opens their files.

| file | content, for N films in the order of images.csv |
|---|---|
| embedding.npy | float16 (N, D), each film's mean patch feature; float32 where one is too large; NaN where unreadable |
| layout.npy | float32 (N, 2, 2), each film's place by each of `LAYOUTS`; NaN where unreadable |
| neighbours.npy | int32 (N, K), the rows of the nearest other films, most alike first; -1 where unreadable |
| similarities.npy | float32 (N, K), their cosines, of the features less their mean; NaN where unreadable |
| embedding.json | what the map was made with |

No other code opens these files by name. Does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.errors import EngineError
from ml_engine.engine import manifest

EMBEDDING, LAYOUT = "embedding.npy", "layout.npy"
NEIGHBOURS, SIMILARITIES, SUMMARY = "neighbours.npy", "similarities.npy", "embedding.json"
LAYOUTS = ("neighbours", "axes")  # UMAP, and the first two principal components
LARGEST = 65504.0  # of float16


class NoMap(EngineError):
    """The files of a map are missing or damaged."""


@dataclass(frozen=True)
class EmbeddingFolder:
    """The results in the run folder at ``path``."""

    path: Path

    def write_features(self, features: NDArray[np.float32]) -> None:
        is_half = bool(np.nanmax(np.abs(features), initial=0.0) <= LARGEST)
        files.write_npy(self.path / EMBEDDING, features.astype("<f2") if is_half else features)

    def write_layout(self, places: NDArray[np.float32]) -> None:
        files.write_npy(self.path / LAYOUT, places)

    def write_neighbours(self, films: NDArray[np.int32], similarities: NDArray[np.float32]) -> None:
        files.write_npy(self.path / NEIGHBOURS, films)
        files.write_npy(self.path / SIMILARITIES, similarities)

    def write_summary(self, summary: dict[str, Any]) -> None:
        files.write_json(self.path / SUMMARY, summary)

    @cached_property
    def images(self) -> list[str]:
        """The ids of the films, in the order of the arrays. Raises NoMap."""
        try:
            return [row.image for row in manifest.read(self.path / "images.csv")]
        except (OSError, EngineError) as problem:
            raise NoMap("images.csv of the embedding map is missing or damaged: make the map again.") from problem

    @property
    def summary(self) -> dict[str, Any]:
        """Raises NoMap."""
        try:
            values = files.read_json(self.path / SUMMARY)
        except (OSError, ValueError):
            values = None
        if not isinstance(values, dict):
            raise NoMap(f"{SUMMARY} is missing or damaged: make the map again.")
        return values

    def features(self) -> NDArray[np.floating]:
        return self._array(EMBEDDING, 2)

    def places(self) -> NDArray[np.float32]:
        return self._array(LAYOUT, 3)

    def neighbours(self) -> NDArray[np.int32]:
        return self._array(NEIGHBOURS, 2)

    def similarities(self) -> NDArray[np.float32]:
        return self._array(SIMILARITIES, 2)

    def check(self) -> None:
        """Raises NoMap unless all files are there and agree on the films."""
        self.features()
        if self.places().shape[1:] != (len(LAYOUTS), 2):
            raise NoMap(f"{LAYOUT} has the shape {self.places().shape}: make the map again.")
        if self.neighbours().shape != self.similarities().shape:
            raise NoMap(f"{NEIGHBOURS} and {SIMILARITIES} do not have the same shape: make the map again.")
        _ = self.summary

    def _array(self, name: str, dimensions: int) -> NDArray[Any]:
        try:
            array = files.open_npy(self.path / name)
        except (OSError, ValueError) as problem:
            raise NoMap(f"{name} is missing or damaged: make the map again.") from problem
        if array.ndim != dimensions or len(array) != len(self.images):
            raise NoMap(f"{name} has the shape {array.shape} for {len(self.images)} films: make the map again.")
        return array
