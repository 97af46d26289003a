"""What an alignment makes of affines that are known (METHOD: measured, not believed)."""

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

# Half ranges of the known affines at strength 1: shift as a share of the half frame, log-scale, angle in radians,
# shear.
KNOWN = {"shift": 0.2, "log_scale": 0.12, "angle": math.radians(8), "shear": 0.04}
FILMS = 32  # that are measured, at most
GRID = 9  # points along a side of the frame


def known_affines(count: int, *, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Random thetas float32 (count, 2, 3): canonical frames in which films are shown, within KNOWN."""
    unit = torch.rand(count, 6, generator=generator) * 2 - 1
    unit[:, 3] = unit[:, 2]  # one scale for both axes
    names = ("shift", "shift", "log_scale", "log_scale", "angle", "shear")
    spread = torch.tensor([KNOWN[name] / BOUNDS[name] for name in names]) * strength
    return residual_theta((unit * spread).clamp(-1, 1))


@torch.no_grad()
def measured_by_known(model: FittedAlignment, films: Tensor, mask: Tensor, *, seed: int) -> KnownMeasures:
    """What is left of known affines, on at most `FILMS` prepared films (N, 1, S, S) that pass the checks.

    ``known``: each film is aligned, then shown under a known affine A; the alignment should undo A. What it
    leaves, A · f(shown), is compared with A alone (``before``). ``consistency``: how far A · f(A x) lies from
    f(x) for the film x as it came. Both as `errors` in canonical pixels of the side S. Neither for an alignment
    by landmarks, which would carry the affine with it, nor where no film passes the checks.
    """
    if model.config.method == "landmarks":
        return KnownMeasures()
    generator = torch.Generator().manual_seed(seed)
    at = torch.randperm(len(films), generator=generator)[:FILMS].sort().values
    thetas, checks = model.thetas(films[at], mask[at])
    sound = ~checks.failed
    at, thetas = at[sound], thetas[sound.to(thetas.device)]
    if len(at) == 0:
        return KnownMeasures()
    known = known_affines(len(at), generator=generator).to(thetas)
    size = int(films.shape[-1])
    left = join(known, _answers(model, films[at], mask[at], join(thetas, known)))
    moved = join(known, _answers(model, films[at], mask[at], known))
    apart = join(_inverse(thetas), moved)
    return KnownMeasures(
        known=KnownAffines(films=len(at), before=errors(known, size=size), after=errors(left, size=size)),
        consistency=errors(apart, size=size),
    )


def _answers(model: FittedAlignment, films: Tensor, mask: Tensor, thetas: Tensor) -> Tensor:
    """What the alignment says, fallback and all, of the films as they are seen under these thetas."""
    shown_mask = sample_valid(mask, thetas)
    return model.thetas(sample(films, thetas) * shown_mask, shown_mask)[0]


def _inverse(thetas: Tensor) -> Tensor:
    return invert(thetas.cpu()).to(thetas)


def errors(thetas: Tensor, *, size: int) -> AffineErrors:
    """How far affines of the canonical frame (N, 2, 3) are from the identity.

    The displacement is over all films and a grid of points of the frame, the shift that of its centre, both
    in canonical pixels of the side ``size``; angle in degrees, log-scale natural; medians without a sign.
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
