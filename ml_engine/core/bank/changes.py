"""Banks changed without the features that they were chosen from: approximations, and said to be (`approximating`)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ml_engine.core.bank import coreset, memory_bank
from ml_engine.core.bank.memory_bank import Bank, Banks, Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EmptyBank

GROWN = "approximate: the banks were extended without the films they came from, and not calibrated again"
NO_RADIUS = np.zeros(0)  # the covering radius is that of films that are no longer there


def noted(note: str, more: str) -> str:
    """A detector's note with another one; a detector may be changed more than once."""
    return note if more in note else "; ".join(filter(None, (note, more)))


def extended(banks: Banks, features: Tensor, source: Source, config: PipelineConfig, *, films_before: int) -> Banks:
    """The banks with vectors of new films: the greedy k-centre goes on from the vectors that are there, over those
    and the new films' patches, up to the share ``rate`` of all films' patches.

    ``features`` (F * P, D) float32 of the new films as `Source` says; ``films_before`` how many films the banks were
    chosen from. A fresh fit would choose among the old films' other patches too, and would drop old vectors that new
    ones make superfluous. The banks have no covering radius.
    """
    everywhere = torch.arange(len(source.places))

    def grown(bank: Bank, inside: Tensor) -> Bank:
        return _extended(bank, features, source, config, inside=inside, films_before=films_before)

    cells = tuple(
        None if bank is None else grown(bank, memory_bank.near(source.places, k, config))
        for k, bank in enumerate(banks.cells)
    )
    return Banks(grown(banks.whole, everywhere), cells)


def _extended(
    bank: Bank, features: Tensor, source: Source, config: PipelineConfig, *, inside: Tensor, films_before: int
) -> Bank:
    per_film, films, old = len(source.places), len(source.films), len(bank.vectors)
    rows = (torch.arange(films)[:, None] * per_film + inside).reshape(-1)
    wanted = memory_bank.bank_size((films_before + films) * len(inside), config.rate)
    pool = torch.cat([bank.vectors.to(features.device), features[rows]])
    count = max(old, min(wanted, len(pool)))
    grid = coreset.selection_grid(
        pool,
        count,
        seed=config.seed,
        dimensions=config.coreset_dimensions,
        exact_limit=config.coreset_exact_limit,
    )
    picks = coreset.greedy(grid, count, picked=old)[old:] - old  # within the new patches
    taken = rows[picks]
    origin = torch.cat([source.films[taken // per_film][:, None], source.places[taken % per_film]], 1).int()
    vectors = torch.cat([bank.vectors, features[taken].cpu()])
    return Bank(vectors, torch.cat([bank.provenance, origin]), NO_RADIUS)


def without_films(banks: Banks, new_row: Tensor) -> Banks:
    """The banks without the vectors of the films whose ``new_row`` (manifest rows,) int64 is -1; the others' films
    take the manifest row that it gives them.

    A fresh fit would choose other vectors in place of those that go: what only they covered now scores high. Raises
    EmptyBank where a bank loses its last vector. The banks have no covering radius.
    """
    cells = tuple(None if bank is None else _without(bank, new_row) for bank in banks.cells)
    return Banks(_without(banks.whole, new_row), cells)


def _without(bank: Bank, new_row: Tensor) -> Bank:
    row = new_row[bank.provenance[:, 0].long()]
    stay = row >= 0
    if not bool(stay.any()):
        raise EmptyBank(
            "A memory bank holds vectors of that patient alone, and none would be left: fit anew on the other films."
        )
    provenance = torch.cat([row[stay][:, None].int(), bank.provenance[stay][:, 1:]], 1)
    return Bank(bank.vectors[stay].clone(), provenance, NO_RADIUS)
