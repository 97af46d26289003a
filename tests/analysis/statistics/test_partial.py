"""Average precision and the partial AUROC, against scikit-learn and resamples drawn film by film."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from analysis.statistics import auprc, partial_auc
from analysis.statistics.partial import _average_precision
from analysis.statistics.resampling import counts_above, expit
from analysis.statistics.sample import resampled_weights, take_sample


def make_films(*, seed, films=120, shift=1.2, decimals=1, films_a_patient=1):
    generator = np.random.default_rng(seed)
    patients = np.arange(films) // films_a_patient
    labels = (generator.random(films) < 0.35).astype(int)
    scores = generator.normal(size=films) + shift * labels + generator.normal(size=films)[patients] * 0.5
    return labels, scores.round(decimals), patients


def unstandardised(labels, scores, end):
    """scikit-learn's raw partial area from FPR 0 to `end`, by undoing its McClish correction."""
    if end == 0:
        return 0.0
    least = end**2 / 2
    return least + (2 * roc_auc_score(labels, scores, max_fpr=end) - 1) * (end - least)


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_auprc_is_that_of_scikit_learn(decimals):
    labels, scores, _ = make_films(seed=1, decimals=decimals)
    result = auprc(labels, scores, replicates=50)
    assert result.auprc == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert result.prevalence == pytest.approx(labels.mean())
    assert result.low < result.auprc < result.high


@pytest.mark.parametrize("films_a_patient", [1, 3])
def test_auprc_interval_is_that_of_resamples_drawn_film_by_film(films_a_patient):
    labels, scores, patients = make_films(seed=2, films_a_patient=films_a_patient)
    result = auprc(labels, scores, patients, replicates=60, seed=5)
    weights = np.concatenate(list(resampled_weights(take_sample(labels, scores, patients), replicates=60, seed=5)))
    slow = [average_precision_score(np.repeat(labels, w), np.repeat(scores, w)) for w in weights]
    value = average_precision_score(labels, scores)
    half = stats.norm.ppf(0.975) * np.std(slow, ddof=1) / (value * (1 - value))
    expected = [1 / (1 + math.exp(-(math.log(value / (1 - value)) + sign * half))) for sign in (-1, 1)]
    assert (result.low, result.high) == pytest.approx(expected, abs=1e-9)


def test_auprc_of_scores_that_tell_nothing_is_the_prevalence():
    result = auprc([1, 0, 0, 0, 1, 0, 0, 0], np.zeros(8), replicates=20)
    assert (result.auprc, result.prevalence) == (0.25, 0.25)
    assert (result.low, result.high) == (None, None)
    assert "All resamples give the same value" in result.reason


@pytest.mark.parametrize("decimals", [0, 9])
@pytest.mark.parametrize("start", [0.8, 0.5, 0.0])
def test_partial_auc_of_high_specificity_is_that_of_scikit_learn(start, decimals):
    labels, scores, _ = make_films(seed=3, decimals=decimals)
    result = partial_auc(labels, scores, range_low=start, replicates=20)
    assert result.partial_auc == pytest.approx(roc_auc_score(labels, scores, max_fpr=1 - start), abs=1e-12)


@pytest.mark.parametrize("start", [0.9, 0.6])
def test_partial_auc_of_high_sensitivity_is_that_of_the_classes_changed(start):
    labels, scores, _ = make_films(seed=4)
    result = partial_auc(labels, scores, of="sensitivity", range_low=start, replicates=20)
    assert result.partial_auc == pytest.approx(roc_auc_score(1 - labels, -scores, max_fpr=1 - start), abs=1e-12)


