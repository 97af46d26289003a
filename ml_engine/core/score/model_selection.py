"""Model selection on the tune part: the rate s, K, the kind of film score, its share q, and the fusion weight w.

No other film is used. The AUROC of the best of many alternatives on the films that selected it is optimistic, so a
nested estimate is reported in its place: each fold of patients is scored by what the other folds select.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from ml_engine.core.score import calibration, film_scores, fusion
from ml_engine.core.score.film_scores import PartStatistics

FOLDS = 5
REPLICATES = 500
AT_ONCE = 100  # replicates whose AUROCs are held in memory
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
    return with_candidate(config, candidate).replace(
        rate_tried="", neighbours_tried="", top_share_tried="", image_score_tried=""
    )


def is_free(config: PipelineConfig) -> bool:
    """Whether anything is chosen on the tune part."""
    return config.fusion_choice == "tune" or len(candidates(config)) > 1 or len(film_score_kinds(config)) > 1


def film_score_kinds(config: PipelineConfig) -> tuple[tuple[str, float], ...]:
    """The kinds of film score that the config tries, each with its share q; the configured one is the first."""
    kinds: list[tuple[str, float]] = []
    for how in config.tried("image_score"):
        shares = config.tried("top_share") if how == "top" else (config.top_share,)
        kinds += [(how, float(share)) for share in shares]
    return tuple(kinds)


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

    def film_maps(self, films: Tensor) -> NDArray[np.float32]:
        """Raw maps float32 (C, B, 2, h, w) of films from their features (B, P, D) float32, in the order of
        `candidates`."""
        return np.concatenate(
            [
                scorer.maps_at(films, self.neighbours)
                if isinstance(scorer, MapScorer)
                else scorer.film_maps(films)[None]
                for scorer in self.by_rate
            ]
        )


@dataclass(frozen=True)
class Nested:
    """The AUROC of the selection procedure itself: the films of each of ``folds`` folds of patients are scored by what
    the other folds select, and the AUROCs within the folds are averaged. ``low`` to ``high`` is its 95 % bootstrap
    interval over patients, in which every replicate selects again. That is the ``method`` "within folds"; until 0.2.0
    it was "pooled": the folds' scores were ranked together, and replicates kept what was selected."""

    auroc: float
    low: float
    high: float
    folds: int
    method: str = "pooled"


@dataclass(frozen=True)
class Choice:
    """What was chosen on the tune part, which has ``films`` films, ``abnormal`` of them abnormal.

    ``source`` is "tune" where the weight was chosen, "config" where it is the configured one. ``candidate`` is the
    place of the chosen candidate among `candidates`; ``image_score`` and ``top_share`` are the chosen film score, None
    where nothing was chosen. ``aurocs`` are those of the chosen alternative at each of `fusion.WEIGHTS`, empty unless
    the tune part has normal and abnormal films. ``table`` has a JSON object for each alternative: rate, neighbours,
    image_score, top_share, its best weight and the AUROC at that weight. ``nested`` is None where
    nothing was chosen, or where it could not be estimated for the reason in ``note``.
    """

    weight: float
    source: str  # "tune" or "config"
    aurocs: tuple[float, ...] = ()
    films: int = 0
    abnormal: int = 0
    candidate: int = 0
    image_score: str | None = None
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


Alternative = tuple[int, str, float]  # the candidate's place, the kind of film score, the share q


