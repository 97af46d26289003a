"""Model selection on the tune part, and the nested estimate of its AUROC."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ml_engine.core.bank import memory_bank
from ml_engine.core.bank.memory_bank import MapScorer, Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector import pipeline
from ml_engine.core.errors import InvalidConfig
from ml_engine.core.film.masking import HardMask
from ml_engine.core.score import film_scores, fusion, model_selection
from ml_engine.core.score.model_selection import Candidate

PLAIN = PipelineConfig(size=64, grid=2, rate=0.1, mask_keep=None, standardise=False, image_score="top")
CONFIG = PLAIN.replace(neighbours_tried="3", rate_tried="0.4", top_share_tried="0.2")
CPU = torch.device("cpu")


def noise(candidates: int, films: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(4, 1, (candidates, films, 2, 8, 8)).astype(np.float32)


def choose(maps: np.ndarray, abnormal: np.ndarray, config: PipelineConfig, patients: list[str] | None = None):
    names = patients or [str(k) for k in range(len(abnormal))]
    values = list(maps.astype(np.float64))
    return model_selection.choose(values, abnormal, [None] * len(maps), config, patients=names)


def test_candidates_are_all_rates_with_all_k_the_configured_pair_first() -> None:
    config = PLAIN.replace(neighbours=2, neighbours_tried=" 9, 1,2", rate_tried="0.5")

    assert model_selection.candidates(config) == tuple(Candidate(s, k) for s in (0.1, 0.5) for k in (2, 1, 9))
    assert model_selection.candidates(PLAIN) == (Candidate(0.1, 1),)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"neighbours_tried": "1;3"}, "neighbours_tried is '1;3': write numbers with commas between them"),
        ({"neighbours_tried": "0"}, "neighbours_tried is 0: it must be from 1 to 1000"),
        ({"rate_tried": "0.1, 7"}, r"rate_tried is 7\.0: it must be from 1e-06 to 1"),
        ({"top_share_tried": "nan"}, "top_share_tried is nan"),
        ({"detector": "padim", "rate_tried": "0.2"}, "rate_tried is '0.2': it must be empty: only detector=patchcore"),
        ({"reweight": 1}, "reweight is 1: it must be 0, or at least 2"),
        ({"detector": "spade", "reweight": 3}, "reweight is 3: it must be 0: only detector=patchcore reweights"),
    ],
)
def test_invalid_candidates_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        PLAIN.replace(**values)


def test_maps_under_each_candidate_equal_those_of_a_model_fitted_with_it() -> None:
    keep = np.ones((8, 8), dtype=bool)
    places = memory_bank.places_of(keep)
    features = torch.randn(5 * 64, 6, generator=torch.Generator().manual_seed(0))
    source = Source(places, torch.arange(5))
    film = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
    model = memory_bank.build(features, source, model_selection.at_highest_rate(CONFIG))

    by_candidate = model_selection.Scorers(model, keep, CONFIG, CPU, films=5).film_maps(film[None])[:, 0]

    for maps, candidate in zip(by_candidate, model_selection.candidates(CONFIG), strict=True):
        restricted = model_selection.restrict_to(CONFIG, candidate)
        fitted = memory_bank.build(features, source, restricted)
        np.testing.assert_allclose(maps, MapScorer(fitted, keep, restricted, CPU).maps(film), rtol=1e-6)


@pytest.mark.slow
def test_the_best_alternative_is_chosen() -> None:
    abnormal = np.arange(24) % 2 == 1
    maps = noise(4, 24, seed=0)
    maps[3][abnormal, 1] += 1  # faint and diffuse: better seen in the mean of many patches

    choice = choose(maps, abnormal, CONFIG)

    assert (choice.candidate, choice.top_share, choice.source) == (3, 0.2, "tune")
    assert len(choice.table) == 8
    for row in choice.table:
        candidate = Candidate(row["rate"], row["neighbours"])
        at = model_selection.candidates(CONFIG).index(candidate)
        fused = fusion.fuse(maps[at].astype(np.float64), row["weight"])
        scores = film_scores.image_scores(fused, how="top", top_share=row["top_share"])
        assert row["auroc"] == pytest.approx(roc_auc_score(abnormal, scores), abs=1e-6)
    best = max(row["auroc"] for row in choice.table)
    assert choice.aurocs[round(choice.weight * 100)] == best
    assert {"rate": 0.4, "neighbours": 3, "top_share": 0.2}.items() <= choice.table[7].items()


def test_ties_go_to_the_configured_values() -> None:
    abnormal = np.arange(12) % 2 == 1
    maps = noise(4, 12, seed=0)
    maps[:, abnormal] += 100

    choice = choose(maps, abnormal, CONFIG.replace(fusion_choice="config", fusion_weight=0.25))

    assert (choice.candidate, choice.top_share, choice.weight) == (0, CONFIG.top_share, 0.25)
    assert choice.source == "config"  # the weight was not chosen on tune, although other settings were
    assert {row["weight"] for row in choice.table} == {0.25}


def test_without_abnormal_films_everything_stays_as_configured() -> None:
    choice = choose(noise(4, 6, seed=0), np.zeros(6, dtype=bool), CONFIG)

    assert (choice.candidate, choice.top_share, choice.table, choice.nested) == (0, None, (), None)


@pytest.mark.slow
def test_the_nested_estimate_is_unbiased_where_the_best_alternative_on_noise_looks_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Forty draws of films without any difference between the classes."""
    monkeypatch.setattr(model_selection, "REPLICATES", 50)
    chosen, nested = [], []
    for seed in range(40):
        abnormal = np.arange(40) % 2 == 1
        choice = choose(noise(1, 40, seed=seed), abnormal, PLAIN.replace(top_share_tried="0.05,0.2,1"))
        chosen.append(max(choice.aurocs))
        assert choice.nested is not None
        assert choice.nested.low < choice.nested.auroc < choice.nested.high
        nested.append(choice.nested.auroc)

    assert np.mean(chosen) > 0.62
    assert abs(np.mean(nested) - 0.5) < 3 * np.std(nested) / np.sqrt(40)


