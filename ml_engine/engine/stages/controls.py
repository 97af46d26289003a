"""Negative controls of a detector fit: held-out normals changed harmlessly (`core.film.controls`), scored as new films.

A film that calibrates is scored by the detector calibrated without its patient, as one that the detector never saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.alignment.model import BATCH, FittedAlignment
from ml_engine.core.bank.detectors import scorer_of
from ml_engine.core.detector import pipeline
from ml_engine.core.errors import UnreadableImage
from ml_engine.core.film import controls
from ml_engine.core.film.preprocess import FilmArray, Prepared, intensities, prepare
from ml_engine.core.score import calibration
from ml_engine.core.score.conformal import highest_by_patient
from ml_engine.engine.reports import ControlKind, NegativeControls
from ml_engine.engine.run_folder import StageProgress
from ml_engine.engine.stages import changed_films, read_and_align
from ml_engine.engine.stages.fit_detector import assembled
from ml_engine.engine.stages.run_context import RunContext

UNCHANGED = "unchanged"
GROUP = BATCH // len(controls.KINDS)  # films aligned at once: an alignment takes as long for fewer
Rows = NDArray[np.int64]


def score_controls(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes one file per film in controls/, so that a restart skips films already done: under each kind of change
    its parameters, the film's score and its parts, whether it is flagged, and whether the alignment is doubtful.

    The summary is `NegativeControls`; empty with ``config.controls`` 0.
    """
    if not context.config.controls:
        return {}
    detector = assembled(context)
    part, rows = _held_out(context, detector)
    films: list[dict[str, Any]] = []
    note = _refusal(context, detector, rows)
    if not note:
        scoring = _Scoring(context, detector)
        for first in range(0, len(rows), GROUP):
            paths = {row: context.path(f"controls/{row:06}.json") for row in rows[first : first + GROUP].tolist()}
            if not all(path.is_file() for path in paths.values()):
                scoring.write_group(paths)
            films += [files.read_json(path) for path in paths.values()]
            progress(len(films), len(rows))
    scored = [film["kinds"] for film in films if not film["unreadable"]]
    if films and not scored:
        note = f"The files of the normal films could not be read. The first: {films[0]['unreadable']}"
    kinds = [_summary(kind, scored) for kind in (UNCHANGED, *controls.KINDS)] if scored else []
    return NegativeControls(part=part, rate=context.config.false_alarm_rate, kinds=kinds, note=note).to_json()


def _held_out(context: RunContext, detector: pipeline.FittedDetector) -> tuple[str, Rows]:
    """Held-out normals and their part, one film of each patient, at most ``config.controls``, drawn by the seed."""
    part = "calibrate" if detector.calibration.source == "calibrate" else "tune"
    labels = ("normal", "") if part == "calibrate" else ("normal",)
    rows = [row for row in context.readable(part).tolist() if context.rows[row].label in labels]
    drawn = np.random.default_rng(context.config.seed).permutation(rows).tolist()
    of_patient: dict[str, int] = {}
    for row in drawn:
        of_patient.setdefault(_patient(context, row), row)
    return part, np.sort(np.array(list(of_patient.values())[: context.config.controls], dtype=np.int64))


def _patient(context: RunContext, row: int) -> str:
    return context.rows[row].patient or f"row {row}"


def _refusal(context: RunContext, detector: pipeline.FittedDetector, rows: Rows) -> str:
    """Why there are no controls; empty if there is no reason."""
    if not len(rows):
        return "There are no held-out normal films: the calibrate and tune parts have none."
    if context.config.align != "none" and context.config.alignment.method == "landmarks":
        return "The alignment is by landmarks, which a changed film does not have."
    rate = context.config.false_alarm_rate
    least = max(calibration.least_films(rate), calibration.LEAST_FILMS)
    normals, patients = pipeline.normal_scores(detector), detector.calibration.patients
    assert patients is not None, "only a detector of an earlier version lacks them"
    others = [_others(context, detector, row) for row in rows.tolist()]
    count = min(len(highest_by_patient(normals[kept], patients[kept])) for kept in others)
    if count >= least:
        return ""
    return (
        f"A false-alarm rate of {rate:g} needs normal films of at least {least} other patients to calibrate on, and "
        f"there are {count}."
    )


def _others(context: RunContext, detector: pipeline.FittedDetector, row: int) -> NDArray[np.bool_]:
    """Which of the calibration films are of other patients than the film at ``row``, bool (n,)."""
    calibrated = detector.calibration
    if calibrated.source != "calibrate" or calibrated.patients is None:
        return np.ones(len(calibrated.maps), dtype=np.bool_)
    own = calibrated.patients[context.readable("calibrate").tolist().index(row)]
    return calibrated.patients != own


@dataclass(frozen=True)
class _Changed:
    """A film changed in one way, prepared and not yet aligned."""

    row: int
    kind: str
    parameters: dict[str, Any]
    prepared: Prepared


@dataclass(frozen=True)
class _Version:
    """A film as it is scored; ``parameters`` of its change are empty for the film itself."""

    kind: str
    parameters: dict[str, Any]
    image: NDArray[np.float32]
    input_from_canonical: NDArray[np.float64]
    is_unaligned: bool


