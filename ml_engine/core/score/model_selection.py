"""Model selection on the tune part: the rate s, K, the share q of highest patches, and the fusion weight w.

No other film is used. The AUROC of the best of many alternatives on the films that selected it is optimistic, so a
nested estimate is reported with it: each fold of patients is scored by what the other folds select.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.bank import detectors, memory_bank
from ml_engine.core.bank.detectors import Model
from ml_engine.core.bank.memory_bank import Banks, MapScorer
from ml_engine.core.config import PipelineConfig
from ml_engine.core.score import calibration, fusion
from ml_engine.core.score.auroc import auroc
from ml_engine.core.score.fusion import Maps

FOLDS = 5
REPLICATES = 2000
TIE = 1e-12


class Candidate(NamedTuple):
    """The settings that change a film's maps: the coreset rate s and the number of neighbours K."""

    rate: float
    neighbours: int


def candidates(config: PipelineConfig) -> tuple[Candidate, ...]:
    """All combinations of the rates and the K that the config tries; the configured pair is the first."""
    return tuple(Candidate(s, k) for s in config.tried("rate") for k in config.tried("neighbours"))


def at_highest_rate(config: PipelineConfig) -> PipelineConfig:
    """The config for fitting all candidates at once: banks of smaller rates are prefixes of those of the highest."""
    return config.replace(rate=max(config.tried("rate")))


def with_candidate(config: PipelineConfig, candidate: Candidate) -> PipelineConfig:
    """The config with the candidate's rate and K."""
    return config.replace(rate=candidate.rate, neighbours=candidate.neighbours)


def at_candidate_rate(
    model: Model, config: PipelineConfig, candidate: Candidate, *, keep: NDArray[np.bool_], films: int
) -> Model:
    """The model at a candidate's rate, from a model fitted on ``films`` films with `at_highest_rate`.

    ``keep`` bool (h, w) is the hard mask of the fit.
    """
    if not isinstance(model, Banks) or candidate.rate == max(config.tried("rate")):
        return model
    return memory_bank.at_rate(model, memory_bank.places_of(keep), config, rate=candidate.rate, films=films)


def restrict_to(config: PipelineConfig, candidate: Candidate) -> PipelineConfig:
    """The config with the candidate's rate and K, and no alternatives to choose from."""
    return with_candidate(config, candidate).replace(rate_tried="", neighbours_tried="", top_share_tried="")


def is_free(config: PipelineConfig) -> bool:
    """Whether anything is chosen on the tune part."""
    shares = config.tried("top_share")
    return config.fusion_choice == "tune" or len(candidates(config)) > 1 or len(shares) > 1


class Scorers:
    """Computes a film's maps under every candidate from its features."""

    def __init__(
        self, model: Model, keep: NDArray[np.bool_], config: PipelineConfig, device: torch.device, *, films: int
    ) -> None:
        """``model`` was fitted on ``films`` films with `at_highest_rate` and the hard mask ``keep`` bool (h, w)."""
        self.places = memory_bank.places_of(keep)
        self.neighbours = config.tried("neighbours")
        self.by_rate = []
        for rate in config.tried("rate"):
            candidate = Candidate(rate, config.neighbours)
            at_rate = at_candidate_rate(model, config, candidate, keep=keep, films=films)
            self.by_rate.append(detectors.scorer_of(at_rate, keep, with_candidate(config, candidate), device))

    def maps(self, features: Tensor) -> NDArray[np.float32]:
        """Raw maps float32 (C, 2, h, w) of one film from its features (P, D) float32, in the order of `candidates`."""
        return np.concatenate(
            [
                scorer.maps_at(features, self.neighbours)
                if isinstance(scorer, MapScorer)
                else scorer.maps(features)[None]
                for scorer in self.by_rate
            ]
        )


@dataclass(frozen=True)
class Nested:
    """The AUROC of the selection procedure itself: the films of each of ``folds`` folds of patients are scored by what
    the other folds select. ``low`` to ``high`` is its 95 % bootstrap interval over patients."""

    auroc: float
    low: float
    high: float
    folds: int


