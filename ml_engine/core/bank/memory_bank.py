"""The global memory bank and one bank per cell of the region grid (paper, section 3.2, Fig. 10)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.backbone.feature_file import Features, rows_at
from ml_engine.core.bank import coreset
from ml_engine.core.bank.covering_radius import Rows, counts_of, covering_radius
from ml_engine.core.bank.nearest_search import NearestSearch, scores_at
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EmptyBank, IncompatibleModel

GATHERED_VALUES = 2**23  # of features gathered in memory for a bank: 32 MiB in float32
SHARED_BYTES = 2**27  # of integers that the banks of all folds are selected from

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """The films and patches that the rows of a feature matrix (F * P, D) belong to.

    Rows f * P to (f + 1) * P are those of film f; among them, row p is the patch ``places[p]``. ``places`` int64 (P, 2)
    are the row and column of each patch; ``films`` int64 (F,) is each film's row in the manifest.
    """

    places: Tensor
    films: Tensor


@dataclass(frozen=True)
class Bank:
    """``vectors`` float32 (M, D) in the order picked; ``provenance`` int32 (M, 3), the film's row in the manifest and
    the patch's row and column; ``radius`` float64 (M,), the covering radius after each number of picks, NaN where it
    was not computed, empty if unknown."""

    vectors: Tensor
    provenance: Tensor
    radius: NDArray[np.float64]


@dataclass(frozen=True)
class Banks:
    """``whole`` is the global bank; ``cells[k]`` the bank of cell k of the region grid, row by row, None where it is
    wholly masked."""

    whole: Bank
    cells: tuple[Bank | None, ...]


def places_of(keep: NDArray[np.bool_]) -> Tensor:
    """The row and column of the patches that a mask bool (h, w) keeps, int64 (P, 2), row by row."""
    return torch.nonzero(torch.from_numpy(np.ascontiguousarray(keep)))


def cell_of(places: Tensor, *, patches: int, grid: int) -> Tensor:
    """The region grid cell of each place (P, 2), int64 (P,).

    Row r lies in band r * grid // patches of cells, and columns likewise. With 28 patches a side and n = 4, as in the
    paper, the grid has 4 x 4 cells of 7 x 7 patches.
    """
    bands = places * grid // patches
    return bands[:, 0] * grid + bands[:, 1]


def is_near_cell(places: Tensor, cell: int, *, patches: int, grid: int, halo: int) -> Tensor:
    """True for the places (P, 2) in the cell or at most ``halo`` patches away from it, diagonally too; bool (P,)."""
    bands = torch.tensor([cell // grid, cell % grid])
    first = -(-bands * patches // grid) - halo
    end = -(-(bands + 1) * patches // grid) + halo
    return ((places >= first) & (places < end)).all(1)


def bank_size(patches: int, rate: float, *, most: int = 0) -> int:
    """The number of vectors in a bank: the share ``rate`` of the patches, rounded up, at least one, and at most
    ``most`` unless that is 0."""
    size = max(1, math.ceil(rate * patches - 1e-9))
    return min(size, most) if most else size


def build(
    features: Features,
    source: Source,
    config: PipelineConfig,
    *,
    films: Tensor | None = None,
    with_radius: bool = True,
    grid: Tensor | None = None,
    progress: Progress | None = None,
) -> Banks:
    """The global bank and the bank of each cell, selected from the patches of the cell and its halo.

    ``features`` (F * P, D) are arranged as in `Source`, and may have rows of further films after these; ``films`` int64
    restricts the selection to these of the F films; ``grid`` is a `shared_grid` of them. The same rate s applies to
    every bank (our choice; the paper gives a single s). Raises EmptyBank where no patch or film is left.
    """
    per_film = len(source.places)
    chosen = torch.arange(len(source.films)) if films is None else films
    if per_film == 0 or len(chosen) == 0:
        raise EmptyBank("No patch is left for a memory bank: check the hard mask and the fit part.")
    jobs = [torch.arange(per_film)] + [places_near(source.places, k, config) for k in range(config.grid**2)]
    banks: list[Bank | None] = []
    for done, inside in enumerate(jobs):
        rows = (chosen[:, None] * per_film + inside).reshape(-1)
        banks.append(_select(features, rows, source, config, with_radius, shared=grid) if len(rows) else None)
        if progress:
            progress(done + 1, len(jobs))
    assert banks[0] is not None
    return Banks(banks[0], tuple(banks[1:]))


def shared_grid(features: Features, source: Source) -> Tensor | None:
    """The features (F * P, D) as integers int16, from which `build` selects many banks, each of a part of the films,
    without reading the features again for each bank; None where they take more than 128 MiB.

    Banks that are selected without it have integers of their own, scaled to their own patches: picks may differ where
    two patches are almost equally far.
    """
    rows = len(source.films) * len(source.places)
    if not 0 < 2 * rows * features.shape[1] <= SHARED_BYTES:
        return None
    return coreset.integer_grid(Rows(features, None if rows == len(features) else torch.arange(rows)))


def at_rate(banks: Banks, places: Tensor, config: PipelineConfig, *, rate: float, films: int) -> Banks:
    """The banks that ``config`` with a smaller ``rate`` would select from the same ``films`` films.

    They are a prefix of each bank, as long as both rates lie on the same side of ``coreset_exact_limit``.
    """

    def shortened(bank: Bank, patches: int) -> Bank:
        count = bank_size(films * patches, rate, most=config.bank_most)
        return Bank(bank.vectors[:count], bank.provenance[:count], bank.radius[:count])

    cells = tuple(
        None if bank is None else shortened(bank, len(places_near(places, k, config)))
        for k, bank in enumerate(banks.cells)
    )
    return Banks(shortened(banks.whole, len(places)), cells)


def places_near(places: Tensor, cell: int, config: PipelineConfig) -> Tensor:
    """Indices of the places that a cell's bank is selected from, int64; empty where the whole cell is masked."""
    shape = {"patches": config.patches, "grid": config.grid}
    if not bool((cell_of(places, **shape) == cell).any()):
        return torch.empty(0, dtype=torch.int64)
    return torch.nonzero(is_near_cell(places, cell, **shape, halo=config.halo))[:, 0]


