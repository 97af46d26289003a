"""AUROC and its intervals, against scikit-learn, SciPy and slow plain references."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from analysis.statistics import auroc_interval, bootstrap_auroc, delong, delong_paired
from analysis.statistics.auroc import bootstrap_areas
from analysis.statistics.sample import resampled_weights, take_sample


def make_films(*, seed, films=90, shift=1.0, decimals=None, films_a_patient=1):
    """Labels, scores and patients; with a patient effect where patients repeat, with ties where rounded."""
    generator = np.random.default_rng(seed)
    patients = np.arange(films) // films_a_patient
    labels = (generator.random(films) < 0.4).astype(int)
    effect = generator.normal(size=patients.max() + 1) if films_a_patient > 1 else np.zeros(films)
    scores = generator.normal(size=films) + shift * labels + effect[patients]
    if decimals is not None:
        scores = scores.round(decimals)
    return labels, scores, patients


def slow_placements(labels, scores):
    positive = [s for s, y in zip(scores, labels, strict=True) if y]
    negative = [s for s, y in zip(scores, labels, strict=True) if not y]
    kernel = np.array([[1.0 if p > n else 0.5 if p == n else 0.0 for n in negative] for p in positive])
    return kernel.mean(axis=1), kernel.mean(axis=0), kernel.mean()


def slow_covariance(labels, first, second):
    """DeLong's covariance of two AUROCs straight from the kernel of all pairs."""
    a10, a01, a = slow_placements(labels, first)
    b10, b01, b = slow_placements(labels, second)
    s10 = sum((x - a) * (y - b) for x, y in zip(a10, b10, strict=True)) / (len(a10) - 1)
    s01 = sum((x - a) * (y - b) for x, y in zip(a01, b01, strict=True)) / (len(a01) - 1)
    return s10 / len(a10) + s01 / len(a01)


def slow_clustered_variance(labels, scores, patients):
    """Obuchowski 1997, patient by patient."""
    v10, v01, area = slow_placements(labels, scores)
    m, n = len(v10), len(v01)
    names = sorted(set(patients))
    at10, at01 = patients[labels == 1], patients[labels == 0]
    first = [sum(v - area for v, p in zip(v10, at10, strict=True) if p == name) for name in names]
    second = [sum(v - area for v, p in zip(v01, at01, strict=True) if p == name) for name in names]
    i10, i01, i = len(set(at10)), len(set(at01)), len(names)
    s10 = i10 / ((i10 - 1) * m) * sum(x * x for x in first)
    s01 = i01 / ((i01 - 1) * n) * sum(x * x for x in second)
    s11 = i / (i - 1) * sum(x * y for x, y in zip(first, second, strict=True))
    return s10 / m + s01 / n + 2 * s11 / (m * n)


@pytest.mark.parametrize("decimals", [None, 0])
def test_area_is_that_of_scikit_learn_and_of_mann_whitney(decimals):
    labels, scores, _ = make_films(seed=1, decimals=decimals)
    result = delong(labels, scores)
    u = stats.mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic
    assert result.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert result.auroc == pytest.approx(u / (result.positives * result.negatives), abs=1e-12)


@pytest.mark.parametrize("decimals", [None, 0])
def test_delong_variance_is_that_of_all_pairs(decimals):
    labels, scores, _ = make_films(seed=2, decimals=decimals)
    result = delong(labels, scores)
    variance = slow_covariance(labels, scores, scores)
    assert result.variance == pytest.approx(variance, rel=1e-10)
    assert result.high - result.auroc == pytest.approx(stats.norm.ppf(0.975) * math.sqrt(variance), rel=1e-9)


