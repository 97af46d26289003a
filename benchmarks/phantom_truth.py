"""AUROC and landmark error of scored phantom films against their known truth."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.score.auroc import auroc
from portal.imaging.phantom import read_truth

PIXEL_STEP = 8  # every 8th pixel of every 8th row is evaluated
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Films:
    """Scored films: names (N), findings (N) or blank, fused scores (N,), fused maps (N, h, w), affines
    original_from_canonical (N, 2, 3) in pixels, and the side of a patch in canonical pixels."""

    names: list[str]
    findings: list[str]
    fused: Floats
    maps: Floats
    affines: Floats
    stride: int


def image_auroc(films: Films, finding: str) -> tuple[float, int, int]:
    """The AUROC of one finding against all normal films, and the numbers of abnormal and normal ones."""
    chosen = [k for k, own_finding in enumerate(films.findings) if own_finding in ("", finding)]
    abnormal = np.array([films.findings[k] == finding for k in chosen])
    return auroc(films.fused[chosen], abnormal), int(abnormal.sum()), int((~abnormal).sum())


def pixel_auroc(films: Films, finding: str, truth: Path) -> float:
    """The AUROC of the fused map against the true mask, over the scored pixels of the films with the finding.

    Every pixel of a patch has the patch's score.
    """
    scores, inside = [], []
    for k, own_finding in enumerate(films.findings):
        if own_finding == finding:
            mask, _ = read_truth(truth / f"{Path(films.names[k]).stem}.npz")
            sampled = sample_map(films.maps[k], films.affines[k], mask.shape, films.stride)
            known = ~np.isnan(sampled)
            scores.append(sampled[known])
            inside.append(mask[PIXEL_STEP // 2 :: PIXEL_STEP, PIXEL_STEP // 2 :: PIXEL_STEP][known])
    return auroc(np.concatenate(scores), np.concatenate(inside))


def sample_map(fused: Floats, affine: Floats, shape: tuple[int, ...], stride: int) -> Floats:
    """The patch score at every `PIXEL_STEP`th original pixel in both directions; NaN outside the canonical image."""
    y, x = np.mgrid[PIXEL_STEP // 2 : shape[0] : PIXEL_STEP, PIXEL_STEP // 2 : shape[1] : PIXEL_STEP] + 0.5
    inverse = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))
    canonical = inverse[:2, :2] @ np.stack([x.ravel(), y.ravel()]) + inverse[:2, 2:]
    column, row = np.floor(canonical / stride).astype(int)
    h, w = fused.shape
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    sampled = np.full(row.shape, np.nan)
    sampled[inside] = fused[row[inside], column[inside]]
    return sampled.reshape(x.shape)


def landmark_errors(
    landmarks: Mapping[str, Floats], affines: Mapping[str, Floats], unaligned: Mapping[str, Floats]
) -> tuple[float, float]:
    """The median distance of landmarks from their median position over films, unaligned and aligned.

    Both are in canonical pixels of the unaligned frame. ``landmarks`` has (L, 2) in original pixels for each film,
    ``affines`` and ``unaligned`` original_from_canonical (2, 3). An alignment can have any common frame, so its median
    landmarks are first mapped to the unaligned ones by an affine: without this, shrinking all films would count as
    alignment.
    """
    before = np.stack([_to_canonical(landmarks[name], unaligned[name]) for name in landmarks])
    after = np.stack([_to_canonical(landmarks[name], affines[name]) for name in landmarks])
    gauge = _fitted_affine(np.median(after, axis=0), np.median(before, axis=0))
    after = after @ gauge[:, :2].T + gauge[:, 2]
    return _spread(before), _spread(after)


def _to_canonical(points: Floats, affine: Floats) -> Floats:
    inverse = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))
    return points @ inverse[:2, :2].T + inverse[:2, 2]


def _fitted_affine(source: Floats, target: Floats) -> Floats:
    """The least-squares target_from_source, (2, 3)."""
    ones = np.column_stack([source, np.ones(len(source))])
    return np.linalg.lstsq(ones, target, rcond=None)[0].T


def _spread(points: Floats) -> float:
    return float(np.median(np.linalg.norm(points - np.median(points, axis=0), axis=2)))


def read_landmarks(path: Path) -> dict[str, Floats]:
    """The landmarks (L, 2) of each film, in the same order for every film."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_film: dict[str, dict[str, tuple[float, float]]] = {}
    for row in rows:
        by_film.setdefault(row["filename"], {})[row["landmark"]] = (float(row["x"]), float(row["y"]))
    return {film: np.array([places[name] for name in sorted(places)]) for film, places in by_film.items()}
