"""Pixel AUROC, AUPRO and the pointing game, against scikit-learn and slow plain references."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from analysis.statistics import (
    aupro,
    auroc_interval,
    clustered_rate,
    pixel_auroc,
    pointing_game,
    regions_of_boxes,
    regions_of_mask,
)
from analysis.statistics.localisation import _ranked_pixels, take_located
from analysis.statistics.sample import resampled_weights


def make_films(*, seed, films=12, size=10, shift=1.5, decimals=1):
    """Maps with two lesions on every third film and one on every other third, and their regions."""
    generator = np.random.default_rng(seed)
    maps, regions = [], []
    for film in range(films):
        planes = np.zeros((film % 3, size, size), dtype=bool)
        for plane in planes:
            y, x = generator.integers(0, size - 3, 2)
            plane[y : y + generator.integers(2, 4), x : x + 3] = True
        score = generator.normal(size=(size, size)) + shift * planes.any(axis=0)
        maps.append(score.round(decimals))
        regions.append(planes)
    return maps, regions


def flood(mask):
    """The 8-connected parts of a mask, by walking."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    parts = []
    while left:
        ahead, part = [left.pop()], set()
        while ahead:
            y, x = ahead.pop()
            part.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            ahead += near
        parts.append(part)
    return parts


def slow_aupro(maps, regions, limit):
    """Threshold by threshold, region by region, and the trapezes up to the limit."""
    every = sorted({float(v) for score in maps for v in score.ravel()}, reverse=True)
    points = [(0.0, 0.0)]
    for threshold in every:
        called = [score >= threshold for score in maps]
        overlaps = [(c & p).sum() / p.sum() for c, planes in zip(called, regions, strict=True) for p in planes]
        false = sum((c & ~planes.any(axis=0)).sum() for c, planes in zip(called, regions, strict=True))
        normal = sum((~planes.any(axis=0)).sum() for planes in regions)
        points.append((false / normal, float(np.mean(overlaps))))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x1 > x0 and x0 < limit:
            end = min(x1, limit)
            y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + y_end) / 2
    return area / limit


@pytest.mark.parametrize("limit", [0.3, 0.05, 1.0])
@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_aupro_is_that_of_each_threshold(limit, decimals):
    maps, regions = make_films(seed=1, decimals=decimals)
    result = aupro(maps, regions, limit=limit, replicates=20)
    assert result.aupro == pytest.approx(slow_aupro(maps, regions, limit), abs=1e-10)
    assert (result.films, result.regions, result.left_out) == (12, 12, 0)
    assert result.low < result.aupro < result.high


def test_aupro_of_one_region_is_the_partial_area_of_its_pixels():
    maps, regions = make_films(seed=2, films=2)
    value = aupro(maps, regions, limit=1.0).aupro
    inside = np.concatenate([planes.any(axis=0).ravel() for planes in regions])
    assert value == pytest.approx(roc_auc_score(inside, np.concatenate([score.ravel() for score in maps])))


@pytest.mark.parametrize("films_a_patient", [1, 2])
def test_aupro_interval_is_that_of_resampled_films(films_a_patient):
    maps, regions = make_films(seed=3, decimals=0)
    patients = np.arange(12) // films_a_patient
    located = take_located(maps, regions, patients)
    pixels = _ranked_pixels(located)
    weights = np.concatenate(list(resampled_weights(located.sample(), replicates=8, seed=4)))
    slow = []
    for row in weights:
        drawn = np.repeat(np.arange(12), row)
        slow.append(slow_aupro([maps[k] for k in drawn], [regions[k] for k in drawn], 0.3))
    fast = pixels.by_film(12, most=2000).overlaps(weights, located.lesions, limit=0.3)
    assert fast == pytest.approx(slow, abs=1e-10)
    result = aupro(maps, regions, patients, replicates=8, seed=4)
    half = 1.959964 * np.std(slow, ddof=1) / (result.aupro * (1 - result.aupro))
    centre = math.log(result.aupro / (1 - result.aupro))
    expected = [1 / (1 + math.exp(-centre - sign * half)) for sign in (-1, 1)]
    assert (result.low, result.high) == pytest.approx(expected, abs=1e-6)


def test_resamples_at_fewer_thresholds_lose_nothing_that_shows():
    maps, regions = make_films(seed=9, films=30, decimals=9)
    maps[29][regions[29].any(axis=0)] = np.array([-98, -99] * 50)[: regions[29].any(axis=0).sum()]  # found last of all
    located = take_located(maps, regions, None)
    pixels = _ranked_pixels(located)
    weights = np.concatenate(list(resampled_weights(located.sample(), replicates=20, seed=0)))
    every, fewer = (
        pixels.by_film(30, most=most).overlaps(weights, located.lesions, limit=0.3) for most in (10_000, 200)
    )
    assert pixels.by_film(30, most=200).called.shape[1] <= 201 < len(pixels.ends)
    assert fewer == pytest.approx(every, abs=0.005)
    assert pixels.by_film(30, most=10_000).overlaps(np.ones((1, 30), int), located.lesions, limit=0.3) == pytest.approx(
        pixels.overlap(int(located.lesions.sum()), limit=0.3), abs=1e-12
    )


def test_a_masked_pixel_is_never_called():
    maps, regions = make_films(seed=4)
    hidden = [np.where(np.arange(10) < 3, np.nan, score) for score in maps]
    lowest = [np.where(np.arange(10) < 3, -99.0, score) for score in maps]
    assert aupro(hidden, regions, replicates=5) == aupro(lowest, regions, replicates=5)
    assert pixel_auroc(hidden, regions) == pixel_auroc(lowest, regions)
    assert pointing_game(hidden, regions) == pointing_game(lowest, regions)


