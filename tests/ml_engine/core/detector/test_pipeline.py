from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml_engine.core import files
from ml_engine.core.bank import memory_bank
from ml_engine.core.bank.memory_bank import Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector import pipeline
from ml_engine.core.detector.pipeline import Calibration, Choice, FittedDetector
from ml_engine.core.errors import EngineError, IncompatibleModel
from ml_engine.core.film.masking import HardMask
from ml_engine.core.score import film_scores, fusion

CONFIG = PipelineConfig.from_preset("default").replace(size=64, grid=2, rate=0.2, image_score="top")
COMBINED = CONFIG.replace(image_score="mean+top")


def maps(n: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).gamma(4, 1, (n, 2, 8, 8)).astype(np.float32)
    values[:, :, ~keep()] = np.nan
    return values


def keep() -> np.ndarray:
    mask = np.ones((8, 8), dtype=bool)
    mask[0] = False
    return mask


def detector(config: PipelineConfig = CONFIG, weight: float = 0.25) -> FittedDetector:
    places = memory_bank.places_of(keep())
    features = torch.randn(4 * len(places), 6, generator=torch.Generator().manual_seed(0))
    return FittedDetector(
        config=config,
        mask=HardMask(keep(), 10.5),
        model=memory_bank.build(features, Source(places, torch.arange(4)), config),
        calibration=pipeline.calibrate(maps(5, seed=1), source="calibrate", config=config, patients=np.arange(5)),
        choice=Choice(weight, "tune", tuple(np.linspace(0, 1, 101)), 9, 4),
        weights={"name": "random", "sha256": None},
        alignment_sha256=None,
        code_version="1",
    )


@pytest.mark.parametrize("how", ["top", "mean+top"])
@pytest.mark.parametrize("standardise", [True, False])
def test_save_and_load_give_a_detector_that_scores_the_same(tmp_path: Path, standardise: bool, how: str) -> None:
    fitted = detector(CONFIG.replace(standardise=standardise, image_score=how))
    pipeline.save_detector(fitted, tmp_path / "d.safetensors")

    again = pipeline.load_detector(tmp_path / "d.safetensors")

    assert again.config == fitted.config
    assert again.choice == fitted.choice
    for scores, threshold in ((pipeline.score_maps(maps(3), d), pipeline.threshold(d)) for d in (fitted, again)):
        np.testing.assert_array_equal(scores.fused, pipeline.score_maps(maps(3), fitted).fused)
        np.testing.assert_array_equal(scores.sweep, pipeline.score_maps(maps(3), fitted).sweep)
        assert threshold == pipeline.threshold(fitted)
    pipeline.save_detector(again, tmp_path / "e.safetensors")
    assert (tmp_path / "d.safetensors").read_bytes() == (tmp_path / "e.safetensors").read_bytes()


@pytest.mark.parametrize("header", [{}, {"format": 99, "kind": "detector"}, {"format": 1, "kind": "alignment"}])
def test_another_file_is_refused(tmp_path: Path, header: dict[str, object]) -> None:
    files.write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, header)

    with pytest.raises(IncompatibleModel, match=r"x\.safetensors is not a detector of format 1"):
        pipeline.load_detector(tmp_path / "x.safetensors")


def test_a_detector_of_a_version_without_notes_is_loaded(tmp_path: Path) -> None:
    pipeline.save_detector(detector(), tmp_path / "d.safetensors")
    tensors, header = files.read_tensors(tmp_path / "d.safetensors")
    del header["note"], header["asked"]
    header["choice"] = {name: header["choice"][name] for name in ("weight", "source", "films", "abnormal")}
    for name in ("detector", "clahe", "film_neighbours"):  # settings added with the baselines
        del header["config"][name]
    files.write_tensors(tmp_path / "d.safetensors", tensors, header)

    assert pipeline.load_detector(tmp_path / "d.safetensors").note == ""


def test_global_and_region_scores_are_the_ends_of_the_sweep() -> None:
    scores = pipeline.score_maps(maps(4), detector())

    np.testing.assert_allclose(scores.whole, scores.sweep[:, 0], rtol=1e-6)
    np.testing.assert_allclose(scores.region, scores.sweep[:, 100], rtol=1e-6)
    np.testing.assert_allclose(scores.fused, scores.sweep[:, 25], rtol=1e-6)


def test_scores_and_threshold_at_another_weight() -> None:
    scores = pipeline.score_maps(maps(4), detector(), weight=0.7)

    np.testing.assert_allclose(scores.fused, scores.sweep[:, 70], rtol=1e-6)
    fitted = detector(CONFIG.replace(false_alarm_rate=0.5))
    assert pipeline.threshold(fitted, weight=0.7)["value"] != pipeline.threshold(fitted)["value"]


