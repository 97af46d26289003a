"""What readers change after they see the model's result: right to wrong, wrong to right, and by whether it was right.

Right to wrong after wrong advice is the usual measure of automation bias (Goddard, Roudsari & Wyatt 2012, J Am Med
Inform Assoc 19:121, "negative consultation").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.rates import Rate, clustered_rate
from analysis.statistics.sample import BoolArray, FloatArray, normal_quantile, take_sample

McNemar = Literal["exact McNemar", "clustered McNemar", "none"]


@dataclass(frozen=True)
class Changes:
    """Readings before and after the reveal, counted by whether they agree with the truth.

    lost is the share of right_to_wrong among the readings that were right before, gained that of wrong_to_right among
    those that were wrong, with Wilson's limits. p_value is two-sided, of as many changes in either direction; None,
    with a `reason`, where no reading changed between right and wrong.
    """

    kept_right: int
    right_to_wrong: int
    wrong_to_right: int
    kept_wrong: int
    lost: Rate
    gained: Rate
    p_value: float | None
    test: McNemar
    reason: str = ""

    @property
    def readings(self) -> int:
        return self.kept_right + self.right_to_wrong + self.wrong_to_right + self.kept_wrong


@dataclass(frozen=True)
class AutomationBias:
    """`all` readings, and those of films on which the model was right or wrong. Automation bias is `model_wrong.lost`.

    left_out counts the readings without a call before or after; without_model counts those among the others whose film
    has no call of the model: they are in `all` only.
    """

    all: Changes
    model_right: Changes
    model_wrong: Changes
    left_out: int
    without_model: int
    confidence: float


def automation_bias(
    truth: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    model: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> AutomationBias:
    """From readings (N,) of 0 and 1: truth, the reader's call before and after the reveal, and the model's call, NaN
    where a call is missing; patients (N,), or None where every reading is of its own patient. Several readers of a film
    are several readings of its patient; the readers are taken as fixed.

    With one reading for each patient the test is McNemar's exact one, a binomial test of the changes at 0.5. With
    several it is Obuchowski 1998, Stat Med 17:1495: z = Σ dₖ / √(K/(K−1) Σ dₖ²), where dₖ is the number of gained less
    that of lost readings of patient k of K; the limits are those of `clustered_rate`. Raises ValueError for other
    calls, where shapes do not match, and for a confidence outside (0, 1).
    """
    normal_quantile(confidence)
    calls = [_calls(values) for values in (before, after, model)]
    if len({len(values) for values in calls}) > 1:
        raise ValueError("before, after and model must have one call for each reading")
    sample = take_sample(truth, np.stack(calls[:2], axis=-1), patients)
    labels = sample.abnormal
    right_before, right_after = (sample.scores[:, k] == labels for k in (0, 1))
    advice = calls[2][sample.films]

    def part(member: BoolArray) -> Changes:
        return _changes(right_before[member], right_after[member], sample.patients[member], confidence=confidence)

    has_advice = np.isfinite(advice)
    return AutomationBias(
        all=part(np.ones(len(labels), dtype=bool)),
        model_right=part(has_advice & (advice == labels)),
        model_wrong=part(has_advice & (advice != labels)),
        left_out=sample.left_out,
        without_model=int(np.count_nonzero(~has_advice)),
        confidence=confidence,
    )


def _calls(values: ArrayLike) -> FloatArray:
    calls = np.asarray(values, dtype=np.float64)
    if calls.ndim != 1:
        raise ValueError(f"calls have shape {calls.shape}; expected one for each reading")
    if not np.isin(calls[~np.isnan(calls)], (0, 1)).all():
        raise ValueError("calls must be 0 (normal) or 1 (abnormal), or NaN where missing")
    return calls


def _changes(before: BoolArray, after: BoolArray, patients: NDArray[np.int64], *, confidence: float) -> Changes:
    kept_right, lost = before & after, before & ~after
    gained, kept_wrong = ~before & after, ~before & ~after
    p_value, test, reason = _test(lost, gained, patients)
    return Changes(
        kept_right=int(np.count_nonzero(kept_right)),
        right_to_wrong=int(np.count_nonzero(lost)),
        wrong_to_right=int(np.count_nonzero(gained)),
        kept_wrong=int(np.count_nonzero(kept_wrong)),
        lost=clustered_rate(lost[before], patients[before], confidence=confidence),
        gained=clustered_rate(gained[~before], patients[~before], confidence=confidence),
        p_value=p_value,
        test=test,
        reason=reason,
    )


def _test(lost: BoolArray, gained: BoolArray, patients: NDArray[np.int64]) -> tuple[float | None, McNemar, str]:
    losses, gains = int(np.count_nonzero(lost)), int(np.count_nonzero(gained))
    if not losses + gains:
        return None, "none", "No reading changed between right and wrong, so there is nothing to test."
    codes = np.unique(patients, return_inverse=True)[1]
    people = int(codes.max()) + 1
    if people == len(codes):
        return _exact_mcnemar(losses, gains), "exact McNemar", ""
    if people < 2:
        return None, "none", "All readings are of one patient: a test needs at least two."
    net = np.bincount(codes, weights=gained.astype(float) - lost, minlength=people)
    spread = people / (people - 1) * float((net**2).sum())
    if spread <= 0.0:
        return None, "none", "In each patient as many readings were lost as gained, so there is nothing to test."
    return math.erfc(abs(float(net.sum())) / math.sqrt(2 * spread)), "clustered McNemar", ""


def _exact_mcnemar(losses: int, gains: int) -> float:
    """Twice the smaller tail of Binomial(losses + gains, 0.5), at most 1."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(losses, gains), losses + gains, 0.5)))
