"""Alignment by landmarks: least squares from points that a person, or another program, has placed."""

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

Points = Mapping[str, tuple[float, float]]  # a landmark's name -> (x, y) in continuous pixels
LEAST = 3  # landmarks that an affine needs
LINE = 0.02  # landmarks whose spread across their line is below this share of that along it lie on one line
ROUNDS, TOLERANCE = 200, 1e-7  # of the alternating fit; the tolerance in pixels


class InvalidLandmarks(EngineError):
    """Landmarks are missing, or do not say what they have to."""


@dataclass(frozen=True)
class LandmarkPlacement:
    """Where a film lies by its landmarks: input_from_canonical in pixels, float64 (2, 3), or (3, 3) for a perspective.

    ``residual`` is the root mean square distance of its landmarks from the canonical ones, in canonical
    pixels. Where the landmarks do not suffice, ``reason`` says why, the affine is the identity and the
    residual None.
    """

    input_from_canonical: Tensor
    residual: float | None
    reason: str = ""


def place(points: Points, canonical: Points) -> LandmarkPlacement:
    """The least-squares affine from the canonical landmarks to the film's own, both in pixels."""
    shared = sorted(set(points) & set(canonical))
    reason = _why_not(points, shared)
    if reason:
        return LandmarkPlacement(identity(), None, reason)
    source, target = shared_points(points, canonical)
    affine = affine_from_points(target, source)
    misses = apply(invert(affine), target).numpy() - source
    return LandmarkPlacement(affine, float(np.sqrt((misses**2).sum(1).mean())))


def shared_points(points: Points, canonical: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The canonical places (P, 2) and the film's (P, 2) of the landmarks that both have, in order of their names."""
    shared = sorted(set(points) & set(canonical))
    return _array(canonical, shared), _array(points, shared)


def mean_landmarks(films: Sequence[Points]) -> dict[str, tuple[float, float]]:
    """The canonical landmarks of films whose landmarks are given in pixels of frames of one size.

    They and the films' affines A minimise the squared distances of A(canonical) from the films' landmarks,
    so that films may lack some. An affine of the whole is still free: the mean of all A is the identity.
    Only landmarks that two films or more share take part. Raises InvalidLandmarks where fewer than two
    films share three landmarks that do not lie on one line.
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
    """Each landmark where the films that have it want it, given their affines input_from_canonical (N, 2, 3)."""
    found = {}
    for name in names:
        at = [k for k, film in enumerate(films) if name in film]
        linear = affines[at, :, :2].reshape(-1, 2)
        wanted = (np.array([films[k][name] for k in at]) - affines[at, :, 2]).reshape(-1)
        x, y = np.linalg.lstsq(linear, wanted, rcond=None)[0]
        found[name] = (float(x), float(y))
    return found


def _usable(films: Sequence[Points]) -> list[Points]:
    """The films that have enough shared landmarks, without those that no other film has."""
    kept: list[Points] = list(films)
    while True:
        count = Counter(name for film in kept for name in film)
        shared = [{name: xy for name, xy in film.items() if count[name] >= 2} for film in kept]
        enough: list[Points] = [film for film in shared if not _why_not(film, sorted(film))]
        if len(enough) < 2:
            raise InvalidLandmarks(
                f"{len(enough)} of {len(films)} films share {LEAST} landmarks that do not lie on one line, and at "
                "least 2 are needed: mark the same landmarks on more films."
            )
        if enough == kept:
            return enough
        kept = enough


def _why_not(points: Points, shared: Sequence[str]) -> str:
    """Why these landmarks give no affine, in words; empty where they do."""
    if not points:
        return "it has no landmarks"
    if len(shared) < LEAST:
        return f"it has {len(shared)} of the canonical landmarks, and {LEAST} are needed"
    at = _array(points, shared)
    along, across = np.linalg.svd(at - at.mean(0), compute_uv=False)[:2]
    return "its landmarks lie on one line" if across <= LINE * along else ""


def _array(points: Points, names: Sequence[str]) -> NDArray[np.float64]:
    return np.array([points[name] for name in names], dtype=np.float64).reshape(-1, 2)


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    x, y = np.mean(points, axis=0)
    return float(x), float(y)


def scaled(points: Points, factor: float) -> dict[str, tuple[float, float]]:
    """The landmarks in a frame that is ``factor`` times as wide and high."""
    return {name: (x * factor, y * factor) for name, (x, y) in points.items()}
