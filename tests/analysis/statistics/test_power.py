"""Power and sample size, against pROC, published tables and simulated studies."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import (
    auroc_power,
    auroc_sample_size,
    auroc_variance,
    delong_paired,
    paired_auroc_power,
    paired_auroc_sample_size,
)


@pytest.mark.parametrize(
    ("settings", "expected"),  # of the tests of R's pROC, power.roc.test
    [
        ({"auroc": 0.73}, 0.9897453),
        ({"auroc": 0.73, "level": 0.009238584}, 0.95),
        ({"auroc": 0.6961054}, 0.95),
    ],
)
def test_power_is_that_of_proc(settings, expected):
    auroc = settings.pop("auroc")
    assert auroc_power(auroc, positives=41, negatives=72, **settings).power == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("ratio", [0.5, 1, 2, 4])
@pytest.mark.parametrize("auroc", [0.6, 0.7])
def test_sample_sizes_of_obuchowski_lieber_and_wians(ratio, auroc):
    # Clin Chem 2004 50:1118, table 4: abnormal films for 90 % power, one-sided 5 %
    published = {
        0.6: {0.5: 201, 1: 135, 2: 102, 4: 85},
        0.7: {0.5: 49, 1: 33, 2: 25, 4: 21},
    }[auroc][ratio]
    result = auroc_sample_size(auroc, power=0.9, sides=1, normals_per_abnormal=ratio)
    assert abs(result.positives - published) <= 1
    assert result.negatives == math.ceil(result.positives * ratio)


def test_variance_of_hanley_and_mcneil():
    # Hanley & McNeil 1982, table I and the text: area 0.893 of 51 abnormal and 58 normal images, standard error 0.032
    result = auroc_variance(0.893, positives=51, negatives=58, variance="hanley_mcneil")
    assert math.sqrt(result) == pytest.approx(0.032, abs=6e-4)


@pytest.mark.parametrize("auroc", [0.6, 0.8, 0.93])
def test_hanley_and_mcneil_is_exact_for_exponential_scores(auroc):
    generator = np.random.default_rng(0)
    normal = generator.exponential(size=(3000, 60, 1))
    abnormal = generator.exponential(size=(3000, 1, 40)) * auroc / (1 - auroc)  # P(abnormal > normal) is then auroc
    areas = (abnormal > normal).mean(axis=(1, 2))
    expected = auroc_variance(auroc, positives=40, negatives=60, variance="hanley_mcneil")
    assert areas.var(ddof=1) == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize(("auroc", "obuchowski", "hanley"), [(0.6, 1.0, 1.0), (0.8, 1.3, 1.14), (0.93, 1.7, 1.39)])
def test_variances_are_cautious_for_binormal_scores_by_as_much_as_is_said(auroc, obuchowski, hanley):
    generator = np.random.default_rng(0)
    shift = math.sqrt(2) * stats.norm.ppf(auroc)
    normal, abnormal = generator.normal(size=(3000, 60, 1)), generator.normal(size=(3000, 1, 40)) + shift
    seen = (abnormal > normal).mean(axis=(1, 2)).var(ddof=1)
    for variance, times in (("obuchowski", obuchowski), ("hanley_mcneil", hanley)):
        assert auroc_variance(auroc, positives=40, negatives=60, variance=variance) / seen == pytest.approx(
            times, rel=0.1
        )


def test_obuchowskis_variance_is_that_of_the_binormal_parameters():
    # A = Φ(a / √(1 + b²)): the delta method over a and b, their covariance left out as she does
    a, m, n = 1.414 * stats.norm.ppf(0.85), 40, 60

    def area(a, b):
        return stats.norm.cdf(a / math.sqrt(1 + b * b))

    by_a, by_b = (area(a + 1e-6, 1) - area(a - 1e-6, 1)) / 2e-6, (area(a, 1 + 1e-6) - area(a, 1 - 1e-6)) / 2e-6
    expected = by_a**2 * (1 / m + 1 / n + a**2 / (2 * m)) + by_b**2 * (1 / (2 * m) + 1 / (2 * n))
    assert auroc_variance(0.85, positives=m, negatives=n) == pytest.approx(expected, rel=0.01)  # 0.0099 is 1 / (32 π)


@pytest.mark.parametrize("variance", ["obuchowski", "hanley_mcneil"])
def test_sample_size_is_the_fewest(variance):
    result = auroc_sample_size(0.78, null=0.7, power=0.8, normals_per_abnormal=1.5, variance=variance)
    fewer = auroc_power(
        0.78, null=0.7, positives=result.positives - 1, negatives=math.ceil((result.positives - 1) * 1.5),
        variance=variance,
    )  # fmt: skip
    assert fewer.power < 0.8 <= result.power
    assert result == auroc_power(
        0.78, null=0.7, positives=result.positives, negatives=result.negatives, variance=variance
    )


def test_paired_sample_size_is_the_fewest():
    result = paired_auroc_sample_size(0.774, 0.761, correlation=0.8, power=0.9)
    fewer = paired_auroc_power(
        0.774, 0.761, positives=result.positives - 1, negatives=result.negatives - 1, correlation=0.8
    )
    assert fewer.power < 0.9 <= result.power
    assert result.correlation == 0.8


def test_paired_power_by_hand():
    result = paired_auroc_power(0.85, 0.75, positives=80, negatives=120, correlation=0.4)
    v1, v2, v0 = (auroc_variance(area, positives=80, negatives=120) for area in (0.85, 0.75, 0.8))
    expected = stats.norm.cdf(
        (0.1 - stats.norm.ppf(0.975) * math.sqrt(2 * v0 * 0.6)) / math.sqrt(v1 + v2 - 0.8 * math.sqrt(v1 * v2))
    )
    assert result.power == pytest.approx(expected, abs=1e-12)
    assert paired_auroc_power(0.75, 0.85, positives=80, negatives=120, correlation=0.4).power == result.power


def test_paired_power_is_that_of_simulated_studies():
    def study(seed):
        generator = np.random.default_rng(seed)
        labels = np.repeat([0, 1], 80)
        scores = generator.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=160)
        shifts = math.sqrt(2) * stats.norm.ppf([0.85, 0.77])
        return delong_paired(labels, *(scores + labels[:, None] * shifts).T)

    studies = [study(seed) for seed in range(300)]
    pilot = [((s.first.variance + s.second.variance - s.variance) / 2) for s in studies]
    spread = [math.sqrt(s.first.variance * s.second.variance) for s in studies]
    correlation = float(np.mean(pilot) / np.mean(spread))
    rejected = np.mean([s.p_value < 0.05 for s in studies])
    planned = paired_auroc_power(
        0.85, 0.77, positives=80, negatives=80, correlation=correlation, variance="hanley_mcneil"
    ).power
    assert 0.4 < planned < 0.9
    assert rejected == pytest.approx(planned, abs=0.07)


def test_more_of_everything_is_more_power():
    def power(auroc=0.8, **changes):
        return auroc_power(auroc, **({"positives": 30, "negatives": 40, "null": 0.7} | changes)).power

    assert power() < min(power(positives=60), power(negatives=80), power(0.85), power(level=0.1), power(sides=1))
    assert auroc_power(0.7, null=0.7, positives=50, negatives=50).power == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"null": 1.0}, "auroc is 1.0; it must lie between 0 and 1"),
        ({"level": 5}, "level is 5; it must lie between 0 and 1"),
        ({"sides": 3}, "sides is 3; it must be 1 or 2"),
        ({"positives": 0}, "0 abnormal and 50 normal films; a study needs at least one of each"),
        ({"variance": "delong"}, "variance is 'delong'; it must be 'obuchowski' or 'hanley_mcneil'"),
    ],
)
def test_power_refuses_nonsense(settings, words):
    with pytest.raises(ValueError, match=words):
        auroc_power(0.8, **({"positives": 50, "negatives": 50} | settings))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"power": 80}, "power is 80; it must lie between 0 and 1"),
        ({"normals_per_abnormal": 0}, "normals_per_abnormal is 0; it must be above 0"),
        ({"null": 0.8}, "10000000 abnormal films are not enough: the areas to distinguish are too close"),
    ],
)
def test_sample_size_refuses_nonsense(settings, words):
    with pytest.raises(ValueError, match=words):
        auroc_sample_size(0.8, **settings)


@pytest.mark.parametrize("correlation", [1.0, -1.1, math.nan])
def test_correlation_is_below_one(correlation):
    with pytest.raises(ValueError, match=f"correlation is {correlation}; it must be at least -1 and below 1"):
        paired_auroc_power(0.8, 0.7, positives=5, negatives=5, correlation=correlation)