@dataclass(frozen=True)
class Choice:
    """What was chosen on the tune part, which has ``films`` films, ``abnormal`` of them abnormal.

    ``source`` is "tune" where the weight was chosen, "config" where it is the configured one. ``candidate`` is the
    place of the chosen candidate among `candidates`. ``aurocs`` are those of the chosen candidate and share at each of
    `fusion.WEIGHTS`, empty unless the tune part has normal and abnormal films. ``table`` has a JSON object for each
    alternative: rate, neighbours, top_share, its best weight and the AUROC at that weight. ``nested`` is None where
    nothing was chosen, or where it could not be estimated for the reason in ``note``.
    """

    weight: float
    source: str  # "tune" or "config"
    aurocs: tuple[float, ...] = ()
    films: int = 0
    abnormal: int = 0
    candidate: int = 0
    top_share: float | None = None
    table: tuple[dict[str, Any], ...] = ()
    nested: Nested | None = None
    note: str = ""


def to_json(choice: Choice) -> dict[str, Any]:
    """The choice as JSON types; `from_json` restores an equal one."""
    return asdict(choice)


def from_json(values: dict[str, Any]) -> Choice:
    """The choice written by `to_json`, also by older versions, which chose only the weight."""
    nested = Nested(**values["nested"]) if values.get("nested") else None
    tuples = {name: tuple(values.get(name, ())) for name in ("aurocs", "table")}
    return Choice(**values | tuples | {"nested": nested})


@dataclass(frozen=True)
class _Alternatives:
    """Scores under each of A alternatives and weight: ``sweeps`` (A, n, 101) of the tune films, ``normals``
    (A, m, 101) of the calibration films. ``names`` are the alternatives: the candidate's place and the share q."""

    names: tuple[tuple[int, float], ...]
    sweeps: NDArray[np.float64]
    normals: NDArray[np.float64]


def choose(
    maps: Maps,
    abnormal: NDArray[np.bool_],
    normals: list[Maps],
    standardisations: list[tuple[Maps | None, Maps | None]],
    config: PipelineConfig,
    *,
    patients: list[str],
) -> Choice:
    """The best alternative on the tune part.

    ``maps`` float32 (C, n, 2, h, w) are the raw maps of the tune films under each candidate, ``abnormal`` bool (n,)
    and ``patients`` (n) their labels and patients. For each candidate ``normals`` holds the raw maps (m, 2, h, w) of
    the calibration films, and ``standardisations`` their mean and deviation, or None. Ties go to the configured
    candidate and share, then to the lower ones, then to the weight nearest to 0.6.
    """
    films, count = len(abnormal), int(abnormal.sum())
    if not is_free(config) or count in (0, films):
        return Choice(config.fusion_weight, "config", films=films, abnormal=count)
    alternatives = _alternatives(maps, normals, standardisations, config)
    all_rows = np.ones(films, dtype=np.bool_)
    best, weight_at, aurocs = _best(alternatives, abnormal, all_rows, config)
    nested, note = _nested(alternatives, abnormal, patients, config)
    candidate, share = alternatives.names[best]
    table = [
        {"rate": c.rate, "neighbours": c.neighbours, "top_share": q} | _best_weight(aurocs[k], config)
        for k, (c, q) in enumerate((candidates(config)[place], q) for place, q in alternatives.names)
    ]
    return Choice(
        weight=float(fusion.WEIGHTS[weight_at]),
        source=config.fusion_choice,
        aurocs=tuple(aurocs[best].tolist()),
        films=films,
        abnormal=count,
        candidate=candidate,
        top_share=share,
        table=tuple(table),
        nested=nested,
        note=note,
    )


def _alternatives(
    maps: Maps,
    normals: list[Maps],
    standardisations: list[tuple[Maps | None, Maps | None]],
    config: PipelineConfig,
) -> _Alternatives:
    names, sweeps, normal_sweeps = [], [], []
    for candidate, (mean, std) in enumerate(standardisations):
        values = fusion.standardised(maps[candidate], mean, std)
        raw = normals[candidate]
        unscaled = mean is None or len(raw) == 0
        normal_values = raw.astype(np.float64) if unscaled else calibration.held_out_standardised(raw)
        for share in config.tried("top_share"):
            names.append((candidate, float(share)))
            sweeps.append(fusion.sweep(values, how=config.image_score, top_share=share))
            normal_sweeps.append(fusion.sweep(normal_values, how=config.image_score, top_share=share))
    return _Alternatives(tuple(names), np.array(sweeps, np.float64), np.array(normal_sweeps, np.float64))