def test_published_ct_ratings():
    # Hanley & McNeil 1982, table I: 58 normal and 51 abnormal CT images on a five-point scale, area 0.893
    normal, abnormal = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)
    scores = np.r_[np.repeat(range(5), normal), np.repeat(range(5), abnormal)]
    labels = np.r_[np.zeros(58), np.ones(51)]
    result = auroc_interval(labels, scores)
    assert round(result.auroc, 3) == 0.893
    assert math.sqrt(result.variance) == pytest.approx(0.032, abs=0.002)  # theirs, from an exponential model


@pytest.mark.parametrize("films_a_patient", [2, 3])
def test_clustered_variance_is_obuchowskis(films_a_patient):
    labels, scores, patients = make_films(seed=3, decimals=1, films_a_patient=films_a_patient)
    result = auroc_interval(labels, scores, patients)
    assert result.method.startswith("clustered")
    assert result.variance == pytest.approx(slow_clustered_variance(labels, scores, patients), rel=1e-10)


def test_copies_of_films_do_not_narrow_the_interval():
    labels, scores, patients = make_films(seed=4)
    once = auroc_interval(labels, scores, patients)
    twice = auroc_interval(np.tile(labels, 2), np.tile(scores, 2), np.tile(patients, 2))
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=1e-12)
    assert delong(np.tile(labels, 2), np.tile(scores, 2)).variance < 0.6 * once.variance


def test_clustered_variance_agrees_with_the_bootstrap_by_patient():
    labels, scores, patients = make_films(seed=5, films=600, films_a_patient=3)
    analytic = auroc_interval(labels, scores, patients)
    resampled = bootstrap_auroc(labels, scores, patients)
    assert analytic.variance == pytest.approx(resampled.variance, rel=0.12)
    assert (analytic.low, analytic.high) == pytest.approx((resampled.low, resampled.high), abs=0.006)


def test_patient_names_may_be_text_and_films_in_any_order():
    labels, scores, patients = make_films(seed=6, films_a_patient=2)
    order = np.random.default_rng(0).permutation(len(labels))
    names = np.array([f"p{p}" for p in patients])
    shuffled = auroc_interval(labels[order], scores[order], names[order])
    assert shuffled.variance == pytest.approx(auroc_interval(labels, scores, patients).variance, rel=1e-12)


@pytest.mark.parametrize("films_a_patient", [1, 2])
def test_bootstrap_areas_are_those_of_the_resampled_films(films_a_patient):
    labels, scores, patients = make_films(seed=7, films=60, decimals=1, films_a_patient=films_a_patient)
    sample = take_sample(labels, scores, patients)
    areas = bootstrap_areas(sample, replicates=20, seed=3)
    weights = np.concatenate(list(resampled_weights(sample, replicates=20, seed=3)))
    slow = [roc_auc_score(np.repeat(labels, w), np.repeat(scores, w)) for w in weights]
    assert areas == pytest.approx(slow, abs=1e-12)


def test_bootstrap_interval_is_that_of_scipy():
    labels, scores, _ = make_films(seed=8, films=120)

    def area(positive, negative, axis):
        return (positive[..., :, None] > negative[..., None, :]).mean(axis=(-2, -1))

    theirs = stats.bootstrap(
        (scores[labels == 1], scores[labels == 0]),
        area,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    ours = bootstrap_auroc(labels, scores)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.012)
    assert math.sqrt(ours.variance) == pytest.approx(theirs.standard_error, rel=0.08)


def test_resamples_keep_patients_whole_and_strata_full(monkeypatch):
    labels, scores, patients = make_films(seed=9, films=60, films_a_patient=3)
    monkeypatch.setattr("analysis.statistics.sample.BLOCK_ELEMENTS", 420)  # seven resamples a block
    blocks = list(resampled_weights(take_sample(labels, scores, patients), replicates=30, seed=0))
    weights = np.concatenate(blocks)
    assert [len(block) for block in blocks] == [7, 7, 7, 7, 2]
    by_patient = weights.reshape(30, 20, 3)
    assert (by_patient == by_patient[:, :, :1]).all()
    has = labels.reshape(20, 3)
    for stratum in (has.all(axis=1), ~has.any(axis=1), has.any(axis=1) & ~has.all(axis=1)):
        assert (by_patient[:, stratum, 0].sum(axis=1) == stratum.sum()).all()


