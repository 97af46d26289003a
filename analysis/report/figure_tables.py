"""The data of each figure as a table: the numbers it is drawn from, neither thinned nor rounded.

`FIGURES` lists the figures of an evaluation, `COMPARED` those of a comparison, by their names on the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis import statistics
from analysis.evaluation.blinding import sentence
from analysis.evaluation.evaluate import ScoredPart, aurocs, band_of, chosen_on_tune, sweep_of
from analysis.evaluation.operating_point import RequestedPoint
from analysis.evaluation.operating_points import apply_operating_point
from analysis.evaluation.score_kinds import of_kind
from analysis.evaluation.scored_parts import evaluated_part
from analysis.figures.palette import Kind
from analysis.models import Evaluation, ScoreKind
from analysis.report.csv_tables import Table
from analysis.sections.attributes import GROUPS
from analysis.sections.breakdown import break_down
from analysis.sections.comparison import SIDES, ComparedRun, Comparison
from analysis.sections.evaluation_figures import BINS
from analysis.sections.semi_supervised import NAMES, compare_head, scores_of
from analysis.sections.stard_flow import stard_flow

AREA = ("auroc", "auroc_low", "auroc_high", "confidence", "abnormal [films]", "normal [films]")


@dataclass(frozen=True)
class Figure:
    """A figure of an evaluation. `hidden` are the films that the person may not see; `point` and `kind`, a value of
    ScoreKind, are used by the figures at the operating point only."""

    evaluation: Evaluation
    part: str
    weight: float
    hidden: Collection[str] = ()
    point: RequestedPoint = field(default_factory=RequestedPoint)
    kind: str = ScoreKind.ONE_CLASS

    def scored(self) -> ScoredPart:
        """Raises CannotEvaluate when the run's folder is gone."""
        return of_kind(self.evaluation.run, evaluated_part(self.evaluation, self.part), self.kind)


def area_values(auroc: statistics.Auroc | None) -> list[Any]:
    """The values of the columns `AREA`."""
    if auroc is None:
        return [None] * len(AREA)
    return [auroc.auroc, auroc.low, auroc.high, auroc.confidence, auroc.positives, auroc.negatives]


def _roc(figure: Figure) -> Table:
    scored = figure.scored()
    at: dict[Kind, float] = {"global": 0.0, "region": 1.0, "fused": figure.weight}
    rows: list[list[Any]] = []
    for kind, area in aurocs(scored, sweep_of(scored), weight=figure.weight).items():
        curve = statistics.roc_curve(scored.labels, scored.scores_at(at[kind]), max_points=len(scored.images) + 2)
        for point, film in enumerate(curve.films):
            image = scored.images[film] if film >= 0 and scored.images[film] not in figure.hidden else None
            threshold = float(curve.thresholds[point])
            place = [float(curve.false_positive_rate[point]), float(curve.sensitivity[point]), None, None]
            rows.append([
                f"{kind} curve", at[kind], *place, threshold if math.isfinite(threshold) else None, image,
                *area_values(area),
            ])  # fmt: skip
    band = band_of(scored, weight=figure.weight)
    bounds = (band.false_positive_rate, band.sensitivity, band.low, band.high)
    rows += [
        ["fused band", figure.weight, *map(float, place), None, None, None, None, None, band.confidence, None, None]
        for place in zip(*bounds, strict=True)
    ]
    columns = (
        "series", "fusion_weight", "false_positive_rate [share]", "sensitivity [share]", "sensitivity_low [share]",
        "sensitivity_high [share]", "threshold [score]", "image", *AREA,
    )  # fmt: skip
    return Table(columns, rows, _left_out(figure, scored))


def _sweep(figure: Figure) -> Table:
    sweep = sweep_of(figure.scored())
    run_weight, chosen = float(figure.evaluation.metrics["weight"]), chosen_on_tune(figure.evaluation)
    rows: list[list[Any]] = []
    for k, weight in enumerate(sweep.weights.tolist()):
        marks = {"run": run_weight, "best on tune": chosen, "shown": figure.weight}
        here = [name for name, at in marks.items() if at is not None and abs(weight - at) < 1e-9]
        known = [float(values[k]) if len(values) else None for values in (sweep.auroc, sweep.low, sweep.high)]
        rows.append([round(weight, 9), *known, sweep.confidence, sweep.positives, sweep.negatives, ", ".join(here)])
    return Table(("fusion_weight", *AREA, "mark"), rows)