@pytest.mark.slow
def test_the_nested_estimate_follows_a_real_difference() -> None:
    abnormal = np.arange(40) % 2 == 1
    maps = noise(4, 40, seed=0)
    maps[:, abnormal] += 3

    nested = choose(maps, abnormal, CONFIG).nested

    assert nested is not None
    assert nested.folds == 5
    assert nested.auroc > 0.9


def test_a_patients_films_are_held_out_together() -> None:
    patients = [f"p{k // 2}" for k in range(20)]
    ill = {f"p{k}" for k in range(4)}

    folds = model_selection._stratified_folds(patients, ill, folds=4, seed=0)

    for k in range(0, 20, 2):
        assert folds[k] == folds[k + 1]
    for fold in range(4):
        kinds = {patients[k] in ill for k in np.flatnonzero(folds == fold)}
        assert kinds == {True, False}


def test_too_few_patients_for_nested_folds_are_reported() -> None:
    abnormal = np.array([True, True, False, False, False])

    choice = choose(noise(4, 5, seed=0), abnormal, CONFIG, patients=["a", "a", "b", "c", "d"])

    assert choice.nested is None
    assert choice.note == (
        "Nested folds need at least two patients with and two without abnormal films in the tune part, and it has "
        "1 and 3."
    )
    choice = choose(noise(4, 4, seed=0), abnormal[:4], CONFIG, patients=["a", "b", "b", "c"])
    assert choice.nested is not None or choice.note.startswith("Nested folds need")


@pytest.mark.parametrize("seed", range(3))
def test_weighted_aurocs_equal_those_of_repeated_films(seed: int) -> None:
    generator = np.random.default_rng(seed)
    sweeps = generator.integers(0, 6, (2, 15, 101)).astype(float)  # with ties
    abnormal = np.arange(15) % 3 == 0
    counts = generator.integers(0, 3, (4, 15))
    counts[:, :2] = 1  # both classes are there

    areas = model_selection.weighted_aurocs(sweeps, abnormal, counts)

    for sample in range(4):
        repeated = np.repeat(np.arange(15), counts[sample])
        for at in (0, 60, 100):
            expected = roc_auc_score(abnormal[repeated], sweeps[1, repeated, at])
            assert areas[sample, 1, at] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(model_selection.weighted_aurocs(sweeps, abnormal, counts * abnormal)).all()


