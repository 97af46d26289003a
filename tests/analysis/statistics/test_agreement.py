"""Cohen's kappa and Krippendorff's alpha, against published values, scikit-learn and slow plain references."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from analysis.statistics import cohen_kappa, krippendorff_alpha, repeat_kappa
from analysis.statistics.agreement import _alphas, _counts_by_film, _film_weights

NAN = math.nan
# Krippendorff 2011, Computing Krippendorff's alpha-reliability, example C: four observers, twelve units
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T


def from_table(table):
    pairs = [(i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]
    return np.array(pairs, float).T


def make_readings(*, seed, films=80, categories=4):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, categories, films)
    return [np.clip(truth + generator.integers(-1, 2, films), 0, categories - 1).astype(float) for _ in range(2)]


@pytest.mark.parametrize(
    ("weights", "published"),
    [("none", (0.4842, 0.1380, 0.2137, 0.7547)), ("linear", (0.4701, 0.1457, 0.1845, 0.7558))],
)
def test_kappa_as_sas_prints_it(weights, published):
    # PROC FREQ's kappa, standard error and 95 % limits of this table, as the tests of statsmodels quote them
    first, second = from_table([[0, 4, 1], [0, 8, 0], [0, 1, 5]])
    result = cohen_kappa(first, second, weights=weights)
    assert (result.kappa, result.standard_error, result.low, result.high) == pytest.approx(published, abs=6e-5)


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_kappa_is_that_of_scikit_learn(weights):
    first, second = make_readings(seed=1)
    result = cohen_kappa(first, second, weights=weights)
    theirs = cohen_kappa_score(first, second, weights=None if weights == "none" else weights)
    assert result.kappa == pytest.approx(theirs, abs=1e-12)
    assert (result.films, result.left_out, result.categories) == (80, 0, (0.0, 1.0, 2.0, 3.0))


def slow_kappa(shares, weights):
    size = len(shares)
    apart = {"none": lambda d: float(d > 0), "linear": abs, "quadratic": lambda d: d * d}[weights]
    pairs = list(itertools.product(range(size), repeat=2))
    seen = sum(shares[i, j] * apart(abs(i - j)) for i, j in pairs)
    chance = sum(shares[i].sum() * shares[:, j].sum() * apart(abs(i - j)) for i, j in pairs)
    return 1 - seen / chance


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_weighted_agreement_is_a_share(weights):
    # apart by 0, 1, 2 and 2 of four steps
    result = cohen_kappa([0, 0, 1, 2], [0, 1, 3, 4], weights=weights, categories=range(5))
    apart = np.array([0, 1, 2, 2]) / 4
    by_hand = {"none": apart == 0, "linear": 1 - apart, "quadratic": 1 - apart**2}[weights].mean()
    assert result.observed == pytest.approx(by_hand)


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_standard_error_is_that_of_the_delta_method(weights):
    """The multinomial covariance through numeric derivatives of kappa by each cell."""
    first, second = make_readings(seed=2)
    shares = np.zeros((4, 4))
    for i, j in zip(first.astype(int), second.astype(int), strict=True):
        shares[i, j] += 1 / len(first)
    slopes = np.zeros(16)
    for cell in range(16):
        up, down = shares.copy(), shares.copy()
        up.ravel()[cell] += 1e-6
        down.ravel()[cell] -= 1e-6
        slopes[cell] = (slow_kappa(up / up.sum(), weights) - slow_kappa(down / down.sum(), weights)) / 2e-6
    covariance = np.diag(shares.ravel()) - np.outer(shares.ravel(), shares.ravel())
    expected = math.sqrt(slopes @ covariance @ slopes / len(first))
    assert cohen_kappa(first, second, weights=weights).standard_error == pytest.approx(expected, rel=1e-6)


def test_a_category_that_nobody_used_widens_the_scale():
    first, second = make_readings(seed=3, categories=3)
    seen = cohen_kappa(first, second, weights="quadratic")
    more = cohen_kappa(first, second, weights="quadratic", categories=[0, 1, 2, 3, 4])
    assert more.kappa == pytest.approx(seen.kappa)  # the same units of disagreement
    assert more.observed > seen.observed
    assert more.categories == (0.0, 1.0, 2.0, 3.0, 4.0)


def test_films_that_one_reader_did_not_read_are_left_out():
    first, second = make_readings(seed=4)
    result = cohen_kappa(np.r_[first, NAN, 1], np.r_[second, 1, NAN])
    assert (result.kappa, result.left_out) == (cohen_kappa(first, second).kappa, 2)


def test_kappa_that_is_undefined_or_certain_says_why():
    none = cohen_kappa([1, NAN], [NAN, 2])
    assert (none.kappa, none.reason) == (None, "No film has a reading of both, so kappa is not defined.")
    same = cohen_kappa([1, 1, 1], [1, 1, 1])
    assert (same.kappa, same.observed) == (None, 1.0)
    assert same.reason.startswith("Both readers gave all films the same category: chance agreement is complete")
    perfect = cohen_kappa([0, 1, 0, 1], [0, 1, 0, 1])
    assert (perfect.kappa, perfect.standard_error, perfect.low) == (1.0, 0.0, None)
    assert perfect.reason == "All readings agree, so the resamples do not vary: there is no interval."


@pytest.mark.parametrize(
    ("first", "second", "settings", "words"),
    [
        ([0, 1], [0], {}, r"first \(2,\) and second \(1,\) must have one reading for each film"),
        ([0, 1], [0, 1], {"weights": "cubic"}, "weights is 'cubic'; it must be 'none', 'linear' or 'quadratic'"),
        ([0, 3], [0, 1], {"categories": [0, 1]}, r"none of the categories \[0.0, 1.0\]"),
        ([0, 1], [0, 1], {"confidence": 2}, "confidence is 2"),
    ],
)
def test_kappa_refuses_nonsense(first, second, settings, words):
    with pytest.raises(ValueError, match=words):
        cohen_kappa(first, second, **settings)


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_krippendorffs_example(level, published):
    result = krippendorff_alpha(KRIPPENDORFF, level=level, replicates=200)
    assert result.alpha == pytest.approx(published, abs=5e-4)
    assert (result.films, result.readings, result.left_out) == (11, 40, 1)
    assert result.low < result.alpha < result.high


def slow_alpha(films, level):
    """From the coincidence matrix, pair by pair, as Krippendorff's text builds it."""
    units = [[v for v in film if not math.isnan(v)] for film in films]
    units = [unit for unit in units if len(unit) > 1]
    names = sorted({v for unit in units for v in unit})
    coincidences = dict.fromkeys(itertools.product(names, repeat=2), 0.0)
    for unit in units:
        for a, b in itertools.permutations(range(len(unit)), 2):
            coincidences[unit[a], unit[b]] += 1 / (len(unit) - 1)
    totals = {c: sum(coincidences[c, k] for k in names) for c in names}
    n = sum(totals.values())

    def difference(c, k):
        if level == "nominal":
            return float(c != k)
        if level == "interval":
            return (c - k) ** 2
        low, high = sorted((c, k))
        between = sum(totals[g] for g in names if low <= g <= high)
        return (between - (totals[c] + totals[k]) / 2) ** 2

    seen = sum(count * difference(*pair) for pair, count in coincidences.items()) / n
    chance = sum(totals[c] * totals[k] * difference(c, k) for c, k in coincidences) / (n * (n - 1))
    return 1 - seen / chance


