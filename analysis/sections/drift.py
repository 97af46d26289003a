"""Drift of a detector's scores by import: the films of each import against the calibration normals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from typing import Any

import numpy as np
from django.utils import timezone

from analysis import figures, statistics
from analysis.evaluation.looks import CannotEvaluate, runs_looked_at
from analysis.evaluation.thresholds import ReferenceScores, calibration_reference
from analysis.figures.palette import Theme
from ml_engine.models import DetectorModel, Run, RunKind, RunState, Score
from portal.labels.events import labels_at
from portal.models import Image, LabelValue, Part, SplitMember, Upload
from portal.sets.film_copies import FilmCopies

SPECIFICITY = 0.95  # of the threshold for the share of alarms
OF_THE_MODEL = (Part.ALIGN, Part.FIT, Part.CALIBRATE)


@dataclass(frozen=True)
class Drift:
    """Imports in the order of their time: all their films that the detector scored, and those labelled normal now.
    `threshold` is fixed on the calibration normals for a specificity of `SPECIFICITY`, None where they are too few.
    `left_out` counts films by reason."""

    all_films: tuple[statistics.BatchDrift, ...]
    normals: tuple[statistics.BatchDrift, ...]
    calibration_films: int
    calibration_patients: int
    calibration_part: str
    threshold: float | None
    left_out: dict[str, int]

    @property
    def rows(self) -> list[tuple[statistics.BatchDrift, statistics.BatchDrift | None]]:
        """Each import with its normal films, None where it has none."""
        of_name = {row.name: row for row in self.normals}
        return [(row, of_name.get(row.name)) for row in self.all_films]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"specificity": SPECIFICITY}


def drift_of(detector: DetectorModel) -> Drift:
    """From all finished scoring runs of the detector, each film with its latest score; of a film of test, the latest of
    the runs whose results on test somebody has looked at. Films of the patients that made the model are left out, and
    those of test that only other runs scored. Raises CannotEvaluate without a scoring run, and when the folder of the
    latest is gone."""
    runs = list(
        Run.objects.filter(detector=detector, kind=RunKind.SCORE, state=RunState.DONE, rescores=None).order_by("-pk")
    )
    if not runs:
        raise CannotEvaluate("No run has scored films with this detector yet: score some first.")
    reference = calibration_reference(runs[0])
    films, left_out = _latest_scores(detector, runs)
    batches = _batches([score.image for score in films])
    labels = labels_at([score.image_id for score in films], timezone.now())
    is_normal = [score.image_id in labels and labels[score.image_id].value == LabelValue.NORMAL for score in films]
    threshold = statistics.threshold_at_specificity(
        reference.scores, specificity=SPECIFICITY, patients=reference.patients
    )
    order = sorted(range(len(films)), key=lambda k: (batches[k], films[k].image_id))
    return Drift(
        all_films=_rows(films, batches, order, reference, threshold),
        normals=_rows(films, batches, [k for k in order if is_normal[k]], reference, threshold),
        calibration_films=reference.films,
        calibration_patients=reference.patients_count,
        calibration_part=reference.part,
        threshold=threshold,
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def draw_drift(drift: Drift, *, theme: Theme, random_weights: bool) -> dict[str, Any]:
    """For Plotly. It names no film."""
    figure = figures.drift_figure(drift.all_films, drift.normals, theme=theme, random_weights=random_weights)
    return figures.as_json(figure)


def _latest_scores(detector: DetectorModel, runs: Sequence[Run]) -> tuple[list[Score], dict[str, int]]:
    """Each film's score of the latest run, and how many films were left out by reason."""
    members = SplitMember.objects.filter(split=detector.split)
    part_of = dict(members.values_list("patient_id", "part"))
    of_model = {patient for patient, part in part_of.items() if part in OF_THE_MODEL}
    of_model = FilmCopies(detector.site).patients_joined_with(of_model)
    looked_at = runs_looked_at(Run.objects.filter(pk__in=[run.pk for run in runs]))
    left_out = {"of patients whose films made the model": 0, "in test, at which nobody has looked": 0, "unreadable": 0}
    latest: dict[int, Score] = {}
    hidden: dict[int, Score] = {}
    for run in runs:
        for score in Score.objects.filter(run=run).select_related("image").order_by("row"):
            is_shown = run.pk in looked_at or part_of.get(score.image.patient_id) != Part.TEST
            (latest if is_shown else hidden).setdefault(score.image_id, score)
    left_out["in test, at which nobody has looked"] = len(hidden.keys() - latest.keys())
    kept = []
    for score in latest.values():
        if score.image.patient_id in of_model:
            left_out["of patients whose films made the model"] += 1
        elif score.error:
            left_out["unreadable"] += 1
        else:
            kept.append(score)
    return kept, left_out


def _batches(films: Sequence[Image]) -> list[str]:
    """The import of each film, by its day, time and dataset: the first that ended after the film came. Names sort by
    time. A film without one, of an import whose row is gone, counts with the others of its day."""
    uploads = list(
        Upload.objects.filter(dataset__in={film.dataset_id for film in films}, finished_at__isnull=False)
        .select_related("dataset")
        .order_by("finished_at")
    )
    names = []
    for film in films:
        of_film = (
            upload
            for upload in uploads
            if upload.dataset_id == film.dataset_id
            and upload.created_at <= film.created_at
            and upload.finished_at is not None
            and film.created_at <= upload.finished_at
        )
        upload = next(of_film, None)
        names.append(
            f"{film.created_at.astimezone(UTC):%Y-%m-%d} UTC, imported that day"
            if upload is None
            else f"{upload.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC into {upload.dataset.name}"
        )
    return names


def _rows(
    films: Sequence[Score], batches: Sequence[str], chosen: Sequence[int], reference: ReferenceScores,
    threshold: float | None,
) -> tuple[statistics.BatchDrift, ...]:  # fmt: skip
    return statistics.score_drift(
        np.array([films[k].fused_score for k in chosen], dtype=np.float64),
        [batches[k] for k in chosen],
        np.array([films[k].image.patient_id for k in chosen], dtype=np.int64),
        reference=reference.scores,
        reference_patients=reference.patients,
        threshold=threshold,
    )
