"""Explain a patch score: the bank vectors nearest to the patch, and the films that they were taken from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ml_engine.core.backbone import weights
from ml_engine.core.bank.detectors import Scorer, scorer_of
from ml_engine.core.bank.memory_bank import Bank, cell_of
from ml_engine.core.bank.nearest_films import Gallery, NearestFilmsScorer
from ml_engine.core.bank.nearest_search import NearestSearch
from ml_engine.core.detector.pipeline import FittedDetector, load_detector
from ml_engine.core.detector_kinds import KINDS
from ml_engine.core.errors import EngineError
from ml_engine.core.score import fusion
from ml_engine.engine import manifest
from ml_engine.engine.one_film import FilmPipeline


@dataclass(frozen=True)
class Neighbour:
    """A bank vector: the ``rank``-th nearest (from 1) in the bank ``global`` or ``region``, at the L2 ``distance``,
    taken from patch (``row``, ``column``) of the film ``filename`` (``image`` is its id in the portal). SPADE and DN2
    compare whole films: the bank is ``film``, row and column are -1. ``original_from_canonical`` (2, 3), in pixels, is
    the film's alignment, None if its file was not available."""

    bank: str
    rank: int
    distance: float
    filename: str
    image: str
    row: int
    column: int
    original_from_canonical: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class Explanation:
    """A patch (row, column) of the canonical grid with its scores as in ``maps.npy``, its centre (x, y) in original
    pixels, and its nearest bank vectors; ``notice`` says so where the network was not trained."""

    row: int
    column: int
    global_score: float
    region_score: float
    centre_original_px: tuple[float, float]
    nearest: tuple[Neighbour, ...]
    notice: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def explain(
    model: Path,
    film: Path,
    *,
    patch: tuple[int, int] | None = None,
    neighbours: int = 5,
    images: Path | None = None,
    device: str = "auto",
) -> Explanation:
    """The ``neighbours`` nearest vectors of both banks to one patch of a film.

    ``model`` is the folder of a detector fit. ``patch`` is (row, column), by default the highest of the fused map.
    ``images`` is the folder of the detector's films; with it, each neighbour's film is aligned again. Raises
    EngineError for a film that cannot be read, a patch without a score, and a folder without a detector, its
    alignment or its list of films.
    """
    detector = _load_detector(model)
    sources = manifest.read(model / "images.csv")
    config = detector.config
    films = FilmPipeline(model, detector, device=device)
    kind = KINDS[config.detector]
    if kind.compares_with:
        raise EngineError(
            f"The detector is {kind.words}: it compares a patch with {kind.compares_with}, so there are no patches or "
            "films to list."
        )
    canonical, original = films.canonical(film)
    scorer = scorer_of(detector.model, detector.mask.keep, config, films.device)
    features = films.extractor.patches(canonical, scorer.places)[0]
    maps = scorer.maps(features)
    row, column = patch or _highest_patch(maps, detector)
    if not (0 <= row < config.patches and 0 <= column < config.patches):
        raise EngineError(f"patch is {row},{column}: rows and columns go from 0 to {config.patches - 1}.")
    if not detector.mask.keep[row, column]:
        raise EngineError(f"patch {row},{column} lies outside the hard mask and has no score: choose another patch.")
    step = config.stride
    x, y = (
        original[:, :2] @ original.new_tensor([(column + 0.5) * step, (row + 0.5) * step]) + original[:, 2]
    ).tolist()
    nearest = _neighbours(detector, scorer, features, patch=(row, column), neighbours=neighbours, sources=sources)
    if images is not None:
        nearest = _with_alignments(nearest, films, images)
    return Explanation(
        row=row,
        column=column,
        global_score=float(maps[0, row, column]),
        region_score=float(maps[1, row, column]),
        centre_original_px=(x, y),
        nearest=tuple(nearest),
        notice=weights.RANDOM_NOTICE if detector.weights["name"] == weights.RANDOM else "",
    )


def _neighbours(
    detector: FittedDetector,
    scorer: Scorer,
    features: Tensor,
    *,
    patch: tuple[int, int],
    neighbours: int,
    sources: list[manifest.ManifestRow],
) -> list[Neighbour]:
    """The nearest bank vectors of a patch; for a baseline that compares whole films, the nearest films."""
    config = detector.config
    row, column = patch
    if isinstance(scorer, NearestFilmsScorer):
        return _nearest_films(detector, scorer, features, neighbours, sources)
    query = features[(scorer.places == scorer.places.new_tensor([row, column])).all(1)]
    cell = int(cell_of(scorer.places.new_tensor([[row, column]]), patches=config.patches, grid=config.grid)[0])
    region = detector.banks.cells[cell]
    assert region is not None  # a cell with an unmasked patch has a bank
    whole = _nearest("global", detector.banks.whole, query, neighbours, sources)
    return whole + _nearest("region", region, query, neighbours, sources)


def _with_alignments(nearest: list[Neighbour], films: FilmPipeline, images: Path) -> list[Neighbour]:
    """The neighbours with the alignments of their films, None for a film that cannot be read from ``images``."""
    alignments: dict[str, tuple[tuple[float, ...], ...] | None] = {}
    for name in dict.fromkeys(neighbour.filename for neighbour in nearest):
        try:
            alignments[name] = tuple(map(tuple, films.canonical(images / name)[1].tolist()))
        except (EngineError, OSError):
            alignments[name] = None
    return [replace(each, original_from_canonical=alignments[each.filename]) for each in nearest]


def _nearest_films(
    detector: FittedDetector,
    scorer: NearestFilmsScorer,
    features: Tensor,
    count: int,
    sources: list[manifest.ManifestRow],
) -> list[Neighbour]:
    """The nearest films; row and column are -1."""
    assert isinstance(detector.model, Gallery)
    squared, places = scorer.films.squared_distances(scorer.film_feature(features), count)
    nearest = []
    for rank, (distance, place) in enumerate(zip(squared[0].sqrt().tolist(), places[0].tolist(), strict=True), start=1):
        source = sources[int(detector.model.rows[place])]
        nearest.append(
            Neighbour(
                bank="film",
                rank=rank,
                distance=distance,
                filename=source.filename,
                image=source.image,
                row=-1,
                column=-1,
            )
        )
    return nearest


def _load_detector(model: Path) -> FittedDetector:
    if not (model / "detector.safetensors").is_file():
        raise EngineError(f"{model} holds no detector.safetensors: name the folder of a detector fit with --model.")
    return load_detector(model / "detector.safetensors")


def _highest_patch(maps: fusion.Maps, detector: FittedDetector) -> tuple[int, int]:
    calibrated = detector.calibration
    values = fusion.standardised(maps[None], calibrated.mean, calibrated.std)
    fused = fusion.fuse(values, detector.choice.weight)[0]
    row, column = np.unravel_index(np.nanargmax(fused), fused.shape)
    return int(row), int(column)


def _nearest(name: str, bank: Bank, query: Tensor, count: int, sources: list[manifest.ManifestRow]) -> list[Neighbour]:
    squared, rows = NearestSearch(bank.vectors).squared_distances(query, count)
    nearest = []
    for rank, (distance, vector) in enumerate(zip(squared[0].sqrt().tolist(), rows[0].tolist(), strict=True), start=1):
        film, row, column = bank.provenance[vector].tolist()
        source = sources[film]
        nearest.append(
            Neighbour(
                bank=name,
                rank=rank,
                distance=distance,
                filename=source.filename,
                image=source.image,
                row=row,
                column=column,
            )
        )
    return nearest