def _select(
    features: Features,
    rows: Tensor,
    source: Source,
    config: PipelineConfig,
    with_radius: bool,
    *,
    shared: Tensor | None,
) -> Bank:
    """A bank from some rows of the features."""
    count = bank_size(len(rows), config.rate, most=config.bank_most)
    start = 0
    if config.coreset_start == "seeded":
        start = int(torch.randint(len(rows), (1,), generator=torch.Generator().manual_seed(config.seed)))
    some, points = _points(features, rows) if shared is None else (rows, features)
    grid = coreset.selection_grid(
        points,
        count,
        rows=some,
        seed=config.seed,
        dimensions=config.coreset_dimensions,
        exact_limit=config.coreset_exact_limit,
        shared=shared,
    )
    rates = (*config.tried("rate"), config.rate) if with_radius else ()
    sizes = {bank_size(len(rows), rate, most=config.bank_most) for rate in rates}
    counts = {k for size in sizes for k in counts_of(size) if k <= count}
    picks, nearest = coreset.selection(grid, count, start=start, counts=counts)
    del grid
    radius = covering_radius(points, picks, rows=some, nearest=nearest) if with_radius else np.full(count, np.nan)
    taken = rows[picks]
    per_film = len(source.places)
    films, places = source.films[taken // per_film], source.places[taken % per_film]
    return Bank(features[taken].cpu().clone(), torch.cat([films[:, None], places], 1).int(), radius)


def _points(features: Features, rows: Tensor) -> tuple[Tensor | None, Features]:
    """What a bank is selected from: the features at the rows, in memory if they are few, since a selection reads them
    several times; otherwise the rows, which are then read from all features."""
    if len(rows) == len(features):
        return None, features
    if len(rows) * features.shape[1] <= GATHERED_VALUES:
        return None, rows_at(features, rows)
    return rows, features


def to_tensors(banks: Banks) -> dict[str, Tensor]:
    """The banks as named tensors. The cells' vectors are concatenated; ``region.sizes`` int64 (cells,) counts them."""
    cells = [bank for bank in banks.cells if bank is not None]
    sizes = [0 if bank is None else len(bank.vectors) for bank in banks.cells]
    return {
        "global.vectors": banks.whole.vectors,
        "global.provenance": banks.whole.provenance,
        "global.radius": torch.from_numpy(banks.whole.radius),
        "region.vectors": torch.cat([bank.vectors for bank in cells]),
        "region.provenance": torch.cat([bank.provenance for bank in cells]),
        "region.radius": torch.from_numpy(np.concatenate([bank.radius for bank in cells])),
        "region.sizes": torch.tensor(sizes, dtype=torch.int64),
    }


def from_tensors(tensors: dict[str, Tensor]) -> Banks:
    """The inverse of `to_tensors`. Raises IncompatibleModel where tensors are missing or do not fit together."""
    try:
        sizes = tensors["region.sizes"].tolist()
        whole, *_ = (_bank(tensors, "global", slice(None)),)
        ends = np.cumsum([0, *sizes]).tolist()
        if ends[-1] != len(tensors["region.vectors"]):
            raise IncompatibleModel(
                "The region banks of the detector file do not have the sizes it states: fit the detector again."
            )
        spans = [slice(a, b) for a, b in pairwise(ends)]
        return Banks(whole, tuple(_bank(tensors, "region", s) if s.stop > s.start else None for s in spans))
    except KeyError as missing:
        raise IncompatibleModel(f"The detector file has no {missing.args[0]}: fit the detector again.") from None


def _bank(tensors: dict[str, Tensor], name: str, span: slice) -> Bank:
    return Bank(
        tensors[f"{name}.vectors"][span],
        tensors[f"{name}.provenance"][span],
        tensors[f"{name}.radius"][span].numpy(),
    )


class MapScorer:
    """Computes a film's two unfused maps from its patch features."""

    def __init__(self, banks: Banks, keep: NDArray[np.bool_], config: PipelineConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.places = places_of(keep)
        self.whole = NearestSearch(banks.whole.vectors.to(device), search=config.search)
        cells = cell_of(self.places, patches=config.patches, grid=config.grid)
        self.cells = [
            (torch.nonzero(cells == k)[:, 0], NearestSearch(bank.vectors.to(device), search=config.search))
            for k, bank in enumerate(banks.cells)
            if bank is not None
        ]

    def maps(self, features: Tensor) -> NDArray[np.float32]:
        """Raw maps float32 (2, h, w) of one film from its features float32 (P, D): channel 0 global, channel 1 region;
        NaN where masked. The score of a patch is that of `nearest_search.patch_scores` (paper, Eq. 1)."""
        maps: NDArray[np.float32] = self.film_maps(features[None])[0]
        return maps

    def film_maps(self, films: Tensor) -> NDArray[np.float32]:
        """`maps` of several films (B, P, D), float32 (B, 2, h, w), the same as of each alone and faster."""
        maps: NDArray[np.float32] = self.maps_at(films, (self.config.neighbours,))[0]
        return maps

    def maps_at(self, films: Tensor, neighbours: Sequence[int]) -> NDArray[np.float32]:
        """The same for several K at once, float32 (len(neighbours), B, 2, h, w)."""
        side = self.config.patches
        maps = torch.full((len(neighbours), len(films), 2, side, side), math.nan)
        rows, columns = self.places[:, 0], self.places[:, 1]
        queries = films.to(self.device)
        maps[:, :, 0, rows, columns] = self._scores(queries, self.whole, neighbours)
        for inside, search in self.cells:
            maps[:, :, 1, rows[inside], columns[inside]] = self._scores(queries[:, inside], search, neighbours)
        return maps.numpy()

    def _scores(self, queries: Tensor, search: NearestSearch, neighbours: Sequence[int]) -> Tensor:
        """The scores of patches (B, P, D), (len(neighbours), B, P)."""
        config, flat = self.config, queries.flatten(0, 1)
        scores = scores_at(flat, search, neighbours=neighbours, distance=config.distance, reweight=config.reweight)
        return scores.view(-1, *queries.shape[:2]).cpu()
