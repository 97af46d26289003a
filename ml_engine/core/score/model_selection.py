"""What is chosen on the tune part: the rate s, K, the share q of highest patches, and the fusion weight w.

Nothing else is looked at. The AUROC that the best of many alternatives has on the very films that chose it is
optimistic, so a nested estimate stands beside it: each fold of patients scored by what the other folds choose.
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
    """What maps are made with: the share of patches kept and the nearest vectors taken."""

    rate: float
    neighbours: int


def candidates(config: PipelineConfig) -> tuple[Candidate, ...]:
    """All rates with all K that the config tries; the configured pair is the first."""
    return tuple(Candidate(s, k) for s in config.tried("rate") for k in config.tried("neighbours"))


def at_highest_rate(config: PipelineConfig) -> PipelineConfig:
    """The config that a model is selected with once: smaller rates are prefixes of its banks."""
    return config.replace(rate=max(config.tried("rate")))


def with_candidate(config: PipelineConfig, candidate: Candidate) -> PipelineConfig:
    return config.replace(rate=candidate.rate, neighbours=candidate.neighbours)


def reduced(
    model: Model, config: PipelineConfig, candidate: Candidate, *, keep: NDArray[np.bool_], films: int
) -> Model:
    """The model at a candidate's rate, from one fitted on ``films`` films by `at_highest_rate`."""
    if not isinstance(model, Banks) or candidate.rate == max(config.tried("rate")):
        return model
    return memory_bank.at_rate(model, memory_bank.places_of(keep), config, rate=candidate.rate, films=films)


def alone(config: PipelineConfig, candidate: Candidate) -> PipelineConfig:
    """The config at a candidate, with none to choose from."""
    return with_candidate(config, candidate).replace(rate_tried="", neighbours_tried="", top_share_tried="")


def is_free(config: PipelineConfig) -> bool:
    """Whether anything is chosen on tune."""
    shares = config.tried("top_share")
    return config.fusion_choice == "tune" or len(candidates(config)) > 1 or len(shares) > 1


class Scorers:
    """One film's features to its maps under every candidate."""

    def __init__(
        self, model: Model, keep: NDArray[np.bool_], config: PipelineConfig, device: torch.device, *, films: int
    ) -> None:
        """``model`` fitted on ``films`` films by `at_highest_rate`."""
        self.places = memory_bank.places_of(keep)
        self.neighbours = config.tried("neighbours")
        self.by_rate = []
        for rate in config.tried("rate"):
            one = Candidate(rate, config.neighbours)
            small = reduced(model, config, one, keep=keep, films=films)
            self.by_rate.append(detectors.scorer_of(small, keep, with_candidate(config, one), device))

    def maps(self, features: Tensor) -> NDArray[np.float32]:
        """Raw maps (C, 2, h, w) of one film, in the order of `candidates`."""
        return np.concatenate(
            [
                one.maps_at(features, self.neighbours) if isinstance(one, MapScorer) else one.maps(features)[None]
                for one in self.by_rate
            ]
        )


@dataclass(frozen=True)
class Nested:
    """The AUROC of the choosing itself: held-out films of ``folds`` folds of patients, each scored by what the other
    folds chose; ``low`` to ``high`` its 95 % bootstrap interval by patient."""

    auroc: float
    low: float
    high: float
    folds: int


