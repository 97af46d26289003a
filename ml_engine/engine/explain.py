"""Explain a patch score: the bank vectors nearest to the patch, and the films that they were taken from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core import determinism, files
from ml_engine.core.backbone import weights
from ml_engine.core.bank.detectors import Scorer
from ml_engine.core.bank.memory_bank import Bank, Banks, cell_of
from ml_engine.core.bank.nearest_films import Gallery, NearestFilmsScorer
from ml_engine.core.bank.nearest_search import nearest_directly
from ml_engine.core.detector.pipeline import FittedDetector
from ml_engine.core.detector_kinds import KINDS
from ml_engine.core.errors import EngineError
from ml_engine.core.geometry import compose
from ml_engine.core.score import fusion
from ml_engine.engine import manifest
from ml_engine.engine.model_cache import ModelCache, identity_of
from ml_engine.engine.one_film import FilmPipeline
from ml_engine.engine.scored_folder import ScoredFolder

DETECTOR = "detector.safetensors"


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
    scored: Path | None = None,
    device: str = "auto",
    models: ModelCache | None = None,
) -> Explanation:
    """The ``neighbours`` nearest vectors of both banks to one patch of a film.

    ``model`` is the folder of a detector fit. ``patch`` is (row, column), by default the highest of the fused map.
    ``images`` is the folder of the detector's films; with it, each neighbour has the alignment of its film. ``scored``
    is the folder of a run with this detector that scored the film, so that it need not be aligned and scored again.
    ``models`` keeps what is loaded and the films that were prepared, for further calls. Raises EngineError for a film
    that cannot be read, a patch without a score, and a folder without a detector, its alignment or its list of films.
    """
    models = ModelCache() if models is None else models
    detector = _load_detector(model, models)
    config = detector.config
    determinism.fix(threads=config.threads)
    manifest_path = model / "images.csv"
    sources = models.keep(("manifest", identity_of(manifest_path)), lambda: manifest.read(manifest_path))
    kind = KINDS[config.detector]
    if kind.compares_with:
        raise EngineError(
            f"The detector is {kind.words}: it compares a patch with {kind.compares_with}, so there are no patches or "
            "films to list."
        )
    explained = _ExplainedFilm(
        FilmPipeline(model, detector, device=device, models=models),
        film,
        detector_path=model / DETECTOR,
        scored=None if scored is None else _ScoredFilm.of(scored, film, model / DETECTOR, models),
    )
    row, column = patch or _highest_patch(explained.maps, detector)
    if not (0 <= row < config.patches and 0 <= column < config.patches):
        raise EngineError(f"patch is {row},{column}: rows and columns go from 0 to {config.patches - 1}.")
    if not detector.mask.keep[row, column]:
        raise EngineError(f"patch {row},{column} lies outside the hard mask and has no score: choose another patch.")
    step, original = config.stride, explained.original_from_canonical
    x, y = (
        original[:, :2] @ original.new_tensor([(column + 0.5) * step, (row + 0.5) * step]) + original[:, 2]
    ).tolist()
    scores, nearest = _compared(explained, row, column, neighbours=neighbours, sources=sources)
    if images is not None:
        nearest = _with_alignments(nearest, explained.films, images, model, sources)
    return Explanation(
        row=row,
        column=column,
        global_score=scores[0],
        region_score=scores[1],
        centre_original_px=(x, y),
        nearest=tuple(nearest),
        notice=weights.RANDOM_NOTICE if detector.weights["name"] == weights.RANDOM else "",
    )


@dataclass(frozen=True)
class _ScoredFilm:
    """What a scoring run left of a film: ``input_from_canonical`` (2, 3) and, unless its banks had grown, the raw
    ``maps`` (2, h, w)."""

    input_from_canonical: NDArray[np.float64]
    maps: fusion.Maps | None

    @classmethod
    def of(cls, scored: Path, film: Path, detector: Path, models: ModelCache) -> _ScoredFilm | None:
        """None where the run was of another detector or did not read the film, or its stages are gone."""
        own = scored / "inputs" / DETECTOR
        if not own.is_file() or models.sha256_of(own) != models.sha256_of(detector):
            return None
        rows = models.keep(("row", identity_of(scored / "images.csv")), lambda: _rows_of(scored))
        placements = scored / "stages" / "input_from_canonical.npy"
        row = rows.get(str(film))
        if row is None or not placements.is_file():
            return None
        placed = files.open_npy(placements)[row]
        maps = ScoredFolder(scored).maps_of(row)
        if not np.isfinite(placed).all() or not np.isfinite(maps).any():
            return None
        has_grown = (scored / "stages" / "grown.safetensors").is_file()
        return cls(np.array(placed), None if has_grown else np.array(maps))


def _rows_of(scored: Path) -> dict[str, int]:
    return {str(scored / row.filename): k for k, row in enumerate(manifest.read(scored / "images.csv"))}


class _ExplainedFilm:
    """A film as its detector sees it: ``original_from_canonical``, and the features of the unmasked patches. Kept by
    the pipeline's models, so that another patch of the film is compared at once."""

    def __init__(self, films: FilmPipeline, path: Path, *, detector_path: Path, scored: _ScoredFilm | None) -> None:
        self.films, self.detector, self.models = films, films.detector, films.models
        self._detector_path, self._scored = detector_path, scored
        self._key = (identity_of(path), str(path), identity_of(detector_path), str(films.device))
        placed = None if scored is None else torch.from_numpy(scored.input_from_canonical)
        canonical, self.original_from_canonical = self.models.keep(
            ("film", *self._key), lambda: films.canonical(path, placed=placed)
        )
        self.features: Tensor = self.models.keep(
            ("features", *self._key), lambda: films.extractor.patches(canonical, films.places)[0]
        )

    @property
    def scorer(self) -> Scorer:
        return self.models.scorer(self._detector_path, self.detector, self.films.device)

    @property
    def maps(self) -> fusion.Maps:
        if self._scored is not None and self._scored.maps is not None:
            return self._scored.maps
        maps: fusion.Maps = self.models.keep(("maps", *self._key), lambda: self.scorer.maps(self.features))
        return maps

    def feature_at(self, row: int, column: int) -> Tensor:
        """The feature (D,) of an unmasked patch."""
        places = self.films.places
        return self.features[(places == places.new_tensor([row, column])).all(1)][0]


