"""A run's films read again at their original size, to be changed there and scored like the run's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.film.canonical_films import canonical_batches
from ml_engine.core.film.preprocess import FilmArray
from ml_engine.core.score.fusion import Maps
from ml_engine.engine import decode_films
from ml_engine.engine.stages.run_context import RunContext


def decode(context: RunContext, row: int) -> FilmArray:
    """The film at ``row``. Raises UnreadableImage."""
    film = context.rows[row]
    return decode_films.decode_film(context.images / film.filename, sha256=film.sha256)


def raw_maps(
    context: RunContext, scorer: Any, inputs: NDArray[np.float32], affines: NDArray[np.float64]
) -> Iterator[Maps]:
    """Yields the raw maps (2, h, w) of prepared films (N, S, S) with their input_from_canonical (N, 2, 3). ``scorer``
    is of `detectors.scorer_of`."""
    rows = np.arange(len(inputs))
    for _, batch in canonical_batches(inputs, affines, rows=rows, batch=context.config.batch):
        yield from scorer.film_maps(context.extractor.patches(batch, scorer.places))
