"""Memory banks changed without the features they were selected from; such detectors are marked approximate."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ml_engine.core.bank import coreset, memory_bank
from ml_engine.core.bank.memory_bank import Bank, Banks, Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EmptyBank

GROWN = "approximate: the banks were extended without the films they came from, and not calibrated again"
NO_RADIUS = np.zeros(0)  # the covering radius cannot be computed without the features of all films


def add_note(note: str, addition: str) -> str:
    """The note of a detector with an addition, unless it is there already: a detector can be changed repeatedly."""
    return note if addition in note else "; ".join(filter(None, (note, addition)))


def extend(banks: Banks, features: Tensor, source: Source, config: PipelineConfig, *, films_before: int) -> Banks:
    """The banks extended with vectors of new films.

    The greedy k-centre continues from the existing vectors, over these and the patches of the new films, up to the
    share ``rate`` of the patches of all films. ``features`` float32 (F * P, D) are those of the new films, arranged as
    in `Source`; ``films_before`` is the number of films from which the banks were selected. A new fit would also
    select from the other patches of the old films, and would omit old vectors that new ones make redundant. The
    extended banks have no covering radius.
    """
    everywhere = torch.arange(len(source.places))

    def extend_bank(bank: Bank, inside: Tensor) -> Bank:
        return _extended(bank, features, source, config, inside=inside, films_before=films_before)

    cells = tuple(
        None if bank is None else extend_bank(bank, memory_bank.places_near(source.places, k, config))
        for k, bank in enumerate(banks.cells)
    )
    return Banks(extend_bank(banks.whole, everywhere), cells)


def _extended(
    bank: Bank, features: Tensor, source: Source, config: PipelineConfig, *, inside: Tensor, films_before: int
) -> Bank:
    per_film, films, old = len(source.places), len(source.films), len(bank.vectors)
    rows = (torch.arange(films)[:, None] * per_film + inside).reshape(-1)
    patches = (films_before + films) * len(inside)
    wanted = memory_bank.bank_size(patches, config.rate, most=config.bank_most)
    pool = torch.cat([bank.vectors.to(features.device), features[rows]])
    count = max(old, min(wanted, len(pool)))
    grid = coreset.selection_grid(
        pool,
        count,
        seed=config.seed,
        dimensions=config.coreset_dimensions,
        exact_limit=config.coreset_exact_limit,
    )
    picks = coreset.greedy(grid, count, picked=old)[old:] - old  # indices among the new patches
    taken = rows[picks]
    origin = torch.cat([source.films[taken // per_film][:, None], source.places[taken % per_film]], 1).int()
    vectors = torch.cat([bank.vectors, features[taken].cpu()])
    return Bank(vectors, torch.cat([bank.provenance, origin]), NO_RADIUS)


def remove_films(banks: Banks, new_row: Tensor) -> Banks:
    """The banks without the vectors of some films.

    ``new_row`` int64 has an entry for each row of the manifest: -1 for a film to be removed, otherwise the film's new
    row, which replaces the old one in the provenance. A new fit would select other vectors in place of the removed
    ones; here, what only they covered now scores high. Raises EmptyBank where a bank would lose its last vector. The
    remaining banks have no covering radius.
    """
    cells = tuple(None if bank is None else _without(bank, new_row) for bank in banks.cells)
    return Banks(_without(banks.whole, new_row), cells)


def _without(bank: Bank, new_row: Tensor) -> Bank:
    row = new_row[bank.provenance[:, 0].long()]
    stay = row >= 0
    if not bool(stay.any()):
        raise EmptyBank(
            "All vectors of a memory bank come from that patient, so it would be empty: fit a new detector on "
            "the other films."
        )
    provenance = torch.cat([row[stay][:, None].int(), bank.provenance[stay][:, 1:]], 1)
    return Bank(bank.vectors[stay].clone(), provenance, NO_RADIUS)
