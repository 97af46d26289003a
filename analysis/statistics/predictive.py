"""Predictive values and workload at a given prevalence, from a sensitivity and a specificity."""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.statistics.counts import Proportion
from analysis.statistics.rates import Rate
from analysis.statistics.resampling import expit
from analysis.statistics.sample import normal_quantile


@dataclass(frozen=True)
class Estimate:
    """A value with its limits; None, with a `reason`, where it cannot be computed."""

    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True)
class PredictiveValues:
    """At a prevalence that is taken as known: predictive values in [0, 1], and counts per 1,000 films.

    flags are films called abnormal, false_alarms the normal ones among them, misses abnormal films that are not called.
    method is that of the intervals of the predictive values: "logit" or "adjusted logit".
    """

    prevalence: float
    positive_predictive_value: Estimate
    negative_predictive_value: Estimate
    flags_per_1000: Estimate
    false_alarms_per_1000: Estimate
    misses_per_1000: Estimate
    method: str
    confidence: float


def predictive_values(
    sensitivity: Rate | Proportion, specificity: Rate | Proportion, *, prevalence: float
) -> PredictiveValues:
    """PPV and NPV from a sensitivity and a specificity of different films, at a prevalence in (0, 1).

    Mercaldo, Lau & Zhou 2007, Stat Med 26:2170, eq. 8–11: limits on the logit scale by the delta method, with effective
    totals where patients have several films. Where a rate is 0 or 1, and its estimated variance therefore zero, the
    interval comes from their adjusted estimates (x + z²/2) / (n + z²), widened to include the estimate itself. The
    flags per 1,000 films are a sum of two rates, with MOVER limits (Zou & Donner 2008, Stat Med 27:1693). Raises
    ValueError for another prevalence, and where the two confidences differ.
    """
    if not 0.0 < prevalence < 1.0:
        raise ValueError(f"prevalence is {prevalence}; it must lie between 0 and 1, such as 0.05")
    if sensitivity.confidence != specificity.confidence:
        raise ValueError(
            f"sensitivity has confidence {sensitivity.confidence} and specificity {specificity.confidence}; "
            "make both with the same"
        )
    z = normal_quantile(sensitivity.confidence)
    adjusted = sensitivity.value in (0.0, 1.0) or specificity.value in (0.0, 1.0)
    false_alarm_odds = (1 - prevalence) / prevalence
    # PPV = se π / (se π + (1−sp)(1−π)); NPV is the same with the classes swapped, and specificity for sensitivity
    positive = _predictive(sensitivity, specificity, odds_against=false_alarm_odds, z=z, adjusted=adjusted)
    negative = _predictive(specificity, sensitivity, odds_against=1 / false_alarm_odds, z=z, adjusted=adjusted)
    hits = _scaled(sensitivity, factor=1000 * prevalence)
    missed = _scaled(sensitivity, factor=1000 * prevalence, of_rest=True)
    false_alarms = _scaled(specificity, factor=1000 * (1 - prevalence), of_rest=True)
    return PredictiveValues(
        prevalence=prevalence,
        positive_predictive_value=positive,
        negative_predictive_value=negative,
        flags_per_1000=sum_of(hits, false_alarms),
        false_alarms_per_1000=false_alarms,
        misses_per_1000=missed,
        method="adjusted logit" if adjusted else "logit",
        confidence=sensitivity.confidence,
    )


def sum_of(first: Estimate, second: Estimate) -> Estimate:
    """The sum of two independent estimates, with limits from those of each (MOVER)."""
    for estimate in (first, second):
        if estimate.value is None or estimate.low is None or estimate.high is None:
            return Estimate(None, None, None, estimate.reason)
    a, b = first, second
    assert a.value is not None and a.low is not None and a.high is not None
    assert b.value is not None and b.low is not None and b.high is not None
    value = a.value + b.value
    low = value - math.hypot(a.value - a.low, b.value - b.low)
    return Estimate(value, low, value + math.hypot(a.high - a.value, b.high - b.value))


def _predictive(
    right: Rate | Proportion, other: Rate | Proportion, *, odds_against: float, z: float, adjusted: bool
) -> Estimate:
    """right / (right + (1 − other) · odds_against), with its limits."""
    if right.value is None or other.value is None:
        return Estimate(None, None, None, _why(right if right.value is None else other))
    n, m = _size(right), _size(other)
    if n is None or m is None:
        return Estimate(None, None, None, _why(right if n is None else other))
    called = right.value + (1 - other.value) * odds_against
    if called == 0:
        return Estimate(None, None, None, "No film gets this call, so the share correct is undefined.")
    value = right.value / called
    a, b = right.value, other.value
    if adjusted:
        a, n = (a * n + z**2 / 2) / (n + z**2), n + z**2
        b, m = (b * m + z**2 / 2) / (m + z**2), m + z**2
    centre = math.log(a / ((1 - b) * odds_against))
    half = z * math.sqrt((1 - a) / (a * n) + b / ((1 - b) * m))
    return Estimate(value, min(value, float(expit(centre - half))), max(value, float(expit(centre + half))))


def _scaled(rate: Rate | Proportion, *, factor: float, of_rest: bool = False) -> Estimate:
    """factor · rate, or factor · (1 − rate)."""
    if rate.value is None or rate.low is None or rate.high is None:
        return Estimate(None, None, None, _why(rate))
    if of_rest:
        return Estimate(factor * (1 - rate.value), factor * (1 - rate.high), factor * (1 - rate.low))
    return Estimate(factor * rate.value, factor * rate.low, factor * rate.high)


def _size(rate: Rate | Proportion) -> float | None:
    return rate.effective_total if isinstance(rate, Rate) else float(rate.total)


def _why(rate: Rate | Proportion) -> str:
    if isinstance(rate, Rate) and rate.reason:
        return rate.reason
    return "One of the two rates is of no film, so this value is not defined."