def test_a_film_without_a_map_is_left_out():
    maps, regions = make_films(seed=5)
    blank = [*maps, np.full((10, 10), np.nan)]
    more = aupro(blank, [*regions, np.ones((1, 10, 10))], replicates=5)
    assert (more.left_out, more.films) == (1, 12)
    assert more.aupro == aupro(maps, regions, replicates=5).aupro
    patients = np.arange(12) // 2
    before = pixel_auroc([blank[-1], *maps], [np.ones((1, 10, 10)), *regions], np.r_[99, patients])
    assert before == pixel_auroc(maps, regions, patients)


def test_a_lesion_outside_the_map_is_never_found():
    maps, regions = make_films(seed=6, films=3)
    more = [np.concatenate([planes, np.zeros((len(planes), 10, 10), bool)]) for planes in regions]
    assert aupro(maps, more, replicates=5).aupro == pytest.approx(aupro(maps, regions, replicates=5).aupro / 2)


def test_pixel_auroc_clusters_by_film():
    maps, regions = make_films(seed=7)
    inside = np.concatenate([planes.any(axis=0).ravel() for planes in regions]).astype(int)
    scores = np.concatenate([score.ravel() for score in maps])
    result = pixel_auroc(maps, regions)
    assert result.auroc == pytest.approx(roc_auc_score(inside, scores))
    assert result == auroc_interval(inside, scores, np.repeat(np.arange(12), 100))
    assert (result.positives, result.positive_patients) == (inside.sum(), 8)
    pairs = pixel_auroc(maps, regions, np.arange(12) // 2)
    assert pairs.negative_patients == 6


def test_pointing_game_counts_films_whose_highest_pixel_is_inside():
    score = np.zeros((4, 4))
    score[1, 1] = score[1, 2] = 1.0
    inside = np.zeros((1, 4, 4), bool)
    inside[0, 1, 1] = True
    both = inside.copy()
    both[0, 1, 2] = True
    none = np.zeros((0, 4, 4), bool)
    result = pointing_game([score] * 4, [inside, both, none, np.concatenate([inside, both])])
    assert result == clustered_rate([0, 1, 1])
    clustered = pointing_game([score] * 4, [inside, both, none, both], ["a", "b", "c", "b"], method="exact")
    assert clustered == clustered_rate([0, 1, 1], ["a", "b", "b"], method="exact")


@pytest.mark.parametrize("seed", range(3))
def test_regions_of_a_mask_are_its_parts(seed):
    mask = np.random.default_rng(seed).random((12, 15)) < 0.25
    planes = regions_of_mask(mask)
    ours = {frozenset((int(y), int(x)) for y, x in np.argwhere(plane)) for plane in planes}
    assert ours == {frozenset(part) for part in flood(mask)}
    assert regions_of_mask(np.zeros((3, 3))).shape == (0, 3, 3)
    with pytest.raises(ValueError, match=r"mask has shape \(3,\); expected \(height, width\)"):
        regions_of_mask([1, 0, 1])


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((1, 2, 3, 1), [2], [1, 2, 3]),
        ((0.5, 0.5, 2, 2), [1, 2], [1, 2]),
        ((-2, -2, 4, 3), [0], [0, 1]),
        ((1.2, 1.2, 0.4, 0.4), [1], [1]),  # no centre inside: the nearest pixel
        ((7, 1, 2, 2), [], []),  # outside
    ],
)
def test_regions_of_boxes_hold_pixel_centres(box, rows, columns):
    plane = regions_of_boxes([box], shape=(5, 6))[0]
    expected = np.zeros((5, 6), bool)
    for row in rows:
        expected[row, columns] = True
    assert (plane == expected).all()
    assert regions_of_boxes([], shape=(5, 6)).shape == (0, 5, 6)


def test_what_is_undefined_says_why():
    maps, regions = make_films(seed=8)
    normal = aupro(maps[:1], regions[:1])
    assert normal.reason == "No film with a map has a region, so there is nothing to find."
    assert aupro([], []).reason == normal.reason
    assert "No abnormal" in pixel_auroc(maps[:1], regions[:1]).reason
    assert "No abnormal and no normal" in pixel_auroc([], []).reason
    assert pointing_game(maps[:1], regions[:1]).value is None
    assert aupro([np.ones((2, 2))], [np.ones((1, 2, 2))]).reason == "No pixel lies outside the regions."
    one = aupro(maps[:2], regions[:2])
    assert (one.low, one.reason) == (
        None,
        "The films with a region are of one patient: an interval needs at least two.",
    )
    assert one.aupro == pytest.approx(slow_aupro(maps[:2], regions[:2], 0.3))
    perfect = aupro([planes.any(axis=0) * 1.0 for planes in regions], regions, replicates=5)
    assert perfect.aupro == pytest.approx(1.0)
    assert perfect.low is None and "All resamples give the same value" in perfect.reason


@pytest.mark.parametrize(
    ("maps", "regions", "settings", "words"),
    [
        ([np.zeros((2, 2))], [], {}, "1 maps and 0 sets of regions: every film needs one of each"),
        ([np.zeros((2, 2))], [np.ones((1, 2, 3))], {}, r"film 0 has a map \(2, 2\) and regions \(1, 2, 3\)"),
        ([np.zeros(2)], [np.ones((1, 2))], {}, r"film 0 has a map \(2,\)"),
        ([np.zeros((2, 2))], [np.ones((1, 2, 2))], {"limit": 0.0}, "limit is 0.0; it must be above 0 and at most 1"),
        ([np.zeros((2, 2))], [np.ones((1, 2, 2))], {"confidence": 95}, "confidence is 95"),
    ],
)
def test_nonsense_is_refused(maps, regions, settings, words):
    with pytest.raises(ValueError, match=words):
        aupro(maps, regions, **settings)