@dataclass(frozen=True)
class Choice:
    """What was chosen and on how many films; ``source`` says whether the weight was.

    ``aurocs`` are those of the chosen candidate and share at each of `fusion.WEIGHTS`, empty without a tune part of
    both kinds. ``table`` has one JSON object an alternative: rate, neighbours, top_share, and its best weight with
    the AUROC there. ``nested`` is None with a ``note`` where it cannot be had, and without one where nothing was
    chosen.
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
    """All of it; `from_json` gives an equal choice back."""
    return asdict(choice)


def from_json(values: dict[str, Any]) -> Choice:
    """Also of a choice that was written when nothing but the weight was chosen."""
    nested = Nested(**values["nested"]) if values.get("nested") else None
    tuples = {name: tuple(values.get(name, ())) for name in ("aurocs", "table")}
    return Choice(**values | tuples | {"nested": nested})


@dataclass(frozen=True)
class _Alternatives:
    """Scores of the tune films under every candidate and share, ``sweeps`` (A, n, 101), in the order of ``names``; and
    of the calibration normals, ``normals`` (A, m, 101)."""

    names: tuple[tuple[int, float], ...]  # candidate, share
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

    ``maps`` (C, n, 2, h, w) raw, by candidate; ``abnormal`` (n,) and ``patients`` (n) of those films; for each
    candidate the calibration normals' raw maps (m, 2, h, w), and the mean and deviation that they standardise by. A
    tie goes to the configured candidate and share, then to the lower ones, then to the weight nearest to 0.6.
    """
    films, count = len(abnormal), int(abnormal.sum())
    if not is_free(config) or count in (0, films):
        return Choice(config.fusion_weight, "config", films=films, abnormal=count)
    found = _alternatives(maps, normals, standardisations, config)
    everyone = np.ones(films, dtype=np.bool_)
    best, at, aurocs = _best(found, abnormal, everyone, config)
    nested, note = _nested(found, abnormal, patients, config)
    candidate, share = found.names[best]
    table = [
        {"rate": c.rate, "neighbours": c.neighbours, "top_share": q} | _best_weight(aurocs[k], config)
        for k, (c, q) in enumerate((candidates(config)[name], q) for name, q in found.names)
    ]
    return Choice(
        weight=float(fusion.WEIGHTS[at]),
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
        own = normals[candidate]
        seen = own.astype(np.float64) if mean is None or not len(own) else calibration.held_out_standardised(own)
        for share in config.tried("top_share"):
            names.append((candidate, float(share)))
            sweeps.append(fusion.sweep(values, how=config.image_score, top_share=share))
            normal_sweeps.append(fusion.sweep(seen, how=config.image_score, top_share=share))
    return _Alternatives(tuple(names), np.array(sweeps, np.float64), np.array(normal_sweeps, np.float64))


def _weights(config: PipelineConfig) -> list[int]:
    """The places in `fusion.WEIGHTS` that may be chosen."""
    return list(range(len(fusion.WEIGHTS))) if config.fusion_choice == "tune" else [round(config.fusion_weight * 100)]


def _best(
    found: _Alternatives, abnormal: NDArray[np.bool_], rows: NDArray[np.bool_], config: PipelineConfig
) -> tuple[int, int, NDArray[np.float64]]:
    """The best alternative on some of the films, its weight's place, and all AUROCs (A, 101)."""
    aurocs = np.array([fusion.sweep_aurocs(sweep[rows], abnormal[rows]) for sweep in found.sweeps])
    highest = aurocs[:, _weights(config)].max(axis=1)
    best = int(np.argmax(highest >= highest.max() - TIE))  # the first: the configured one where it is as good
    return best, _weight_at(aurocs[best], config), aurocs


def _weight_at(aurocs: NDArray[np.float64], config: PipelineConfig) -> int:
    if config.fusion_choice == "config":
        return round(config.fusion_weight * 100)
    return round(fusion.choose_weight(aurocs) * 100)


def _best_weight(aurocs: NDArray[np.float64], config: PipelineConfig) -> dict[str, float]:
    at = _weight_at(aurocs, config)
    return {"weight": float(fusion.WEIGHTS[at]), "auroc": float(aurocs[at])}


# the nested estimate


def _nested(
    found: _Alternatives, abnormal: NDArray[np.bool_], patients: list[str], config: PipelineConfig
) -> tuple[Nested | None, str]:
    ill = {patient for patient, is_ill in zip(patients, abnormal, strict=True) if is_ill}
    well = set(patients) - ill
    folds = min(FOLDS, len(ill), len(well))
    if folds < 2:
        return None, f"Nested folds need two patients of each kind in tune, and it has {len(ill)} and {len(well)}."
    fold_of = _stratified_folds(patients, ill, folds=folds, seed=config.seed)
    scores = np.empty(len(abnormal))
    for fold in range(folds):
        held_out = fold_of == fold
        kept = ~held_out
        if not 0 < abnormal[kept].sum() < kept.sum():
            return None, "Nested folds need normal and abnormal films outside of each fold of patients."
        best, at, _ = _best(found, abnormal, kept, config)
        scores[held_out] = _comparable(found.sweeps[best][held_out, at], found.normals[best][:, at])
    area = auroc(scores, abnormal)
    low, high = _bootstrap(scores, abnormal, patients, ill, seed=config.seed)
    return Nested(area, low, high, folds), ""


def _stratified_folds(patients: list[str], ill: set[str], *, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each film, int64 (n,): patients with an abnormal film and the others dealt out on their own."""
    found = np.empty(len(patients), dtype=np.int64)
    for stratum in (True, False):
        rows = [k for k, patient in enumerate(patients) if (patient in ill) == stratum]
        found[rows] = calibration.patient_folds([patients[k] for k in rows], folds=folds, seed=seed)
    return found


def _comparable(scores: NDArray[np.float64], normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores in deviations from the calibration normals' mean under the same alternative: those of two folds, which may
    have chosen differently, are then on one scale. As they are where there are fewer than two normals."""
    if len(normals) < 2 or normals.std(ddof=1) == 0:
        return scores
    return np.asarray((scores - normals.mean()) / normals.std(ddof=1), dtype=np.float64)


def _bootstrap(
    scores: NDArray[np.float64], abnormal: NDArray[np.bool_], patients: list[str], ill: set[str], *, seed: int
) -> tuple[float, float]:
    """The percentile interval over patients drawn again, those with an abnormal film and the others on their own."""
    generator = np.random.default_rng(seed)
    rows_of: dict[str, list[int]] = {}
    for row, patient in enumerate(patients):
        rows_of.setdefault(patient, []).append(row)
    strata = [sorted(ill), sorted(set(patients) - ill)]
    areas = []
    for _ in range(REPLICATES):
        drawn = [names[k] for names in strata for k in generator.integers(len(names), size=len(names))]
        rows = [row for name in drawn for row in rows_of[name]]
        areas.append(auroc(scores[rows], abnormal[rows]))
    low, high = np.nanpercentile(areas, [2.5, 97.5])
    return float(low), float(high)
