"""The errors that an alignment leaves when films are transformed by known affines."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.alignment.model import FittedAlignment
from ml_engine.core.alignment.network import BOUNDS, residual_theta
from ml_engine.core.alignment.report import AffineErrors, KnownAffines, KnownMeasures
from ml_engine.core.alignment.sampling import join, sample, sample_valid
from ml_engine.core.geometry import apply, invert, pixel_affine

# Maximum absolute values of the known affines at strength 1: shift as a share of half the frame, natural logarithm of
# the scale, angle in radians, shear.
KNOWN = {"shift": 0.2, "log_scale": 0.12, "angle": math.radians(8), "shear": 0.04}
FILMS = 32  # maximum number of films measured
GRID = 9  # points along a side of the frame


def known_affines(count: int, *, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Random thetas float32 (count, 2, 3) within the ranges `KNOWN` times ``strength``."""
    unit = torch.rand(count, 6, generator=generator) * 2 - 1
    unit[:, 3] = unit[:, 2]  # one scale for both axes
    names = ("shift", "shift", "log_scale", "log_scale", "angle", "shear")
    spread = torch.tensor([KNOWN[name] / BOUNDS[name] for name in names]) * strength
    return residual_theta((unit * spread).clamp(-1, 1))


@torch.no_grad()
def measured_by_known(model: FittedAlignment, films: Tensor, mask: Tensor, *, seed: int) -> KnownMeasures:
    """The errors under known affines, on at most `FILMS` prepared films (N, 1, S, S) that pass the checks.

    ``known``: each aligned film is transformed by a known affine A, which the alignment f should undo. The remainder
    A · f(transformed film) is reported as ``after``, A itself as ``before``. ``consistency``: the difference between
    A · f(A x) and f(x) for the input film x. Both are `errors` in canonical pixels of the side S. Empty for an
    alignment by landmarks, where the affine would move the landmarks too, and where no film passes the checks.
    """
    if model.config.method == "landmarks":
        return KnownMeasures()
    generator = torch.Generator().manual_seed(seed)
    at = torch.randperm(len(films), generator=generator)[:FILMS].sort().values
    thetas, checks = model.thetas(films[at], mask[at])
    passed = ~checks.failed
    at, thetas = at[passed], thetas[passed.to(thetas.device)]
    if len(at) == 0:
        return KnownMeasures()
    known = known_affines(len(at), generator=generator).to(thetas)
    size = int(films.shape[-1])
    left = join(known, _predict_transformed(model, films[at], mask[at], join(thetas, known)))
    moved = join(known, _predict_transformed(model, films[at], mask[at], known))
    apart = join(_inverse(thetas), moved)
    return KnownMeasures(
        known=KnownAffines(films=len(at), before=errors(known, size=size), after=errors(left, size=size)),
        consistency=errors(apart, size=size),
    )


def _predict_transformed(model: FittedAlignment, films: Tensor, mask: Tensor, thetas: Tensor) -> Tensor:
    """The alignment's thetas, with its fallback, for the films transformed by ``thetas``."""
    transformed_mask = sample_valid(mask, thetas)
    return model.thetas(sample(films, thetas) * transformed_mask, transformed_mask)[0]


def _inverse(thetas: Tensor) -> Tensor:
    return invert(thetas.cpu()).to(thetas)


def errors(thetas: Tensor, *, size: int) -> AffineErrors:
    """The difference of thetas of the canonical frame (N, 2, 3) from the identity, as absolute values.

    The displacement is over all films and a grid of points of the frame, the shift that of its centre, both in
    canonical pixels of the side ``size``; the angle is in degrees, the scale as its natural logarithm.
    """
    affines = pixel_affine(thetas.cpu(), (size, size), (size, size))
    steps = (np.arange(GRID) + 0.5) * size / GRID
    points = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    distances = np.linalg.norm(apply(affines, points).numpy() - points, axis=-1)
    centre = np.array([[size / 2, size / 2]])
    shifts = np.linalg.norm(apply(affines, centre).numpy() - centre, axis=-1)
    linear: NDArray[np.float64] = affines[..., :2].numpy()
    angles = np.degrees(np.arctan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1]))
    scales = 0.5 * np.log(np.abs(np.linalg.det(linear)).clip(1e-9))
    return AffineErrors(
        displacement_median_px=float(np.median(distances)),
        displacement_p95_px=float(np.percentile(distances, 95)),
        shift_median_px=float(np.median(shifts)),
        angle_median_degrees=float(np.median(np.abs(angles))),
        log_scale_median=float(np.median(np.abs(scales))),
    )