def _histogram(figure: Figure) -> Table:
    scored = figure.scored()
    words = np.where(scored.labels == 1, "abnormal", "normal")
    histogram = statistics.histogram(scored.scores_at(figure.weight), words, bins=BINS)
    rows = [
        [name, figure.weight, float(low), float(high), int(count), int(counts.sum())]
        for name, counts in histogram.counts.items()
        for low, high, count in zip(histogram.edges[:-1], histogram.edges[1:], counts, strict=True)
    ]
    columns = ("label", "fusion_weight", "bin_low [score]", "bin_high [score]", "count [films]", "of [films]")
    return Table(columns, rows)


def _forest(figure: Figure) -> Table:
    breakdown = break_down(figure.evaluation, part=figure.part)
    rows: list[list[Any]] = [["all", "all films", breakdown.overall.positives + breakdown.overall.negatives]]
    rows[0] += [*area_values(breakdown.overall), None, None, breakdown.overall.reason]
    for finding in breakdown.findings:
        p = [finding.p_value, finding.adjusted_p_value]
        reason = finding.reason or finding.auroc.reason
        rows.append(["finding", finding.name, finding.films, *area_values(finding.auroc), *p, reason])
    for name, groups in breakdown.groups.items():
        for group in groups:
            p = [group.p_value, group.adjusted_p_value]
            rows.append([GROUPS[name], group.name, group.films, *area_values(group.auroc), *p, group.reason])
    for row in breakdown.normals:
        p = [row.p_value, row.adjusted_p_value]
        rows.append(["normals with", row.name, row.films, *area_values(row.auroc), *p, row.reason])
    return Table(("group", "name", "films [films]", *AREA, "p_value", "p_value_holm", "reason"), rows)


def _operating(figure: Figure) -> Table:
    result = apply_operating_point(figure.evaluation, figure.scored(), weight=figure.weight, point=figure.point)
    settings = [result.point.rule, result.point.target, result.point.prevalence, result.weight, result.source]
    settings += [result.reference_films, result.reference_patients]
    rows: list[list[Any]] = [["threshold [score]", result.threshold, None, None, None]]
    if promised := result.promised:
        limits = [promised.expected, promised.low, promised.high, promised.patients]
        rows.append(["promised_false_alarm_rate [share]", *limits])
    for name in ("true_positives", "false_negatives", "false_positives", "true_negatives"):
        rows.append([f"{name} [films]", getattr(result, name), None, None, None])
    for name in ("sensitivity", "specificity"):
        rate = getattr(result, name)
        rows.append([f"{name} [share]", *((rate.value, rate.low, rate.high, rate.total) if rate else [None] * 4)])
    for name in PREDICTED:
        value = getattr(result.predictive, name) if result.predictive else None
        rows.append(
            [f"{name} {PREDICTED[name]}", *((value.value, value.low, value.high) if value else [None] * 3), None]
        )
    columns = (
        "quantity", "value", "low", "high", "of [films]", "rule", "target [share]", "prevalence [share]",
        "fusion_weight", "fixed_on", "reference [films]", "reference [patients]",
    )  # fmt: skip
    return Table(columns, [[*row, *settings] for row in rows], result.reason)


def _flow(figure: Figure) -> Table:
    scored = figure.scored()
    result = apply_operating_point(figure.evaluation, scored, weight=figure.weight, point=figure.point)
    films = stard_flow(figure.evaluation, scored, result)
    rows: list[list[Any]] = []
    for step in films.steps:
        rows.append([step.box.title, step.box.films, step.box.patients])
        rows += [[f"left out, {step.why.lower()}: {reason}", count, None] for reason, count in step.left_out.items()]
    for end in films.ends:
        rows.append([end.box.title, end.box.films, end.box.patients])
        rows += [[f"{end.box.title}: {label}", getattr(end, label), None] for label in ("abnormal", "normal")]
    return Table(("box", "count [films]", "count [patients]"), rows, result.reason)


PREDICTED = {
    "positive_predictive_value": "[share]",
    "negative_predictive_value": "[share]",
    "flags_per_1000": "[films of 1,000]",
    "false_alarms_per_1000": "[films of 1,000]",
    "misses_per_1000": "[films of 1,000]",
}


