"""The stages of a semi-supervised head: pooled features, the control of the population, the fit, the learning curve.

Nothing of calibrate or test is fitted on. The calibrate films standardise the head's score, as they do the detector's;
the run folder holds no film of test.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.bank.detectors import scorer_of
from ml_engine.core.detector import pipeline
from ml_engine.core.errors import EngineError
from ml_engine.core.head import confirmed_head
from ml_engine.core.head.confirmed_head import LEAST_CALIBRATION, BothScores, ConfirmedHead, TrainingFilms
from ml_engine.core.head.learning_curve import (
    FURTHER,
    CalibrationNormals,
    CurvePoint,
    LearningCurve,
    TuneFilms,
    learning_curve,
)
from ml_engine.core.head.logistic import choose_penalty
from ml_engine.core.head.population import (
    LEAST_FILMS,
    FilmGroup,
    GroupDifference,
    PopulationControl,
    compare_populations,
)
from ml_engine.core.score import calibration, conformal
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine import reads as reads_table
from ml_engine.engine.fit_scores import FitScores
from ml_engine.engine.head_folder import CONTROL, CURVE, HEAD, SUMMARY, TUNE, TUNE_COLUMNS
from ml_engine.engine.reads import GROUPS, ReadFilm
from ml_engine.engine.run_folder import INPUTS, RunSpec, StageProgress
from ml_engine.engine.stages import read_and_align
from ml_engine.engine.stages.run_context import RunContext, require_films
from ml_engine.engine.study_plans import PENALTY_BY_FOLDS, HeadPlan

FOLDS = 5  # of patients, of the control, the curve and the choice of the penalty
USUAL_PENALTY = 100.0  # of the control, where the head's is chosen by folds
CURVE_COLUMNS = ("reads", "abnormal", "repeats", "spread") + tuple(
    f"{name}_{what}" for name in ("head", "combined", "gain") for what in ("auroc", "low", "high")
)
ABOUT = (
    "Semi-supervised: fitted on films that people confirmed as abnormal. The one-class score beside it saw none and "
    "stays the default."
)

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


def stages(spec: RunSpec) -> tuple[tuple[str, Any], ...]:
    plan = HeadPlan.from_json(spec.asked.get("head", {}))
    return (
        ("films", _read_films),
        ("align", read_and_align.align),
        ("features", _pool),
        ("control", partial(_control, plan)),
        ("head", partial(_fit, plan)),
        ("curve", partial(_curve, plan)),
        ("results", partial(_results, plan)),
    )


def reads_of(context: RunContext) -> list[ReadFilm]:
    return reads_table.read(context.folder.input_path("reads", context.spec), context.rows)


def _read_films(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    confirmed_head.require_confirmed(sum(film.verdict == "abnormal" for film in reads_of(context)))
    return read_and_align.read_films(context, progress)


def _pool(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes each film's pooled features, pooled.npy (N, D) float64, and one-class score, one_class.npy (N,), both NaN
    where unreadable; the fit films have no one-class score, since they made the banks."""
    detector = context.detector
    scorer = scorer_of(detector.model, context.mask(), context.config, context.device)
    pooled, one_class = None, np.full(len(context.rows), np.nan)
    for at, batch in context.features_of(context.readable(), progress):
        if pooled is None:
            pooled = np.full((len(context.rows), batch.shape[2]), np.nan)
        for row, patches in zip(at.tolist(), batch, strict=True):
            pooled[row] = confirmed_head.pool(patches)
        outside = [k for k, row in enumerate(at.tolist()) if context.rows[row].part != "fit"]
        if outside:
            one_class[at[outside]] = pipeline.score_maps(scorer.film_maps(batch[outside]), detector).fused
    assert pooled is not None  # a run without a readable film was refused
    files.write_npy(context.path("pooled.npy"), pooled)
    files.write_npy(context.path("one_class.npy"), one_class)
    return {}


# the films by role


