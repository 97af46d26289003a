"""The quality of the alignment of each film."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ml_engine.core.alignment.checks import film_similarity
from ml_engine.core.alignment.model import FittedAlignment, prepared
from ml_engine.core.alignment.sampling import unaligned
from ml_engine.core.geometry import normalised_theta


@torch.no_grad()
def alignment_quality(
    model: FittedAlignment, images: torch.Tensor, valid: torch.Tensor, input_from_canonical: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The numbers `columns.NAMES` of each film, float64 (N, 5).

    They are NCC in [-1, 1] and SSIM to the canonical image before and after the alignment, and the share of the
    canonical frame that the aligned film fills, in [0, 1]. ``images`` is float32 (N, 1, S, S) in [0, 1], ``valid`` bool
    (N, 1, S, S), and ``input_from_canonical`` float64 (N, 2, 3) in pixels of the S x S input.
    """
    side = (int(images.shape[-2]), int(images.shape[-1]))
    films, mask = prepared(images, valid, size=model.config.size)
    thetas = normalised_theta(input_from_canonical, side, side).to(films)
    columns = [
        film_similarity(films, mask, theta, canonical=model.template)
        for theta in (unaligned(len(films)).to(films), thetas)
    ]
    (ncc_before, ssim_before, _), (ncc_after, ssim_after, filled) = columns
    return torch.stack([ncc_before, ncc_after, ssim_before, ssim_after, filled], dim=1).numpy()