def test_bootstrap_is_repeatable_and_depends_on_the_seed():
    labels, scores, patients = make_films(seed=10)
    assert bootstrap_auroc(labels, scores, patients, seed=1) == bootstrap_auroc(labels, scores, patients, seed=1)
    assert bootstrap_auroc(labels, scores, patients, seed=1) != bootstrap_auroc(labels, scores, patients, seed=2)


def test_logit_scale_near_one():
    generator = np.random.default_rng(11)
    labels = np.repeat([0, 1], 100)
    scores = generator.normal(size=200) + 3.2 * labels
    result = auroc_interval(labels, scores)
    a, error = result.auroc, math.sqrt(result.variance)
    assert result.method == "delong on the logit scale"
    assert a > 0.95
    expected = stats.norm.ppf([0.025, 0.975]) * error / (a * (1 - a)) + math.log(a / (1 - a))
    assert (result.low, result.high) == pytest.approx(tuple(1 / (1 + np.exp(-expected))), abs=1e-9)
    assert result.high < 1


def test_logit_scale_is_for_few_patients_not_few_films():
    labels, scores, patients = make_films(seed=12, films=300)
    assert auroc_interval(labels, scores, patients).method == "delong"
    assert auroc_interval(labels, scores, patients // 10).method == "clustered on the logit scale"


@pytest.mark.parametrize("size", [5, 40])
def test_complete_separation_is_not_certainty(size):
    labels = np.repeat([0, 1], size)
    result = auroc_interval(labels, np.arange(2.0 * size))
    assert (result.auroc, result.high, result.method) == (1.0, 1.0, "newcombe")
    theta, n = result.low, size  # at the limit, the area is z of its standard errors away
    q1, q2 = theta / (2 - theta), 2 * theta**2 / (1 + theta)
    hanley = theta * (1 - theta) + (n - 1) * (q1 - theta**2) + (n - 1) * (q2 - theta**2)
    assert 1 - theta == pytest.approx(stats.norm.ppf(0.975) * math.sqrt(hanley) / n, abs=1e-6)
    reverse = auroc_interval(labels, -np.arange(2.0 * size))
    assert (reverse.low, reverse.high) == pytest.approx((0.0, 1 - result.low), abs=1e-9)


@pytest.mark.parametrize(
    ("labels", "patients", "words"),
    [
        ([0, 0, 0], [1, 2, 3], "No abnormal film"),
        ([1, 1, 1], [1, 2, 3], "No normal film"),
        ([], [], "No abnormal and no normal film"),
        ([0, 0, 1], [1, 2, 3], "only one abnormal patient"),
        ([0, 0, 1, 1], [1, 1, 2, 2], "only one abnormal and one normal patient"),
    ],
)
def test_what_is_undefined_says_why(labels, patients, words):
    scores = np.arange(len(labels), dtype=float)
    for result in (auroc_interval(labels, scores, patients), bootstrap_auroc(labels, scores, patients)):
        assert words in result.reason
        assert result.method == "none"
        assert (result.variance, result.low, result.high) == (None, None, None)
        assert result.auroc == (1.0 if set(labels) == {0, 1} else None)


def test_films_without_a_score_are_left_out_and_counted():
    labels, scores, patients = make_films(seed=13)
    whole = auroc_interval(labels, scores, patients)
    more = auroc_interval(np.r_[1, labels, 0, 0], np.r_[np.nan, scores, np.nan, np.inf], np.r_[500, patients, 501, 502])
    assert more.left_out == 3
    assert dataclasses.replace(more, left_out=0) == whole


@pytest.mark.parametrize(
    ("labels", "scores", "patients"),
    [([0, 2], [0.0, 1.0], None), ([0, 1], [0.0], None), ([0, 1], [0.0, 1.0], ["a"])],
)
def test_nonsense_is_refused(labels, scores, patients):
    with pytest.raises(ValueError):
        auroc_interval(labels, scores, patients)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_confidence_must_be_a_share(confidence):
    with pytest.raises(ValueError, match="confidence"):
        delong([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], confidence=confidence)


def test_higher_confidence_is_wider():
    labels, scores, _ = make_films(seed=14)
    assert delong(labels, scores, confidence=0.99).low < delong(labels, scores, confidence=0.9).low


def test_paired_difference_is_that_of_all_pairs():
    labels, first, _ = make_films(seed=15, decimals=1)
    second = (first + np.random.default_rng(0).normal(size=len(first)) + 0.3 * labels).round(1)
    result = delong_paired(labels, first, second)
    variance = (
        slow_covariance(labels, first, first)
        + slow_covariance(labels, second, second)
        - 2 * slow_covariance(labels, first, second)
    )
    assert result.difference == pytest.approx(roc_auc_score(labels, first) - roc_auc_score(labels, second))
    assert result.variance == pytest.approx(variance, rel=1e-9)
    assert result.p_value == pytest.approx(2 * stats.norm.sf(abs(result.difference) / math.sqrt(variance)))
    assert result.low < result.difference < result.high
    assert result.first == auroc_interval(labels, first)


def test_paired_difference_of_the_same_scores_is_nothing():
    labels, scores, _ = make_films(seed=16)
    result = delong_paired(labels, scores, scores * 3)
    assert (result.difference, result.variance, result.p_value) == (0.0, 0.0, 1.0)


def test_paired_difference_by_patient_ignores_copies():
    labels, scores, patients = make_films(seed=17)
    other = scores + np.random.default_rng(1).normal(size=len(scores))
    once = delong_paired(labels, scores, other, patients)
    twice = delong_paired(*(np.tile(a, 2) for a in (labels, scores, other, patients)))
    assert twice.p_value == pytest.approx(once.p_value, rel=1e-9)


def test_paired_difference_says_why_it_is_undefined():
    result = delong_paired([0, 0], [1.0, 2.0], [2.0, 1.0])
    assert result.difference is None
    assert "No abnormal film" in result.reason


def coverage(draw, truth, *, repeats, interval):
    results = [interval(*draw(seed)) for seed in range(repeats)]
    return np.mean([r.low <= truth <= r.high for r in results])


def test_coverage_of_delong_and_of_the_logit_scale():
    def draw(shift, size):
        def films(seed):
            generator = np.random.default_rng(seed)
            labels = np.repeat([0, 1], size)
            return labels, generator.normal(size=2 * size) + shift * labels

        return films

    middle, extreme = stats.norm.cdf(1.0 / math.sqrt(2)), stats.norm.cdf(3.0 / math.sqrt(2))
    assert 0.92 < coverage(draw(1.0, 70), middle, repeats=500, interval=auroc_interval) < 0.98
    near_one = coverage(draw(3.0, 20), extreme, repeats=500, interval=auroc_interval)
    assert near_one > 0.91
    assert near_one > coverage(draw(3.0, 20), extreme, repeats=500, interval=delong) + 0.03


def test_coverage_where_patients_repeat():
    def draw(seed):
        generator = np.random.default_rng(seed)
        patients = np.repeat(np.arange(80), 4)
        labels = (patients % 2).astype(int)
        scores = labels + 1.5 * generator.normal(size=80)[patients] + 0.5 * generator.normal(size=320)
        return labels, scores, patients

    truth = stats.norm.cdf(1.0 / math.sqrt(2 * (1.5**2 + 0.5**2)))
    assert 0.91 < coverage(draw, truth, repeats=400, interval=auroc_interval) < 0.98
    assert coverage(draw, truth, repeats=400, interval=lambda y, s, p: delong(y, s)) < 0.8
