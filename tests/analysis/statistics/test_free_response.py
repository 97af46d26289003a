"""FROC and its marks, against slow plain references and resamples drawn film by film."""

import math

import numpy as np
import pytest

from analysis.statistics import froc, peaks, wilson
from analysis.statistics.free_response import RATES
from analysis.statistics.localisation import take_located
from analysis.statistics.sample import resampled_weights

FOUND = {}  # peaks of a map, which resamples ask for again


def make_films(*, seed, films=16, size=14, shift=1.5, decimals=1):
    generator = np.random.default_rng(seed)
    maps, regions = [], []
    for film in range(films):
        planes = np.zeros((film % 3, size, size), dtype=bool)
        for plane in planes:
            y, x = generator.integers(0, size - 3, 2)
            plane[y : y + 3, x : x + 3] = True
        score = generator.normal(size=(size, size)) + shift * planes.any(axis=0)
        maps.append(score.round(decimals))
        regions.append(planes)
    return maps, regions


def slow_peaks(score, distance):
    """All pixels no lower than their neighbours, highest first, unless near one that is kept."""
    key = score.tobytes(), distance
    if key not in FOUND:
        FOUND[key] = walk_peaks(score, distance)
    return FOUND[key]


def walk_peaks(score, distance):
    height, width = score.shape
    spots = []
    for y in range(height):
        for x in range(width):
            near = score[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            if score[y, x] == near.max():
                spots.append((-score[y, x], y, x))
    kept = []
    for _, y, x in sorted(spots):
        if all(math.hypot(y - v, x - u) >= distance for v, u in kept):
            kept.append((y, x))
    return kept


@pytest.mark.parametrize("decimals", [0, 2])
@pytest.mark.parametrize("distance", [1, 2.5, 5])
def test_peaks_are_the_local_maxima_apart(distance, decimals):
    for score in make_films(seed=1, films=3, decimals=decimals)[0]:
        assert [tuple(spot) for spot in peaks(score, distance=distance).tolist()] == slow_peaks(score, distance)


def test_masked_pixels_make_no_peak():
    score = np.full((5, 5), np.nan)
    assert peaks(score, distance=1).shape == (0, 2)
    score[2, 3] = 1.0
    assert peaks(score, distance=1).tolist() == [[2, 3]]


def slow_points(maps, regions, distance):
    """(threshold, false positives per film, sensitivity) at every distinct mark score."""
    marks = [[(score[y, x], y, x) for y, x in slow_peaks(score, distance)] for score in maps]
    points = []
    for threshold in sorted({mark[0] for film in marks for mark in film}, reverse=True):
        false = hits = lesions = 0
        for film, planes in zip(marks, regions, strict=True):
            kept = [(y, x) for score, y, x in film if score >= threshold]
            false += sum(not planes[:, y, x].any() for y, x in kept)
            hits += sum(any(plane[y, x] for y, x in kept) for plane in planes)
            lesions += len(planes)
        points.append((threshold, false / len(maps), hits / lesions))
    return points


def slow_at_rates(maps, regions, distance, rates):
    points = slow_points(maps, regions, distance)
    return [max([hits for _, false, hits in points if false <= rate + 1e-9], default=0.0) for rate in rates]


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_curve_is_that_of_each_threshold(decimals):
    maps, regions = make_films(seed=2, decimals=decimals)
    result = froc(maps, regions, distance=2.5, replicates=5)
    thresholds, false, hits = zip(*slow_points(maps, regions, 2.5), strict=True)
    assert result.thresholds.tolist() == [math.inf, *thresholds]
    assert result.false_positives_per_film == pytest.approx([0.0, *false])
    assert result.sensitivity == pytest.approx([0.0, *hits])
    assert (result.films, result.lesions, result.left_out) == (16, 15, 0)


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_sensitivity_at_rates_is_the_best_within_them(decimals):
    maps, regions = make_films(seed=3, decimals=decimals)
    result = froc(maps, regions, distance=2.5, rates=[0.05, *RATES, 99], replicates=5)
    assert result.at_rates == pytest.approx(slow_at_rates(maps, regions, 2.5, [0.05, *RATES, 99]))
    assert result.mean_sensitivity == pytest.approx(result.at_rates.mean())


@pytest.mark.parametrize("films_a_patient", [1, 2])
def test_interval_is_that_of_resampled_films(films_a_patient):
    maps, regions = make_films(seed=4)
    patients = np.arange(16) // films_a_patient
    result = froc(maps, regions, patients, distance=2.5, rates=[0.5, 2.0], replicates=15, seed=7)
    sample = take_located(maps, regions, patients).sample()
    weights = np.concatenate(list(resampled_weights(sample, replicates=15, seed=7)))
    slow = []
    for row in weights:
        drawn = np.repeat(np.arange(16), row)
        slow.append(slow_at_rates([maps[k] for k in drawn], [regions[k] for k in drawn], 2.5, [0.5, 2.0]))
    low, high = np.quantile(slow, [0.025, 0.975], axis=0)
    people = len(np.unique(patients[[len(planes) > 0 for planes in regions]]))
    for k, value in enumerate(result.at_rates):
        floor, ceiling = wilson_of(value, people)
        assert result.low[k] == pytest.approx(min(low[k], floor))
        assert result.high[k] == pytest.approx(max(high[k], ceiling))
    expected = np.quantile(np.mean(slow, axis=1), [0.025, 0.975])
    assert (result.mean_low, result.mean_high) == pytest.approx(tuple(expected))


def wilson_of(share, size):
    z2 = 1.959963984540054**2
    return np.sort(np.roots([1 + z2 / size, -2 * share - z2 / size, share**2]).real)


def test_a_lesion_that_is_never_marked_is_missed_at_any_rate():
    maps, regions = make_films(seed=5)
    regions = [np.concatenate([planes, np.zeros((1, 14, 14), bool)]) for planes in regions]
    result = froc(maps, regions, rates=[1e6], replicates=5)
    assert result.at_rates[0] <= 15 / 31
    assert result.sensitivity[-1] <= 15 / 31


def test_marks_inside_a_found_lesion_count_neither_way():
    score = np.zeros((9, 9))
    score[2, 2], score[6, 6] = 2.0, 1.0
    whole = np.ones((1, 9, 9), bool)
    result = froc([score, score], [whole, whole], rates=[1e-9], replicates=5)
    assert result.at_rates.tolist() == [1.0]
    assert result.false_positives_per_film.max() == 0.0
    assert result.low[0] == pytest.approx(wilson(2, 2).low)  # no resample differs, and two patients are no certainty


def test_masked_pixels_make_no_mark():
    maps, regions = make_films(seed=6)
    hidden = [np.where(np.arange(14) < 6, np.nan, score) for score in maps]
    result = froc(hidden, regions, distance=2, replicates=5)
    assert np.isfinite(result.thresholds[1:]).all()
    assert (
        result.false_positives_per_film[-1] < froc(maps, regions, distance=2, replicates=5).false_positives_per_film[-1]
    )


def test_what_is_undefined_says_why():
    maps, regions = make_films(seed=7)
    none = froc(maps[:1], regions[:1])
    assert none.reason == "No film with a map has a region, so there is nothing to find."
    assert (len(none.sensitivity), len(none.at_rates), none.mean_sensitivity) == (0, 0, None)
    one = froc(maps[:2], regions[:2])
    assert one.reason == "The films with a region are of one patient: an interval needs at least two."
    assert (len(one.at_rates), len(one.low), one.mean_low) == (7, 0, None)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rates": [0.0]}, r"rates are \[0.0\]; they must be above 0 false positives a film"),
        ({"rates": []}, r"rates are \[\]"),
        ({"distance": 0.5}, "distance is 0.5; it must be at least 1 pixel"),
        ({"confidence": 1}, "confidence is 1"),
    ],
)
def test_nonsense_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        froc([np.zeros((2, 2))], [np.ones((1, 2, 2))], **settings)
