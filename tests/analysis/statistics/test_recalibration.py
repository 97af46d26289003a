"""Recalibration against scikit-learn, its intervals against a bootstrap, net benefit against counting film by film."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from analysis.statistics import auroc_interval, fit_recalibration, net_benefits, risk_calibration

RNG = np.random.default_rng(4)
LABELS = (RNG.random(800) < 0.4).astype(int)
SCORES = RNG.normal(size=800) + 1.2 * LABELS
PATIENTS = np.arange(800) // 2


def logit(share):
    return np.log(share / (1 - share))


def test_slope_and_intercept_are_those_of_scikit_learn_moved_to_the_prevalence():
    fit = fit_recalibration(LABELS, SCORES, prevalence=0.05)
    plain = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(SCORES[:, None], LABELS)
    assert fit.slope == pytest.approx(plain.coef_[0, 0], abs=1e-4)
    shift = logit(0.05) - logit(LABELS.mean())
    assert fit.intercept == pytest.approx(plain.intercept_[0] + shift, abs=1e-4)
    assert (fit.positives, fit.negatives) == (LABELS.sum(), 800 - LABELS.sum())


def test_at_the_samples_own_prevalence_risks_average_to_it():
    share = LABELS.mean()
    fit = fit_recalibration(LABELS, SCORES, prevalence=float(share))
    assert fit.risks(SCORES).mean() == pytest.approx(share, abs=1e-9)
    result = risk_calibration(LABELS, fit.risks(SCORES), prevalence=float(share))
    assert result.expected == pytest.approx(share, abs=1e-9)
    assert (result.intercept.value, result.slope.value) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))
    assert result.brier == pytest.approx(((fit.risks(SCORES) - LABELS) ** 2).mean(), abs=1e-12)


def test_the_order_of_films_is_kept():
    fit = fit_recalibration(LABELS, SCORES, prevalence=0.01)
    assert auroc_interval(LABELS, fit.risks(SCORES)).auroc == auroc_interval(LABELS, SCORES).auroc


def weighted(labels, risks, prevalence):
    """Intercept with slope 1, and slope, by scikit-learn and by bisection."""
    weights = np.where(labels == 1, prevalence / labels.sum(), (1 - prevalence) / (labels == 0).sum())
    low, high = -20.0, 20.0
    for _ in range(100):
        middle = (low + high) / 2
        shifted = 1 / (1 + np.exp(-(logit(risks) + middle)))
        low, high = (middle, high) if weights @ shifted < prevalence else (low, middle)
    fit = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000)
    fit.fit(logit(risks)[:, None], labels, sample_weight=weights * len(labels))
    return low, fit.coef_[0, 0]


RISKS = 1 / (1 + np.exp(-(-2.0 + 0.7 * SCORES)))  # flatter and lower than the truth


def test_calibration_intercept_and_slope_are_those_of_a_weighted_regression():
    result = risk_calibration(LABELS, RISKS, prevalence=0.1)
    assert (result.intercept.value, result.slope.value) == pytest.approx(weighted(LABELS, RISKS, 0.1), abs=1e-3)
    assert result.slope.value > 1.3


def test_their_limits_are_those_of_a_bootstrap_by_patient():
    labels = np.repeat(LABELS[::2], 2)  # both films of a patient have one label, so that patients fall into two strata
    risks = 1 / (1 + np.exp(-(-2.0 + 0.7 * (RNG.normal(size=400).repeat(2) + RNG.normal(size=800) * 0.3 + labels))))
    result = risk_calibration(labels, risks, PATIENTS, prevalence=0.1)
    strata = [np.flatnonzero(labels[::2] == kind) for kind in (0, 1)]  # patients
    drawn = []
    for _ in range(150):
        people = np.concatenate([RNG.choice(kind, len(kind)) for kind in strata])
        films = np.stack([2 * people, 2 * people + 1], axis=1).ravel()
        drawn.append(weighted(labels[films], risks[films], 0.1))
    spread = np.std(drawn, axis=0)
    for number, error in zip((result.intercept, result.slope), spread, strict=True):
        assert (number.high - number.low) / 2 / 1.96 == pytest.approx(error, rel=0.2)


def test_groups_show_the_observed_risk_at_the_prevalence():
    result = risk_calibration(LABELS, RISKS, prevalence=0.1, least=100)
    assert [group.films for group in result.groups] == [100] * 8
    ranked = LABELS[np.argsort(RISKS, kind="stable")]
    for group, labels in zip(result.groups, ranked.reshape(8, 100), strict=True):
        ill = 0.1 * labels.sum() / LABELS.sum()
        well = 0.9 * (1 - labels).sum() / (1 - LABELS).sum()
        assert group.observed == pytest.approx(ill / (ill + well))
        assert group.low < group.observed < group.high
        assert group.abnormal == labels.sum()
    assert [group.predicted for group in result.groups] == sorted(group.predicted for group in result.groups)


def test_net_benefit_is_that_of_counting():
    rows = net_benefits(LABELS, RISKS, PATIENTS, prevalence=0.1, thresholds=[0.05, 0.2], replicates=200)
    for row in rows:
        true = sum(1 for label, risk in zip(LABELS, RISKS, strict=True) if label and risk >= row.threshold)
        false = sum(1 for label, risk in zip(LABELS, RISKS, strict=True) if not label and risk >= row.threshold)
        odds = row.threshold / (1 - row.threshold)
        assert row.value == pytest.approx(0.1 * true / LABELS.sum() - 0.9 * false / (1 - LABELS).sum() * odds)
        assert row.all_called == pytest.approx(0.1 - 0.9 * odds)
        assert row.low < row.value < row.high


def test_calling_everybody_is_the_net_benefit_of_a_risk_that_is_always_high():
    (row,) = net_benefits(LABELS, np.full(800, 0.9), prevalence=0.1, thresholds=[0.05], replicates=10)
    assert row.value == pytest.approx(row.all_called)


@pytest.mark.parametrize(
    ("labels", "scores", "least", "reason"),
    [
        ([0, 0, 1, 1], [1, 2, 3, 4], 1, "separate the classes completely"),
        ([0, 0, 1, 1], [3, 4, 1, 2], 1, "separate the classes completely"),
        ([0, 0, 1], [1, 3, 2], 2, "1 abnormal film: at least 2 of each class"),
        ([1, 1], [1, 3], 1, "0 normal films: at least 1 of each class"),
    ],
)
def test_what_cannot_be_fitted_has_a_reason(labels, scores, least, reason):
    fit = fit_recalibration(labels, scores, prevalence=0.1, least=least)
    assert fit.slope is None
    assert reason in fit.reason
    with pytest.raises(ValueError, match="no recalibration was fitted"):
        fit.risks([1.0])


def test_a_class_without_films_has_neither_calibration_nor_benefit():
    result = risk_calibration([0, 0], [0.1, 0.2], prevalence=0.1)
    assert result.brier is None
    assert "0 abnormal films" in result.reason
    assert net_benefits([0, 0], [0.1, 0.2], prevalence=0.1, thresholds=[0.1]) == ()


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"prevalence is 1\.0"):
        fit_recalibration(LABELS, SCORES, prevalence=1.0)
    with pytest.raises(ValueError, match="thresholds are"):
        net_benefits(LABELS, RISKS, prevalence=0.1, thresholds=[0.0])
