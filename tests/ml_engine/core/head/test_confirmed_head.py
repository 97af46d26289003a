"""The head beside a detector: its map, the combined score, its file, and the rule of ten films."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ml_engine.core import files
from ml_engine.core.errors import EngineError, IncompatibleModel
from ml_engine.core.head import confirmed_head
from ml_engine.core.head.confirmed_head import BothScores, ConfirmedHead, Scale, TrainingFilms

WIDE = 12


def training(*, seed: int = 0) -> TrainingFilms:
    """60 known normals and 14 reads, of which 11 are abnormal."""
    rng = np.random.default_rng(seed)
    known = np.arange(74) < 60
    abnormal = np.arange(74) >= 63
    features = rng.normal(2, 1.5, size=(74, WIDE))
    features[abnormal, :3] += 2
    features[:, -1] = 7.0  # a feature without variation
    return TrainingFilms(features, abnormal, np.where(known, 1.0, rng.uniform(1, 9, 74)), known)


def head(*, detector: str = "d" * 64) -> ConfirmedHead:
    scale, regression = confirmed_head.fit(training(), penalty=100.0)
    return ConfirmedHead(
        scale=scale,
        regression=regression,
        penalty=100.0,
        calibration_logits=np.array([-2.0, -3.0, -2.5, -1.0]),
        detector_sha256=detector,
        code_version="test",
        facts={"abnormal_films": 11},
    )


def test_the_fit_is_scikit_learns_on_features_standardised_by_the_known_normals() -> None:
    films = training()
    scaler = StandardScaler().fit(films.features[films.known])
    values = (films.features - scaler.mean_) / np.sqrt(scaler.var_ * 60 / 59 + (scaler.var_ == 0))
    values[:, -1] = 0
    weights = films.weights.copy()
    reads, abnormal = ~films.known, films.abnormal
    weights[reads & abnormal] /= weights[reads & abnormal].mean()
    weights[reads & ~abnormal] /= weights[reads & ~abnormal].mean()
    model = LogisticRegression(C=0.01, tol=1e-12, max_iter=10_000).fit(values, abnormal, sample_weight=weights)

    logits = confirmed_head.logits(confirmed_head.fit(films, penalty=100.0), films.features)

    np.testing.assert_allclose(logits, model.decision_function(values), atol=1e-6)


def test_the_scale_of_all_weights_does_not_matter() -> None:
    films = training()
    tenfold = TrainingFilms(films.features, films.abnormal, films.weights * 10, films.known)

    first, second = (confirmed_head.fit(each, penalty=100.0)[1] for each in (films, tenfold))

    np.testing.assert_allclose(first.coefficients, second.coefficients, atol=1e-12)


def test_a_feature_that_is_constant_in_the_known_normals_does_not_count() -> None:
    fitted = head()
    new = np.full((1, WIDE), 2.0)
    changed = new.copy()
    changed[0, -1] = 1e9

    assert fitted.scale.inverse_std[-1] == 0
    assert fitted.logits(new)[0] == fitted.logits(changed)[0]


def test_the_map_sums_to_the_logit_less_the_intercept() -> None:
    fitted = head()
    keep = np.zeros((5, 6), dtype=bool)
    keep[1:4, 1:5] = True
    patches = torch.randn(12, WIDE, generator=torch.Generator().manual_seed(3)) * 2 + 2

    contributions = fitted.contributions(patches)
    grid = fitted.map_of(patches, keep)

    logit = fitted.logits(confirmed_head.pool(patches)[None])[0]
    assert abs(contributions.sum() - (logit - fitted.regression.intercept)) < 1e-12
    np.testing.assert_array_equal(np.isnan(grid), ~keep)
    np.testing.assert_array_equal(grid[keep], contributions.astype(np.float32))
    by_hand = sum(
        fitted.regression.coefficients[d] * (float(patches[5, d]) - fitted.scale.mean[d]) * fitted.scale.inverse_std[d]
        for d in range(WIDE)
    )
    assert abs(contributions[5] - by_hand / 12) < 1e-12


def test_changing_one_patch_changes_the_logit_by_its_contribution() -> None:
    fitted = head()
    patches = torch.randn(12, WIDE, generator=torch.Generator().manual_seed(4))
    changed = patches.clone()
    changed[7] += 1.5

    before, after = (fitted.logits(confirmed_head.pool(each)[None])[0] for each in (patches, changed))
    by_patch = fitted.contributions(changed) - fitted.contributions(patches)

    assert abs(after - before - by_patch[7]) < 1e-12 and np.abs(np.delete(by_patch, 7)).max() == 0


def test_the_combined_score_is_the_sum_of_both_standardised_by_the_normals() -> None:
    rng = np.random.default_rng(1)
    normals = BothScores(rng.normal(3, 2, 30), rng.normal(-4, 0.5, 30))
    films = BothScores(np.array([3.0, 7.0]), np.array([-4.0, -3.0]))

    combined = confirmed_head.combine(films, normals)

    expected = (films.one_class - normals.one_class.mean()) / np.std(normals.one_class, ddof=1)
    np.testing.assert_allclose(combined.one_class_z, expected)
    np.testing.assert_allclose(combined.head_z, (films.head - normals.head.mean()) / np.std(normals.head, ddof=1))
    np.testing.assert_allclose(combined.combined, combined.one_class_z + combined.head_z)


def test_a_normal_is_standardised_by_those_of_other_patients() -> None:
    rng = np.random.default_rng(2)
    normals, patients = BothScores(rng.normal(size=12), rng.normal(size=12)), np.arange(12) // 2
    others = patients != patients[3]

    combined = confirmed_head.combine_normals(normals, patients)

    expected = sum(
        (values[3] - values[others].mean()) / values[others].std(ddof=1) for values in (normals.one_class, normals.head)
    )
    assert abs(combined.combined[3] - expected) < 1e-12


def test_three_films_of_which_no_two_are_of_other_patients_are_standardised_by_all() -> None:
    normals = BothScores(np.array([1.0, 2.0, 6.0]), np.array([0.0, 0.0, 0.0]))

    combined = confirmed_head.combine_normals(normals, np.array([0, 0, 1]))

    np.testing.assert_allclose(combined.one_class_z, (normals.one_class - 3) / np.std([1, 2, 6], ddof=1))
    np.testing.assert_array_equal(combined.head_z, 0)


def test_ten_confirmed_films_are_enough_and_nine_are_not() -> None:
    confirmed_head.require_confirmed(10)
    with pytest.raises(EngineError, match="The reads hold 9 films confirmed as abnormal, and a semi-supervised head"):
        confirmed_head.require_confirmed(9)


def test_a_head_is_read_back_as_it_was_and_the_same_head_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        confirmed_head.save_head(head(), tmp_path / name)

    again = confirmed_head.load_head(tmp_path / "first", detector_sha256="d" * 64)

    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    new = np.random.default_rng(5).normal(size=(3, WIDE))
    np.testing.assert_array_equal(again.logits(new), head().logits(new))
    assert (again.penalty, again.facts, again.code_version) == (100.0, {"abnormal_films": 11}, "test")
    np.testing.assert_array_equal(again.calibration_logits, head().calibration_logits)


def test_another_file_or_the_head_of_another_detector_is_refused(tmp_path: Path) -> None:
    confirmed_head.save_head(head(), tmp_path / "head.safetensors")
    files.write_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {"format": 1, "kind": "detector"})

    with pytest.raises(IncompatibleModel, match="was fitted beside another detector"):
        confirmed_head.load_head(tmp_path / "head.safetensors", detector_sha256="e" * 64)
    with pytest.raises(IncompatibleModel, match="is not a semi-supervised head of format"):
        confirmed_head.load_head(tmp_path / "other.safetensors", detector_sha256="d" * 64)


def test_pooling_is_the_mean_in_float64() -> None:
    patches = torch.full((1000, 2), 0.1) + torch.arange(1000)[:, None] * 1e-4
    np.testing.assert_allclose(confirmed_head.pool(patches), patches.numpy().astype(np.float64).mean(0), rtol=1e-14)
    assert Scale.of(np.array([[0.0], [2.0]])).inverse_std[0] == 1 / np.sqrt(2)
