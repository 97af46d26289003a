"""Do the intervals cover about what they say? Simulated studies with known truth, as few as tell."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from analysis.statistics import (
    auprc,
    clustered_rate,
    exact_limits,
    partial_auc,
    predictive_values,
    sensitivity_at_specificity,
    subgroup_aurocs,
    wilson,
)


def binormal(seed, *, positives, negatives, shift):
    generator = np.random.default_rng(seed)
    labels = np.r_[np.ones(positives, int), np.zeros(negatives, int)]
    return labels, generator.normal(size=positives + negatives) + shift * labels


def covered(truth, results):
    return float(np.mean([result.low <= truth <= result.high for result in results]))


def true_average_precision(shift, prevalence):
    def precision_at(t):
        true, false = prevalence * stats.norm.sf(t - shift), (1 - prevalence) * stats.norm.sf(t)
        return stats.norm.pdf(t - shift) * true / (true + false)

    return integrate.quad(precision_at, -8, 8 + shift)[0]


@pytest.mark.parametrize(("positives", "negatives", "shift"), [(60, 120, 1.2), (25, 50, 3.0)])
def test_average_precision(positives, negatives, shift):
    truth = true_average_precision(shift, positives / (positives + negatives))
    studies = [
        auprc(*binormal(seed, positives=positives, negatives=negatives, shift=shift), replicates=200)
        for seed in range(200)
    ]
    assert 0.89 < covered(truth, [study for study in studies if study.low is not None]) < 0.985


@pytest.mark.parametrize("of", ["specificity", "sensitivity"])
def test_partial_auroc(of):
    area = integrate.quad(lambda x: stats.norm.sf(stats.norm.isf(x) - 1.5), 0, 0.2)[0]  # alike from both ends
    truth = 0.5 * (1 + (area - 0.02) / 0.18)
    studies = [
        partial_auc(*binormal(seed, positives=60, negatives=80, shift=1.5), of=of, replicates=200)
        for seed in range(200)
    ]
    assert 0.89 < covered(truth, studies) < 0.985


def test_exact_limits_never_cover_less_than_they_say():
    for share in (0.02, 0.1, 0.5, 0.93):
        chances = stats.binom.pmf(np.arange(41), 40, share)
        inside = [low <= share <= high for low, high in (exact_limits(k, 40) for k in range(41))]
        assert 0.95 <= chances[inside].sum() < 1


@pytest.mark.parametrize("method", ["wilson", "exact"])
def test_rates_where_patients_repeat(method):
    def study(seed):
        generator = np.random.default_rng(seed)
        patients = np.repeat(np.arange(60), 4)
        hidden = 1.5 * generator.normal(size=60)[patients] + generator.normal(size=240)
        return hidden < math.sqrt(1 + 1.5**2) * stats.norm.ppf(0.8), patients

    studies = [study(seed) for seed in range(600)]
    assert 0.92 < covered(0.8, [clustered_rate(*films, method=method) for films in studies]) < 0.99
    assert covered(0.8, [clustered_rate(films[0], method=method) for films in studies]) < 0.87


def test_sensitivity_at_the_threshold_of_other_films():
    studies = []
    for seed in range(600):
        labels, scores = binormal(seed, positives=50, negatives=50, shift=1.5)
        normal = np.random.default_rng(10_000 + seed).normal(size=200)
        studies.append(sensitivity_at_specificity(labels, scores, normal_scores=normal, specificity=0.9))
    inside = [s.sensitivity.low <= stats.norm.sf(s.threshold - 1.5) <= s.sensitivity.high for s in studies]
    assert 0.92 < np.mean(inside) < 0.98  # of the sensitivity at the threshold that was chosen


@pytest.mark.parametrize("prevalence", [0.02, 0.3])
def test_predictive_values_and_flags(prevalence):
    generator = np.random.default_rng(0)
    hits, passes = generator.binomial(60, 0.85, 800), generator.binomial(90, 0.9, 800)
    studies = [
        predictive_values(wilson(int(a), 60), wilson(int(b), 90), prevalence=prevalence)
        for a, b in zip(hits, passes, strict=True)
    ]
    flags = 0.85 * prevalence + 0.1 * (1 - prevalence)
    positive = covered(0.85 * prevalence / flags, [s.positive_predictive_value for s in studies])
    negative = covered(0.9 * (1 - prevalence) / (1 - flags), [s.negative_predictive_value for s in studies])
    assert 0.93 < positive < 0.985
    assert 0.93 < negative < 0.985
    assert 0.92 < covered(1000 * flags, [s.flags_per_1000 for s in studies]) < 0.985
    assert 0.92 < covered(1000 * 0.15 * prevalence, [s.misses_per_1000 for s in studies]) < 0.98


@pytest.mark.parametrize("films_a_patient", [1, 2])
def test_difference_between_subgroups_and_holm(films_a_patient):
    """No group differs: each interval holds 0, and seldom is any of three adjusted p-values below 0.05."""
    rows = []
    for seed in range(250):
        generator = np.random.default_rng(seed)
        patients = np.arange(360) // films_a_patient
        labels = generator.integers(0, 2, 360)
        scores = generator.normal(size=360) + labels + generator.normal(size=360)[patients]
        rows.append(subgroup_aurocs(labels, scores, np.arange(360) % 3, patients))
    assert 0.92 < np.mean([row.low <= 0 <= row.high for study in rows for row in study]) < 0.98
    assert 0.01 < np.mean([min(row.adjusted_p_value for row in study) < 0.05 for study in rows]) < 0.09
