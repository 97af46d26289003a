"""The false-alarm rate that a threshold reaches: all normal films, those of each view position and scanner, and those
with and without an attribute such as a device.

A promised rate holds for films drawn like the calibration normals. Where one view or scanner has many more false alarms
than another, films of that group are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import statistics
from analysis.evaluation.evaluate import ScoredPart
from analysis.evaluation.operating_points import OperatingResult
from analysis.evaluation.run_results import results_of
from analysis.models import Evaluation, ScoreKind
from analysis.sections.attributes import GROUPS, groups_of_images, normal_attributes_of
from ml_engine.core.errors import EngineError
from ml_engine.core.score import conformal
from ml_engine.engine import manifest
from ml_engine.models import Run
from ml_engine.runs.run_bucket import here
from portal.models import Image, Part

ATTRIBUTES = ("view", "scanner")
ALL = "all"
WITH, WITHOUT = "with", "without"  # an attribute of normal films


@dataclass(frozen=True)
class AlarmRate:
    """The share of the normal films of a group that reach the threshold. `attribute` is a key of `GROUPS`, or `ALL`,
    WITH or WITHOUT."""

    attribute: str
    name: str
    rate: statistics.Rate

    @property
    def words(self) -> str:
        if self.attribute == ALL:
            return "All normal films"
        if self.attribute in (WITH, WITHOUT):
            return f"Normal films {self.attribute} {self.name}"
        return f"{GROUPS[self.attribute]} {self.name}"


@dataclass(frozen=True)
class RealisedAlarms:
    """False-alarm rates of the normal films of a part. Films of calibrate are called by a threshold fixed on the
    other patients of calibrate."""

    part: str
    rates: tuple[AlarmRate, ...]


def realised_alarms(evaluation: Evaluation, scored: ScoredPart, reached: OperatingResult) -> tuple[RealisedAlarms, ...]:
    """Of the evaluated part, and of calibrate if it fixed the threshold and the films of the fit are still known. Empty
    without a threshold. Raises CannotEvaluate when the run's folder is gone."""
    if reached.threshold is None:
        return ()
    normal = scored.labels == 0
    called = scored.scores_at(reached.weight)[normal].astype(np.float64) >= reached.threshold
    images = [image for image, is_normal in zip(scored.images, normal, strict=True) if is_normal]
    cutoff = evaluation.label_cutoff
    alarms = [RealisedAlarms(scored.part, tuple(_rates(called, images, scored.patients[normal], cutoff)))]
    if reached.score != ScoreKind.ONE_CLASS:  # the films of calibrate have no combined score by other patients here
        return tuple(alarms)
    if reached.source == Part.CALIBRATE and (held_out := _held_out(evaluation.run, reached.point.target)):
        alarms.append(RealisedAlarms(Part.CALIBRATE, tuple(_rates(*held_out, cutoff))))
    return tuple(alarms)


def to_json(alarms: Sequence[RealisedAlarms]) -> dict[str, list[dict[str, Any]]]:
    return {of_part.part: [asdict(rate) for rate in of_part.rates] for of_part in alarms}


def _rates(
    called: NDArray[np.bool_],
    images: Sequence[str],
    patients: NDArray[np.int64] | Sequence[int],
    cutoff: datetime,
) -> Iterator[AlarmRate]:
    codes = np.asarray(patients)
    yield AlarmRate(ALL, "", statistics.clustered_rate(called, codes))
    for attribute, of_film in groups_of_images(images).items():
        if attribute not in ATTRIBUTES or len(set(of_film)) < 2:
            continue
        names = np.array(of_film)
        for name in sorted(set(of_film)):
            inside = names == name
            yield AlarmRate(attribute, name, statistics.clustered_rate(called[inside], codes[inside]))
    attributes = normal_attributes_of(images, cutoff=cutoff)
    for name in sorted(set().union(*attributes)):
        has_it = np.array([name in of_film for of_film in attributes], dtype=np.bool_)
        for word, inside in ((WITH, has_it), (WITHOUT, ~has_it)):
            yield AlarmRate(word, name, statistics.clustered_rate(called[inside], codes[inside]))


def _held_out(run: Run, specificity: float) -> tuple[NDArray[np.bool_], list[str], list[int]] | None:
    """Whether each calibration film passes the threshold of the other patients, with its UUID and patient; None where
    an older engine kept no order, the folder of the fit is gone, or the others are too few."""
    with results_of(run) as folder:
        summary = folder.summary
    order, numbers = summary.calibration_order, summary.calibration_patients
    images = _calibration_images(run)
    if order is None or numbers is None or len(order) != len(images):
        return None
    scores = np.asarray(summary.calibration_scores, dtype=np.float64)
    called = conformal.above_the_others(scores, np.asarray(numbers), share=specificity)
    if called is None:
        return None
    uuids = [images[place] for place in order]
    rows = Image.objects.filter(uuid__in=[uuid for uuid in uuids if uuid]).values_list("uuid", flat=True)
    kept = {str(uuid) for uuid in rows}  # without those erased since
    known = np.array([uuid in kept for uuid in uuids], dtype=np.bool_)
    return (
        called[known],
        [uuid for uuid, is_known in zip(uuids, known, strict=True) if is_known],
        [number for number, is_known in zip(numbers, known, strict=True) if is_known],
    )


def _calibration_images(run: Run) -> list[str]:
    """The UUIDs of the films that calibrated the run's detector, in the order of its fit; empty if unknown."""
    if run.detector is None:
        return []
    try:
        rows = manifest.read(here(run.detector.run) / "images.csv")
        unreadable = run.detector.fit_report.unreadable
    except (OSError, EngineError):
        return []
    return [row.image for k, row in enumerate(rows) if row.part == "calibrate" and str(k) not in unreadable]