def choose(
    maps: Sequence[NDArray[np.float64]],
    abnormal: NDArray[np.bool_],
    parts: Sequence[PartStatistics | None],
    config: PipelineConfig,
    *,
    patients: list[str],
) -> Choice:
    """The best alternative on the tune part.

    For each candidate, ``maps`` holds the maps (n, 2, h, w) of the tune films, standardised if the config standardises,
    and ``parts`` what standardises the parts of their combined film score. ``abnormal`` bool (n,) and ``patients`` (n)
    are their labels and patients. Ties go to the configured candidate and film score, then to the lower ones, then to
    the weight nearest to 0.6.
    """
    films, count = len(abnormal), int(abnormal.sum())
    if not is_free(config) or count in (0, films):
        return Choice(config.fusion_weight, "config", films=films, abnormal=count)
    names, sweeps = _alternatives(maps, parts, config)
    aurocs = np.array([fusion.sweep_aurocs(sweep, abnormal) for sweep in sweeps])
    allowed = _weights(config)
    bests, places = _best(aurocs[None][:, :, allowed], config)
    best, weight_at = int(bests[0]), allowed[int(places[0])]
    nested, note = _nested(sweeps[:, :, allowed], abnormal, patients, config)
    candidate, how, share = names[best]
    table = [
        {"rate": c.rate, "neighbours": c.neighbours, "image_score": kind, "top_share": q}
        | _best_weight(aurocs[k], config)
        for k, (c, kind, q) in enumerate((candidates(config)[place], kind, q) for place, kind, q in names)
    ]
    return Choice(
        weight=float(fusion.WEIGHTS[weight_at]),
        source=config.fusion_choice,
        aurocs=tuple(aurocs[best].tolist()),
        films=films,
        abnormal=count,
        candidate=candidate,
        image_score=how,
        top_share=share,
        table=tuple(table),
        nested=nested,
        note=note,
    )


def _alternatives(
    maps: Sequence[NDArray[np.float64]], parts: Sequence[PartStatistics | None], config: PipelineConfig
) -> tuple[list[Alternative], NDArray[np.float64]]:
    """The A alternatives and the scores of the tune films under each at each weight (A, n, 101)."""
    names: list[Alternative] = []
    sweeps = []
    for candidate, (of_candidate, statistics) in enumerate(zip(maps, parts, strict=True)):
        for how, share in film_score_kinds(config):
            names.append((candidate, how, share))
            sweeps.append(film_scores.scores_at(of_candidate, how=how, top_share=share, parts=statistics))
    return names, np.array(sweeps, np.float64)


def _weights(config: PipelineConfig) -> list[int]:
    """The indices into `fusion.WEIGHTS` that may be chosen."""
    return list(range(len(fusion.WEIGHTS))) if config.fusion_choice == "tune" else [round(config.fusion_weight * 100)]


