"""A fitted detector: its assembly from model, mask and calibration, the scores it gives, its threshold and its file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.alignment.batches import spans
from ml_engine.core.bank import detectors
from ml_engine.core.bank.detectors import Model
from ml_engine.core.bank.memory_bank import Banks
from ml_engine.core.config import DETECTORS, PipelineConfig
from ml_engine.core.errors import EngineError, IncompatibleModel
from ml_engine.core.film.masking import HardMask
from ml_engine.core.score import calibration, film_scores, fusion, model_selection
from ml_engine.core.score.conformal import highest_by_patient
from ml_engine.core.score.film_scores import Member, PartStatistics
from ml_engine.core.score.fusion import Maps
from ml_engine.core.score.model_selection import Choice
from ml_engine.core.version import FORMAT, code_version

CHOSEN = ("rate", "neighbours", "image_score", "top_share")  # the settings that may be chosen on the tune part
FILMS_AT_ONCE = 512  # number of films whose maps are held in float64


@dataclass(frozen=True)
class Calibration:
    """The raw maps of normal films, float32 (n, 2, h, w), NaN where masked, and the films they come from (``source``).

    ``mean`` and ``std`` float32 (2, h, w) standardise maps, with 0 and 1 where masked; both are None without
    ``config.standardise``. ``parts`` standardise the parts of the combined film score; None for fewer than two films.
    ``patients`` int64 (n,) numbers the films' patients, not by their names; None in a detector of an earlier version.
    """

    maps: Maps
    source: str
    mean: Maps | None
    std: Maps | None
    parts: PartStatistics | None = None
    patients: NDArray[np.int64] | None = None

    @property
    def values(self) -> NDArray[np.float64]:
        """The maps, float64 (n, 2, h, w), comparable with those of new films: if the detector standardises, each is
        standardised by those of other patients."""
        if self.mean is None or len(self.maps) == 0:
            return self.maps.astype(np.float64)
        return calibration.held_out_standardised(self.maps, self.patients)

    def standardised_parts(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The parts of the combined film score (N, 2, 101) from the films' `film_scores.part_scores`."""
        return np.full_like(scores, np.nan) if self.parts is None else self.parts.standardised(scores)


@dataclass(frozen=True)
class FittedDetector:
    """Everything that scoring needs except the backbone's weights and the alignment, whose SHA-256 it holds.

    ``note`` qualifies its scores: it states how the detector was changed without the films it was fitted on.
    ``configured`` holds the settings `CHOSEN` as configured; those in ``config`` may have been chosen on the tune part.
    """

    config: PipelineConfig
    mask: HardMask
    model: Model
    calibration: Calibration
    choice: Choice
    weights: dict[str, Any]
    alignment_sha256: str | None
    code_version: str
    note: str = ""
    configured: dict[str, Any] = field(default_factory=dict)

    @property
    def banks(self) -> Banks:
        """The memory banks. Raises IncompatibleModel for a baseline, which has none."""
        if not isinstance(self.model, Banks):
            kind = DETECTORS[self.config.detector]
            raise IncompatibleModel(f"The detector is {kind}, which has no memory bank: only PatchCore has one.")
        return self.model

    def scores(self, maps: Maps, *, weight: float | None = None) -> Scores:
        """The films' scores from their raw maps; see `score_maps`."""
        return score_maps(maps, self, weight=weight)


UNCALIBRATED = "none: there is no calibrate part, and cross_fit is off"


def no_maps(config: PipelineConfig, keep: NDArray[np.bool_]) -> Maps:
    """The maps of no film under each candidate, float32 (C, 0, 2, h, w), for a hard mask ``keep`` bool (h, w)."""
    return np.zeros((len(model_selection.candidates(config)), 0, 2, *keep.shape), np.float32)


def calibrate(
    maps: Maps, *, source: str, config: PipelineConfig, patients: NDArray[np.int64] | None = None
) -> Calibration:
    """The calibration from the raw maps float32 (n, 2, h, w) of normal films, with their patients' numbers (n,).

    Raises EngineError where the maps or the film score cannot be standardised; see `calibration.standardisation`.
    """
    mean, std = None, None
    if config.standardise:
        raw_mean, raw_std = calibration.standardisation(maps)
        mean, std = np.nan_to_num(raw_mean, nan=0.0), np.nan_to_num(raw_std, nan=1.0)
    calibrated = Calibration(maps, source, mean, std, patients=patients)
    parts = film_scores.part_statistics(film_scores.part_scores(calibrated.values))
    if parts is None and film_scores.COMBINED in config.tried("image_score"):
        raise too_few_for_parts(len(maps))
    return replace(calibrated, parts=parts)


def too_few_for_parts(count: int) -> EngineError:
    """The error for the film score ``mean+top`` with too few normal films."""
    return EngineError(
        f"The film score {film_scores.COMBINED} is standardised by at least {film_scores.LEAST_NORMALS} normal films "
        f"that calibrate, and there are {count}: add films of more patients, or set image_score=top."
    )


