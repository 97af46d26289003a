"""A confirmed head: a logistic regression that separates films confirmed as abnormal from the known normals.

It is semi-supervised: its scores stand beside those of the one-class detector, whose patch features it uses. A film's
features are the mean over the patches that the detector's mask keeps, standardised by the known normals. The logit is
linear in the patch features, so a film's map of contributions is exact: it sums to the logit less the intercept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core import files
from ml_engine.core.errors import EngineError, IncompatibleModel
from ml_engine.core.head.limits import LEAST_ABNORMAL
from ml_engine.core.head.logistic import Logistic, fit_logistic
from ml_engine.core.score.held_out import moments_of_others
from ml_engine.core.version import FORMAT

KIND = "semi-supervised head"
LEAST_CALIBRATION = 4  # normal films
LEAST_SPREAD = 1e-6  # of the median deviation; a feature that varies less among the known normals is left out

Array = NDArray[np.float64]


def pool(patches: Tensor) -> Array:
    """The mean float64 (D,) of a film's patch features float32 (P, D)."""
    return np.asarray(patches.double().mean(0).cpu().numpy(), dtype=np.float64)


@dataclass(frozen=True)
class Scale:
    """Standardises pooled features: (x - ``mean``) * ``inverse_std``, float64 (D,) each. ``inverse_std`` is 0 for a
    feature without variation among the known normals."""

    mean: Array
    inverse_std: Array

    @classmethod
    def of(cls, normals: Array) -> Scale:
        """The scale of the known normals (n, D), n at least 2; the deviation divides by n - 1."""
        std = normals.std(axis=0, ddof=1)
        varies = std > LEAST_SPREAD * np.median(std)
        return cls(normals.mean(axis=0), np.where(varies, 1 / np.where(varies, std, 1.0), 0.0))

    def apply(self, features: Array) -> Array:
        return np.asarray((features - self.mean) * self.inverse_std, dtype=np.float64)


def require_confirmed(abnormal: int) -> None:
    """Raises EngineError for fewer than `LEAST_ABNORMAL` films."""
    if abnormal < LEAST_ABNORMAL:
        raise EngineError(
            f"The reads hold {abnormal} films confirmed as abnormal, and a semi-supervised head needs at least "
            f"{LEAST_ABNORMAL}: read more films first."
        )


@dataclass(frozen=True)
class TrainingFilms:
    """What a head is fitted on: pooled features float64 (N, D), ``abnormal`` bool (N,), ``weights`` float64 (N,), and
    whether a film is a known normal, bool (N,): these also give the scale."""

    features: Array
    abnormal: NDArray[np.bool_]
    weights: Array
    known: NDArray[np.bool_]

    def take(self, at: NDArray[np.bool_]) -> TrainingFilms:
        return TrainingFilms(self.features[at], self.abnormal[at], self.weights[at], self.known[at])


def fit(films: TrainingFilms, *, penalty: float) -> tuple[Scale, Logistic]:
    """The scale and the regression (`fit_logistic`) of the films.

    The weights of the reads are divided by their mean among the abnormal and among the normal reads, so that they
    change the balance among reads and not the strength of the penalty; known normals have weight 1.
    """
    scale = Scale.of(films.features[films.known])
    weights = np.ones(len(films.features))
    for of_class in (films.abnormal & ~films.known, ~films.abnormal & ~films.known):
        if of_class.any():
            weights[of_class] = films.weights[of_class] / films.weights[of_class].mean()
    return scale, fit_logistic(scale.apply(films.features), films.abnormal, penalty=penalty, weights=weights)


def logits(fitted: tuple[Scale, Logistic], features: Array) -> Array:
    """The logits float64 (N,) of pooled features (N, D); NaN for a film that could not be read."""
    scale, regression = fitted
    return regression.logits(scale.apply(features))


