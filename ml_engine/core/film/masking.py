"""The hard mask over patches (Kim & Chun 2024, section 3.3, Fig. 11)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError


@dataclass(frozen=True)
class HardMask:
    """``keep`` bool (h, w), True where a patch is scored; ``threshold`` on the 8-bit scale (0 to 255)."""

    keep: NDArray[np.bool_]
    threshold: float

    @property
    def share(self) -> float:
        """The share of patches kept, in [0, 1]."""
        return float(self.keep.mean())


def hard_mask(mean_film: NDArray[np.floating], config: PipelineConfig) -> HardMask:
    """The mask of the patches that are bright enough in the mean aligned film; of all patches without ``config.mask``.

    ``mean_film`` is float (S, S) in [0, 1], S = ``config.size``, 0 outside the films. A pixel counts when it is above
    the threshold on the 8-bit scale (the paper's is 10); a patch is kept when at least the share ``mask_coverage`` of
    its pixels counts (our choice; the paper does not say how pixels become patches). With ``mask_keep`` the threshold
    is the one that keeps this share of the patches, or the nearest share possible where patches are equal; the paper
    keeps 620 of 784. Raises EngineError where the share kept lies outside mask_least to mask_most, where no patch is
    left, and, even without ``config.mask``, where a value of the mean film is not finite.
    """
    side = config.patches
    not_finite = int((~np.isfinite(mean_film)).sum())
    if not_finite:
        raise EngineError(
            f"The fit films have values that are not finite numbers (NaN or infinite), in {not_finite} pixels "
            "of their mean: leave those films out, or export them again."
        )
    if not config.mask:
        return HardMask(np.ones((side, side), dtype=np.bool_), 0.0)
    limits = patch_limits(mean_film, stride=config.stride, coverage=config.mask_coverage)
    threshold = config.mask_threshold if config.mask_keep is None else _threshold_keeping(limits, config.mask_keep)
    mask = HardMask(limits > threshold, threshold)
    if not mask.keep.any():
        raise EngineError(
            f"The hard mask keeps no patch: the mean film is nowhere above {threshold:.3g} on the 8-bit scale (its "
            f"brightest patch reaches {limits.max():.3g}). The usual cause is an alignment that moved the films out "
            "of the frame: check the alignment, lower mask.threshold, or switch the mask off."
        )
    if not config.mask_least <= mask.share <= config.mask_most:
        raise EngineError(
            f"The hard mask keeps {mask.share:.0%} of the patches; {config.mask_least:.0%} to "
            f"{config.mask_most:.0%} is allowed (mask.least, mask.most). Change mask.keep or mask.threshold, or switch "
            "the mask off."
        )
    return mask


def patch_limits(mean_film: NDArray[np.floating], *, stride: int, coverage: float) -> NDArray[np.float64]:
    """The limit of each patch on the 8-bit scale, float64 (h, w): it is kept by every threshold below this limit.

    ``mean_film`` is float (S, S) in [0, 1], ``stride`` the side of a patch in pixels. At least the share ``coverage``
    of a patch's pixels lies above a threshold exactly when its k-th brightest pixel does, where k is that share of the
    pixel count, rounded up.
    """
    side = mean_film.shape[0] // stride
    pixels = mean_film.astype(np.float64).reshape(side, stride, side, stride) * 255
    patches = pixels.transpose(0, 2, 1, 3).reshape(side, side, stride * stride)  # (h, w, stride²)
    kth = max(1, math.ceil(coverage * stride * stride - 1e-9))
    return np.sort(patches, axis=-1)[..., -kth]


def _threshold_keeping(limits: NDArray[np.float64], keep: float) -> float:
    """The threshold, midway between the limits of two patches, that keeps the share nearest to ``keep``."""
    levels = np.unique(limits)
    candidates = np.concatenate([[levels[0] - 1], (levels[1:] + levels[:-1]) / 2])
    shares = np.array([(limits > level).mean() for level in candidates])
    return float(candidates[np.argmin(np.abs(shares - keep))])
