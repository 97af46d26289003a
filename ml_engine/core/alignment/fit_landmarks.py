"""The fit of an alignment by landmarks: canonical landmarks, and the mean of the films aligned by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ml_engine.core.alignment.canonical import mean_of_aligned
from ml_engine.core.alignment.checks import check, measured
from ml_engine.core.alignment.landmarks import (
    InvalidLandmarks,
    LandmarkPlacement,
    Points,
    mean_landmarks,
    place,
    scaled,
)
from ml_engine.core.alignment.model import FittedAlignment, prepared
from ml_engine.core.alignment.network import AlignmentNetwork
from ml_engine.core.alignment.perspective import normalised_perspective, place_in_perspective
from ml_engine.core.alignment.report import LandmarkResiduals
from ml_engine.core.alignment.sampling import unaligned
from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.geometry import normalised_theta


def fit_landmarks(
    images: Tensor, *, valid: Tensor, points: Sequence[Points], config: AlignmentConfig, seed: int
) -> FittedAlignment:
    """An alignment by landmarks, fitted on films float32 (N, 1, S, S) in [0, 1].

    ``valid`` is bool (N, 1, S, S); ``points`` has the landmarks of each film in pixels of the input, empty for a film
    without any. The canonical image is the mean, with bicubic sampling as in the paper, of at most
    ``config.canonical_images`` films that have enough landmarks. Raises InvalidLandmarks where fewer than two films
    share three landmarks that are not on a line.
    """
    landmarks = mean_landmarks(shrunk(points, images, config))
    placed = [place(film, landmarks) for film in shrunk(points, images, config)]
    thetas = thetas_of(placed, size=config.size)
    films, mask = prepared(images, valid, size=config.size)
    checks = check(thetas, mask, least_valid_area=config.least_valid_area)
    if config.fallback:
        thetas = torch.where(checks.failed[:, None, None], unaligned(len(films)), thetas)
    at = _averaged(placed, config)
    template = mean_of_aligned(films[at], mask[at], thetas[at])
    generator = torch.Generator().manual_seed(seed)
    unaligned_films = torch.tensor([bool(film.reason) for film in placed])
    report = replace(
        measured(films, mask, thetas, canonical=template, unchecked=checks),
        share_flagged=float((checks.failed | unaligned_films).double().mean()),
        landmarks=residuals(placed),
        canonical_source="mean of films aligned by landmarks",
    )
    return FittedAlignment(
        config=config,
        network=AlignmentNetwork(config, generator=generator).eval(),  # without a ResNet
        gauge=unaligned(1)[0],
        template=template,
        canonical=mean_of_aligned(images[at].float(), valid[at].float(), thetas[at]).image[0, 0],
        report=report.to_json(),
        landmarks=landmarks,
    )


def canonical_by_landmarks(
    images: Tensor, *, valid: Tensor, points: Sequence[Points], config: AlignmentConfig
) -> tuple[Tensor, LandmarkResiduals]:
    """The canonical image for the network, float32 (S, S) in [0, 1], and the report of the landmarks.

    The image is the mean of the films aligned by their landmarks; with ``config.canonical_fit`` "perspective" by a
    perspective, which the paper states among the transformations of its manual alignment. Arguments and errors as in
    `fit_landmarks`; also raises InvalidLandmarks where no film's landmarks determine a perspective.
    """
    inside = shrunk(points, images, config)
    landmarks = mean_landmarks(inside)
    if config.canonical_fit == "affine":
        placed = [place(film, landmarks) for film in inside]
        thetas = thetas_of(placed, size=config.size)
    else:
        placed = [place_in_perspective(film, landmarks, size=config.size) for film in inside]
        matrices = torch.stack([film.input_from_canonical for film in placed])
        thetas = normalised_perspective(matrices, config.size).float()
    at = _averaged(placed, config)
    if not at:
        raise InvalidLandmarks(
            f"None of {len(placed)} films has landmarks that determine a perspective: mark four or more on each, no "
            "three of them on a line, or choose alignment.canonical_fit=affine."
        )
    canonical = mean_of_aligned(images[at].float(), valid[at].float(), thetas[at]).image[0, 0]
    return canonical, replace(residuals(placed), fit=config.canonical_fit)


def shrunk(points: Sequence[Points], images: Tensor, config: AlignmentConfig) -> list[Points]:
    """The landmarks of each film in pixels of a frame of the side ``config.size``."""
    return [scaled(film, config.size / images.shape[-1]) for film in points]


def thetas_of(placed: Sequence[LandmarkPlacement], *, size: int) -> Tensor:
    """The thetas of placed films, float32 (N, 2, 3); ``size`` is the side of the frame in pixels."""
    affines = torch.stack([film.input_from_canonical for film in placed])
    return normalised_theta(affines, (size, size), (size, size)).float()


def residuals(placed: Sequence[LandmarkPlacement]) -> LandmarkResiduals:
    """The number of aligned films, and their residuals in canonical pixels (root mean squares)."""
    residual = np.array([film.residual for film in placed if film.residual is not None])
    return LandmarkResiduals(
        films=len(placed),
        aligned=len(residual),
        residual_median_px=float(np.median(residual)),
        residual_p95_px=float(np.percentile(residual, 95)),
        residual_most_px=float(residual.max()),
    )


def _averaged(placed: Sequence[LandmarkPlacement], config: AlignmentConfig) -> list[int]:
    """The indices of the first films with enough landmarks, at most ``config.canonical_images``."""
    return [k for k, film in enumerate(placed) if not film.reason][: config.canonical_images]