@dataclass(frozen=True)
class _Films:
    """The readable films of a run."""

    context: RunContext
    reads: list[ReadFilm]
    pooled: Array
    one_class: Array

    @classmethod
    def of(cls, context: RunContext) -> _Films:
        return cls(context, reads_of(context), context.read("pooled.npy"), context.read("one_class.npy"))

    def patients(self, rows: Iterable[int]) -> tuple[str, ...]:
        return tuple(self.context.rows[row].patient or f"row {row}" for row in rows)

    def read_as(self, *verdicts: str) -> Rows:
        return np.array([k for k in self.context.readable() if self.reads[k].verdict in verdicts], dtype=np.int64)

    @property
    def known(self) -> Rows:
        """The known normals: the detector's fit films."""
        return self.context.readable("fit")

    def training(self, plan: HeadPlan) -> tuple[TrainingFilms, Rows]:
        """The films that a head is fitted on, and the rows of the reads among them, which come last."""
        read = self.read_as("normal", "abnormal") if plan.read_normals else self.read_as("abnormal")
        rows = np.concatenate([self.known, read])
        return TrainingFilms(
            features=self.pooled[rows],
            abnormal=np.array([self.reads[row].verdict == "abnormal" for row in rows], dtype=np.bool_),
            weights=np.array([self.reads[row].weight for row in rows], dtype=np.float64),
            known=np.arange(len(rows)) < len(self.known),
        ), read

    def normals(self) -> CalibrationNormals:
        """The normals that calibrate the detector, in its order. Raises EngineError where they are not the same."""
        calibrated = self.context.detector.calibration
        are_known = calibrated.source != "calibrate"
        rows = self.known if are_known else self.context.readable("calibrate")
        if len(rows) != len(calibrated.maps):
            raise EngineError(
                f"The detector was calibrated on {len(calibrated.maps)} normal films, and {len(rows)} of them can be "
                "read here: name the folder that holds all films of the model with --images."
            )
        if len(rows) < LEAST_CALIBRATION:
            raise EngineError(
                f"The scores of a semi-supervised head are standardised by at least {LEAST_CALIBRATION} calibration "
                f"normals, and the detector has {len(rows)}: fit it with more normal films."
            )
        return CalibrationNormals(
            features=self.pooled[rows],
            one_class=pipeline.normal_scores(self.context.detector),
            patients=self.patients(rows.tolist()),
            are_known=are_known,
        )

    def group(self, rows: Sequence[int]) -> FilmGroup:
        columns = {name: tuple(getattr(self.reads[row], name) for row in rows) for name in GROUPS}
        return FilmGroup(self.pooled[list(rows)], self.patients(rows), columns)


# stages