def assemble(
    config: PipelineConfig,
    model: Model,
    mask: HardMask,
    *,
    films: int,
    calibrated: list[Calibration],
    choice: Choice,
    weights: dict[str, Any],
    alignment_sha256: str | None,
) -> FittedDetector:
    """The detector for a choice, with the banks at the chosen rate, and the chosen K and share in its config.

    ``model`` was fitted on ``films`` films at the highest rate tried; ``calibrated`` has the calibration of each
    candidate.
    """
    candidate = model_selection.candidates(config)[choice.candidate]
    chosen = model_selection.with_candidate(config, candidate)
    if choice.top_share is not None:
        chosen = chosen.replace(top_share=choice.top_share, image_score=choice.image_score or config.image_score)
    return FittedDetector(
        config=chosen,
        mask=mask,
        model=model_selection.at_candidate_rate(model, config, candidate, keep=mask.keep, films=films),
        calibration=calibrated[choice.candidate],
        choice=choice,
        weights=weights,
        alignment_sha256=alignment_sha256,
        code_version=code_version(),
        configured={name: getattr(config, name) for name in CHOSEN},
    )


def choose(
    maps: Maps,
    abnormal: NDArray[np.bool_],
    calibrated: list[Calibration],
    config: PipelineConfig,
    *,
    patients: list[str],
) -> Choice:
    """`model_selection.choose` for the tune films' raw maps (C, n, 2, h, w), with the calibration of each candidate."""
    standardised = [
        fusion.standardised(of_candidate, candidate.mean, candidate.std)
        for of_candidate, candidate in zip(maps, calibrated, strict=True)
    ]
    parts = [candidate.parts for candidate in calibrated]
    return model_selection.choose(standardised, abnormal, parts, config, patients=patients)


@dataclass(frozen=True)
class Scores:
    """Scores of N films; NaN for a film without maps.

    ``whole`` from the global map, ``region`` from the region map and ``fused`` from the fused map, float64 (N,) each.
    At each of `fusion.WEIGHTS`: ``sweep`` float32 (N, 101), the fused score; ``parts`` float32 (N, 2, 101), the scores
    `film_scores.PARTS` standardised by the calibration films, NaN without them; ``family`` float32 (N, 6, 101), the
    scores `film_scores.FAMILY`.
    """

    whole: NDArray[np.float64]
    region: NDArray[np.float64]
    fused: NDArray[np.float64]
    sweep: NDArray[np.float32]
    parts: NDArray[np.float32]
    family: NDArray[np.float32]


def score_maps(maps: Maps, detector: FittedDetector, *, weight: float | None = None) -> Scores:
    """The scores of films from their raw maps float32 (N, 2, h, w), at ``weight`` or the detector's fusion weight."""
    chosen = detector.choice.weight if weight is None else weight
    calibrated = detector.calibration
    chunks = [maps[at] for at in spans(len(maps), FILMS_AT_ONCE)] or [maps]
    scored = [
        _scores_of(
            fusion.standardised(chunk, calibrated.mean, calibrated.std),
            detector.config,
            calibrated.standardised_parts,
            weight=chosen,
        )
        for chunk in chunks
    ]
    return Scores(
        **{field.name: np.concatenate([getattr(part, field.name) for part in scored]) for field in fields(Scores)}
    )


def _scores_of(
    values: NDArray[np.float64],
    config: PipelineConfig,
    standardise_parts: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    weight: float,
) -> Scores:
    """Scores from maps (N, 2, h, w) that are already standardised, if the config standardises."""
    family = film_scores.member_scores(values)
    names, members = list(film_scores.FAMILY), list(film_scores.FAMILY.values())
    parts = standardise_parts(family[:, [names.index(name) for name in film_scores.PARTS]])
    if config.image_score == film_scores.COMBINED:
        sweep = film_scores.combined(parts)
    elif (member := Member.of(config.image_score, config.top_share)) in members:
        sweep = family[:, members.index(member)]
    else:
        sweep = film_scores.member_scores(values, [member])[:, 0]
    return Scores(
        whole=sweep[:, 0],
        region=sweep[:, -1],
        fused=sweep[:, round(weight * 100)],
        sweep=sweep.astype(np.float32),
        parts=parts.astype(np.float32),
        family=family.astype(np.float32),
    )


def cross_fitted_scores(maps: Maps, detector: FittedDetector) -> Scores:
    """The scores of the fit films from their cross-fitted maps (F, 2, h, w), made by models of other patients.

    The maps are standardised by the calibrate part. Where the maps are themselves the calibration, each is standardised
    by the others.
    """
    calibrated = detector.calibration
    if calibrated.source == "calibrate":
        return score_maps(maps, detector)
    standardise = partial(film_scores.held_out_parts, patients=calibrated.patients)
    return _scores_of(
        replace(calibrated, maps=maps).values, detector.config, standardise, weight=detector.choice.weight
    )


def normal_scores(detector: FittedDetector, *, weight: float | None = None) -> NDArray[np.float64]:
    """The fused scores of the calibration films, float64 (n,), for `calibration.p_values` of new films."""
    config, weights = detector.config, np.array([detector.choice.weight if weight is None else weight])
    return film_scores.normal_scores_at(
        detector.calibration.values,
        how=config.image_score,
        top_share=config.top_share,
        patients=detector.calibration.patients,
        weights=weights,
    )[:, 0]


