"""How well heatmaps localise marked lesions: pixel AUROC, AUPRO and the pointing game.

Maps are (H, W) float64, one for each film, of any size. A pixel that is not finite was masked: it ranks below all
others and is never called abnormal; a film without any finite pixel is left out. Regions of a film are (L, H, W) bool,
one plane for each of L marked lesions, which may overlap; L is 0 where nothing is marked. An empty plane is a lesion
outside the map, which always counts as missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.auroc import Auroc, auroc_interval
from analysis.statistics.rates import Method, Rate, clustered_rate
from analysis.statistics.resampling import NO_SPREAD, area_between, logit_limits
from analysis.statistics.sample import (
    BoolArray,
    FloatArray,
    IntArray,
    Sample,
    normal_quantile,
    resampled_weights,
    take_sample,
)

RESAMPLED_THRESHOLDS = 2000  # of AUPRO: steps of 0.05 % of the false positive rate


@dataclass(frozen=True)
class Aupro:
    """Area under the per-region overlap up to a false positive rate of `limit`, divided by `limit`: in [0, 1], with an
    interval by bootstrap of the patients on the logit scale; None, with a `reason`, where it cannot be computed."""

    aupro: float | None
    low: float | None
    high: float | None
    limit: float
    films: int
    regions: int
    left_out: int
    confidence: float
    replicates: int
    seed: int
    reason: str = ""


@dataclass(frozen=True)
class Located:
    """F films with a map: for each film `scores` (H, W), −inf where masked, and `regions` (L, H, W); patients (F,) as
    codes; left_out counts the films without a map."""

    scores: tuple[FloatArray, ...]
    regions: tuple[BoolArray, ...]
    patients: IntArray
    left_out: int

    @property
    def lesions(self) -> IntArray:
        """(F,) number of lesions of each film."""
        return np.array([len(planes) for planes in self.regions], dtype=np.int64)

    def sample(self) -> Sample:
        """The films as a sample to resample from; those with a lesion are the abnormal ones."""
        films = len(self.scores)
        nothing = np.zeros((films, 1))
        return Sample(self.lesions > 0, nothing, self.patients, np.arange(films, dtype=np.int64), self.left_out)


def regions_of_mask(mask: ArrayLike) -> BoolArray:
    """(L, H, W) bool: the 8-connected components of a mask (H, W), as in MVTec's AUPRO."""
    from scipy.ndimage import label

    marked = np.asarray(mask) > 0
    if marked.ndim != 2:
        raise ValueError(f"mask has shape {marked.shape}; expected (height, width)")
    labels, count = label(marked, structure=np.ones((3, 3)))
    return np.asarray(labels == np.arange(1, count + 1)[:, None, None])


def regions_of_boxes(boxes: ArrayLike, *, shape: tuple[int, int]) -> BoolArray:
    """(L, H, W) bool from boxes (L, 4) as x, y, width, height in pixels of a map of `shape` (H, W).

    Pixel centres are at whole numbers, y pointing down; a pixel is inside where x ≤ column < x + width, and likewise
    for rows. A box without any pixel centre gets the pixel nearest to its middle, if that lies on the map.
    """
    sides = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    height, width = shape
    planes = np.zeros((len(sides), height, width), dtype=bool)
    for plane, (x, y, across, down) in zip(planes, sides, strict=True):
        columns = _span(x, across, width)
        rows = _span(y, down, height)
        plane[rows[:, None], columns[None, :]] = True
    return planes