def _control(plan: HeadPlan, context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes population_control.json; `_fit` refuses a head that does not pass."""
    readable = _Films.of(context)
    abnormal = len(readable.read_as("abnormal"))
    confirmed_head.require_confirmed(abnormal)
    require_films(readable.known, least=2, part="fit")
    point = operating_point(plan, context)
    known, is_cut = _known_below(context, readable.known.tolist(), point)
    supposed_normal = [
        row
        for row in context.readable().tolist()
        if readable.reads[row].is_in_pool and "abnormal" not in (readable.reads[row].verdict, context.rows[row].label)
    ]
    scored = [row for row in supposed_normal if readable.one_class[row] <= point]
    if len(scored) < LEAST_FILMS <= len(supposed_normal):
        raise EngineError(
            f"Of {len(supposed_normal)} films of the pool that nobody called abnormal, {len(scored)} score below the "
            f"operating point, which {_rate(plan, context):.0%} of the known population exceed. Either the pool is of "
            "another population than the known normals, and a semi-supervised head would learn that; or the CSV lists "
            "flagged films alone: add those that nobody read, without a label."
        )
    penalty = USUAL_PENALTY if plan.penalty == PENALTY_BY_FOLDS else float(plan.penalty)
    control = compare_populations(
        readable.group(known), readable.group(scored), penalty=penalty, folds=FOLDS, seed=context.config.seed
    )
    facts = asdict(control) | {
        "is_passed": control.is_passed,
        "operating_point": point,
        "false_alarm_rate": _rate(plan, context),
        "known_are_below_it": is_cut,
    }
    files.write_json(context.folder.path / CONTROL, facts)
    return facts


def _rate(plan: HeadPlan, context: RunContext) -> float:
    return context.config.false_alarm_rate if plan.false_alarm_rate is None else plan.false_alarm_rate


def operating_point(plan: HeadPlan, context: RunContext) -> float:
    """The one-class score that a new normal film exceeds with at most the plan's probability. Raises EngineError for
    too few calibration patients."""
    rate = _rate(plan, context)
    ordered = conformal.highest_by_patient(
        pipeline.normal_scores(context.detector), context.detector.calibration.patients
    )
    k = conformal.rank(1 - rate, len(ordered))
    if k is None:
        raise EngineError(
            f"An operating point of {rate:g} false alarms needs calibration normals of at least "
            f"{calibration.least_films(rate)} patients, and there are {len(ordered)}: raise false_alarm_rate, or fit "
            "the detector with more."
        )
    return float(ordered[k - 1])


def _known_below(context: RunContext, known: list[int], point: float) -> tuple[list[int], bool]:
    """The known normals below the operating point, by their cross-fitted scores, as the scored ones are; all of them
    and False where the detector's fit made no such scores."""
    if "fit_scores" not in (context.spec.inputs or {}):
        return known, False
    path = context.folder.input_path("fit_scores", context.spec)
    fused = {film.filename: film.fused for film in FitScores(path.parent).films()}
    return [row for row in known if fused.get(context.rows[row].filename, -np.inf) <= point], True


def _fit(plan: HeadPlan, context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the head: stages/head.safetensors. Raises EngineError where the control was not passed."""
    control_of(context).require()
    readable = _Films.of(context)
    films, read = readable.training(plan)
    normals, seed = readable.normals(), context.config.seed
    penalty = _penalty(plan, readable, films, read)
    fitted = confirmed_head.fit(films, penalty=penalty)
    head = ConfirmedHead(
        scale=fitted[0],
        regression=fitted[1],
        penalty=penalty,
        calibration_logits=normals.logits(films, fitted, penalty=penalty, folds=FOLDS, seed=seed),
        detector_sha256=(context.spec.inputs or {})["detector"],
        code_version=code_version(),
        facts=_facts(readable, films, read),
    )
    confirmed_head.save_head(head, context.path(HEAD))
    return {"penalty": penalty}


def _penalty(plan: HeadPlan, readable: _Films, films: TrainingFilms, read: Rows) -> float:
    if plan.penalty != PENALTY_BY_FOLDS:
        return float(plan.penalty)
    return choose_penalty(
        confirmed_head.Scale.of(films.features[films.known]).apply(films.features),
        films.abnormal,
        patients=readable.patients([*readable.known.tolist(), *read.tolist()]),
        weights=films.weights,
        folds=FOLDS,
        seed=readable.context.config.seed,
    )


def control_of(context: RunContext) -> PopulationControl:
    """The control of a run whose stage control is done."""
    facts = context.folder.summary("control")
    names = set(PopulationControl.__dataclass_fields__)
    values = {name: value for name, value in facts.items() if name in names}
    differences = tuple(GroupDifference(**each) for each in values["differences"])
    return PopulationControl(**values | {"differences": differences, "columns": tuple(values["columns"])})


def _facts(readable: _Films, films: TrainingFilms, read: Rows) -> dict[str, Any]:
    """What the head was fitted on."""
    verdicts = [readable.reads[row].verdict for row in readable.read_as("normal", "abnormal").tolist()]
    weights = films.weights[films.abnormal]
    return {
        "known_normals": int(films.known.sum()),
        "abnormal_reads": int(films.abnormal.sum()),
        "abnormal_patients": len(set(readable.patients(readable.read_as("abnormal").tolist()))),
        "normal_reads": verdicts.count("normal"),
        "normal_reads_used": int((~films.abnormal & ~films.known).sum()),
        "assisted_reads": sum(readable.reads[row].model_shown for row in read.tolist()),
        "unread": sum(film.is_in_pool and not film.verdict for film in readable.reads),
        "effective_abnormal_reads": float(weights.sum() ** 2 / (weights**2).sum()),
    }


def _curve(plan: HeadPlan, context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes learning_curve.csv and, where there is a curve, tune_scores.csv."""
    readable = _Films.of(context)
    films, read = readable.training(plan)
    tune = [row for row in context.readable("tune").tolist() if context.rows[row].label in ("normal", "abnormal")]
    curve = learning_curve(
        films,
        readable.patients(read.tolist()),
        TuneFilms(
            features=readable.pooled[tune],
            one_class=readable.one_class[tune],
            abnormal=np.array([context.rows[row].label == "abnormal" for row in tune], dtype=np.bool_),
            patients=readable.patients(tune),
        ),
        readable.normals(),
        penalty=context.folder.summary("head")["penalty"],
        folds=FOLDS,
        repeats=plan.repeats,
        seed=context.config.seed,
    )
    files.write_bytes(context.path(CURVE), _table(CURVE_COLUMNS, map(_curve_line, curve.points)))
    if curve.tune is not None:
        files.write_bytes(context.path(TUNE), _tune_table(context, tune, curve))
    return {
        "films": curve.films,
        "abnormal": curve.abnormal,
        "one_class": None if curve.one_class is None else asdict(curve.one_class),
        "points": [asdict(point) for point in curve.points],
        "further_reads": FURTHER,
        "further_gain": None if curve.further_gain is None else asdict(curve.further_gain),
        "note": curve.note,
    }


def _curve_line(point: CurvePoint) -> list[object]:
    areas = [value for area in (point.head, point.combined, point.gain) for value in (area.value, area.low, area.high)]
    return [point.reads, point.abnormal, point.repeats, point.spread, *areas]


def _tune_table(context: RunContext, tune: list[int], curve: LearningCurve) -> bytes:
    """One line per tune film, with its scores by heads without reads of its patient."""
    scored, folds = curve.tune, curve.folds
    assert scored is not None and folds is not None
    lines = [
        [
            context.rows[row].filename,
            context.rows[row].label,
            int(folds[k]),
            *(float(values[k]) for values in (scored.one_class_z, scored.head_z, scored.combined)),
        ]
        for k, row in enumerate(tune)
    ]
    return _table(TUNE_COLUMNS, lines)


def _table(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([repr(value) if isinstance(value, float) else value for value in line] for line in lines)
    return text.getvalue().encode()


def _results(plan: HeadPlan, context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes head.safetensors, learning_curve.csv, tune_scores.csv and fit_head.json."""
    folder = context.folder
    for name in (HEAD, CURVE, TUNE):
        if context.path(name).is_file():
            files.link_or_copy(context.path(name), folder.path / name)
    head = confirmed_head.load_head(context.path(HEAD), detector_sha256=(context.spec.inputs or {})["detector"])
    readable = _Films.of(context)
    normals = BothScores(pipeline.normal_scores(context.detector), head.calibration_logits)
    combined = confirmed_head.combine_normals(normals, calibration.patient_numbers(list(readable.normals().patients)))
    summary = {
        "format": FORMAT,
        "code_version": code_version(),
        "kind": confirmed_head.KIND,
        "about": ABOUT,
        "asked": plan.to_json(),
        "head_sha256": files.sha256_of(folder.path / HEAD),
        "detector_sha256": head.detector_sha256,
        "alignment_sha256": context.detector.alignment_sha256,
        "weights": context.backbone.to_json(),
        "config": context.config.to_json(),
        "penalty": head.penalty,
        "penalty_convention": "sum of the weighted log losses + penalty / 2 * |coefficients|^2; C = 1 / penalty",
        "facts": head.facts,
        "population_control": folder.summary("control"),
        "learning_curve": folder.summary("curve"),
        "calibration_source": context.detector.calibration.source,
        "calibration_combined": np.sort(combined.combined).tolist(),
        "inputs": {name: INPUTS[name] for name in sorted(context.spec.inputs or {})},
        "flagged": folder.summary("align")["flagged"],
        "unreadable": folder.summary("films")["errors"],
    }
    files.write_json(folder.path / SUMMARY, summary)
    return {}
