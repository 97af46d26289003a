"""The difference of two AUROCs of different films of different patients."""

from __future__ import annotations

from dataclasses import replace

from analysis.statistics.auroc import Auroc, AurocDifference, with_interval
from analysis.statistics.sample import normal_quantile


def independent_difference(first: Auroc, second: Auroc, *, confidence: float = 0.95) -> AurocDifference:
    """first − second, with the sum of both variances (Hanley & McNeil 1982, Radiology 143:29), an interval clipped to
    [−1, 1], and a two-sided p-value. None, with a `reason`, where an AUROC or a variance is missing. Raises ValueError
    for a confidence outside (0, 1)."""
    normal_quantile(confidence)  # refuses one outside (0, 1), whatever the films
    result = AurocDifference(
        difference=None, variance=None, low=None, high=None, p_value=None, first=first, second=second,
        reason=first.reason or second.reason,
    )  # fmt: skip
    if first.auroc is None or second.auroc is None:
        return result
    difference = first.auroc - second.auroc
    if first.variance is None or second.variance is None:
        return replace(result, difference=difference)
    variance = first.variance + second.variance
    if variance <= 0.0:
        reason = "Both sets separate completely, so the difference has no variance."
        return replace(result, difference=difference, variance=0.0, reason=reason)
    return with_interval(result, difference, variance, confidence=confidence)