def _weights(config: PipelineConfig) -> list[int]:
    """The indices into `fusion.WEIGHTS` that may be chosen."""
    return list(range(len(fusion.WEIGHTS))) if config.fusion_choice == "tune" else [round(config.fusion_weight * 100)]


def _best(
    alternatives: _Alternatives, abnormal: NDArray[np.bool_], rows: NDArray[np.bool_], config: PipelineConfig
) -> tuple[int, int, NDArray[np.float64]]:
    """The best alternative on the films at ``rows``, the index of its weight, and all AUROCs (A, 101)."""
    aurocs = np.array([fusion.sweep_aurocs(sweep[rows], abnormal[rows]) for sweep in alternatives.sweeps])
    highest = aurocs[:, _weights(config)].max(axis=1)
    best = int(np.argmax(highest >= highest.max() - TIE))  # first of equals: the configured one if among them
    return best, _weight_at(aurocs[best], config), aurocs


def _weight_at(aurocs: NDArray[np.float64], config: PipelineConfig) -> int:
    if config.fusion_choice == "config":
        return round(config.fusion_weight * 100)
    return round(fusion.choose_weight(aurocs) * 100)


def _best_weight(aurocs: NDArray[np.float64], config: PipelineConfig) -> dict[str, float]:
    index = _weight_at(aurocs, config)
    return {"weight": float(fusion.WEIGHTS[index]), "auroc": float(aurocs[index])}


# the nested estimate


def _nested(
    alternatives: _Alternatives, abnormal: NDArray[np.bool_], patients: list[str], config: PipelineConfig
) -> tuple[Nested | None, str]:
    ill = {patient for patient, is_ill in zip(patients, abnormal, strict=True) if is_ill}
    well = set(patients) - ill
    folds = min(FOLDS, len(ill), len(well))
    if folds < 2:
        return None, (
            "Nested folds need at least two patients with and two without abnormal films in the tune part, and it has "
            f"{len(ill)} and {len(well)}."
        )
    fold_of = _stratified_folds(patients, ill, folds=folds, seed=config.seed)
    scores = np.empty(len(abnormal))
    for fold in range(folds):
        held_out = fold_of == fold
        kept = ~held_out
        if not 0 < abnormal[kept].sum() < kept.sum():
            return None, "Nested folds need normal and abnormal films outside each fold of patients."
        best, at, _ = _best(alternatives, abnormal, kept, config)
        scores[held_out] = _comparable(alternatives.sweeps[best][held_out, at], alternatives.normals[best][:, at])
    area = auroc(scores, abnormal)
    low, high = _bootstrap(scores, abnormal, patients, ill, seed=config.seed)
    return Nested(area, low, high, folds), ""


def _stratified_folds(patients: list[str], ill: set[str], *, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each film, int64 (n,); patients with an abnormal film and the others are assigned separately."""
    fold_of = np.empty(len(patients), dtype=np.int64)
    for stratum in (True, False):
        rows = [k for k, patient in enumerate(patients) if (patient in ill) == stratum]
        fold_of[rows] = calibration.patient_folds([patients[k] for k in rows], folds=folds, seed=seed)
    return fold_of


def _comparable(scores: NDArray[np.float64], normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores standardised by the calibration films' scores (m,) under the same alternative.

    Folds that selected different alternatives are then on one scale. Unchanged with fewer than two calibration films.
    """
    if len(normals) < 2 or normals.std(ddof=1) == 0:
        return scores
    return np.asarray((scores - normals.mean()) / normals.std(ddof=1), dtype=np.float64)


def _bootstrap(
    scores: NDArray[np.float64], abnormal: NDArray[np.bool_], patients: list[str], ill: set[str], *, seed: int
) -> tuple[float, float]:
    """The 95 % percentile interval of the AUROC over resampled patients, stratified by having an abnormal film."""
    generator = np.random.default_rng(seed)
    rows_of: dict[str, list[int]] = {}
    for row, patient in enumerate(patients):
        rows_of.setdefault(patient, []).append(row)
    strata = [sorted(ill), sorted(set(patients) - ill)]
    areas = []
    for _ in range(REPLICATES):
        resampled = [names[k] for names in strata for k in generator.integers(len(names), size=len(names))]
        rows = [row for name in resampled for row in rows_of[name]]
        areas.append(auroc(scores[rows], abnormal[rows]))
    low, high = np.nanpercentile(areas, [2.5, 97.5])
    return float(low), float(high)
