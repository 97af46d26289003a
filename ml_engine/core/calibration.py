"""What normal films score: per position, per film, and with which threshold."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.errors import EngineError
from ml_engine.core.fusion import Maps

LEAST_FILMS = 2
STD_FLOOR = 1e-3  # of the channel's median spread, for a position where all normals score the same


def standardisation(maps: Maps) -> tuple[Maps, Maps]:
    """Mean and standard deviation of normal films' maps (N, 2, h, w), each float32 (2, h, w).

    The deviation divides by N - 1 and is never below a thousandth of its channel's median. NaN where
    masked. Raises EngineError for fewer than two films.
    """
    if len(maps) < LEAST_FILMS:
        raise too_few(len(maps), "calibrate")
    values = maps.astype(np.float64)
    mean = values.mean(axis=0)
    std = values.std(axis=0, ddof=1)
    for channel in std:
        seen = channel[~np.isnan(channel)]
        middle = float(np.median(seen)) if seen.size else 0.0
        np.maximum(channel, middle * STD_FLOOR if middle > 0 else 1.0, out=channel, where=~np.isnan(channel))
    return mean.astype(np.float32), std.astype(np.float32)


def too_few(count: int, part: str) -> EngineError:
    unit = "films" if part == "calibrate" else "patients"
    return EngineError(
        f"Standardising the maps needs at least {LEAST_FILMS} {unit} in the {part} part, and it has {count}: "
        "add films of more patients, or set standardise=no."
    )


def patch_threshold(fused: NDArray[np.float64], percentile: float) -> float:
    """The percentile (0-100) of all scored patches of normal films' fused maps (N, h, w) [o]; NaN without any."""
    seen = fused[~np.isnan(fused)]
    return float(np.percentile(seen, percentile)) if seen.size else float("nan")


def patient_folds(patients: list[str], *, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each film, int64 (N,) in [0, folds): all films of a patient in one, sizes alike.

    Patients are dealt in an order drawn by the seed, largest first. At most as many folds as patients.
    """
    names = sorted(set(patients))
    order = np.random.default_rng(seed).permutation(len(names))
    counts = Counter(patients)
    dealt = sorted((names[k] for k in order), key=lambda name: -counts[name])
    sizes = [0] * max(1, min(folds, len(names)))
    fold_of: dict[str, int] = {}
    for name in dealt:
        smallest = sizes.index(min(sizes))
        fold_of[name] = smallest
        sizes[smallest] += counts[name]
    return np.array([fold_of[name] for name in patients], dtype=np.int64)