class _Scoring:
    """Scores films and their changed versions by the run's detector."""

    def __init__(self, context: RunContext, detector: pipeline.FittedDetector) -> None:
        self.context, self.detector = context, detector
        self.scorer = scorer_of(detector.model, detector.mask.keep, detector.config, context.device)
        self.alignment = read_and_align.load_checked_alignment(context) if context.config.align == "network" else None

    def write_group(self, paths: dict[int, Path]) -> None:
        """Write the files of a group of films, by row, that are not there yet."""
        versions, unreadable = self.versions_of(list(paths))
        for row, reason in unreadable.items():
            files.write_json(paths[row], {"row": row, "unreadable": reason, "kinds": {}})
        for row, of_row in versions.items():
            if not paths[row].is_file():
                files.write_json(paths[row], self.scores_of(row, of_row))

    def versions_of(self, rows: Sequence[int]) -> tuple[dict[int, list[_Version]], dict[int, str]]:
        """The films by row, each unchanged and changed in every way, prepared and aligned as new films; and the reason
        of each that cannot be read, which may be gone while its features are kept."""
        changed, unreadable = [], {}
        for row in rows:
            try:
                changed += self._changed(changed_films.decode(self.context, row), row)
            except UnreadableImage as problem:
                unreadable[row] = str(problem)
        affines, unaligned = _placed(self.alignment, [film.prepared for film in changed])
        versions = {row: [self._unchanged(row)] for row in rows if row not in unreadable}
        for film, affine, is_unaligned in zip(changed, affines, unaligned, strict=True):
            image = film.prepared.image.numpy()
            versions[film.row].append(_Version(film.kind, film.parameters, image, affine, bool(is_unaligned)))
        return versions, unreadable

    def scores_of(self, row: int, versions: list[_Version]) -> dict[str, Any]:
        inputs = np.stack([version.image for version in versions])
        affines = np.stack([version.input_from_canonical for version in versions])
        maps = np.stack(list(changed_films.raw_maps(self.context, self.scorer, inputs, affines)))
        return {"row": row, "unreadable": "", "kinds": self._facts(row, versions, maps)}

    def _unchanged(self, row: int) -> _Version:
        inputs = self.context.inputs()
        affine = self.context.read("input_from_canonical.npy")[row]
        flagged = row in self.context.folder.summary("align")["flagged"]
        return _Version(UNCHANGED, {}, inputs[row], affine, flagged)

    def _changed(self, array: FilmArray, row: int) -> list[_Changed]:
        """The film changed in every way."""
        config = self.context.config
        gray, changed = intensities(array, config), []
        for number, kind in enumerate(controls.KINDS):
            drawn = controls.draw(kind, np.random.default_rng((config.seed, row, number)))
            image = controls.apply(gray, drawn, pixel_aspect=array.pixel_aspect)
            prepared = prepare(as_new_film(array, image, is_moved=controls.moves(drawn)), config)
            changed.append(_Changed(row, kind, asdict(drawn), prepared))
        return changed

    def _facts(self, row: int, versions: Sequence[_Version], maps: NDArray[np.float32]) -> dict[str, Any]:
        detector = self._without_patient(row)
        scores = pipeline.score_maps(maps, detector)
        threshold = calibration.film_threshold(
            pipeline.normal_scores(detector), detector.config.false_alarm_rate, patients=detector.calibration.patients
        )
        assert threshold is not None, "_refusal counted the patients"
        parts = scores.parts[:, :, round(detector.choice.weight * 100)]
        return {
            version.kind: {
                "parameters": version.parameters,
                "score": float(scores.fused[k]),
                "threshold": threshold.value,
                "flagged": bool(scores.fused[k] > threshold.value),
                "parts": None if np.isnan(parts[k]).any() else [float(value) for value in parts[k]],
                "unaligned": version.is_unaligned,
            }
            for k, version in enumerate(versions)
        }

    def _without_patient(self, row: int) -> pipeline.FittedDetector:
        """The detector, calibrated without the film's patient."""
        others = _others(self.context, self.detector, row)
        calibrated = self.detector.calibration
        if others.all() or calibrated.patients is None:
            return self.detector
        of_others = pipeline.calibrate(
            calibrated.maps[others],
            source=calibrated.source,
            config=self.detector.config,
            patients=calibrated.patients[others],
        )
        return replace(self.detector, calibration=of_others)


def as_new_film(array: FilmArray, gray: NDArray[np.float32], *, is_moved: bool) -> FilmArray:
    """The film with its gray scale (H, W) in [0, 1] replaced by a changed one, before it is windowed anew.

    Padding stays where it was or, if the pixels have moved, is where the changed film is black.
    """
    padding = gray == 0 if is_moved and array.padding.any() else array.padding
    display = None if array.display is None else gray
    return replace(array, values=gray, ends=(0.0, 1.0), display=display, padding=padding)


def _placed(
    alignment: FittedAlignment | None, films: Sequence[Prepared]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """input_from_canonical (N, 2, 3), and which films the checks of the alignment refuse (N,)."""
    if alignment is None or not films:
        return np.broadcast_to(np.eye(2, 3), (len(films), 2, 3)).copy(), np.zeros(len(films), dtype=np.bool_)
    inputs = np.stack([film.image.numpy() for film in films])
    affines, flagged = read_and_align.apply_alignment(alignment, inputs, np.array([film.box for film in films]))
    return affines, flagged


def _summary(kind: str, films: Sequence[dict[str, Any]]) -> ControlKind:
    from scipy.stats import binomtest

    flagged = sum(film[kind]["flagged"] for film in films)
    interval = binomtest(flagged, len(films)).proportion_ci(method="wilson")
    changes = [
        np.subtract(film[kind]["parts"], film[UNCHANGED]["parts"])
        for film in films
        if film[kind]["parts"] is not None and film[UNCHANGED]["parts"] is not None
    ]
    mean_change, top_change = np.mean(changes, axis=0).tolist() if changes else (None, None)
    return ControlKind(
        kind=kind,
        films=len(films),
        flagged=flagged,
        low=float(interval.low),
        high=float(interval.high),
        unaligned=sum(film[kind]["unaligned"] for film in films),
        mean_change=mean_change,
        top_change=top_change,
    )
