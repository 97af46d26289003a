"""A fitted detector: its assembly from model, mask and calibration, the scores it gives, its threshold and its file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
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
from ml_engine.core.errors import IncompatibleModel
from ml_engine.core.film.masking import HardMask
from ml_engine.core.score import calibration, fusion, model_selection
from ml_engine.core.score.fusion import Maps
from ml_engine.core.score.model_selection import Choice
from ml_engine.core.version import FORMAT, code_version

FILMS_AT_ONCE = 512  # number of films whose maps are held in float64


@dataclass(frozen=True)
class Calibration:
    """The raw maps of normal films, float32 (n, 2, h, w), NaN where masked, and the films they come from (``source``).

    ``mean`` and ``std`` float32 (2, h, w) standardise maps, with 0 and 1 where masked; both are None without
    ``config.standardise``.
    """

    maps: Maps
    source: str
    mean: Maps | None
    std: Maps | None


@dataclass(frozen=True)
class FittedDetector:
    """Everything that scoring needs except the backbone's weights and the alignment, whose SHA-256 it holds.

    ``note`` qualifies its scores: it states how the detector was changed without the films it was fitted on.
    ``configured`` holds the rate, neighbours and top_share as configured; those in ``config`` may have been chosen on
    the tune part.
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


def calibrate(maps: Maps, *, source: str, config: PipelineConfig) -> Calibration:
    """The calibration from the raw maps float32 (n, 2, h, w) of normal films.

    Raises EngineError where the maps cannot be standardised; see `calibration.standardisation`.
    """
    if not config.standardise:
        return Calibration(maps, source, None, None)
    mean, std = calibration.standardisation(maps)
    return Calibration(maps, source, np.nan_to_num(mean, nan=0.0), np.nan_to_num(std, nan=1.0))


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
        chosen = chosen.replace(top_share=choice.top_share)
    return FittedDetector(
        config=chosen,
        mask=mask,
        model=model_selection.at_candidate_rate(model, config, candidate, keep=mask.keep, films=films),
        calibration=calibrated[choice.candidate],
        choice=choice,
        weights=weights,
        alignment_sha256=alignment_sha256,
        code_version=code_version(),
        configured={name: getattr(config, name) for name in ("rate", "neighbours", "top_share")},
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
    normals = [candidate.maps for candidate in calibrated]
    standardisations = [(candidate.mean, candidate.std) for candidate in calibrated]
    return model_selection.choose(maps, abnormal, normals, standardisations, config, patients=patients)


@dataclass(frozen=True)
class Scores:
    """Scores of N films; NaN for a film without maps.

    ``whole`` from the global map, ``region`` from the region map and ``fused`` from the fused map, float64 (N,) each;
    ``sweep`` float32 (N, 101), the fused score at each of `fusion.WEIGHTS`.
    """

    whole: NDArray[np.float64]
    region: NDArray[np.float64]
    fused: NDArray[np.float64]
    sweep: NDArray[np.float32]


def score_maps(maps: Maps, detector: FittedDetector, *, weight: float | None = None) -> Scores:
    """The scores of films from their raw maps float32 (N, 2, h, w), at ``weight`` or the detector's fusion weight."""
    chosen = detector.choice.weight if weight is None else weight
    parts = [_score_maps(maps[at], detector, chosen) for at in spans(len(maps), FILMS_AT_ONCE)]
    if not parts:
        parts = [_score_maps(maps, detector, chosen)]
    names = ("whole", "region", "fused", "sweep")
    return Scores(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _score_maps(maps: Maps, detector: FittedDetector, weight: float) -> Scores:
    calibrated = detector.calibration
    return _scores_of(fusion.standardised(maps, calibrated.mean, calibrated.std), detector.config, weight)


def _scores_of(values: NDArray[np.float64], config: PipelineConfig, weight: float) -> Scores:
    """Scores from maps (N, 2, h, w) that are already standardised, if the config standardises."""

    def at(w: float) -> NDArray[np.float64]:
        return fusion.image_scores(fusion.fuse(values, w), how=config.image_score, top_share=config.top_share)

    sweep = fusion.sweep(values, how=config.image_score, top_share=config.top_share)
    return Scores(at(0.0), at(1.0), at(weight), sweep)


def cross_fitted_scores(maps: Maps, detector: FittedDetector) -> Scores:
    """The scores of the fit films from their cross-fitted maps (F, 2, h, w), made by models of other patients.

    The maps are standardised by the calibrate part. Where the maps are themselves the calibration, each is standardised
    by the others.
    """
    calibrated = detector.calibration
    if calibrated.mean is None or calibrated.source == "calibrate":
        return score_maps(maps, detector)
    return _scores_of(calibration.held_out_standardised(maps), detector.config, detector.choice.weight)


def normal_values(detector: FittedDetector) -> NDArray[np.float64]:
    """The maps of the calibration films, float64 (n, 2, h, w), comparable with those of new films.

    If the detector standardises, each is standardised by the others.
    """
    calibrated = detector.calibration
    if calibrated.mean is None or len(calibrated.maps) == 0:
        return calibrated.maps.astype(np.float64)
    return calibration.held_out_standardised(calibrated.maps)


def normal_scores(detector: FittedDetector, *, weight: float | None = None) -> NDArray[np.float64]:
    """The fused scores of the calibration films, float64 (n,), for `calibration.p_values` of new films."""
    config = detector.config
    fused = fusion.fuse(normal_values(detector), detector.choice.weight if weight is None else weight)
    return fusion.image_scores(fused, how=config.image_score, top_share=config.top_share)


def threshold(detector: FittedDetector, *, weight: float | None = None) -> dict[str, Any]:
    """The threshold above which the fused map is marked (paper, Fig. 16), as JSON.

    ``kind`` is "film" or "percentile". ``value`` is None, with the reason in ``note``, where there are too few
    calibration films. A film threshold also has the fields of `calibration.FilmThreshold`.
    """
    config = detector.config
    fused = fusion.fuse(normal_values(detector), detector.choice.weight if weight is None else weight)
    if config.threshold == "percentile":
        value = calibration.patch_threshold(fused, config.threshold_percentile)
        note = "There is no calibration film." if np.isnan(value) else ""
        return {"kind": "percentile", "value": None if np.isnan(value) else value, "note": note}
    maxima = fusion.image_scores(fused, how="max", top_share=1.0)
    by_film = calibration.film_threshold(maxima, config.false_alarm_rate)
    if by_film is None:
        least = calibration.least_films(config.false_alarm_rate)
        note = (
            f"A false-alarm rate of {config.false_alarm_rate:g} needs at least {least} normal films to calibrate on, "
            f"and there are {len(maxima)}: add films, or raise false_alarm_rate."
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
    if calibrated.mean is not None and calibrated.std is not None:
        tensors["mean"], tensors["std"] = torch.from_numpy(calibrated.mean), torch.from_numpy(calibrated.std)
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
        calibration=Calibration(
            tensors["calibration.maps"].numpy(),
            header["calibration_source"],
            tensors["mean"].numpy() if "mean" in tensors else None,
            tensors["std"].numpy() if "std" in tensors else None,
        ),
        choice=choice,
        weights=header["weights"],
        alignment_sha256=header["alignment_sha256"],
        code_version=header["code_version"],
        note=header.get("note", ""),
        configured=header.get("asked", {}),
    )
