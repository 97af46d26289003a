"""The figures of a detector on other films as tables: drift by import, and external validation."""

from __future__ import annotations

import math
from typing import Any

from analysis.report.csv_tables import Table
from analysis.report.figure_tables import AREA, area_values
from analysis.sections import drift as drifts
from analysis.sections.drift import Drift
from analysis.sections.external import SPECIFICITY, External
from analysis.statistics import BatchDrift, Rate

_RATE = ("", "_low", "_high")


def drift_table(drift: Drift) -> Table:
    """Two rows for each import: all its films that were scored, and those labelled normal now."""
    about = [drift.threshold, drifts.SPECIFICITY, drift.calibration_films, drift.calibration_patients]
    rows: list[list[Any]] = []
    for every, normal in drift.rows:
        rows.append([every.name, "all", *_batch(every), *about])
        if normal is not None:
            rows.append([every.name, "normal", *_batch(normal), *about])
    columns = (
        "import", "counted", "count [films]", "count [patients]", "median [score]", "higher", "higher_low",
        "higher_high", "confidence", "p_value", "p_value_holm", *(f"alarms{limit} [share]" for limit in _RATE),
        "reason", "threshold [score]", "specificity [share]", "calibration [films]", "calibration [patients]",
    )  # fmt: skip
    left_out = "; ".join(f"{count} {reason}" for reason, count in drift.left_out.items())
    return Table(columns, rows, f"Films left out: {left_out}." if left_out else "")


def _batch(batch: BatchDrift) -> list[Any]:
    above = batch.above
    higher = [None] * 4 if above is None else [above.auroc, above.low, above.high, above.confidence]
    p = [batch.p_value, batch.adjusted_p_value]
    return [batch.films, batch.patients, batch.median, *higher, *p, *_rate(batch.alarms), batch.reason]


def _rate(rate: Rate | None) -> list[Any]:
    return [None] * len(_RATE) if rate is None else [rate.value, rate.low, rate.high]


def external_table(result: External) -> Table:
    """The points of both ROC curves of the fused score, with area, rates and, of the external one, the difference."""
    difference = result.difference
    rows: list[list[Any]] = []
    for name, side in (("internal", result.internal), ("external", result.external)):
        of_side = [name, side.words, side.weight, side.prevalence, side.patients]
        against = [difference.difference, difference.low, difference.high, difference.p_value]
        whole = [
            *area_values(side.auroc["fused"]), *(against if name == "external" else [None] * 4), SPECIFICITY,
            side.rates.threshold, *_rate(side.rates.sensitivity), *_rate(side.rates.specificity),
        ]  # fmt: skip
        points = (side.curve.false_positive_rate, side.curve.sensitivity, side.curve.thresholds)
        for x, y, threshold in zip(*(values.tolist() for values in points), strict=True):
            rows.append([*of_side, x, y, threshold if math.isfinite(threshold) else None, *whole])
    columns = (
        "population", "films", "fusion_weight", "abnormal [share]", "patients [patients]",
        "false_positive_rate [share]", "sensitivity [share]", "threshold [score]", *AREA, "difference_from_internal",
        "difference_low", "difference_high", "p_value", "specificity_fixed_on_calibrate [share]",
        "threshold_fixed_on_calibrate [score]", *(f"sensitivity_at_threshold{limit} [share]" for limit in _RATE),
        *(f"specificity_at_threshold{limit} [share]" for limit in _RATE),
    )  # fmt: skip
    return Table(columns, rows)
