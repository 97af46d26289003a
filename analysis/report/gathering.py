"""Collects the contents of a report, with the functions that the evaluation page uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis import statistics
from analysis.evaluation.analysis_plan import current_plan, in_words, planned_point
from analysis.evaluation.evaluate import (
    ScoredPart,
    aurocs,
    band_of,
    chosen_on_tune,
    parts_of,
    sweep_of,
    why_none_chosen,
)
from analysis.evaluation.looks import looks_at_test, note_of
from analysis.evaluation.operating_point import RequestedPoint
from analysis.evaluation.operating_points import OperatingResult, apply_operating_point
from analysis.evaluation.run_results import results_of
from analysis.evaluation.scored_parts import evaluated_part
from analysis.evaluation.selection import SelectionEstimate, selection_of
from analysis.figures import ForestRow
from analysis.figures.palette import Kind
from analysis.models import Evaluation, TestLook
from analysis.report.example_films import ExampleFilms, example_films
from analysis.sections.breakdown import Breakdown, break_down, forest_rows
from analysis.sections.evaluation_figures import BINS
from analysis.sections.localisation import localise
from analysis.sections.precision import Precision, precision_of
from analysis.sections.realised_alarms import RealisedAlarms, realised_alarms
from analysis.sections.semi_supervised import SemiSupervisedResult, compare_head, scores_of
from analysis.sections.stard_flow import StardFlow, stard_flow
from analysis.sections.table_one import Flow, TableOne, flow, table_one
from analysis.sections.wrong_reasons import WrongReasons, wrong_reasons
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import InvalidConfig
from ml_engine.engine.scored_folder import ScoreSummary
from ml_engine.runs.paths import file_sha256
from ml_engine.runs.requests import as_text, changes_from_preset
from ml_engine.runs.run_bucket import here
from portal.models import Part, User

UNKNOWN = "not known to Hilum"
CURVE_POINTS = 1000


@dataclass(frozen=True)
class BesideOneClass:
    """A semi-supervised head beside the one-class score; curves by a key of `semi_supervised.NAMES`."""

    result: SemiSupervisedResult
    curves: dict[str, statistics.RocCurve]


@dataclass(frozen=True)
class PartReport:
    """One part at the run's weight: the contents of its tab on the evaluation page."""

    part: str
    normal: int
    abnormal: int
    patients: int
    left_out: dict[str, int]
    areas: dict[Kind, statistics.Auroc]
    curves: dict[Kind, statistics.RocCurve]
    band: statistics.RocBand
    sweep: statistics.FusionSweep
    histogram: statistics.Histogram
    operating: OperatingResult
    alarms: tuple[RealisedAlarms, ...]
    flow: StardFlow
    precision: Precision
    precision_curves: dict[Kind, statistics.PrecisionRecall]
    localisation: dict[str, Any]  # of `localise`
    wrong_reasons: WrongReasons
    breakdown: Breakdown
    note: str
    digest: str
    selection: SelectionEstimate | None = None  # if settings were chosen on this part
    beside: BesideOneClass | None = None  # if the run has a semi-supervised head
    examples: ExampleFilms | None = None  # if the report is made for a person

    def forest_rows(self) -> list[ForestRow]:
        return forest_rows(self.breakdown)


@dataclass(frozen=True)
class Look:
    """A look at the test part: when, at what weight, in which run, why. Who looked stays in the audit log."""

    when: str
    run: str
    weight: str
    reason: str


@dataclass(frozen=True)
class EvaluationReport:
    """The contents of a report. parts: test before tune; settings: name -> (value, whether it differs from the preset);
    plan: (title, text) rows, empty without a plan."""

    evaluation: Evaluation
    parts: tuple[PartReport, ...]
    chosen: float | None
    why_none_chosen: str
    table_one: TableOne
    flow: Flow
    looks: tuple[Look, ...]
    looks_count: int
    lookers: int
    note: str
    plan: tuple[tuple[str, str], ...]
    config: PipelineConfig | None
    changed: dict[str, str]
    settings: dict[str, tuple[str, bool]]
    score: ScoreSummary
    provenance: tuple[tuple[str, str], ...]

    @property
    def weight(self) -> float:
        return float(self.evaluation.metrics["weight"])

    @property
    def random_weights(self) -> bool:
        return self.evaluation.run.random_weights

    @property
    def first(self) -> PartReport:
        return self.parts[0]


def gather(
    evaluation: Evaluation, *, point: RequestedPoint | None = None, viewer: User | None = None
) -> EvaluationReport:
    """The report's contents at an operating point: `point`, otherwise the plan's, otherwise the default. Example films
    are those of the first part that `viewer` may see; without one there is none. Raises CannotEvaluate when the run's
    folder is gone."""
    split = evaluation.split
    with results_of(evaluation.run) as folder:
        score = folder.summary
    plan = current_plan(split)
    config, changed = _config(evaluation)
    point = point or planned_point(plan)
    reported = parts_of(evaluation)[::-1]
    looks = TestLook.objects.filter(split=split)
    return EvaluationReport(
        evaluation=evaluation,
        parts=tuple(
            _part(evaluation, part, point, viewer=viewer if part == reported[0] else None) for part in reported
        ),
        chosen=chosen_on_tune(evaluation),
        why_none_chosen=why_none_chosen(evaluation) if chosen_on_tune(evaluation) is None else "",
        table_one=table_one(split),
        flow=flow(split),
        looks=tuple(_looks(evaluation)),
        looks_count=looks_at_test(split),
        lookers=looks.values("actor").distinct().count(),
        note=note_of(split, Part.TEST),
        plan=tuple(in_words(plan)) if plan else (),
        config=config,
        changed=changed,
        settings=_settings(config, changed),
        score=score,
        provenance=tuple(_provenance(evaluation, score)),
    )


