"""A fitted detector and how it is assembled: banks, mask, standardisation, fusion weight, threshold."""

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

FILMS_AT_ONCE = 512  # whose maps are held in float64


@dataclass(frozen=True)
class Calibration:
    """What normals score. ``maps`` raw (n, 2, h, w), NaN where masked; ``source`` says which films.

    ``mean`` and ``std`` (2, h, w) float32 standardise maps, None where the config does not; where masked
    they are 0 and 1.
    """

    maps: Maps
    source: str
    mean: Maps | None
    std: Maps | None


@dataclass(frozen=True)
class FittedDetector:
    """All that scoring needs but the backbone's weights and the alignment, whose hashes it holds. ``note`` says what
    a reader of its numbers must know: how it was changed without the films it was fitted on. ``asked`` holds the rate,
    neighbours and top_share as configured, where those of ``config`` were chosen on tune."""

    config: PipelineConfig
    mask: HardMask
    model: Model
    calibration: Calibration
    choice: Choice
    weights: dict[str, Any]
    alignment_sha256: str | None
    code_version: str
    note: str = ""
    asked: dict[str, Any] = field(default_factory=dict)

    @property
    def banks(self) -> Banks:
        """The memory banks. Raises IncompatibleModel for a baseline, which has none."""
        if not isinstance(self.model, Banks):
            kind = DETECTORS[self.config.detector]
            raise IncompatibleModel(f"The detector is {kind}, which has no memory bank: only PatchCore has one.")
        return self.model

    def scores(self, maps: Maps, *, weight: float | None = None) -> Scores:
        """The films' scores from their raw maps, at the detector's fusion weight unless another is given."""
        return score_maps(maps, self, weight=weight)


def calibrate(maps: Maps, *, source: str, config: PipelineConfig) -> Calibration:
    """The calibration of normals' raw maps (n, 2, h, w). Raises EngineError where standardising needs more."""
    if not config.standardise:
        return Calibration(maps, source, None, None)
    mean, std = calibration.standardisation(maps)
    return Calibration(maps, source, np.nan_to_num(mean, nan=0.0), np.nan_to_num(std, nan=1.0))


def assemble(
    asked: PipelineConfig,
    model: Model,
    mask: HardMask,
    *,
    films: int,
    calibrated: list[Calibration],
    choice: Choice,
    weights: dict[str, Any],
    alignment_sha256: str | None,
) -> FittedDetector:
    """The detector that a choice makes of a model fitted on ``films`` films at the highest rate tried and of each
    candidate's calibration: the chosen rate's banks, and the chosen K and share in its config."""
    candidate = model_selection.candidates(asked)[choice.candidate]
    chosen = model_selection.with_candidate(asked, candidate)
    if choice.top_share is not None:
        chosen = chosen.replace(top_share=choice.top_share)
    return FittedDetector(
        config=chosen,
        mask=mask,
        model=model_selection.at_candidate_rate(model, asked, candidate, keep=mask.keep, films=films),
        calibration=calibrated[choice.candidate],
        choice=choice,
        weights=weights,
        alignment_sha256=alignment_sha256,
        code_version=code_version(),
        asked={name: getattr(asked, name) for name in ("rate", "neighbours", "top_share")},
    )


def choose(
    maps: Maps,
    abnormal: NDArray[np.bool_],
    calibrated: list[Calibration],
    config: PipelineConfig,
    *,
    patients: list[str],
) -> Choice:
    """`model_selection.choose` on the tune part's raw maps (C, n, 2, h, w), with each candidate's calibration."""
    normals = [one.maps for one in calibrated]
    return model_selection.choose(
        maps, abnormal, normals, [(one.mean, one.std) for one in calibrated], config, patients=patients
    )


@dataclass(frozen=True)
class Scores:
    """Films' scores, float64 (N,) each, and ``sweep`` float32 (N, 101); NaN for a film without maps."""

    whole: NDArray[np.float64]
    region: NDArray[np.float64]
    fused: NDArray[np.float64]
    sweep: NDArray[np.float32]


def score_maps(maps: Maps, detector: FittedDetector, *, weight: float | None = None) -> Scores:
    """Scores from raw maps (N, 2, h, w), at the detector's fusion weight unless another is given."""
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
    """Scores from maps (N, 2, h, w) that are standardised already."""

    def at(w: float) -> NDArray[np.float64]:
        return fusion.image_scores(fusion.fuse(values, w), how=config.image_score, top_share=config.top_share)

    sweep = fusion.sweep(values, how=config.image_score, top_share=config.top_share)
    return Scores(at(0.0), at(1.0), at(weight), sweep)


def cross_fitted_scores(maps: Maps, detector: FittedDetector) -> Scores:
    """The scores of fit films from maps (F, 2, h, w) that models of the other patients made of them: standardised by
    the calibrate part, or each by the others where these maps are the calibration themselves."""
    calibrated = detector.calibration
    if calibrated.mean is None or calibrated.source == "calibrate":
        return score_maps(maps, detector)
    return _scores_of(calibration.held_out_standardised(maps), detector.config, detector.choice.weight)


def normal_values(detector: FittedDetector) -> NDArray[np.float64]:
    """The calibration normals' maps (n, 2, h, w) as those of new films are seen, float64: each standardised by the
    others."""
    calibrated = detector.calibration
    if calibrated.mean is None or len(calibrated.maps) == 0:
        return calibrated.maps.astype(np.float64)
    return calibration.held_out_standardised(calibrated.maps)


def normal_scores(detector: FittedDetector, *, weight: float | None = None) -> NDArray[np.float64]:
    """The calibration normals' fused scores (n,), to compare new films' with: `calibration.p_values`."""
    config = detector.config
    fused = fusion.fuse(normal_values(detector), detector.choice.weight if weight is None else weight)
    return fusion.image_scores(fused, how=config.image_score, top_share=config.top_share)


def threshold(detector: FittedDetector, *, weight: float | None = None) -> dict[str, Any]:
    """Where the fused map is marked; JSON.

    ``kind`` film or percentile; ``value`` None, with the reason in ``note``, where the calibration films are too
    few; of a film threshold also its `calibration.FilmThreshold`.
    """
    config = detector.config
    fused = fusion.fuse(normal_values(detector), detector.choice.weight if weight is None else weight)
    if config.threshold == "percentile":
        found = calibration.patch_threshold(fused, config.threshold_percentile)
        note = "There is no calibration film." if np.isnan(found) else ""
        return {"kind": "percentile", "value": None if np.isnan(found) else found, "note": note}
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
        "asked": detector.asked,
        "choice": {name: value for name, value in model_selection.to_json(choice).items() if name != "aurocs"},
    }
    files.write_tensors(path, tensors, header)


def load_detector(path: Path) -> FittedDetector:
    """Raises IncompatibleModel for a file that `save_detector` of this format did not write."""
    tensors, header = files.read_tensors(path)
    if header.get("format") != FORMAT or header.get("kind") != "detector":
        raise IncompatibleModel(f"{path.name} is no detector of format {FORMAT}: fit it again with this version.")
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
        asked=header.get("asked", {}),
    )