def is_split_conformal(detector: FittedDetector) -> bool:
    """Whether the calibration films score as new ones do: they are of a part of their own, their patients are known,
    and the banks are those of the fit. Cross-fitted films were scored by models of fewer films."""
    calibrated = detector.calibration
    return calibrated.source == "calibrate" and not detector.note and calibrated.patients is not None


def threshold(detector: FittedDetector, *, weight: float | None = None) -> dict[str, Any]:
    """The threshold above which the fused map is marked (paper, Fig. 16), as JSON.

    ``kind`` is "film" or "percentile". ``value`` is None, with the reason in ``note``, where there are too few
    calibration films. A film threshold also has the fields of `calibration.FilmThreshold`.
    """
    config = detector.config
    fused = fusion.fuse(detector.calibration.values, detector.choice.weight if weight is None else weight)
    if config.threshold == "percentile":
        value = calibration.patch_threshold(fused, config.threshold_percentile)
        note = "There is no calibration film." if np.isnan(value) else ""
        return {"kind": "percentile", "value": None if np.isnan(value) else value, "note": note}
    maxima = film_scores.image_scores(fused, how="max")
    patients = detector.calibration.patients
    by_film = calibration.film_threshold(
        maxima, config.false_alarm_rate, patients=patients, exchangeable=is_split_conformal(detector)
    )
    if by_film is None:
        least, count = calibration.least_films(config.false_alarm_rate), len(highest_by_patient(maxima, patients))
        note = (
            f"A false-alarm rate of {config.false_alarm_rate:g} needs normal films of at least {least} patients to "
            f"calibrate on, and there are {count}: add films, or raise false_alarm_rate."
        )
        return {"kind": "film", "value": None, "note": note}
    return {"kind": "film", "note": ""} | asdict(by_film)


# the file


def save_detector(detector: FittedDetector, path: Path) -> None:
    """Write the detector as a safetensors file."""
    calibrated = detector.calibration
    tensors = detectors.to_tensors(detector.model)
    tensors["mask"] = torch.from_numpy(detector.mask.keep.copy())
    tensors["calibration.maps"] = torch.from_numpy(calibrated.maps.copy())
    if calibrated.patients is not None:
        tensors["calibration.patients"] = torch.from_numpy(calibrated.patients.copy())
    if calibrated.mean is not None and calibrated.std is not None:
        tensors["mean"], tensors["std"] = torch.from_numpy(calibrated.mean), torch.from_numpy(calibrated.std)
    if calibrated.parts is not None:
        tensors["parts.mean"] = torch.from_numpy(calibrated.parts.mean)
        tensors["parts.std"] = torch.from_numpy(calibrated.parts.std)
    choice = detector.choice
    tensors["tune.auroc"] = torch.tensor(choice.aurocs, dtype=torch.float64)
    header = {
        "format": FORMAT,
        "kind": "detector",
        "config": detector.config.to_json(),
        "weights": detector.weights,
        "alignment_sha256": detector.alignment_sha256,
        "code_version": detector.code_version,
        "mask_threshold": detector.mask.threshold,
        "calibration_source": calibrated.source,
        "note": detector.note,
        "asked": detector.configured,
        "choice": {name: value for name, value in model_selection.to_json(choice).items() if name != "aurocs"},
    }
    files.write_tensors(path, tensors, header)


def load_detector(path: Path) -> FittedDetector:
    """The detector written by `save_detector`. Raises IncompatibleModel for any other file or format."""
    tensors, header = files.read_tensors(path)
    if header.get("format") != FORMAT or header.get("kind") != "detector":
        raise IncompatibleModel(f"{path.name} is not a detector of format {FORMAT}: fit it again with this version.")
    choice = model_selection.from_json(header["choice"] | {"aurocs": tensors["tune.auroc"].tolist()})
    config = PipelineConfig.from_json(header["config"])
    return FittedDetector(
        config=config,
        mask=HardMask(tensors["mask"].numpy(), header["mask_threshold"]),
        model=detectors.from_tensors(tensors, config),
        calibration=_calibration_of(tensors, header["calibration_source"]),
        choice=choice,
        weights=header["weights"],
        alignment_sha256=header["alignment_sha256"],
        code_version=header["code_version"],
        note=header.get("note", ""),
        configured=header.get("asked", {}),
    )


def _calibration_of(tensors: dict[str, torch.Tensor], source: str) -> Calibration:
    """The calibration of a detector file; files of 0.2.0 and before lack the statistics of the parts."""
    mean, std = (tensors[name].numpy() if name in tensors else None for name in ("mean", "std"))
    patients = tensors["calibration.patients"].numpy() if "calibration.patients" in tensors else None
    calibrated = Calibration(tensors["calibration.maps"].numpy(), source, mean, std, patients=patients)
    if "parts.mean" in tensors:
        parts = PartStatistics(tensors["parts.mean"].numpy(), tensors["parts.std"].numpy())
        return replace(calibrated, parts=parts)
    return replace(calibrated, parts=film_scores.part_statistics(film_scores.part_scores(calibrated.values)))