def _compared(
    film: _ExplainedFilm, row: int, column: int, *, neighbours: int, sources: list[manifest.ManifestRow]
) -> tuple[tuple[float, float], list[Neighbour]]:
    """The global and the region score of an unmasked patch, as in the maps, and its nearest bank vectors; for a
    baseline that compares whole films, the nearest films."""
    config, model = film.detector.config, film.detector.model
    if not isinstance(model, Banks):
        assert isinstance(film.scorer, NearestFilmsScorer)
        nearest = _nearest_films(film.detector, film.scorer, film.features, neighbours, sources)
        return (float(film.maps[0, row, column]), float(film.maps[1, row, column])), nearest
    place = film.films.places.new_tensor([[row, column]])
    region = model.cells[int(cell_of(place, patches=config.patches, grid=config.grid)[0])]
    assert region is not None  # a cell with an unmasked patch has a bank
    query = film.feature_at(row, column)
    scores, nearest = [], []
    for channel, (name, bank) in enumerate((("global", model.whole), ("region", region))):
        squared, rows = nearest_directly(query, bank.vectors, max(neighbours, config.neighbours))
        if config.reweight:  # depends on other vectors of the bank
            scores.append(float(film.maps[channel, row, column]))
        else:
            closest = squared[: config.neighbours]
            scores.append(float((closest if config.distance == "squared" else closest.sqrt()).mean()))
        nearest += _named(name, bank, squared[:neighbours], rows[:neighbours], sources)
    return (scores[0], scores[1]), nearest


def _with_alignments(
    nearest: list[Neighbour], films: FilmPipeline, images: Path, model: Path, sources: list[manifest.ManifestRow]
) -> list[Neighbour]:
    """The neighbours with the alignments of their films, None for a film that cannot be read from ``images``."""
    placements = films.models.keep(
        ("placements", identity_of(model / DETECTOR), str(model)), lambda: _placements(model, len(sources))
    )
    row_of = {source.filename: row for row, source in enumerate(sources)}
    alignments: dict[str, tuple[tuple[float, ...], ...] | None] = {}
    for name in dict.fromkeys(neighbour.filename for neighbour in nearest):
        stored = None if placements is None else placements[row_of[name]]
        try:
            if stored is not None and np.isfinite(stored).all() and (images / name).is_file():
                alignments[name] = tuple(map(tuple, stored.tolist()))
            else:
                alignments[name] = tuple(map(tuple, films.canonical(images / name)[1].tolist()))
        except (EngineError, OSError):
            alignments[name] = None
    return [replace(each, original_from_canonical=alignments[each.filename]) for each in nearest]


def _placements(model: Path, films: int) -> NDArray[np.float64] | None:
    """original_from_canonical (N, 2, 3) of the detector's films as its fit aligned them; None where the fit's stages
    are not in the folder."""
    stages = model / "stages"
    try:
        parts = [files.read_npy(stages / f"{name}.npy") for name in ("original_from_input", "input_from_canonical")]
    except (OSError, ValueError):
        return None
    if any(part.shape != (films, 2, 3) for part in parts):
        return None
    placed: NDArray[np.float64] = compose(*parts).numpy()
    return placed


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


def _load_detector(model: Path, models: ModelCache) -> FittedDetector:
    if not (model / DETECTOR).is_file():
        raise EngineError(f"{model} holds no detector.safetensors: name the folder of a detector fit with --model.")
    return models.detector(model / DETECTOR)


def _highest_patch(maps: fusion.Maps, detector: FittedDetector) -> tuple[int, int]:
    calibrated = detector.calibration
    values = fusion.standardised(maps[None], calibrated.mean, calibrated.std)
    fused = fusion.fuse(values, detector.choice.weight)[0]
    row, column = np.unravel_index(np.nanargmax(fused), fused.shape)
    return int(row), int(column)


def _named(
    name: str, bank: Bank, squared: Tensor, rows: Tensor, sources: list[manifest.ManifestRow]
) -> list[Neighbour]:
    """Bank vectors by their rows, nearest first, with the films that they were taken from."""
    nearest = []
    for rank, (distance, vector) in enumerate(zip(squared.sqrt().tolist(), rows.tolist(), strict=True), start=1):
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
