"""A film file decoded, aligned and passed through a detector's backbone, outside a run."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ml_engine.core import determinism
from ml_engine.core.alignment.model import FittedAlignment
from ml_engine.core.backbone import weights
from ml_engine.core.backbone.features import FeatureExtractor
from ml_engine.core.backbone.weights import Weights
from ml_engine.core.bank.memory_bank import places_of
from ml_engine.core.detector.pipeline import FittedDetector
from ml_engine.core.errors import EngineError, IncompatibleModel
from ml_engine.core.film.preprocess import Prepared, prepare, valid_area
from ml_engine.core.geometry import compose, identity, warp
from ml_engine.core.stored_rows import as_stored
from ml_engine.engine import decode_films
from ml_engine.engine.model_cache import ModelCache


class FilmPipeline:
    """Prepares films as a scoring run does for ``detector`` of the folder ``model``. ``models`` keeps what is loaded.
    Raises EngineError if the folder lacks the detector's alignment, or if the weights on this machine are not the
    detector's."""

    def __init__(
        self, model: Path, detector: FittedDetector, *, device: str = "auto", models: ModelCache | None = None
    ) -> None:
        self.detector, self.config = detector, detector.config
        self.models = ModelCache() if models is None else models
        self.device = determinism.device_for(device)
        self.places = places_of(detector.mask.keep)
        self.alignment = _alignment(model, detector, self.models) if self.config.align == "network" else None

    @cached_property
    def extractor(self) -> FeatureExtractor:
        named = self.detector.weights.get("sha256")
        return self.models.extractor(self.config, self.device, self._load_weights, named=named)

    def _load_weights(self) -> Weights:
        config = self.config
        backbone = weights.load_backbone(
            config.weights, config.backbone, seed=config.seed, folder=weights.default_folder()
        )
        if self.detector.weights.get("sha256") not in (None, backbone.sha256):
            raise IncompatibleModel(f"The weights {config.weights} on this machine are not those of the detector.")
        return backbone

    def canonical(self, path: Path, *, sha256: str = "", placed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The aligned film, float32 (1, 1, S, S), and original_from_canonical (2, 3) float64 in pixels. ``placed``
        (2, 3) is its input_from_canonical, where it is known. Raises UnreadableImage, UnsupportedImage."""
        prepared = prepare(decode_films.decode_film(path, sha256=sha256), self.config)
        if self.config.keeps_half:  # as a run reads it
            prepared = replace(prepared, image=torch.from_numpy(as_stored(prepared.image.numpy())))
        affine = self._input_from_canonical(prepared) if placed is None else placed[None]
        image, _ = warp(prepared.image[None, None], affine, (self.config.size, self.config.size))
        return image, compose(prepared.original_from_input, affine[0])

    def features(self, path: Path, *, sha256: str = "") -> Tensor:
        """The features of the unmasked patches, float32 (P, D)."""
        with torch.inference_mode():
            return self.extractor.patches(self.canonical(path, sha256=sha256)[0], self.places)[0].clone()

    def _input_from_canonical(self, prepared: Prepared) -> Tensor:
        if self.alignment is None:
            return identity(1)
        if self.config.alignment.method == "landmarks":
            raise EngineError(
                "This model aligns films by landmarks, and a single film has none: choose a model with another "
                "alignment."
            )
        valid = valid_area(np.array([prepared.box]), prepared.image.shape[-1])
        return self.alignment.affines(prepared.image[None, None], valid)[0]


def _alignment(model: Path, detector: FittedDetector, models: ModelCache) -> FittedAlignment:
    for path in (model / "alignment.safetensors", model / "inputs" / "alignment.safetensors"):
        if path.is_file() and models.sha256_of(path) == detector.alignment_sha256:
            return models.alignment(path)
    raise EngineError(f"{model} does not hold the alignment.safetensors that its detector was fitted with.")