def pixel_auroc(
    maps: Sequence[ArrayLike],
    regions: Sequence[ArrayLike],
    patients: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> Auroc:
    """AUROC over all pixels of maps (H, W), a pixel inside any region being abnormal; the counts are of pixels.

    The interval is that of `auroc_interval` with each film, or each patient, as a cluster (Obuchowski 1997), since
    pixels of one film are not independent. Most of a film is background, which makes this number optimistic: report
    AUPRO with it. Raises ValueError for maps and regions that do not match.
    """
    located = take_located(maps, regions, patients)
    if not located.scores:
        return auroc_interval([], [], confidence=confidence)
    inside = np.concatenate([planes.any(axis=0).ravel() for planes in located.regions])
    scores = np.concatenate([values.ravel() for values in located.scores])
    masked = np.isneginf(scores)
    scores[masked] = np.nextafter(scores[~masked].min(), -np.inf)
    people = np.repeat(located.patients, [values.size for values in located.scores])
    return auroc_interval(inside.astype(np.int64), scores, people, confidence=confidence)


def aupro(
    maps: Sequence[ArrayLike],
    regions: Sequence[ArrayLike],
    patients: ArrayLike | None = None,
    *,
    limit: float = 0.3,
    confidence: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Aupro:
    """Area under the per-region overlap curve of maps (H, W), up to a false positive rate of `limit` in (0, 1].

    Bergmann et al. 2021, IJCV 129:1038 (MVTec AD): at each threshold, the mean over all regions of the share of the
    region that is called abnormal, against the share called abnormal of all pixels outside every region, on films with
    and without regions; linear between thresholds, starting at (0, 0); the area is divided by `limit`. Resamples use at
    most about 2,000 thresholds. Raises ValueError for another limit, for maps and regions that do not match and for a
    confidence outside (0, 1).
    """
    if not 0.0 < limit <= 1.0:
        raise ValueError(f"limit is {limit}; it must be above 0 and at most 1, such as 0.3")
    normal_quantile(confidence)
    located = take_located(maps, regions, patients)
    lesions = located.lesions

    def result(value: float | None, limits: tuple[float, float] | None, reason: str) -> Aupro:
        low, high = limits or (None, None)
        return Aupro(
            aupro=value, low=low, high=high, limit=limit, films=len(lesions), regions=int(lesions.sum()),
            left_out=located.left_out, confidence=confidence, replicates=replicates, seed=seed,
            reason=reason,
        )  # fmt: skip

    pixels = _ranked_pixels(located)
    reason = why_no_lesions(located) or ("" if pixels.outside.any() else "No pixel lies outside the regions.")
    if reason:
        return result(None, None, reason)
    value = pixels.overlap(int(lesions.sum()), limit=limit)
    reason = why_no_spread(located)
    if reason:
        return result(value, None, reason)
    blocks = resampled_weights(located.sample(), replicates=replicates, seed=seed)
    steps = pixels.by_film(len(lesions), most=RESAMPLED_THRESHOLDS)
    drawn = np.concatenate([steps.overlaps(block, lesions, limit=limit) for block in blocks])
    limits = logit_limits(value, float(drawn.std(ddof=1)), confidence=confidence)
    return result(value, limits, "" if limits else NO_SPREAD)


def pointing_game(
    maps: Sequence[ArrayLike],
    regions: Sequence[ArrayLike],
    patients: ArrayLike | None = None,
    *,
    method: Method = "wilson",
    confidence: float = 0.95,
) -> Rate:
    """The share of films with a region whose highest pixel lies inside a region (Zhang et al. 2018, IJCV 126:1084,
    without their margin of 15 pixels); where several pixels share the maximum, all must lie inside. The interval is
    that of `clustered_rate`."""
    located = take_located(maps, regions, patients)
    marked = located.lesions > 0
    hits = [
        bool(np.asarray(planes.any(axis=0))[values == values.max()].all())
        for values, planes in zip(located.scores, located.regions, strict=True)
        if len(planes)
    ]
    return clustered_rate(hits, located.patients[marked], method=method, confidence=confidence)


def take_located(maps: Sequence[ArrayLike], regions: Sequence[ArrayLike], patients: ArrayLike | None) -> Located:
    """Check and clean: masked pixels become −inf, films without any finite pixel are left out. Raises ValueError where
    maps, regions and patients do not match each other."""
    if len(maps) != len(regions):
        raise ValueError(f"{len(maps)} maps and {len(regions)} sets of regions: every film needs one of each")
    codes = take_sample(np.zeros(len(maps)), np.zeros(len(maps)), patients).patients
    scores, planes, kept = [], [], []
    for film, (values, marked) in enumerate(zip(maps, regions, strict=True)):
        score, plane = np.asarray(values, dtype=np.float64), np.asarray(marked).astype(bool)
        if plane.size == 0:
            plane = np.zeros((0, *score.shape), dtype=bool)
        if score.ndim != 2 or plane.ndim != 3 or plane.shape[1:] != score.shape:
            raise ValueError(f"film {film} has a map {score.shape} and regions {plane.shape}; expected (L, *map)")
        if np.isfinite(score).any():
            scores.append(score)
            planes.append(plane)
            kept.append(film)
    cleaned = tuple(np.where(np.isfinite(score), score, -np.inf) for score in scores)
    return Located(cleaned, tuple(planes), codes[kept], len(maps) - len(kept))


def why_no_lesions(located: Located) -> str:
    """A sentence where no film has a region, otherwise the empty string."""
    return "" if located.lesions.any() else "No film with a map has a region, so there is nothing to find."


def why_no_spread(located: Located) -> str:
    """A sentence where all films with a region are of one patient, otherwise the empty string."""
    many = len(np.unique(located.patients[located.lesions > 0])) > 1
    return "" if many else "The films with a region are of one patient: an interval needs at least two."


@dataclass(frozen=True)
class _RankedPixels:
    """All pixels by falling score. films (N,): the film of a pixel; outside (N,): 1 where in no region; shares (N,):
    the share of its regions that a pixel covers, Σ 1 / |region|; ends (P,): index of the last pixel of each distinct
    score, rising."""

    films: IntArray
    outside: IntArray
    shares: FloatArray
    ends: IntArray

    def overlap(self, lesions: int, *, limit: float) -> float:
        """AUPRO of all films, which have `lesions` lesions in total, over every distinct score."""
        called, overlap = np.cumsum(self.outside)[self.ends], np.cumsum(self.shares)[self.ends]
        return float(_area(called[None], overlap[None] / lesions, limit=limit)[0])

    def by_film(self, films: int, *, most: int) -> _Steps:
        """Counts by film at no more than about `most` of the distinct scores, evenly over the false positive rate."""
        called = np.cumsum(self.outside)[self.ends]
        evenly = np.linspace(0, called[-1], most)
        kept = self.ends
        if len(kept) > most:
            kept = kept[np.unique(np.r_[np.searchsorted(called, evenly), len(called) - 1])]
        step = self.films * len(kept) + np.searchsorted(kept, np.arange(len(self.films)))
        counts = [
            np.bincount(step, weights=values, minlength=films * len(kept)).reshape(films, -1).cumsum(axis=1)
            for values in (self.outside, self.shares)
        ]
        return _Steps(*counts)


@dataclass(frozen=True)
class _Steps:
    """For each film at P thresholds: called (F, P), the pixels called abnormal outside regions, and overlap (F, P),
    summed over the regions of the film."""

    called: FloatArray
    overlap: FloatArray

    def overlaps(self, weights: IntArray, lesions: IntArray, *, limit: float) -> FloatArray:
        """(B,) AUPRO for B weightings (B, F) of the films with their numbers of lesions (F,)."""
        times = weights.astype(np.float64)
        return _area(times @ self.called, times @ self.overlap / (weights @ lesions)[:, None], limit=limit)


def _area(called: ArrayLike, overlap: FloatArray, *, limit: float) -> FloatArray:
    """(B,) area from the pixels called outside regions and the mean overlap, both (B, P) by falling threshold."""
    false_positives = np.asarray(called, dtype=np.float64)
    curve = false_positives / false_positives[:, -1:]
    start = np.zeros((len(curve), 1))
    area = area_between(
        np.concatenate([start, curve], axis=1), np.concatenate([start, overlap], axis=1), low=0.0, high=limit
    )
    return area / limit


def _ranked_pixels(located: Located) -> _RankedPixels:
    if not located.scores:
        nothing = np.empty(0, dtype=np.int64)
        return _RankedPixels(nothing, nothing, np.empty(0), nothing)
    scores = np.concatenate([values.ravel() for values in located.scores])
    shares = np.concatenate([_shares(planes).ravel() for planes in located.regions])
    outside = np.concatenate([~planes.any(axis=0).ravel() for planes in located.regions])
    films = np.repeat(np.arange(len(located.scores)), [values.size for values in located.scores])
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.r_[ranked[1:] < ranked[:-1], True])
    return _RankedPixels(films[order], outside[order].astype(np.int64), shares[order], ends)


def _shares(planes: BoolArray) -> FloatArray:
    sizes = np.maximum(planes.sum(axis=(1, 2), keepdims=True), 1)
    return np.asarray((planes / sizes).sum(axis=0), dtype=np.float64)


def _span(start: float, length: float, size: int) -> NDArray[np.intp]:
    """Pixels along one axis with centres in [start, start + length); without any, the one nearest to the middle."""
    centres = np.arange(size)
    inside = np.flatnonzero((centres >= start) & (centres < start + length))
    nearest = round(start + length / 2)
    if len(inside) or not 0 <= nearest < size:
        return inside
    return np.array([nearest], dtype=np.intp)
