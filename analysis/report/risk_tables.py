"""The figures of the risks of test as tables: calibration and decision curve, at a stated prevalence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from analysis.report.csv_tables import Table
from analysis.sections.recalibration import Risks

_ABOUT = (
    "prevalence [share]", "fusion_weight", "abnormal of test [films]", "normal of test [films]", "intercept_fitted",
    "slope_fitted", "abnormal of tune [films]", "normal of tune [films]", "confidence",
)  # fmt: skip


def _about(risks: Risks) -> list[Any]:
    """The values of the columns `_ABOUT`."""
    fit, calibration = risks.fit, risks.calibration
    return [
        calibration.prevalence, risks.weight, calibration.positives, calibration.negatives, fit.intercept, fit.slope,
        fit.positives, fit.negatives, calibration.confidence,
    ]  # fmt: skip


def _calibration(risks: Risks) -> Table:
    """A row for each group of films, with the numbers of the whole part on every row."""
    measured = risks.calibration
    whole: list[Any] = [measured.expected, measured.brier, measured.reference_brier]
    for coefficient in (measured.intercept, measured.slope):
        whole += [coefficient.value, coefficient.low, coefficient.high]
    rows = [
        [number, row.films, row.abnormal, row.predicted, row.observed, row.low, row.high, *whole, *_about(risks)]
        for number, row in enumerate(measured.groups, start=1)
    ]
    columns = (
        "group", "films [films]", "abnormal [films]", "predicted_risk [share]", "observed_risk [share]",
        "observed_low [share]", "observed_high [share]", "mean_predicted_risk [share]", "brier", "brier_of_prevalence",
        "calibration_intercept", "calibration_intercept_low", "calibration_intercept_high", "calibration_slope",
        "calibration_slope_low", "calibration_slope_high", *_ABOUT,
    )  # fmt: skip
    return Table(columns, rows)


def _decision(risks: Risks) -> Table:
    rows = [
        [row.threshold, row.value, row.low, row.high, row.all_called, 0.0, *_about(risks)] for row in risks.benefits
    ]
    unit = "[true positives a film]"
    columns = (
        "risk_threshold [share]", f"net_benefit {unit}", f"net_benefit_low {unit}", f"net_benefit_high {unit}",
        f"all_called {unit}", f"none_called {unit}", *_ABOUT,
    )  # fmt: skip
    return Table(columns, rows)


RISK_FIGURES: dict[str, Callable[[Risks], Table]] = {"calibration": _calibration, "decision": _decision}