@dataclass(frozen=True)
class ConfirmedHead:
    """A fitted head as its file keeps it. ``calibration_logits`` float64 (n,) are those of the normal films that
    calibrate its detector, in the detector's order, held out; ``facts`` say what it was fitted on."""

    scale: Scale
    regression: Logistic
    penalty: float
    calibration_logits: Array
    detector_sha256: str
    code_version: str
    facts: dict[str, Any]

    def logits(self, features: Array) -> Array:
        """The logits float64 (N,) of pooled features (N, D)."""
        return logits((self.scale, self.regression), features)

    def contributions(self, patches: Tensor) -> Array:
        """What each patch contributes to the film's logit, float64 (P,), from patch features float32 (P, D); the sum is
        the logit less the intercept."""
        values = self.scale.apply(patches.double().cpu().numpy()) * self.regression.coefficients
        return np.asarray(np.ascontiguousarray(values).sum(axis=1) / len(patches), dtype=np.float64)

    def map_of(self, patches: Tensor, keep: NDArray[np.bool_]) -> NDArray[np.float32]:
        """`contributions` on the detector's patch grid, float32 (h, w), NaN where ``keep`` (h, w) is False."""
        grid = np.full(keep.shape, np.nan, dtype=np.float32)
        grid[keep] = self.contributions(patches)
        return grid


# scores beside the one-class score


@dataclass(frozen=True)
class BothScores:
    """One-class scores and head logits of the same films, float64 (N,) each."""

    one_class: Array
    head: Array


@dataclass(frozen=True)
class CombinedScores:
    """``one_class_z`` and ``head_z`` standardised by held-out calibration normals, and ``combined``, their sum; float64
    (N,) each."""

    one_class_z: Array
    head_z: Array
    combined: Array


def combine(films: BothScores, normals: BothScores) -> CombinedScores:
    """The combined scores of new films. Deviations divide by n - 1, and are 1 where all normals score equally."""
    one_class_z = _standardised(films.one_class, normals.one_class)
    head_z = _standardised(films.head, normals.head)
    return CombinedScores(one_class_z, head_z, one_class_z + head_z)


def combine_normals(normals: BothScores, patients: NDArray[np.int64] | None) -> CombinedScores:
    """The combined scores of the calibration normals themselves, each standardised by those of other patients, as a new
    film's would be: for p-values and thresholds."""
    parts = []
    for values in (normals.one_class, normals.head):
        moments = moments_of_others(values, patients)
        if moments is None:
            parts.append(_standardised(values, values))
        else:
            parts.append((values - moments[0]) / np.where(moments[1] > 0, moments[1], 1.0))
    return CombinedScores(parts[0], parts[1], parts[0] + parts[1])


def _standardised(values: Array, normals: Array) -> Array:
    std = normals.std(ddof=1)
    return np.asarray((values - normals.mean()) / (std if std > 0 else 1.0), dtype=np.float64)


# the file


def save_head(head: ConfirmedHead, path: Path) -> None:
    """Write the head as a safetensors file."""
    tensors = {
        "mean": head.scale.mean,
        "inverse_std": head.scale.inverse_std,
        "coefficients": head.regression.coefficients,
        "intercept": np.array([head.regression.intercept]),
        "calibration.logits": head.calibration_logits,
    }
    header = {
        "format": FORMAT,
        "kind": KIND,
        "penalty": head.penalty,
        "detector_sha256": head.detector_sha256,
        "code_version": head.code_version,
        "facts": head.facts,
    }
    files.write_tensors(path, {name: torch.from_numpy(values.copy()) for name, values in tensors.items()}, header)


def load_head(path: Path, *, detector_sha256: str | None) -> ConfirmedHead:
    """The head of a file. Raises IncompatibleModel for any other file or format, and for the head of another detector
    than the one of ``detector_sha256``."""
    tensors, header = files.read_tensors(path)
    if header.get("format") != FORMAT or header.get("kind") != KIND:
        raise IncompatibleModel(f"{path.name} is not a semi-supervised head of format {FORMAT}: fit it again.")
    if header["detector_sha256"] != detector_sha256:
        raise IncompatibleModel(
            "The semi-supervised head was fitted beside another detector: score with the folder that fit_head wrote, "
            "unchanged."
        )
    values = {name: tensor.numpy() for name, tensor in tensors.items()}
    return ConfirmedHead(
        scale=Scale(values["mean"], values["inverse_std"]),
        regression=Logistic(values["coefficients"], float(values["intercept"][0])),
        penalty=header["penalty"],
        calibration_logits=values["calibration.logits"],
        detector_sha256=header["detector_sha256"],
        code_version=header["code_version"],
        facts=header["facts"],
    )