def make_grid(*, seed, films=25, readers=3):
    generator = np.random.default_rng(seed)
    readings = generator.integers(0, 4, films)[:, None] + generator.integers(0, 3, (films, readers)) * 1.5
    return np.where(generator.random((films, readers)) < 0.2, NAN, readings)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_and_its_interval_are_those_of_coincidences(level):
    films = make_grid(seed=5)
    result = krippendorff_alpha(films, level=level, replicates=40, seed=3)
    assert result.alpha == pytest.approx(slow_alpha(films, level), abs=1e-10)
    kept = films[np.isfinite(films).sum(axis=1) >= 2]
    names, counts = _counts_by_film(kept)
    (weights,) = _film_weights(len(kept), replicates=40, seed=3, width=len(names))
    assert (weights.sum(axis=1) == len(kept)).all()
    slow = [slow_alpha(np.repeat(kept, row.astype(int), axis=0), level) for row in weights]
    assert _alphas(weights, counts, names, level) == pytest.approx(slow, abs=1e-10)
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=1e-10)


def test_alpha_of_two_readers_who_read_all_is_nearly_their_kappa():
    first, second = make_readings(seed=6, films=2000)
    alpha = krippendorff_alpha(np.stack([first, second], axis=1), replicates=2).alpha
    assert alpha == pytest.approx(cohen_kappa(first, second).kappa, abs=0.002)