def test_scores_are_those_of_the_standardised_map() -> None:
    fitted, raw = detector(), maps(2)

    scores = pipeline.score_maps(raw, fitted).fused

    normals = maps(5, seed=1).astype(float)
    z = (raw - normals.mean(0)) / normals.std(0, ddof=1)
    fused = 0.25 * z[:, 1] + 0.75 * z[:, 0]
    np.testing.assert_allclose(scores, np.nanmax(fused.reshape(2, -1), axis=1), rtol=1e-5)  # top 1 % of 56: one


def test_scores_do_not_depend_on_how_many_films_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, raw = detector(), maps(5, seed=3)
    whole = pipeline.score_maps(raw, fitted)
    monkeypatch.setattr(pipeline, "FILMS_AT_ONCE", 2)

    parts = pipeline.score_maps(raw, fitted)

    np.testing.assert_array_equal(parts.fused, whole.fused)
    np.testing.assert_array_equal(parts.sweep, whole.sweep)
    assert pipeline.score_maps(raw[:0], fitted).sweep.shape == (0, 101)


def test_a_film_without_maps_scores_nan() -> None:
    raw = maps(2)
    raw[0] = np.nan

    scores = pipeline.score_maps(raw, detector())

    for column in (scores.whole, scores.region, scores.fused, scores.sweep[:, 3]):
        assert np.isnan(column).tolist() == [True, False]


def test_a_percentile_threshold_marks_the_configured_share_of_normal_patches() -> None:
    fitted = detector(CONFIG.replace(threshold="percentile", threshold_percentile=80.0))

    threshold = pipeline.threshold(fitted)

    marked = fusion.fuse(fitted.calibration.values, 0.25) > threshold["value"]
    assert marked.sum() / (5 * 56) == pytest.approx(0.2, abs=0.01)
    assert (threshold["kind"], threshold["note"]) == ("percentile", "")


def test_a_film_threshold_is_a_normal_films_highest_patch() -> None:
    fitted = detector(CONFIG.replace(false_alarm_rate=0.34))

    threshold = pipeline.threshold(fitted)

    highest = sorted(np.nanmax(fusion.fuse(fitted.calibration.values, 0.25), axis=(1, 2)))
    assert threshold["value"] == highest[3]  # ceil(6 * 0.66) = 4th of 5
    assert threshold["expected"] == pytest.approx(2 / 6)
    assert 0 < threshold["low"] < 2 / 6 < threshold["high"] < 1


def test_a_film_threshold_takes_the_highest_film_of_each_patient(tmp_path: Path) -> None:
    fitted = detector(CONFIG.replace(false_alarm_rate=0.34))
    patients = np.array([0, 0, 1, 1, 2])
    fitted = replace(fitted, calibration=replace(fitted.calibration, patients=patients))

    threshold = pipeline.threshold(fitted)

    highest = np.nanmax(fusion.fuse(fitted.calibration.values, 0.25), axis=(1, 2))
    by_patient = sorted((highest[:2].max(), highest[2:4].max(), highest[4]))
    assert (threshold["value"], threshold["patients"]) == (by_patient[2], 3)  # ceil(4 * 0.66) = 3rd of 3
    pipeline.save_detector(fitted, tmp_path / "detector.safetensors")
    kept = pipeline.load_detector(tmp_path / "detector.safetensors")
    assert kept.calibration.patients is not None
    assert kept.calibration.patients.tolist() == patients.tolist()


@pytest.mark.parametrize(("source", "note"), [("fit, 10 folds of patients", ""), ("calibrate", "approximate: grown")])
def test_only_a_part_of_its_own_promises_a_rate(source: str, note: str) -> None:
    fitted = detector(CONFIG.replace(false_alarm_rate=0.34))
    assert pipeline.threshold(fitted)["low"] is not None
    changed = replace(fitted, note=note, calibration=replace(fitted.calibration, source=source))

    threshold = pipeline.threshold(changed)

    assert threshold["value"] == pipeline.threshold(fitted)["value"]
    assert (threshold["expected"], threshold["low"], threshold["high"]) == (None, None, None)


def test_too_few_normals_give_no_film_threshold_and_the_reason() -> None:
    threshold = pipeline.threshold(detector())

    assert threshold == {
        "kind": "film",
        "value": None,
        "note": "A false-alarm rate of 0.1 needs normal films of at least 9 patients to calibrate on, and there are 5: "
        "add films, or raise false_alarm_rate.",
    }


def test_scores_of_calibration_films_are_comparable_with_those_of_new_films() -> None:
    """Standardised with their own values, they would score lower than new normal films."""
    fitted = detector()
    own = pipeline.score_maps(fitted.calibration.maps, fitted).fused

    held_out = pipeline.normal_scores(fitted)

    assert (held_out > own).all()
    plain = detector(CONFIG.replace(standardise=False))
    np.testing.assert_array_equal(
        pipeline.normal_scores(plain), pipeline.score_maps(plain.calibration.maps, plain).fused
    )


