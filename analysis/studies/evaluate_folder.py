"""A scored folder and a CSV of labels -> AUROC, average precision and rates, by the functions that the portal uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import statistics
from analysis.studies.experiments import LabelledFilm, labels_of, left_out, require_named, truth_of_csv
from ml_engine.core import files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.core.score.conformal import PromisedRate, promised_rate
from ml_engine.engine import manifest
from ml_engine.engine.manifest import InvalidManifest
from ml_engine.engine.scored_folder import SEMI_SUPERVISED, ScoredFolder

COMBINED = SEMI_SUPERVISED.index("semi_supervised_combined")


@dataclass(frozen=True)
class FolderScore:
    """One score of the films, higher is more abnormal: ``kind`` global | region | fused | combined, and its ``words``
    for the user."""

    kind: str
    words: str
    auroc: statistics.Auroc
    auprc: statistics.Auprc
    roc: statistics.RocCurve
    band: statistics.RocBand
    precision_recall: statistics.PrecisionRecall


@dataclass(frozen=True)
class StoredPoint:
    """The rates at the threshold that the calibration normals fix for the detector's false-alarm rate. ``promised`` is
    what that threshold promises for new normal films, None where it promises nothing."""

    kind: str
    words: str
    rates: statistics.RatesAtTarget
    source: str
    promised: PromisedRate | None


@dataclass(frozen=True)
class FolderEvaluation:
    """The films of a scored folder against their labels. ``left_out`` counts films by the reason; ``own_patients`` are
    the films without a patient_id, each its own patient. ``facts`` tell how the films were scored."""

    normal: int
    abnormal: int
    patients: int
    own_patients: int
    left_out: Mapping[str, int]
    scores: tuple[FolderScore, ...]
    points: tuple[StoredPoint, ...]
    facts: Mapping[str, str]
    random_weights: bool


def evaluate_folder(folder: Path, labels: Path) -> FolderEvaluation:
    """The evaluation of what ``python -m ml_engine score`` wrote to ``folder``. Films without the label normal or
    abnormal are left out, and those that could not be read. Raises EngineError for a folder without scores, for a CSV
    without labels, and for a scored film that the CSV does not name."""
    scored = ScoredFolder(folder)
    if not folder.is_dir():
        raise EngineError(f"There is no folder {folder}: name the folder that score wrote with --out.")
    scored.check()
    truth = _truth(labels)
    names = [film.filename for film in scored.films]
    require_named(names, truth, source=labels.name, kind="scored films")
    film_labels = labels_of(names, truth)
    readable = np.array([not film.error for film in scored.films])
    kept = film_labels.known & readable
    if not kept.any():
        raise EngineError(
            f"None of the {len(names)} scored films has a score and the label normal or abnormal in {labels.name}."
        )
    unread = int((film_labels.known & ~readable).sum())
    excluded = left_out(names, truth) | ({"unreadable": unread} if unread else {})
    abnormal, patients = film_labels.abnormal[kept], film_labels.patients[kept]
    return FolderEvaluation(
        normal=int((abnormal == 0).sum()),
        abnormal=int((abnormal == 1).sum()),
        patients=len(np.unique(patients)),
        own_patients=int((patients == np.array(names)[kept]).sum()),
        left_out=excluded,
        scores=_scores(scored, kept, abnormal, patients),
        points=_points(scored, kept, abnormal, patients),
        facts=_facts(scored),
        random_weights=scored.summary.weights.get("name") == "random",
    )


def _truth(labels: Path) -> dict[str, LabelledFilm]:
    table = manifest.read_csv(labels)
    if "label" not in table[0]:
        raise InvalidManifest(f"{labels.name} has no column label: give the CSV of the films with their labels.")
    return truth_of_csv(table)


def _columns(scored: ScoredFolder) -> list[tuple[str, str, NDArray[np.float32]]]:
    """(kind, words, scores (N,)) as the portal evaluates them: of the stored sweep, in float32."""
    sweep, weight = np.asarray(scored.array("sweep")), scored.summary.fusion_weight
    columns = [
        ("global", "global", sweep[:, 0]),
        ("region", "region", sweep[:, -1]),
        ("fused", f"fused, w = {weight:g}", sweep[:, round(weight * 100)]),
    ]
    if scored.is_semi_supervised:
        combined = np.asarray(scored.array("semi_supervised")[:, COMBINED], dtype=np.float32)
        columns.append(("combined", "semi-supervised", combined))
    return columns


def _scores(
    scored: ScoredFolder, kept: NDArray[np.bool_], abnormal: NDArray[np.int64], patients: NDArray[np.str_]
) -> tuple[FolderScore, ...]:
    logit = statistics.fusion_sweep(abnormal, np.asarray(scored.array("sweep"))[kept], patients).logit
    return tuple(
        FolderScore(
            kind=kind,
            words=words,
            auroc=statistics.auroc_interval(
                abnormal, values[kept], patients, logit=None if kind == "combined" else logit
            ),
            auprc=statistics.auprc(abnormal, values[kept], patients),
            roc=statistics.roc_curve(abnormal, values[kept], max_points=400),
            band=statistics.roc_band(abnormal, values[kept], patients),
            precision_recall=statistics.precision_recall(abnormal, values[kept], max_points=400),
        )
        for kind, words, values in _columns(scored)
    )


def _points(
    scored: ScoredFolder, kept: NDArray[np.bool_], abnormal: NDArray[np.int64], patients: NDArray[np.str_]
) -> tuple[StoredPoint, ...]:
    summary, rate = scored.summary, _false_alarm_rate(scored.path)
    columns = {kind: (words, values) for kind, words, values in _columns(scored)}
    calibration: dict[str, Any] = {"fused": (summary.calibration_scores, summary.calibration_patients)}
    if scored.is_semi_supervised:
        beside = scored.semi_supervised.summary
        calibration["combined"] = (beside.calibration_combined, beside.calibration_patients)
    points = []
    for kind, (normals, numbers) in calibration.items():
        if not len(normals):
            continue
        words, values = columns[kind]
        rates = statistics.sensitivity_at_specificity(
            abnormal, values[kept], patients, normal_scores=normals, normal_patients=numbers, specificity=1 - rate
        )
        is_promised = summary.calibration_source == "calibrate" and not summary.note and numbers is not None
        promised = (
            promised_rate(rate, rates.reference_patients) if is_promised and rates.threshold is not None else None
        )
        points.append(StoredPoint(kind, words, rates, summary.calibration_source, promised))
    return tuple(points)


def _false_alarm_rate(folder: Path) -> float:
    return _config(folder).false_alarm_rate


def _config(folder: Path) -> PipelineConfig:
    """The settings of the run. Raises EngineError."""
    try:
        values = files.read_json(folder / "run.json")
        return PipelineConfig.from_json(dict(values["config"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineError(f"{folder} has no run.json that can be read: score the films again.") from None


def _facts(scored: ScoredFolder) -> dict[str, str]:
    summary, config = scored.summary, _config(scored.path)
    weights = summary.weights
    sha256 = f" (SHA-256 {str(weights['sha256'])[:12]})" if weights.get("sha256") else ""
    return {
        "detector": config.detector,
        "backbone": config.backbone,
        "weights": f"{weights.get('name', 'unknown')}{sha256}",
        "film score": summary.image_score,
        "fusion weight": f"{summary.fusion_weight:g}, from {summary.fusion_source}",
        "calibration": summary.calibration_source,
        "seed": str(config.seed),
        "detector file": f"SHA-256 {str(summary.detector_sha256)[:12]}" if summary.detector_sha256 else "unknown",
        "code version": summary.code_version,
    } | ({"note": summary.note} if summary.note else {})
