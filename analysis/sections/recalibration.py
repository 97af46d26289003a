"""Risks of the films of test, from a logistic recalibration of the fused score that is fitted on tune and brought to a
stated prevalence: their calibration and net benefit.

Distances to a memory bank and conformal p-values are no risks, so without all of this there are none.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analysis import figures, statistics
from analysis.evaluation.disk_cache import cached
from analysis.evaluation.evaluate import ScoredPart, parts_of
from analysis.evaluation.operating_point import LEAST_PREVALENCE, MOST_PREVALENCE
from analysis.evaluation.scored_parts import evaluated_part
from analysis.figures.palette import Theme
from analysis.models import Evaluation
from analysis.statistics.subgroups import LEAST_FILMS
from portal.models import Part

POINTS = 40  # of the decision curve, from a fifth of the prevalence to ten times of it
TABULATED = 8  # every so many of them stands in the table
NOT_RISKS = (
    "Distances and conformal p-values are not risks: they say how unusual a film is, not how likely it is abnormal."
)


class RisksRefused(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True)
class Risks:
    """`fit` is of tune, `calibration` and `benefits` are of test, at the run's weight."""

    weight: float
    fit: statistics.Recalibration
    calibration: statistics.RiskCalibration
    benefits: tuple[statistics.NetBenefit, ...]

    @property
    def tabulated(self) -> tuple[statistics.NetBenefit, ...]:
        return self.benefits[TABULATED - 1 :: TABULATED]


def prevalence_of(text: str) -> float:
    """Raises RisksRefused for no number, and for one out of range."""
    if not text.strip():
        raise RisksRefused(
            f"{NOT_RISKS} State the prevalence of abnormal films where the risks are to hold, and a logistic "
            "recalibration fitted on tune gives them."
        )
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not LEAST_PREVALENCE <= value <= MOST_PREVALENCE:
        raise RisksRefused(
            f"The prevalence {text[:20]!r} is not possible: give a share from {LEAST_PREVALENCE:g} to "
            f"{MOST_PREVALENCE:g}."
        )
    return value


def risks_of(evaluation: Evaluation, *, part: str, prevalence: float) -> Risks:
    """Raises RisksRefused with the reason why there are none, and CannotEvaluate when the run's folder is gone."""
    if part != Part.TEST:
        raise RisksRefused(
            f"The recalibration is fitted on tune, so on {part} itself it would look right whatever it is: choose test."
        )
    if Part.TUNE not in parts_of(evaluation):
        raise RisksRefused(
            f"{NOT_RISKS} The run scored no film of tune, on which a recalibration is fitted: score tune."
        )
    tune, test = evaluated_part(evaluation, Part.TUNE), evaluated_part(evaluation, part)
    weight = float(evaluation.metrics["weight"])
    fit = statistics.fit_recalibration(tune.labels, tune.scores_at(weight), prevalence=prevalence, least=LEAST_FILMS)
    if fit.reason:
        raise RisksRefused(f"{NOT_RISKS} No recalibration can be fitted on tune. {fit.reason}")
    if fit.slope is not None and fit.slope <= 0:
        raise RisksRefused(
            f"{NOT_RISKS} On tune higher scores are not more often abnormal, so no risk follows from them."
        )
    risks = fit.risks(test.scores_at(weight))
    calibration = statistics.risk_calibration(
        test.labels, risks, test.patients, prevalence=prevalence, least=LEAST_FILMS
    )
    if calibration.reason:
        raise RisksRefused(f"The calibration cannot be judged on test. {calibration.reason}")
    benefits = _benefits(evaluation, tune, test, risks, prevalence)
    return Risks(weight=weight, fit=fit, calibration=calibration, benefits=benefits)


def _benefits(
    evaluation: Evaluation, tune: ScoredPart, test: ScoredPart, risks: Any, prevalence: float
) -> tuple[statistics.NetBenefit, ...]:
    thresholds = np.geomspace(prevalence / 5, min(0.9, 10 * prevalence), POINTS).tolist()

    def compute() -> dict[str, Any]:
        rows = statistics.net_benefits(test.labels, risks, test.patients, prevalence=prevalence, thresholds=thresholds)
        return {"benefits": [asdict(row) for row in rows]}

    stored = cached(evaluation, f"net-benefit-{prevalence:.6g}", content=tune.digest + test.digest, compute=compute)
    return tuple(statistics.NetBenefit(**row) for row in stored["benefits"])


def draw_risks(risks: Risks, *, theme: Theme, random_weights: bool) -> dict[str, dict[str, Any]]:
    """Figures by name, for Plotly. They name no film."""
    drawn = {
        "calibration": figures.calibration_figure(risks.calibration, theme=theme, random_weights=random_weights),
        "decision": figures.decision_figure(
            risks.benefits, calibration=risks.calibration, theme=theme, random_weights=random_weights
        ),
    }
    return {name: figures.as_json(figure) for name, figure in drawn.items()}
