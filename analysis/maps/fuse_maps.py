"""A film's two maps as one, as its run's detector fuses them: pure, arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.score import fusion


def fused_map(
    maps: NDArray[np.floating], facts: Mapping[str, Any], *, weight: float | None = None
) -> NDArray[np.float64]:
    """(h, w), NaN where masked, of a film's raw maps (2, h, w), global and region, standardised where the run is.

    ``facts`` are those of score.json: ``standardisation`` with one number a map or one a patch, None where masked, and
    ``fusion_weight``, which ``weight`` replaces.
    """
    standard = facts["standardisation"] or {"mean": None, "std": None}
    mean, std = (_by_patch(standard[name]) for name in ("mean", "std"))
    at = facts["fusion_weight"] if weight is None else weight
    return fusion.fuse(fusion.standardised(np.asarray(maps)[None], mean, std), at)[0]


def _by_patch(values: Any) -> NDArray[np.float32] | None:
    """(2, h, w), or (2, 1, 1) where one number holds for a whole map."""
    if values is None:
        return None
    found = np.asarray(values, dtype=np.float32)
    return found.reshape(found.shape + (1,) * (3 - found.ndim))
