"""The hard mask over patches (paper, section 3.3, Fig. 11)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError


@dataclass(frozen=True)
class HardMask:
    """``keep`` (h, w) bool, True where a patch is scored; ``threshold`` on the 8-bit scale."""

    keep: NDArray[np.bool_]
    threshold: float

    @property
    def share(self) -> float:
        return float(self.keep.mean())


def hard_mask(mean_film: NDArray[np.floating], config: PipelineConfig) -> HardMask:
    """The patches of the mean aligned film that are bright enough; all of them without ``config.mask``.

    ``mean_film`` (S, S) in [0, 1], black outside the films. A pixel counts when it is above the threshold
    on the 8-bit scale; a patch is kept when at least ``mask_coverage`` of its pixels count [o]. With
    ``mask_keep`` the threshold is the one that keeps this share of the patches, or the nearest share that
    equal patches allow. Raises EngineError where the share kept is outside mask_least to mask_most, and where the
    mean film is not finite everywhere, with ``config.mask`` or without.
    """
    cells = config.patches
    wrong = int((~np.isfinite(mean_film)).sum())
    if wrong:
        raise EngineError(
            f"The fit films have values that are not finite numbers (NaN or infinite), in {wrong} pixels of their "
            "mean: leave those films out, or export them again."
        )
    if not config.mask:
        return HardMask(np.ones((cells, cells), dtype=np.bool_), 0.0)
    limits = patch_limits(mean_film, stride=config.stride, coverage=config.mask_coverage)
    threshold = config.mask_threshold if config.mask_keep is None else _threshold_keeping(limits, config.mask_keep)
    mask = HardMask(limits > threshold, threshold)
    if not mask.keep.any():
        raise EngineError(
            f"The hard mask keeps no patch: the mean film is nowhere above {threshold:.3g} on the 8-bit scale (its "
            f"brightest patch reaches {limits.max():.3g}). Films this dark were most often aligned out of the frame: "
            "look at the alignment, lower mask.threshold, or switch the mask off."
        )
    if not config.mask_least <= mask.share <= config.mask_most:
        raise EngineError(
            f"The hard mask keeps {mask.share:.0%} of the patches; {config.mask_least:.0%} to "
            f"{config.mask_most:.0%} is allowed (mask.least, mask.most). Change mask.keep or mask.threshold, or switch "
            "the mask off."
        )
    return mask


def patch_limits(mean_film: NDArray[np.floating], *, stride: int, coverage: float) -> NDArray[np.float64]:
    """For each patch the threshold below which it is kept, float64 (h, w), on the 8-bit scale.

    At least ``coverage`` of a patch's pixels lie above a threshold exactly when its k-th brightest pixel
    does, k being that share of the pixels, rounded up.
    """
    cells = mean_film.shape[0] // stride
    pixels = mean_film.astype(np.float64).reshape(cells, stride, cells, stride) * 255
    patches = pixels.transpose(0, 2, 1, 3).reshape(cells, cells, stride * stride)  # (h, w, s*s)
    kth = max(1, math.ceil(coverage * stride * stride - 1e-9))
    return np.sort(patches, axis=-1)[..., -kth]


def _threshold_keeping(limits: NDArray[np.float64], keep: float) -> float:
    """The threshold, midway between two patches' limits, that keeps the share nearest to ``keep``."""
    levels = np.unique(limits)
    candidates = np.concatenate([[levels[0] - 1], (levels[1:] + levels[:-1]) / 2])
    shares = np.array([(limits > level).mean() for level in candidates])
    return float(candidates[np.argmin(np.abs(shares - keep))])
