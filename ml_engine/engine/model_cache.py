"""Loaded models, kept between the requests of a warm engine."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

import torch

from ml_engine.core import determinism, files
from ml_engine.core.alignment.model import FittedAlignment, load_alignment
from ml_engine.core.backbone import weights
from ml_engine.core.backbone.features import FeatureExtractor
from ml_engine.core.backbone.weights import Weights
from ml_engine.core.bank.detectors import Scorer, scorer_of
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector.pipeline import FittedDetector, load_detector
from ml_engine.core.errors import EngineError

Kept = TypeVar("Kept")
PLACES = ("device", "threads", "memory_gib")  # settings that change no model


class ModelCache:
    """Detectors, their scorers, alignments and backbones by the identity of their files; at most ``most`` objects, of
    which the least recently used is dropped first. With ``most`` 0 nothing is kept, and everything is loaded when it
    is asked for, as a run in a process of its own needs it.

    A file is identified by device, inode, size and time of change, so that a file that was replaced or written over is
    loaded again. What is kept must not be changed by whoever uses it.
    """

    def __init__(self, *, most: int = 0) -> None:
        self.most = most
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def keep(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """The object of this key, made if it is not there."""
        if self.most == 0:
            return make()
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            self._kept[key] = make()
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
        kept: Kept = self._kept[key]
        return kept

    def drop_oldest(self) -> bool:
        """Drop the least recently used object and return its memory to the kernel; False if there is none."""
        if not self._kept:
            return False
        self._kept.popitem(last=False)
        determinism.give_back_memory()
        return True

    def sha256_of(self, path: Path) -> str:
        return self.keep(("sha256", identity_of(path)), lambda: files.sha256_of(path))

    def detector(self, path: Path) -> FittedDetector:
        """The detector of a file. Raises IncompatibleModel."""
        return self.keep(("detector", identity_of(path)), lambda: load_detector(path))

    def scorer(self, path: Path, detector: FittedDetector, device: torch.device) -> Scorer:
        """The scorer of the detector that was loaded from ``path``."""
        key = ("scorer", identity_of(path), str(device))
        return self.keep(key, lambda: scorer_of(detector.model, detector.mask.keep, detector.config, device))

    def alignment(self, path: Path) -> FittedAlignment:
        return self.keep(("alignment", identity_of(path)), lambda: load_alignment(path))

    def extractor(
        self, config: PipelineConfig, device: torch.device, load: Callable[[], Weights], *, named: str | None
    ) -> FeatureExtractor:
        """The backbone of a config. ``load`` returns its weights, which are not kept, after checking that they are
        those ``named`` by their SHA-256."""
        method = {name: value for name, value in config.to_json().items() if name not in PLACES}
        key = ("extractor", json.dumps(method, sort_keys=True), str(device), named, _identity_of_weights(config))
        return self.keep(key, lambda: FeatureExtractor(config, load().state, device))


def identity_of(path: Path) -> tuple[int, ...]:
    """Equal for two names of one unchanged file; (0,) for a missing file."""
    try:
        facts = path.stat()
    except OSError:
        return (0,)
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)


def _identity_of_weights(config: PipelineConfig) -> tuple[int, ...]:
    if config.weights == weights.RANDOM:
        return ()
    try:
        return identity_of(weights.resolve(config.weights, config.backbone, folder=weights.default_folder()))
    except EngineError:  # loading them gives the reason
        return (0,)
