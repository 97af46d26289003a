"""The variance and interval of an AUROC, clustered by patient, also of mean and weighted AUROCs of several scores.

DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; clustered as Obuchowski 1997, Biometrics 53:567; complete
separation as Newcombe 2006, Stat Med 25:559, method 5. The pages of `analysis` have the same statistics; the engine
cannot import them, and a test compares the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.score.auroc import mid_ranks

Z = 1.959963984540054  # of a 95 % interval
FEW = 50  # patients in a class, and
NEAR_ONE = 0.95  # an area, from which the interval is computed on the logit scale

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Placements:
    """For each film, the share of the films of the other class that it is ranked correctly against, ties counting half:
    ``values`` float64 (N,) in the order of the films, ``abnormal`` bool (N,), ``patients`` int64 (N,) their numbers.

    Linear combinations of the values of several scores are those of the same combination of their AUROCs, so that
    means and differences have a variance as well.
    """

    values: Array
    abnormal: NDArray[np.bool_]
    patients: NDArray[np.int64]

    @property
    def area(self) -> float:
        """The AUROC, or the combination of AUROCs."""
        return float(self.values[self.abnormal].mean())

    @property
    def patients_by_class(self) -> tuple[int, int]:
        """The numbers of patients with an abnormal and with a normal film."""
        return len(np.unique(self.patients[self.abnormal])), len(np.unique(self.patients[~self.abnormal]))

    @property
    def has_interval(self) -> bool:
        """Whether there are two patients in each class."""
        return min(self.patients_by_class) >= 2

    def variance(self) -> float:
        """The variance of `area`, in which films of one patient may depend on each other. Without two patients in each
        class it is NaN."""
        if not self.has_interval:
            return math.nan
        count = int(self.patients.max()) + 1
        sums, films = [], []
        for of_class in (self.abnormal, ~self.abnormal):
            centred = self.values[of_class] - self.values[of_class].mean()
            sums.append(np.bincount(self.patients[of_class], weights=centred, minlength=count))
            films.append(int(of_class.sum()))
        own = [
            units / (units - 1) * float(total @ total)
            for units, total in zip(self.patients_by_class, sums, strict=True)
        ]
        units = len(np.unique(self.patients))
        shared = units / (units - 1) * float(sums[0] @ sums[1])
        return max(0.0, own[0] / films[0] ** 2 + own[1] / films[1] ** 2 + 2 * shared / (films[0] * films[1]))

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of an AUROC (not of a difference); NaN without two patients in each class."""
        area, variance = self.area, self.variance()
        if math.isnan(variance):
            return math.nan, math.nan
        if variance == 0.0:
            return _newcombe(area, *self.patients_by_class)
        half = Z * math.sqrt(variance)
        if min(self.patients_by_class) < FEW or abs(area - 0.5) > NEAR_ONE - 0.5:
            centre, half = math.log(area / (1 - area)), half / (area * (1 - area))
            return 1 / (1 + math.exp(half - centre)), 1 / (1 + math.exp(-half - centre))
        return max(0.0, area - half), min(1.0, area + half)

    def combined(self, others: list[Placements], coefficients: list[float]) -> Placements:
        """This one's AUROC times the first coefficient, plus those of ``others`` on the same films times the rest."""
        values = np.stack([self.values, *(other.values for other in others)], axis=1) @ np.array(coefficients)
        return Placements(values, self.abnormal, self.patients)


def placements(scores: Array, abnormal: NDArray[np.bool_], patients: NDArray[np.int64]) -> Placements:
    """The placements of finite ``scores`` (N,). Raises ValueError where a class is empty."""
    if abnormal.all() or not abnormal.any():
        raise ValueError("an AUROC needs films of both classes")
    among_all = mid_ranks(scores)
    values = np.empty(len(scores))
    for of_class, others in ((abnormal, ~abnormal), (~abnormal, abnormal)):
        below = among_all[of_class] - mid_ranks(scores[of_class])  # films of the other class below, ties half
        values[of_class] = below / others.sum()
    values[~abnormal] = 1 - values[~abnormal]
    return Placements(values, abnormal, patients)


def mean_placements(repeats: list[Placements]) -> Placements:
    """The mean over repetitions on the same films."""
    return repeats[0].combined(repeats[1:], [1 / len(repeats)] * len(repeats))


def _newcombe(area: float, abnormal: int, normal: int) -> tuple[float, float]:
    """The two areas that are 1.96 standard errors away, with the error at them: Hanley and McNeil's with both class
    sizes replaced by their mean. By bisection."""
    size = (abnormal + normal) / 2

    def is_excluded(theta: float) -> bool:
        shape = (1 - theta) / (2 - theta) + theta / (1 + theta)
        return abs(area - theta) > Z * math.sqrt(theta * (1 - theta) * (1 + (size - 1) * shape) / (abnormal * normal))

    limits = []
    for end in (0.0, 1.0):
        inside, outside = area, end
        while abs(inside - outside) > 1e-12:
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if is_excluded(middle) else (middle, outside)
        limits.append(inside)
    return limits[0], limits[1]
