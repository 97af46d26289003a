"""Why a patch scores what it scores: the bank vectors nearest to it, and the films that they were taken from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ml_engine import films, manifest
from ml_engine.core import determinism, files, fusion, weights
from ml_engine.core.alignment.model import AlignmentModel, load_alignment
from ml_engine.core.errors import EngineError, IncompatibleModel
from ml_engine.core.features import FeatureExtractor
from ml_engine.core.geometry import compose, identity, warp
from ml_engine.core.memory_bank import Bank, MapScorer, cell_of
from ml_engine.core.patchcore import NearestSearch
from ml_engine.core.pipeline import Detector, load_detector
from ml_engine.core.preprocess import prepare, valid_area


@dataclass(frozen=True)
class Neighbour:
    """A bank vector: the ``rank`` th nearest (from 1) of the bank ``global`` or ``region``, at an L2 ``distance``,
    taken from patch (``row``, ``column``) of the film ``filename`` (``image`` in the portal)."""

    bank: str
    rank: int
    distance: float
    filename: str
    image: str
    row: int
    column: int


@dataclass(frozen=True)
class Explanation:
    """A patch (row, column) of the canonical grid, its scores as in ``maps.npy``, ``centre_original_px`` (x, y) its
    centre in the film, and its nearest bank vectors."""

    row: int
    column: int
    global_score: float
    region_score: float
    centre_original_px: tuple[float, float]
    nearest: tuple[Neighbour, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def explain(
    model: Path, film: Path, *, patch: tuple[int, int] | None = None, neighbours: int = 5, device: str = "auto"
) -> Explanation:
    """The ``neighbours`` nearest vectors of both banks to one patch of a film.

    ``model`` is the folder of a detector fit. ``patch`` is (row, column); the highest of the fused map unless
    given. Raises EngineError for a film that cannot be read, a patch that has no score, and a folder without a
    detector, its alignment or its list of films.
    """
    detector = _detector(model)
    sources = manifest.read(model / "images.csv")
    config, place = detector.config, determinism.device_for(device)
    prepared = prepare(films.read(film), config)
    affine = _alignment_affine(model, detector, prepared.image, prepared.box)
    canonical, _ = warp(prepared.image[None, None], affine, (config.size, config.size))
    backbone = weights.load_backbone(config.weights, config.backbone, seed=config.seed, folder=weights.default_folder())
    if detector.weights.get("sha256") not in (None, backbone.sha256):
        raise IncompatibleModel(f"The weights {config.weights} on this machine are not those of the detector.")
    scorer = MapScorer(detector.banks, detector.mask.keep, config, place)
    features = FeatureExtractor(config, backbone.state, place).patches(canonical, scorer.places)[0]
    maps = scorer.maps(features)
    row, column = patch or _highest(maps, detector)
    if not (0 <= row < config.patches and 0 <= column < config.patches):
        raise EngineError(f"patch is {row},{column}: rows and columns go from 0 to {config.patches - 1}.")
    if not detector.mask.keep[row, column]:
        raise EngineError(f"patch {row},{column} lies outside the hard mask and has no score: choose another.")
    query = features[(scorer.places == scorer.places.new_tensor([row, column])).all(1)]
    cell = int(cell_of(scorer.places.new_tensor([[row, column]]), patches=config.patches, grid=config.grid)[0])
    region = detector.banks.cells[cell]
    assert region is not None  # a cell with a patch that is kept has a bank
    found = _nearest("global", detector.banks.whole, query, neighbours, sources)
    found += _nearest("region", region, query, neighbours, sources)
    original = compose(prepared.original_from_input, affine[0])
    step = config.stride
    x, y = (
        original[:, :2] @ original.new_tensor([(column + 0.5) * step, (row + 0.5) * step]) + original[:, 2]
    ).tolist()
    return Explanation(row, column, float(maps[0, row, column]), float(maps[1, row, column]), (x, y), tuple(found))


def _detector(model: Path) -> Detector:
    if not (model / "detector.safetensors").is_file():
        raise EngineError(f"{model} holds no detector.safetensors: give the folder of a detector fit with --model.")
    return load_detector(model / "detector.safetensors")


def _alignment_affine(model: Path, detector: Detector, image: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """input_from_canonical (1, 2, 3) of one prepared film (S, S)."""
    if detector.config.align != "network":
        return identity(1)
    if detector.config.alignment.method == "landmarks":
        raise EngineError(
            "This model aligns films by landmarks, and explain takes none: explain a film of a model with another "
            "alignment."
        )
    aligned, _ = _alignment(model, detector).affines(image[None, None], valid_area(np.array([box]), image.shape[-1]))
    return aligned


def _alignment(model: Path, detector: Detector) -> AlignmentModel:
    for path in (model / "alignment.safetensors", model / "inputs" / "alignment.safetensors"):
        if path.is_file() and files.sha256_of(path) == detector.alignment_sha256:
            return load_alignment(path)
    raise EngineError(f"{model} does not hold the alignment.safetensors that its detector was fitted with.")


def _highest(maps: fusion.Maps, detector: Detector) -> tuple[int, int]:
    calibrated = detector.calibration
    values = fusion.standardised(maps[None], calibrated.mean, calibrated.std)
    fused = fusion.fuse(values, detector.choice.weight)[0]
    row, column = np.unravel_index(np.nanargmax(fused), fused.shape)
    return int(row), int(column)


def _nearest(name: str, bank: Bank, query: Tensor, count: int, sources: list[manifest.Row]) -> list[Neighbour]:
    squared, rows = NearestSearch(bank.vectors).squared_distances(query, count)
    found = []
    for rank, (distance, vector) in enumerate(zip(squared[0].sqrt().tolist(), rows[0].tolist(), strict=True), start=1):
        film, row, column = bank.provenance[vector].tolist()
        source = sources[film]
        found.append(Neighbour(name, rank, distance, source.filename, source.image, row, column))
    return found