def _semi_supervised(figure: Figure) -> Table:
    scored = figure.scored()
    result = compare_head(figure.evaluation, scored)
    gain = [result.gain.difference, result.gain.low, result.gain.high, result.gain.p_value]
    rows: list[list[Any]] = []
    for name, scores in scores_of(figure.evaluation, scored).items():
        curve = statistics.roc_curve(scored.labels, scores, max_points=len(scored.images) + 2)
        for x, y in zip(curve.false_positive_rate.tolist(), curve.sensitivity.tolist(), strict=True):
            against = gain if name == "combined" else [None] * 4
            rows.append([NAMES[name], x, y, *area_values(result.aurocs[name]), *against])
    columns = (
        "score", "false_positive_rate [share]", "sensitivity [share]", *AREA, "gain_over_one_class", "gain_low",
        "gain_high", "p_value",
    )  # fmt: skip
    return Table(columns, rows)


FIGURES: dict[str, Callable[[Figure], Table]] = {
    "roc": _roc,
    "sweep": _sweep,
    "histogram": _histogram,
    "forest": _forest,
    "operating": _operating,
    "flow": _flow,
    "semi-supervised": _semi_supervised,
}

AT_OPERATING_POINT = ("operating", "flow")  # of either kind of score; the others are of the one-class score
AT_RUN_WEIGHT = ("forest", "semi-supervised")  # whatever the weight of the page


def _left_out(figure: Figure, scored: ScoredPart) -> str:
    return sentence(len(set(figure.hidden).intersection(scored.images)), figure.part)


def _compared_roc(comparison: Comparison, hidden: Collection[str]) -> Table:
    rows: list[list[Any]] = []
    for row, scores in zip(comparison.rows, comparison.scores, strict=True):
        curve = statistics.roc_curve(comparison.labels, scores, max_points=len(comparison.images) + 2)
        difference = row.difference
        against = [difference.difference, difference.low, difference.high] if difference else [None] * 3
        results = [*area_values(row.auroc), *against, difference.p_value if difference else None, row.adjusted_p_value]
        run = [row.evaluation.run.name, str(row.evaluation.run.uuid), row.weight]
        for x, y in zip(curve.false_positive_rate.tolist(), curve.sensitivity.tolist(), strict=True):
            rows.append([*run, x, y, *results])
    columns = (
        "run", "run_address", "fusion_weight", "false_positive_rate [share]", "sensitivity [share]", *AREA,
        "difference_from_first", "difference_low", "difference_high", "p_value", "p_value_holm",
    )  # fmt: skip
    return Table(columns, rows)


def _compared_films(comparison: Comparison, hidden: Collection[str]) -> Table:
    names = [row.evaluation.run.name for row in comparison.rows]
    sides = [_sides(row) for row in comparison.rows[1:]]
    rows = [
        [image, "abnormal" if label else "normal", *map(float, scores), *(of_run.get(image) for of_run in sides)]
        for image, label, scores in zip(comparison.images, comparison.labels, comparison.scores.T, strict=True)
        if image not in hidden
    ]
    distinct = _distinct(names)
    changed = ["changed_side"] if len(sides) == 1 else [f"{name} [changed_side]" for name in distinct[1:]]
    columns = ("image", "label", *(f"{name} [score]" for name in distinct), *changed)
    return Table(columns, rows, sentence(len(comparison.images) - len(rows), comparison.part))


def _sides(row: ComparedRun) -> dict[str, str]:
    """Film -> the side to which it changed from the reference."""
    if row.changed is None:
        return {}
    return {image: side for side in SIDES for image in getattr(row.changed, side)}


def _distinct(names: list[str]) -> list[str]:
    """The names, with numbers for runs of the same name, so that column names are unique."""
    return [f"{name} ({k + 1})" if names.count(name) > 1 else name for k, name in enumerate(names)]


COMPARED: dict[str, Callable[[Comparison, Collection[str]], Table]] = {"roc": _compared_roc, "scatter": _compared_films}


def table_of(figures: Mapping[str, Callable[..., Table]], name: str, *arguments: Any) -> Table:
    """The table of a figure. Raises KeyError, with a sentence, for an unknown figure."""
    if name not in figures:
        raise KeyError(f"There is no figure {name[:40]!r}; there are {', '.join(figures)}.")
    return figures[name](*arguments)