def _best(aurocs: NDArray[np.float64], config: PipelineConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The best alternative and the place of its weight among `_weights`, int64 (R,) each, from AUROCs (R, A, W) of R
    samples of films at these weights.

    Equals go to the first alternative and the weight nearest to 0.6, then to the lower one.
    """
    allowed = _weights(config)
    highest = aurocs.max(axis=2)
    best = np.argmax(highest >= highest.max(axis=1, keepdims=True) - TIE, axis=1)
    nearest = round(100 * fusion.FALLBACK_WEIGHT)
    preferred = np.array(sorted(range(len(allowed)), key=lambda k: (abs(allowed[k] - nearest), allowed[k])))
    chosen = aurocs[np.arange(len(aurocs)), best][:, preferred]
    return best, preferred[np.argmax(chosen >= chosen.max(axis=1, keepdims=True) - TIE, axis=1)]


def _weight_at(aurocs: NDArray[np.float64], config: PipelineConfig) -> int:
    if config.fusion_choice == "config":
        return round(config.fusion_weight * 100)
    return round(fusion.choose_weight(aurocs) * 100)


def _best_weight(aurocs: NDArray[np.float64], config: PipelineConfig) -> dict[str, float]:
    index = _weight_at(aurocs, config)
    return {"weight": float(fusion.WEIGHTS[index]), "auroc": float(aurocs[index])}


# the nested estimate


def _nested(
    sweeps: NDArray[np.float64], abnormal: NDArray[np.bool_], patients: list[str], config: PipelineConfig
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
    for fold in range(folds):
        if not 0 < abnormal[fold_of != fold].sum() < (fold_of != fold).sum():
            return None, "Nested folds need normal and abnormal films outside each fold of patients."
    once = np.ones((1, len(patients)), dtype=np.int64)
    area = float(_procedure(sweeps, abnormal, once, fold_of, config)[0])
    areas = [
        _procedure(sweeps, abnormal, counts, fold_of, config)
        for counts in _resampled(patients, ill, replicates=REPLICATES, seed=config.seed)
    ]
    low, high = np.nanpercentile(np.concatenate(areas), [2.5, 97.5])
    return Nested(area, float(low), float(high), folds, method="within folds"), ""


def _procedure(
    sweeps: NDArray[np.float64],
    abnormal: NDArray[np.bool_],
    counts: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    config: PipelineConfig,
) -> NDArray[np.float64]:
    """The mean over the folds of the AUROC within each fold at what the other folds select, float64 (R,).

    ``sweeps`` (A, n, W) are at the weights `_weights`; ``counts`` int (R, n) is how often each film counts in each of R
    samples. A fold without both classes in a sample is left out of its mean.
    """
    areas = []
    for fold in range(int(fold_of.max()) + 1):
        inside = fold_of == fold
        selecting = weighted_aurocs(sweeps, abnormal, counts * ~inside)
        held_out = weighted_aurocs(sweeps, abnormal, counts * inside)
        known = ~np.isnan(selecting[:, 0, 0])
        best, places = _best(np.where(known[:, None, None], selecting, 0.0), config)
        areas.append(np.where(known, held_out[np.arange(len(counts)), best, places], np.nan))
    values = np.array(areas)
    folds = (~np.isnan(values)).sum(axis=0)
    return np.where(folds > 0, np.nansum(values, axis=0) / np.maximum(folds, 1), np.nan)


def weighted_aurocs(
    sweeps: NDArray[np.float64], abnormal: NDArray[np.bool_], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The AUROC of each of A sweeps (A, n, W) at each weight in each of R samples, float64 (R, A, W).

    Film k counts ``counts[r, k]`` times in sample r; ties count half. NaN where a class is empty.
    """
    positive, negative = counts * abnormal, counts * ~abnormal
    pairs = positive.sum(axis=1, dtype=np.float64) * negative.sum(axis=1)
    areas = np.empty((len(counts), *sweeps.shape[::2]))
    for alternative, sweep in enumerate(sweeps):
        order = np.argsort(sweep, axis=0, kind="stable")
        for at in range(sweep.shape[1]):
            ranked = order[:, at]
            values = sweep[ranked, at]
            starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
            above = np.add.reduceat(positive[:, ranked], starts, axis=1)
            equal = np.add.reduceat(negative[:, ranked], starts, axis=1)
            below = np.cumsum(equal, axis=1) - equal
            wins = (above * (below + equal / 2)).sum(axis=1)
            areas[:, alternative, at] = np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return areas


def _stratified_folds(patients: list[str], ill: set[str], *, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each film, int64 (n,); patients with an abnormal film and the others are assigned separately."""
    fold_of = np.empty(len(patients), dtype=np.int64)
    for stratum in (True, False):
        rows = [k for k, patient in enumerate(patients) if (patient in ill) == stratum]
        fold_of[rows] = calibration.patient_folds([patients[k] for k in rows], folds=folds, seed=seed)
    return fold_of


def _resampled(patients: list[str], ill: set[str], *, replicates: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each film counts in bootstrap samples of patients, stratified by having an abnormal film: int64
    (at most `AT_ONCE`, n) at a time."""
    generator = np.random.default_rng(seed)
    for first in range(0, replicates, AT_ONCE):
        counts = np.zeros((min(AT_ONCE, replicates - first), len(patients)), dtype=np.int64)
        for names in (sorted(ill), sorted(set(patients) - ill)):
            at = {name: k for k, name in enumerate(names)}
            columns = [k for k, patient in enumerate(patients) if patient in at]
            drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=len(counts))
            counts[:, columns] = drawn[:, [at[patients[k]] for k in columns]]
        yield counts
