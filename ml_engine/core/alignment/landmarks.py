"""Alignment by landmarks (paper, Fig. 5): least squares from points placed by a person or another program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.errors import EngineError
from ml_engine.core.geometry import affine_from_points, apply, compose, identity, invert

Points = Mapping[str, tuple[float, float]]  # name of the landmark: (x, y) in continuous pixels
LEAST = 3  # number of landmarks that an affine needs
LINE = 0.02  # landmarks count as collinear if their spread across the line is at most this share of that along it
ROUNDS, TOLERANCE = 200, 1e-7  # of the alternating fit; tolerance in pixels


class InvalidLandmarks(EngineError):
    """Landmarks are missing or do not determine an alignment."""


@dataclass(frozen=True)
class LandmarkPlacement:
    """The placement of a film by its landmarks.

    ``input_from_canonical`` float64 (2, 3), or (3, 3) for a perspective, is in pixels; ``residual`` is the root mean
    square distance of the film's landmarks from the canonical ones, in canonical pixels. Where the landmarks do not
    suffice, ``reason`` explains why, the transformation is the identity and the residual None.
    """

    input_from_canonical: Tensor
    residual: float | None
    reason: str = ""


def place(points: Points, canonical: Points) -> LandmarkPlacement:
    """The placement by the least-squares affine from the canonical landmarks to those of the film, both in pixels."""
    shared = sorted(set(points) & set(canonical))
    reason = _why_not(points, shared)
    if reason:
        return LandmarkPlacement(identity(), None, reason)
    source, target = shared_points(points, canonical)
    affine = affine_from_points(target, source)
    misses = apply(invert(affine), target).numpy() - source
    return LandmarkPlacement(affine, float(np.sqrt((misses**2).sum(1).mean())))


def shared_points(points: Points, canonical: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The canonical and the film's points of their common landmarks, float64 (P, 2) each, in order of the names."""
    shared = sorted(set(points) & set(canonical))
    return _array(canonical, shared), _array(points, shared)


def mean_landmarks(films: Sequence[Points]) -> dict[str, tuple[float, float]]:
    """The canonical landmarks of films whose landmarks are in pixels of frames of the same size.

    Canonical landmarks and the films' affines A together minimise the squared distances of A(canonical) from the films'
    landmarks, so films may lack some. The remaining freedom of an affine is removed by making the mean of all A the
    identity. Only landmarks of at least two films are used. Raises InvalidLandmarks where fewer than two films share
    three landmarks that are not on a line.
    """
    films = _usable(films)
    names = sorted({name for film in films for name in film})
    canonical = {name: _mean([film[name] for film in films if name in film]) for name in names}
    for _ in range(ROUNDS):
        affines = torch.stack([place(film, canonical).input_from_canonical for film in films])
        gauge = affines.mean(0)
        canonical_from_input = invert(compose(affines, invert(gauge)))
        fitted = _refitted(films, names, invert(canonical_from_input).numpy())
        moved = max(float(np.abs(np.subtract(fitted[name], canonical[name])).max()) for name in names)
        canonical = fitted
        if moved < TOLERANCE:
            break
    return canonical


def _refitted(
    films: Sequence[Points], names: Sequence[str], affines: NDArray[np.float64]
) -> dict[str, tuple[float, float]]:
    """The canonical landmarks that fit the films best, for fixed affines input_from_canonical (N, 2, 3)."""
    canonical = {}
    for name in names:
        at = [k for k, film in enumerate(films) if name in film]
        linear = affines[at, :, :2].reshape(-1, 2)
        targets = (np.array([films[k][name] for k in at]) - affines[at, :, 2]).reshape(-1)
        x, y = np.linalg.lstsq(linear, targets, rcond=None)[0]
        canonical[name] = (float(x), float(y))
    return canonical


def _usable(films: Sequence[Points]) -> list[Points]:
    """The films with enough landmarks shared with other films, and only these landmarks."""
    kept: list[Points] = list(films)
    while True:
        count = Counter(name for film in kept for name in film)
        shared = [{name: xy for name, xy in film.items() if count[name] >= 2} for film in kept]
        enough: list[Points] = [film for film in shared if not _why_not(film, sorted(film))]
        if len(enough) < 2:
            raise InvalidLandmarks(
                f"{len(enough)} of {len(films)} films share {LEAST} landmarks that do not lie on a line, and at "
                "least 2 films are needed: mark the same landmarks on more films."
            )
        if enough == kept:
            return enough
        kept = enough


def _why_not(points: Points, shared: Sequence[str]) -> str:
    """The reason why these landmarks do not determine an affine; empty where they do."""
    if not points:
        return "it has no landmarks"
    if len(shared) < LEAST:
        return f"it has {len(shared)} of the canonical landmarks, and {LEAST} are needed"
    xy = _array(points, shared)
    along, across = np.linalg.svd(xy - xy.mean(0), compute_uv=False)[:2]
    return "its landmarks lie on a line" if across <= LINE * along else ""


def _array(points: Points, names: Sequence[str]) -> NDArray[np.float64]:
    return np.array([points[name] for name in names], dtype=np.float64).reshape(-1, 2)


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    x, y = np.mean(points, axis=0)
    return float(x), float(y)


def scaled(points: Points, factor: float) -> dict[str, tuple[float, float]]:
    """The landmarks in a frame that is ``factor`` times as wide and high."""
    return {name: (x * factor, y * factor) for name, (x, y) in points.items()}
