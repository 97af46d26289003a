"""Affines that a person gave films on the alignment board, in place of the fitted ones: inputs/hand_affines.json.

    {"format": 1, "canonical_size": 224, "films": {"IMAGE": [[a, b, c], [d, e, f]], ...}}

An affine is `original_from_canonical`, float64, in pixels of a canonical frame of the side ``canonical_size``. JSON
holds the shortest text that reads back as the same number, so that affines.npy of the run has the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.errors import EngineError

FORMAT = 1
Affine = Sequence[Sequence[float]]


def text_of(films: Mapping[str, Affine], *, canonical_size: int) -> str:
    """The content of hand_affines.json; the same films give the same text."""
    values = {name: [[float(x) for x in row] for row in films[name]] for name in sorted(films)}
    return json.dumps({"format": FORMAT, "canonical_size": canonical_size, "films": values}, allow_nan=False)


def read(path: Path, *, size: int) -> dict[str, NDArray[np.float64]]:
    """Image id -> original_from_canonical (2, 3) in pixels of a canonical frame of the side ``size``.

    Raises EngineError for a file that is not of this format.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        side, films = float(values["canonical_size"]), dict(values["films"])
        affines = {str(name): np.array(affine, dtype=np.float64) for name, affine in films.items()}
    except (OSError, ValueError, TypeError, KeyError):
        raise EngineError(f"{path.name} holds no hand-made affines that can be read: request the run again.") from None
    if values.get("format") != FORMAT or side <= 0:
        raise EngineError(f"{path.name} has format {values.get('format')!r}; this version reads format {FORMAT}.")
    for name, affine in affines.items():
        if affine.shape != (2, 3) or not np.isfinite(affine).all():
            raise EngineError(f"{path.name} has no affine of 2 x 3 numbers for the film {name}: request the run again.")
    if side != size:
        for affine in affines.values():
            affine[:, :2] *= side / size
    return affines
