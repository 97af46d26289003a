"""Power and sample size of a study of one AUROC, or of the difference between two AUROCs of the same films.

The estimates are taken as normally distributed, with the variances below, and films as independent. The numbers are for
planning: the interval of a real sample comes from `auroc_interval` or `delong_paired`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

Variance = Literal["obuchowski", "hanley_mcneil"]

MOST_FILMS = 10_000_000


@dataclass(frozen=True)
class Power:
    """The probability, in [0, 1], that a study with these numbers of films rejects the null hypothesis if `auroc` (and,
    in a paired study, `other`) is the true value. For a single AUROC, `other` is the null value. level is that of the
    whole test, both sides together."""

    power: float
    auroc: float
    other: float
    positives: int
    negatives: int
    level: float
    sides: int
    variance: Variance
    correlation: float | None = None


def auroc_variance(auroc: float, *, positives: int, negatives: int, variance: Variance = "obuchowski") -> float:
    """Variance of the estimate of an AUROC in (0, 1) from these numbers of abnormal and normal films.

    obuchowski: Obuchowski 1994, Acad Radiol 1:Suppl, as in Obuchowski, Lieber & Wians 2004, Clin Chem 50:1118:
    0.0099 e^(−a²/2) [(5a² + 8) / m + (a² + 8) / n], a = 1.414 Φ⁻¹(A), of binormal scores with equal spread.
    hanley_mcneil: Hanley & McNeil 1982, Radiology 143:29, eq. 2: {A (1 − A) + (m − 1)(Q₁ − A²) + (n − 1)(Q₂ − A²)} /
    (m n), Q₁ = A / (2 − A), Q₂ = 2A² / (1 + A), of exponential scores. Both are conservative for high areas: for
    binormal scores of 40 abnormal and 60 normal films, obuchowski is 1.3 times the simulated variance at 0.8 and 1.7
    times at 0.93, hanley_mcneil 1.1 and 1.4 times. Raises ValueError for values outside their ranges.
    """
    _refuse_share("auroc", auroc)
    _refuse_films(positives, negatives)
    m, n = positives, negatives
    if variance == "obuchowski":
        a = 1.414 * NormalDist().inv_cdf(auroc)
        return 0.0099 * math.exp(-(a**2) / 2) * ((5 * a**2 + 8) / m + (a**2 + 8) / n)
    if variance == "hanley_mcneil":
        q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
        return (auroc * (1 - auroc) + (m - 1) * (q1 - auroc**2) + (n - 1) * (q2 - auroc**2)) / (m * n)
    raise ValueError(f"variance is {variance!r}; it must be 'obuchowski' or 'hanley_mcneil'")


def auroc_power(
    auroc: float,
    *,
    positives: int,
    negatives: int,
    null: float = 0.5,
    level: float = 0.05,
    sides: int = 2,
    variance: Variance = "obuchowski",
) -> Power:
    """Power of the test that an AUROC differs from `null`: Φ((|A − A₀| − z √V₀) / √V), V₀ and V being the variances at
    `null` and at `auroc` (Obuchowski 1998, Stat Methods Med Res 7:371). The probability of rejecting in the wrong
    direction is ignored. Raises ValueError for values outside their ranges."""
    under_null = auroc_variance(null, positives=positives, negatives=negatives, variance=variance)
    under_truth = auroc_variance(auroc, positives=positives, negatives=negatives, variance=variance)
    power = _power(auroc - null, under_null, under_truth, level=level, sides=sides)
    return Power(
        power=power,
        auroc=auroc,
        other=null,
        positives=positives,
        negatives=negatives,
        level=level,
        sides=sides,
        variance=variance,
    )


def auroc_sample_size(
    auroc: float,
    *,
    power: float = 0.8,
    normals_per_abnormal: float = 1.0,
    null: float = 0.5,
    level: float = 0.05,
    sides: int = 2,
    variance: Variance = "obuchowski",
) -> Power:
    """The fewest abnormal films, with ⌈films · normals_per_abnormal⌉ normal films, whose `auroc_power` reaches `power`.

    Raises ValueError for values outside their ranges and where 10 million abnormal films are not enough.
    """

    def power_of(positives: int) -> Power:
        return auroc_power(
            auroc, positives=positives, negatives=math.ceil(positives * normals_per_abnormal - 1e-9), null=null,
            level=level, sides=sides, variance=variance,
        )  # fmt: skip

    return _fewest(power_of, power=power, normals_per_abnormal=normals_per_abnormal)


def paired_auroc_power(
    first: float,
    second: float,
    *,
    positives: int,
    negatives: int,
    correlation: float,
    level: float = 0.05,
    sides: int = 2,
    variance: Variance = "obuchowski",
) -> Power:
    """Power of the test that two AUROCs of the same films differ, `correlation` being that of their estimates.

    V = V₁ + V₂ − 2 r √(V₁ V₂) (Hanley & McNeil 1983, Radiology 148:839, eq. 1), under the null hypothesis with both
    areas at their mean. Estimate r from a pilot study: the covariance from `delong_paired` is (V₁ + V₂ − V) / 2. Raises
    ValueError for values outside their ranges.
    """
    if not -1.0 <= correlation < 1.0:
        raise ValueError(f"correlation is {correlation}; it must be at least -1 and below 1")
    both = [
        auroc_variance(area, positives=positives, negatives=negatives, variance=variance) for area in (first, second)
    ]
    middle = auroc_variance((first + second) / 2, positives=positives, negatives=negatives, variance=variance)
    under_null = 2 * middle * (1 - correlation)
    under_truth = both[0] + both[1] - 2 * correlation * math.sqrt(both[0] * both[1])
    power = _power(first - second, under_null, under_truth, level=level, sides=sides)
    return Power(
        power=power,
        auroc=first,
        other=second,
        positives=positives,
        negatives=negatives,
        level=level,
        sides=sides,
        variance=variance,
        correlation=correlation,
    )


def paired_auroc_sample_size(
    first: float,
    second: float,
    *,
    correlation: float,
    power: float = 0.8,
    normals_per_abnormal: float = 1.0,
    level: float = 0.05,
    sides: int = 2,
    variance: Variance = "obuchowski",
) -> Power:
    """The fewest abnormal films whose `paired_auroc_power` reaches `power`; otherwise as `auroc_sample_size`."""

    def power_of(positives: int) -> Power:
        return paired_auroc_power(
            first, second, positives=positives, negatives=math.ceil(positives * normals_per_abnormal - 1e-9),
            correlation=correlation, level=level, sides=sides, variance=variance,
        )  # fmt: skip

    return _fewest(power_of, power=power, normals_per_abnormal=normals_per_abnormal)


def _power(difference: float, under_null: float, under_truth: float, *, level: float, sides: int) -> float:
    _refuse_share("level", level)
    if sides not in (1, 2):
        raise ValueError(f"sides is {sides}; it must be 1 or 2")
    critical = NormalDist().inv_cdf(1 - level / sides) * math.sqrt(under_null)
    return NormalDist().cdf((abs(difference) - critical) / math.sqrt(under_truth))


def _fewest(power_of: Callable[[int], Power], *, power: float, normals_per_abnormal: float) -> Power:
    """Doubling, then bisection, since the power rises with the number of films."""
    _refuse_share("power", power)
    if not 0.0 < normals_per_abnormal < math.inf:
        raise ValueError(f"normals_per_abnormal is {normals_per_abnormal}; it must be above 0, such as 1")
    enough = 1
    while power_of(enough).power < power:
        if enough >= MOST_FILMS:
            raise ValueError(f"{MOST_FILMS} abnormal films are not enough: the areas to distinguish are too close")
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if power_of(middle).power < power:
            too_few = middle
        else:
            enough = middle
    return power_of(enough)


def _refuse_share(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} is {value}; it must lie between 0 and 1")


def _refuse_films(positives: int, negatives: int) -> None:
    if positives < 1 or negatives < 1:
        raise ValueError(f"{positives} abnormal and {negatives} normal films; a study needs at least one of each")
