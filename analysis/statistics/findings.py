"""AUROC by finding: the abnormal films with the finding against all normal films."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.auroc import Auroc, auroc_interval
from analysis.statistics.sample import take_sample
from analysis.statistics.subgroups import LEAST_FILMS, holm


@dataclass(frozen=True)
class Finding:
    """The abnormal films with one finding; a film with several counts for each.

    p_value is two-sided, of an AUROC of 0.5, from the variance that the interval uses; adjusted_p_value is Holm's over
    all findings with a p-value. Below 30 films the AUROC is not given and both are None, as in the other groups;
    `reason` explains why.
    """

    name: str
    films: int
    auroc: Auroc
    p_value: float | None
    adjusted_p_value: float | None
    reason: str = ""


def finding_aurocs(
    labels: ArrayLike,
    scores: ArrayLike,
    findings: Sequence[Sequence[str]],
    patients: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> tuple[Finding, ...]:
    """A row for each finding, most frequent first, from labels (N,) of 0 and 1, scores (N,) and the findings by film.

    Findings of normal films are ignored. Raises ValueError where labels, scores, patients and findings do not match.
    """
    sample = take_sample(labels, scores, patients)
    if len(findings) != len(np.asarray(labels)):
        raise ValueError(f"{len(findings)} films have findings and {len(np.asarray(labels))} have labels; give both")
    of_film = [set(findings[film]) for film in sample.films.tolist()]
    normal = ~sample.abnormal
    occurring = set().union(*(names for names, abnormal in zip(of_film, sample.abnormal, strict=True) if abnormal))
    rows = []
    for name in sorted(occurring):
        member = np.array([name in names for names in of_film], dtype=bool) & sample.abnormal
        kept = member | normal
        area = auroc_interval(
            sample.abnormal[kept], sample.scores[kept, 0], sample.patients[kept], confidence=confidence
        )
        rows.append(
            _tested(
                Finding(
                    name=name,
                    films=int(member.sum()),
                    auroc=area,
                    p_value=None,
                    adjusted_p_value=None,
                    reason=area.reason,
                )
            )
        )
    rows.sort(key=lambda row: (-row.films, row.name))
    adjusted = iter(holm([row.p_value for row in rows if row.p_value is not None]))
    return tuple(row if row.p_value is None else replace(row, adjusted_p_value=float(next(adjusted))) for row in rows)


def _tested(row: Finding) -> Finding:
    if row.films < LEAST_FILMS:
        few = f"{row.films} film{'s' if row.films != 1 else ''}: below {LEAST_FILMS} no AUROC is given."
        nothing = replace(row.auroc, auroc=None, low=None, high=None, variance=None, reason=few)
        return replace(row, auroc=nothing, reason=few)
    area = row.auroc
    if area.auroc is None or not area.variance:
        return replace(row, reason=row.reason or "The classes separate completely: no variance to test with.")
    return replace(row, p_value=2 * NormalDist().cdf(-abs(area.auroc - 0.5) / area.variance**0.5))