def test_the_combined_score_is_the_sum_of_its_parts_and_each_normal_is_held_out() -> None:
    fitted, raw = detector(COMBINED), maps(3)

    scores = pipeline.score_maps(raw, fitted)

    assert scores.parts.shape == (3, 2, 101)
    assert scores.family.shape == (3, len(film_scores.FAMILY), 101)
    np.testing.assert_allclose(scores.sweep, scores.parts.sum(axis=1), rtol=1e-5, atol=1e-5)
    normals = fitted.calibration.values
    expected = film_scores.held_out_parts(film_scores.part_scores(normals)).sum(axis=1)[:, 25]
    np.testing.assert_allclose(pipeline.normal_scores(fitted), expected, rtol=1e-9)
    own = pipeline.score_maps(fitted.calibration.maps, fitted).fused
    assert np.abs(pipeline.normal_scores(fitted)).max() > np.abs(own).max()


def test_both_parts_are_there_whatever_the_film_score_is() -> None:
    by_top, combined = (pipeline.score_maps(maps(3), detector(config)) for config in (CONFIG, COMBINED))

    np.testing.assert_array_equal(by_top.parts, combined.parts)
    np.testing.assert_array_equal(by_top.family, combined.family)
    assert (by_top.fused != combined.fused).all()


def test_a_detector_without_stored_statistics_of_its_parts_computes_them(tmp_path: Path) -> None:
    pipeline.save_detector(detector(), tmp_path / "d.safetensors")
    tensors, header = files.read_tensors(tmp_path / "d.safetensors")
    del tensors["parts.mean"], tensors["parts.std"]
    files.write_tensors(tmp_path / "d.safetensors", tensors, header)

    parts = pipeline.load_detector(tmp_path / "d.safetensors").scores(maps(3)).parts

    np.testing.assert_allclose(parts, detector().scores(maps(3)).parts, rtol=1e-6)


def test_cross_fitted_films_are_each_compared_with_the_others() -> None:
    fitted = detector(COMBINED)
    own = replace(fitted, calibration=replace(fitted.calibration, source="fit, 5 folds of patients"))

    by_the_others = pipeline.cross_fitted_scores(own.calibration.maps, own)

    np.testing.assert_allclose(by_the_others.fused, pipeline.normal_scores(own), rtol=1e-6)
    np.testing.assert_array_equal(
        pipeline.cross_fitted_scores(maps(3), fitted).fused, pipeline.score_maps(maps(3), fitted).fused
    )


def test_the_combined_score_needs_two_normals() -> None:
    config = COMBINED.replace(standardise=False)
    with pytest.raises(EngineError, match=r"The film score mean\+top is standardised by at least 2 normal films"):
        pipeline.calibrate(maps(1), source="calibrate", config=config)
    with pytest.raises(EngineError, match="normal films that calibrate, and there are 0"):
        pipeline.calibrate(maps(0), source="", config=config.replace(image_score="top", image_score_tried="mean+top"))


def test_standardisation_is_finite_where_masked() -> None:
    calibrated = pipeline.calibrate(maps(5), source="calibrate", config=CONFIG)

    assert calibrated.mean is not None
    assert calibrated.std is not None
    assert (calibrated.mean[:, ~keep()] == 0).all()
    assert (calibrated.std[:, ~keep()] == 1).all()


def test_standardising_needs_two_normals() -> None:
    with pytest.raises(EngineError, match="at least 2"):
        pipeline.calibrate(maps(1), source="calibrate", config=CONFIG)
    assert pipeline.calibrate(maps(1), source="", config=CONFIG.replace(standardise=False)).mean is None


PLAIN = Calibration(maps(0), "", None, None)


def choose(raw: np.ndarray, abnormal: np.ndarray, config: PipelineConfig) -> Choice:
    """The choice with a single candidate and a patient for each film."""
    return pipeline.choose(raw[None], abnormal, [PLAIN], config, patients=[str(k) for k in range(len(raw))])


def test_the_weight_is_chosen_on_tune() -> None:
    raw = maps(20)
    abnormal = np.arange(20) % 2 == 1
    raw[abnormal, 0] += 50  # only the global map separates the classes

    choice = choose(raw, abnormal, CONFIG)

    assert choice.source == "tune"
    assert (choice.films, choice.abnormal) == (20, 10)
    assert choice.aurocs[round(choice.weight * 100)] == max(choice.aurocs) == 1
    assert choice.aurocs[100] < 0.9
    assert choice.weight == max(w / 100 for w, a in enumerate(choice.aurocs) if a == 1 and w <= 60)


@pytest.mark.parametrize("abnormal", [0, 4])
def test_without_both_labels_in_tune_the_weight_stays_as_configured(abnormal: int) -> None:
    choice = choose(maps(4), np.arange(4) < abnormal, CONFIG.replace(fusion_weight=0.3))

    assert (choice.weight, choice.source, choice.aurocs) == (0.3, "config", ())


def test_a_configured_weight_is_not_chosen_on_tune() -> None:
    config = CONFIG.replace(fusion_choice="config", fusion_weight=0.3)

    assert choose(maps(4), np.arange(4) < 2, config).weight == 0.3