def test_the_nested_estimate_is_the_mean_over_folds_of_what_the_others_select() -> None:
    abnormal = np.arange(30) % 2 == 1
    maps = noise(4, 30, seed=3)
    maps[2][abnormal, 1] += 1
    config = CONFIG.replace(fusion_choice="config")
    patients = [str(k) for k in range(30)]

    nested = choose(maps, abnormal, config).nested

    ill = {str(k) for k in np.flatnonzero(abnormal)}
    folds = model_selection._stratified_folds(patients, ill, folds=5, seed=config.seed)
    names = [(k, share) for k in range(4) for share in (0.01, 0.2)]
    scores = [
        film_scores.image_scores(fusion.fuse(maps[k].astype(float), 0.6), how="top", top_share=q) for k, q in names
    ]
    areas = []
    for fold in range(5):
        inside = folds == fold
        best = max(scores, key=lambda column: roc_auc_score(abnormal[~inside], column[~inside]))
        areas.append(roc_auc_score(abnormal[inside], best[inside]))
    assert nested is not None
    assert nested.auroc == pytest.approx(np.mean(areas), abs=1e-9)


@pytest.mark.slow
def test_the_interval_of_the_nested_estimate_holds_the_optimism_of_selecting_again() -> None:
    """On noise every replicate selects something else, so that the interval reaches 0.5."""
    abnormal = np.arange(40) % 2 == 1

    nested = choose(noise(4, 40, seed=5), abnormal, CONFIG.replace(top_share_tried="0.05,0.2,1")).nested

    assert nested is not None
    assert nested.low < 0.5 < nested.high
    assert nested.high - nested.low > 0.15


@pytest.mark.slow
def test_kinds_of_film_score_are_chosen_on_tune() -> None:
    abnormal = np.arange(40) % 2 == 1
    maps = noise(1, 40, seed=0)
    maps[0][abnormal] += 0.4  # diffuse: the mean of all patches shows it
    config = PLAIN.replace(image_score="max", image_score_tried="mean, top, box", top_share_tried="0.2")

    choice = choose(maps, abnormal, config)

    assert choice.image_score == "mean"
    assert [(row["image_score"], row["top_share"]) for row in choice.table] == [
        ("max", 0.01), ("box", 0.01), ("mean", 0.01), ("top", 0.01), ("top", 0.2),
    ]  # fmt: skip


def test_unknown_or_unused_film_scores_are_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"image_score_tried is 'median': choose one of mean\+top, mean, top"):
        PLAIN.replace(image_score_tried="mean,median")
    with pytest.raises(InvalidConfig, match=r"top_share_tried is '0\.2': it must be empty, since top is not among"):
        PLAIN.replace(image_score="mean", top_share_tried="0.2")


@pytest.mark.slow
def test_the_detector_holds_the_chosen_and_the_configured_values(tmp_path: Path) -> None:
    keep = np.ones((8, 8), dtype=bool)
    source = Source(memory_bank.places_of(keep), torch.arange(5))
    features = torch.randn(5 * 64, 6, generator=torch.Generator().manual_seed(0))
    abnormal = np.arange(24) % 2 == 1
    maps = noise(4, 24, seed=0)
    maps[1][abnormal] += 3
    calibrated = [pipeline.calibrate(m, source="calibrate", config=CONFIG) for m in noise(4, 6, seed=1)]
    names = [str(k) for k in range(24)]

    choice = pipeline.choose(maps, abnormal, calibrated, CONFIG, patients=names)
    detector = pipeline.assemble(
        CONFIG,
        memory_bank.build(features, source, model_selection.at_highest_rate(CONFIG)),
        HardMask(keep, 0.0),
        films=5,
        calibrated=calibrated,
        choice=choice,
        weights={"name": "random", "sha256": None},
        alignment_sha256=None,
    )
    pipeline.save_detector(detector, tmp_path / "d.safetensors")
    again = pipeline.load_detector(tmp_path / "d.safetensors")

    assert (again.config.rate, again.config.neighbours) == (0.1, 3)
    assert again.configured == {"rate": 0.1, "neighbours": 1, "image_score": "top", "top_share": 0.01}
    assert again.choice == detector.choice
    assert len(again.banks.whole.vectors) == memory_bank.bank_size(5 * 64, 0.1)
    np.testing.assert_array_equal(again.calibration.maps, calibrated[1].maps)
    assert model_selection.from_json(model_selection.to_json(replace(choice, note="x"))) == replace(choice, note="x")