def test_ordinal_alpha_knows_only_the_order():
    films = make_grid(seed=7)
    stretched = krippendorff_alpha(np.exp(films), level="ordinal", replicates=20)
    assert stretched == krippendorff_alpha(films, level="ordinal", replicates=20)


def test_a_shift_of_all_values_changes_no_interval_alpha():
    films = make_grid(seed=8)
    far = krippendorff_alpha(films + 1e6, level="interval", replicates=20)
    near = krippendorff_alpha(films, level="interval", replicates=20)
    assert (far.alpha, far.low, far.high) == pytest.approx((near.alpha, near.low, near.high), abs=1e-8)


def test_alpha_resamples_in_blocks(monkeypatch):
    films = make_grid(seed=9)
    whole = krippendorff_alpha(films, replicates=50)
    monkeypatch.setattr("analysis.statistics.agreement.BLOCK_ELEMENTS", 700)
    assert krippendorff_alpha(films, replicates=50) == whole


@pytest.mark.parametrize(
    ("readings", "alpha", "words"),
    [
        ([[1, NAN], [NAN, 2]], None, "No film has two readings, so alpha is not defined."),
        ([[1, 1], [1, 1]], None, "All readings are equal: chance agreement is complete, so alpha is not defined."),
        ([[1, 2]], 0.0, "Only one film has two readings: an interval needs at least two."),
        ([[1, 1]] * 4 + [[1, 2]], 0.0, "resamples hold more than one value: too few for an interval."),
        ([[1, 1], [2, 2]] * 5, 1.0, "All readings agree, so the resamples do not vary: there is no interval."),
    ],
)
def test_alpha_that_is_undefined_or_certain_says_why(readings, alpha, words):
    result = krippendorff_alpha(readings, replicates=200)
    assert result.alpha == (None if alpha is None else pytest.approx(alpha))
    assert (result.low, result.high) == (None, None)
    assert words in result.reason


@pytest.mark.parametrize(
    ("readings", "settings", "words"),
    [
        ([1, 2], {}, r"readings have shape \(2,\); expected \(films, readers\)"),
        ([[1, 2]], {"level": "ratio"}, "level is 'ratio'; it must be 'nominal', 'ordinal' or 'interval'"),
        ([[1, 2]], {"confidence": 0}, "confidence is 0"),
    ],
)
def test_alpha_refuses_nonsense(readings, settings, words):
    with pytest.raises(ValueError, match=words):
        krippendorff_alpha(readings, **settings)


def test_repeats_have_a_kappa_from_thirty_films_on():
    first, second = make_readings(seed=6, films=31, categories=2)
    assert repeat_kappa(first, second) == cohen_kappa(first, second)
    second[4] = NAN
    assert repeat_kappa(first, second, weights="linear") == cohen_kappa(first, second, weights="linear")
    first[5] = NAN
    few = repeat_kappa(first, second)
    assert (few.kappa, few.standard_error, few.low, few.high, few.observed, few.expected) == (None,) * 6
    assert few.reason == "Films read twice: 29. The agreement of a reader with themselves needs 30."
    assert (few.films, few.left_out) == (29, 2)
    assert repeat_kappa([], []).reason.startswith("Films read twice: 0.")