def _part(evaluation: Evaluation, part: str, point: RequestedPoint, *, viewer: User | None) -> PartReport:
    scored, weight = evaluated_part(evaluation, part), float(evaluation.metrics["weight"])
    sweep, fused = sweep_of(scored), scored.scores_at(weight)
    at: dict[Kind, float] = {"global": 0.0, "region": 1.0, "fused": weight}
    words = np.where(scored.labels == 1, "abnormal", "normal")
    operating = apply_operating_point(evaluation, scored, weight=weight, point=point)
    return PartReport(
        part=part,
        normal=int((scored.labels == 0).sum()),
        abnormal=int((scored.labels == 1).sum()),
        patients=len(np.unique(scored.patients)),
        left_out=scored.left_out,
        areas=aurocs(scored, sweep, weight=weight),
        curves={
            kind: statistics.roc_curve(scored.labels, scored.scores_at(to), max_points=CURVE_POINTS)
            for kind, to in at.items()
        },
        band=band_of(scored, weight=weight),
        sweep=sweep,
        histogram=statistics.histogram(fused, words, bins=BINS),
        operating=operating,
        alarms=realised_alarms(evaluation, scored, operating),
        flow=stard_flow(evaluation, scored, operating),
        precision=precision_of(evaluation, scored, weight=weight),
        precision_curves={
            kind: statistics.precision_recall(scored.labels, scored.scores_at(to), max_points=CURVE_POINTS)
            for kind, to in at.items()
        },
        localisation=localise(evaluation, scored, weight=weight),
        wrong_reasons=wrong_reasons(evaluation, scored, operating),
        breakdown=break_down(evaluation, part=part),
        note=note_of(evaluation.split, part),
        digest=scored.digest.hex(),
        selection=selection_of(evaluation, part),
        beside=_beside(evaluation, scored) if evaluation.run.head else None,
        examples=example_films(evaluation, scored, operating, viewer=viewer) if viewer else None,
    )


def _beside(evaluation: Evaluation, scored: ScoredPart) -> BesideOneClass:
    scores = scores_of(evaluation, scored)
    curves = {
        name: statistics.roc_curve(scored.labels, values, max_points=CURVE_POINTS) for name, values in scores.items()
    }
    return BesideOneClass(compare_head(evaluation, scored), curves)


def _looks(evaluation: Evaluation) -> Iterator[Look]:
    looks = TestLook.objects.filter(split=evaluation.split).select_related("run", "evaluation__run")
    for look in looks.order_by("created_at", "pk"):
        run = look.run or (look.evaluation.run if look.evaluation else None)
        weight = "" if look.fusion_weight is None else f"{look.fusion_weight:g}"
        yield Look(f"{look.created_at:%Y-%m-%d %H:%M} UTC", run.name if run else "", weight, look.reason)


def _config(evaluation: Evaluation) -> tuple[PipelineConfig | None, dict[str, str]]:
    """The config of the detector's run, and its changes from the preset; None if this release cannot load it."""
    detector = evaluation.run.detector
    stored = detector.run.config if detector else {}
    if not stored:
        return None, {}
    try:
        return PipelineConfig.from_json(dict(stored)), changes_from_preset(stored)
    except InvalidConfig:
        return None, {}


def _settings(config: PipelineConfig | None, changed: dict[str, str]) -> dict[str, tuple[str, bool]]:
    """Settings that differ from the preset come first."""
    if config is None:
        return {}
    plain = config.to_json()
    flat = {name: value for name, value in plain.items() if name != "alignment"}
    flat |= {f"alignment.{name}": value for name, value in plain["alignment"].items()}
    ordered = sorted(flat, key=lambda name: name not in changed)
    return {name: (as_text(flat[name]), name in changed) for name in ordered}


def _provenance(evaluation: Evaluation, score: ScoreSummary) -> Iterator[tuple[str, str]]:
    run, detector = evaluation.run, evaluation.run.detector
    weights = score.weights or {}
    yield "Evaluation", f"{evaluation.uuid}, made {evaluation.created_at:%Y-%m-%d %H:%M} UTC"
    yield "Split", f"{evaluation.split.name} ({evaluation.split.uuid}), seed {evaluation.split.seed}"
    yield "Label cut-off", f"{evaluation.label_cutoff:%Y-%m-%d %H:%M:%S} UTC"
    yield "Scoring run", f"{run.name} ({run.uuid}), seed {run.seed}"
    if detector:
        yield "Detector's run", f"{detector.run.name} ({detector.run.uuid}), seed {detector.run.seed}"
        yield "Detector SHA-256", detector.sha256
    if run.head:
        yield "Semi-supervised head's run", f"{run.head.run.name} ({run.head.run.uuid}), seed {run.head.run.seed}"
        yield "Semi-supervised head SHA-256", run.head.sha256
    yield "Alignment SHA-256", score.alignment_sha256 or "no alignment"
    yield "Backbone weights", weights.get("name") or UNKNOWN
    yield "Weights SHA-256", weights.get("sha256") or ("none: random" if run.random_weights else UNKNOWN)
    yield "Scored films (images.csv) SHA-256", _hash(here(run) / "images.csv")
    yield "Request (run.json) SHA-256", _hash(here(run) / "run.json")
    if detector:
        yield "Fitted films (images.csv) SHA-256", _hash(here(detector.run) / "images.csv")
    yield "Code that scored", score.code_version or run.versions.get("hilum") or UNKNOWN
    yield "Device", run.device or UNKNOWN
    yield "Versions", ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items())) or UNKNOWN


def _hash(path: Path) -> str:
    return file_sha256(path) if path.is_file() else "the file is not in the data folder any more"
