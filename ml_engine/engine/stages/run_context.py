"""What the stages of a run share: its specification, its films and its backbone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core import determinism, files
from ml_engine.core.backbone import feature_file, feature_store, weights
from ml_engine.core.backbone.feature_file import FeatureFile, TooLargeForHalf
from ml_engine.core.backbone.feature_store import FeatureStore, PlacedFilm, key_of
from ml_engine.core.backbone.features import FeatureExtractor
from ml_engine.core.bank.detectors import Scorer, scorer_of
from ml_engine.core.bank.memory_bank import places_of
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector.pipeline import FittedDetector, load_detector
from ml_engine.core.errors import EngineError, IncompatibleModel
from ml_engine.core.film.canonical_films import canonical_batches
from ml_engine.core.head.confirmed_head import ConfirmedHead, load_head
from ml_engine.core.stored_rows import StoredRows
from ml_engine.engine import hand_affines, manifest
from ml_engine.engine.chunked_rows import ArrayPlan, ChunkedRows, kind_of_journal
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.model_cache import ModelCache
from ml_engine.engine.prepared_films import PreparedFilms
from ml_engine.engine.run_folder import RunFolder, RunSpec, StageProgress
from ml_engine.engine.run_kinds import KINDS, RunKind

FEATURES, SINGLE = "features.npy", "<f4"


@dataclass(frozen=True)
class RunContext:
    """A run in progress. ``config`` holds the settings of the method: the detector's where the run starts from one.
    ``features`` is the folder that keeps the films' features between runs, None where they are not kept. ``models``
    keeps loaded models between runs, ``films`` those that a fit of the alignment prepares for the run after it."""

    folder: RunFolder
    spec: RunSpec
    images: Path
    device_name: str
    features: Path | None = None
    models: ModelCache = field(default_factory=ModelCache)
    films: PreparedFilms | None = None

    @cached_property
    def rows(self) -> list[ManifestRow]:
        return manifest.read(self.folder.path / "images.csv")

    @cached_property
    def detector(self) -> FittedDetector:
        return self.models.detector(self.input_path("detector"))

    def input_path(self, name: str) -> Path:
        """As `RunFolder.input_path`; an unchanged file is hashed once."""
        return self.folder.input_path(name, self.spec, sha256_of=self.models.sha256_of)

    @cached_property
    def scorer(self) -> FittedDetector:
        """The detector that scores: the run's, or its grown copy."""
        return load_detector(self.path("grown.safetensors")) if self.spec.grow else self.detector

    @cached_property
    def head(self) -> ConfirmedHead | None:
        """The semi-supervised head of a scoring run; None without one."""
        inputs = self.spec.inputs or {}
        if "head" not in inputs or "detector" not in inputs:
            return None
        return load_head(self.folder.input_path("head", self.spec), detector_sha256=inputs["detector"])

    @property
    def has_detector(self) -> bool:
        """Whether the run starts from a fitted detector and uses its settings and weights."""
        return KINDS[RunKind(self.spec.kind)].starts_from == "detector"

    @cached_property
    def config(self) -> PipelineConfig:
        if not self.has_detector:
            return self.spec.config
        requested = self.spec.config
        return self.detector.config.replace(
            device=requested.device, threads=requested.threads, memory_gib=requested.memory_gib
        )

    @cached_property
    def device(self) -> torch.device:
        return determinism.device_for(self.device_name)

    @cached_property
    def backbone(self) -> weights.Weights:
        """The backbone's weights. Raises IncompatibleModel where their SHA-256 is not the one that run.json or the
        detector names."""
        config = self.config
        backbone = weights.load_backbone(
            config.weights, config.backbone, seed=config.seed, folder=weights.default_folder()
        )
        named = self.detector.weights if self.has_detector else self.spec.weights or {}
        if named.get("sha256") not in (None, backbone.sha256):
            raise IncompatibleModel(
                f"The weights {config.weights} on this machine (SHA-256 {str(backbone.sha256)[:8]}) are not those "
                f"that the run names ({str(named['sha256'])[:8]}): import the right file."
            )
        return backbone

    @cached_property
    def extractor(self) -> FeatureExtractor:
        named = (self.detector.weights if self.has_detector else self.spec.weights or {}).get("sha256")
        return self.models.extractor(self.config, self.device, lambda: self.backbone, named=named)

    def map_scorer(self) -> Scorer:
        """The scorer of `scorer` for maps."""
        if self.spec.grow or not self.has_detector:
            return scorer_of(self.scorer.model, self.mask(), self.config, self.device)
        return self.models.scorer(self.input_path("detector"), self.detector, self.device)

    @cached_property
    def store(self) -> FeatureStore | None:
        """The store of the films' features; None where they are not kept, and for an alignment fit, which has none."""
        if self.features is None or self.spec.kind == "fit_alignment":
            return None
        key = store_key(self.spec, self.config, weights=self.backbone.to_json(), device=self.device)
        return FeatureStore(self.features, key)

    @property
    def keeps_features(self) -> bool:
        """Whether the run keeps its films' features in its own folder, so that its detector can grow and forget."""
        return self.store is not None and self.features == self.folder.path / feature_store.FOLDER

    def stored_film(self, row: int) -> PlacedFilm | None:
        """The stored placement of the film at ``row``, None where the store lacks the film."""
        name = self.stored_name(row)
        return self.store.placed(name) if self.store and self.store.holds(name) else None

    def stored_name(self, row: int) -> str:
        """The name in the store of the film at ``row``: its SHA-256, and another for each affine made by hand."""
        sha256, by_hand = self.rows[row].sha256, self.hand_affines.get(row)
        if by_hand is None or not sha256:
            return sha256
        return hashlib.sha256(sha256.encode() + by_hand.tobytes()).hexdigest()

    @cached_property
    def hand_affines(self) -> dict[int, NDArray[np.float64]]:
        """Row -> original_from_canonical (2, 3), in pixels, of the films that a person placed on the alignment
        board."""
        if "hand_affines" not in (self.spec.inputs or {}) or self.config.align != "network":
            return {}
        by_image = hand_affines.read(self.input_path("hand_affines"), size=self.config.size)
        return {k: by_image[row.image] for k, row in enumerate(self.rows) if row.image in by_image}

    @property
    def errors(self) -> dict[int, str]:
        """The films that could not be read: row -> reason."""
        return {int(row): text for row, text in self.folder.summary("films")["errors"].items()}

    def readable(self, *parts: str) -> NDArray[np.int64]:
        """The rows whose films could be read, int64 (n,), of these parts; of all parts if none is named."""
        errors = self.errors
        rows = [k for k, row in enumerate(self.rows) if k not in errors and (not parts or row.part in parts)]
        return np.array(rows, dtype=np.int64)

    def path(self, name: str) -> Path:
        return self.folder.stages / name

    def read(self, name: str) -> NDArray[Any]:
        return files.read_npy(self.path(name))

    def mask(self) -> NDArray[np.bool_]:
        return self.detector.mask.keep if self.has_detector else self.read("mask.npy")

    def inputs(self) -> StoredRows:
        """The prepared films (N, S, S) in [0, 1], on disk."""
        return StoredRows(self.path("inputs.npy"))

    def fit_features(self) -> FeatureFile:
        """The features that `keep_features` wrote."""
        return FeatureFile(self.path(FEATURES), self.device)

    def keep_features(self, rows: NDArray[np.int64], progress: StageProgress) -> tuple[int, int]:
        """Write the unmasked patch features of the films at ``rows`` film by film, (F * P, D) in the precision of
        the config: features.npy. Returns P and D."""
        was_single = kind_of_journal(self.folder.stages, progress.stage, FEATURES) == SINGLE  # too large before
        try:
            return self._write_features(rows, progress, is_half=self.config.keeps_half and not was_single)
        except TooLargeForHalf:
            self.folder.log("A feature is too large for half precision: features.npy is written in single precision.")
            return self._write_features(rows, progress, is_half=False)

    def _write_features(self, rows: NDArray[np.int64], progress: StageProgress, *, is_half: bool) -> tuple[int, int]:
        """What an earlier attempt wrote of the same films on the same kind of device is kept."""
        _, first = next(self.features_of(rows[: self.config.batch], lambda done, total: None))
        per_film, wide = first.shape[1:]
        plan = ArrayPlan((len(rows) * per_film, wide), feature_file.HALF if is_half else SINGLE)
        key = f"{self.device.type} {hashlib.sha256(rows.tobytes()).hexdigest()}"
        plans = {FEATURES: plan}
        with ChunkedRows(self.folder.stages, progress.stage, plans, key=key, rows_a_film=per_film) as written:
            films = written.done // per_film
            for _, batch in self.features_of(rows[films:], progress, before=films):
                part = batch.reshape(-1, wide)
                written.add({FEATURES: (feature_file.in_half(part) if is_half else part).numpy()})
                if written.is_chunk_full:
                    written.end_chunk()
            written.finish()
        return per_film, wide

    def features_of(self, rows: NDArray[np.int64], progress: Callable[[int, int], None], *, before: int = 0) -> Any:
        """Yields batches of (rows, features): the unmasked patch features of the aligned films at ``rows``, float32
        (B, P, D). ``before`` films were done in an earlier attempt."""
        inputs, affines = self.inputs(), self.read("input_from_canonical.npy")
        places: Tensor = places_of(self.mask())
        side = self.config.patches
        done, total = before, before + len(rows)
        progress(done, total)
        for at, films in canonical_batches(inputs, affines, rows=rows, batch=self.config.batch):
            if self.store is None:
                yield at, self.extractor.patches(films, places)
            else:
                yield at, self._features_by_store(self.store, at, films)[:, places[:, 0] * side + places[:, 1]]
            done += len(at)
            progress(done, total)

    def _features_by_store(self, store: FeatureStore, at: NDArray[np.int64], films: Tensor) -> Tensor:
        """The features of all patches of the aligned films (B, 1, S, S), float32 (B, h * w, D). Films that the store
        lacks are computed and added to it."""
        hashes = [self.stored_name(int(row)) for row in at]
        missing = [k for k, sha256 in enumerate(hashes) if not store.holds(sha256)]
        everywhere = places_of(np.ones((self.config.patches, self.config.patches), dtype=np.bool_))
        computed = self.extractor.patches(films[missing], everywhere) if missing else None
        added: dict[int, Tensor] = {}
        for number, k in enumerate(missing):
            assert computed is not None
            added[k] = computed[number]
            if hashes[k]:
                store.keep(hashes[k], self._placed(int(at[k])), added[k])
        return torch.stack([added[k] if k in added else store.features(hashes[k]) for k in range(len(at))])

    def _placed(self, row: int) -> PlacedFilm:
        return PlacedFilm(
            self.inputs()[row],
            self.read("boxes.npy")[row],
            self.read("original_from_input.npy")[row],
            self.read("input_from_canonical.npy")[row],
            row in self.folder.summary("align")["flagged"],
        )


def store_key(
    spec: RunSpec, config: PipelineConfig, *, weights: dict[str, Any], device: torch.device
) -> dict[str, Any]:
    """The key (`feature_store.key_of`) of the features of a run with this specification and effective config."""
    inputs = spec.inputs or {}
    placing = " ".join(inputs[name] for name in ("alignment", "landmarks") if name in inputs)
    alignment = placing if config.align == "network" else None
    return key_of(config, weights=weights, alignment_sha256=alignment, device=device.type)


def require_films(rows: NDArray[np.int64], *, least: int, part: str) -> None:
    """Raises EngineError if fewer than ``least`` films of a part could be read."""
    if len(rows) < least:
        raise EngineError(
            f"The {part} part has {len(rows)} readable films and needs at least {least}: add films, or see in log.txt "
            "which films could not be read."
        )