@pytest.mark.parametrize("of", ["specificity", "sensitivity"])
@pytest.mark.parametrize(("low", "high"), [(0.6, 0.9), (0.0, 0.3), (0.333, 0.334)])
def test_partial_auc_inside_the_curve_is_a_difference_of_two(of, low, high):
    labels, scores, _ = make_films(seed=5)
    result = partial_auc(labels, scores, of=of, range_low=low, range_high=high, replicates=20)
    y, s = (labels, scores) if of == "specificity" else (1 - labels, -scores)
    area = unstandardised(y, s, 1 - low) - unstandardised(y, s, 1 - high)
    assert result.area == pytest.approx(area, abs=1e-10)
    least, greatest = ((1 - low) ** 2 - (1 - high) ** 2) / 2, high - low
    assert result.partial_auc == pytest.approx(0.5 * (1 + (area - least) / (greatest - least)), abs=1e-9)


@pytest.mark.parametrize("films_a_patient", [1, 3])
def test_partial_auc_interval_is_that_of_resamples_drawn_film_by_film(films_a_patient):
    labels, scores, patients = make_films(seed=6, films_a_patient=films_a_patient)
    result = partial_auc(labels, scores, patients, replicates=60, seed=5)
    weights = np.concatenate(list(resampled_weights(take_sample(labels, scores, patients), replicates=60, seed=5)))
    slow = [unstandardised(np.repeat(labels, w), np.repeat(scores, w), 0.2) / 0.2 for w in weights]
    value = result.area / 0.2
    half = stats.norm.ppf(0.975) * np.std(slow, ddof=1) / (value * (1 - value))
    shares = [1 / (1 + math.exp(-(math.log(value / (1 - value)) + sign * half))) for sign in (-1, 1)]
    expected = [0.5 * (1 + (0.2 * share - 0.02) / 0.18) for share in shares]
    assert (result.low, result.high) == pytest.approx(expected, abs=1e-9)


def test_a_perfect_ranking_has_no_interval():
    labels = np.repeat([0, 1], 5)
    for result, value in (
        (auprc(labels, np.arange(10.0)), "auprc"),
        (partial_auc(labels, np.arange(10.0)), "partial_auc"),
    ):
        assert getattr(result, value) == 1.0
        assert (result.low, result.high) == (None, None)
        assert "All resamples give the same value" in result.reason


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 0, 0], "No abnormal film has a score, so the {} is not defined"),
        ([1, 0, 0], "only one abnormal and one normal patient"),
    ],
)
def test_what_is_undefined_says_why(labels, words):
    for statistic, name in ((auprc, "average precision"), (partial_auc, "partial AUROC")):
        result = statistic(labels, [3.0, 2.0, np.nan])
        assert words.format(name) in result.reason
        assert (result.low, result.high, result.left_out) == (None, None, 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"of": "precision"}, "of is 'precision'; it must be 'specificity' or 'sensitivity'"),
        ({"range_low": 0.9, "range_high": 0.8}, "the range 0.9 to 0.8 must rise and lie in 0 to 1"),
        ({"range_high": 1.2}, "the range 0.8 to 1.2 must rise"),
        ({"confidence": 95}, "confidence is 95"),
    ],
)
def test_nonsense_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        partial_auc([0, 1], [0.1, 0.2], **settings)


def test_the_seed_decides_the_interval():
    labels, scores, patients = make_films(seed=7)
    assert auprc(labels, scores, patients, seed=1) == auprc(labels, scores, patients, seed=1)
    assert auprc(labels, scores, patients, seed=1).low != auprc(labels, scores, patients, seed=2).low


def test_counts_above_keep_ties_together():
    sample = take_sample([1, 0, 1, 0], [2.0, 2.0, 1.0, 3.0])
    order = np.argsort(-sample.scores[:, 0], kind="stable")
    positive, negative = counts_above(sample, order, np.array([[1, 1, 1, 1], [2, 0, 1, 1]]))
    assert positive.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert negative.tolist() == [[1, 2, 2], [1, 1, 1]]
    assert _average_precision(positive, negative) == pytest.approx([(1 / 3 + 1 / 2) / 2, (2 * 2 / 3 + 3 / 4) / 3])


def test_expit_neither_overflows_nor_loses_the_ends():
    assert expit([-800.0, 0.0, 800.0]).tolist() == [0.0, 0.5, 1.0]
