"""What the stages of a run share: its request, its films, its backbone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine import manifest
from ml_engine.core import determinism, files, weights
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError, IncompatibleModel
from ml_engine.core.features import FeatureExtractor
from ml_engine.core.memory_bank import places_of
from ml_engine.core.pipeline import Detector, canonical_batches, load_detector
from ml_engine.folder import Report, Request, RunFolder
from ml_engine.manifest import Row


@dataclass(frozen=True)
class Work:
    """A run in progress. ``config`` is that of the method: for a score run, its detector's."""

    folder: RunFolder
    request: Request
    images: Path
    device_name: str

    @cached_property
    def rows(self) -> list[Row]:
        return manifest.read(self.folder.path / "images.csv")

    @cached_property
    def detector(self) -> Detector:
        return load_detector(self.folder.input_path("detector", self.request))

    @cached_property
    def config(self) -> PipelineConfig:
        if self.request.kind != "score":
            return self.request.config
        ours = self.request.config
        return self.detector.config.replace(device=ours.device, threads=ours.threads)

    @cached_property
    def device(self) -> torch.device:
        return determinism.device_for(self.device_name)

    @cached_property
    def backbone(self) -> weights.Weights:
        """The backbone's weights, proven to be those that the request or the detector names."""
        config = self.config
        found = weights.load_backbone(
            config.weights, config.backbone, seed=config.seed, folder=weights.default_folder()
        )
        named = self.detector.weights if self.request.kind == "score" else self.request.weights or {}
        if named.get("sha256") not in (None, found.sha256):
            raise IncompatibleModel(
                f"The weights {config.weights} on this machine (SHA-256 {str(found.sha256)[:8]}) are not those "
                f"that the run names ({str(named['sha256'])[:8]}): import the right file."
            )
        return found

    @cached_property
    def extractor(self) -> FeatureExtractor:
        return FeatureExtractor(self.config, self.backbone.state, self.device)

    @property
    def errors(self) -> dict[int, str]:
        """The films that could not be read: row -> sentence."""
        return {int(row): text for row, text in self.folder.summary("films")["errors"].items()}

    def readable(self, *parts: str) -> NDArray[np.int64]:
        """The rows that could be read, of these parts, or of all where none is given."""
        errors = self.errors
        found = [k for k, row in enumerate(self.rows) if k not in errors and (not parts or row.part in parts)]
        return np.array(found, dtype=np.int64)

    def path(self, name: str) -> Path:
        return self.folder.stages / name

    def read(self, name: str) -> NDArray[Any]:
        return files.read_npy(self.path(name))

    def mask(self) -> NDArray[np.bool_]:
        return self.read("mask.npy") if self.request.kind == "fit_detector" else self.detector.mask.keep

    def features_of(self, rows: NDArray[np.int64], report: Report) -> Any:
        """The patch features of the films at ``rows``, aligned, batch by batch: rows, float32 (B, P, D)."""
        inputs, affines = files.open_npy(self.path("inputs.npy")), self.read("input_from_canonical.npy")
        places: Tensor = places_of(self.mask())
        done = 0
        report(0, len(rows))
        for at, films in canonical_batches(inputs, affines, rows=rows, batch=self.config.batch):
            yield at, self.extractor.patches(films, places)
            done += len(at)
            report(done, len(rows))


def require(rows: NDArray[np.int64], *, least: int, part: str) -> None:
    """Raises EngineError where fewer than ``least`` films of a part could be read."""
    if len(rows) < least:
        raise EngineError(
            f"{len(rows)} readable films are in the {part} part, and at least {least} are needed: "
            "add films, or see which ones could not be read."
        )
