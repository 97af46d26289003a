"""The false-alarm rate that a number of calibration patients can promise. A pure function."""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class PromisedAlarms:
    """The share of new normal patients above a threshold fixed on `patients` for a rate of at most `target`: `expected`
    on average over their draw, `low` to `high` in 95 % of draws. All are percentages."""

    target: float
    patients: int
    expected: float
    low: float
    high: float


def promised_alarms(patients: int, *, target: float = 0.1) -> PromisedAlarms | None:
    """None if there are too few patients. The threshold is the k-th smallest of their scores, k =
    ⌈(1 − target)(n + 1)⌉; if the patients are exchangeable with new ones, the rate has a Beta(n + 1 − k, k)
    distribution."""
    from scipy.special import betaincinv

    k = ceil((1 - target) * (patients + 1) - 1e-9)
    if k > patients:
        return None
    above = patients + 1 - k
    low, high = (100 * float(betaincinv(above, k, share)) for share in (0.025, 0.975))
    return PromisedAlarms(100 * target, patients, 100 * above / (patients + 1), low, high)
