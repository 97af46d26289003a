from __future__ import annotations

import numpy as np

from ml_engine.core.score import fusion


def maps(n: int = 3, side: int = 4, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(5, 2, (n, 2, side, side)).astype(np.float32)
    values[:, :, 0, :2] = np.nan
    return values


def test_fuses_region_with_the_weight_and_global_with_the_rest() -> None:
    raw = maps()

    fused = fusion.fuse(fusion.standardised(raw, None, None), 0.6)

    for film in range(3):
        for r in range(4):
            for c in range(4):
                expected = 0.6 * float(raw[film, 1, r, c]) + 0.4 * float(raw[film, 0, r, c])
                np.testing.assert_allclose(fused[film, r, c], expected)


def test_weights_zero_and_one_give_a_single_map() -> None:
    raw = fusion.standardised(maps(), None, None)

    np.testing.assert_array_equal(fusion.fuse(raw, 0.0), raw[:, 0])
    np.testing.assert_array_equal(fusion.fuse(raw, 1.0), raw[:, 1])


def test_standardises_each_position_and_channel_on_its_own() -> None:
    raw, mean, std = maps(), maps(1, seed=1)[0], np.abs(maps(1, seed=2)[0]) + 1

    standardised = fusion.standardised(raw, mean, std)

    expected = (float(raw[1, 0, 2, 3]) - float(mean[0, 2, 3])) / float(std[0, 2, 3])
    np.testing.assert_allclose(standardised[1, 0, 2, 3], expected)
    assert np.isnan(standardised[:, :, 0, :2]).all()


def test_weights_step_by_a_hundredth() -> None:
    assert fusion.WEIGHTS[0] == 0
    assert fusion.WEIGHTS[29] == 0.29
    assert fusion.WEIGHTS[100] == 1


def aurocs(**best: float) -> np.ndarray:
    values = np.full(101, 0.5)
    for position, value in best.items():
        values[int(position[1:])] = value
    return values


def test_chooses_the_weight_with_the_best_auroc() -> None:
    assert fusion.choose_weight(aurocs(w10=0.7, w90=0.8)) == 0.9


def test_ties_go_to_the_weight_nearest_to_the_papers() -> None:
    assert fusion.choose_weight(aurocs(w10=0.8, w65=0.8, w50=0.8)) == 0.65
    assert fusion.choose_weight(aurocs(w50=0.8, w70=0.8)) == 0.5  # equally near, so the lower
    assert fusion.choose_weight(np.full(101, 0.5)) == 0.6


def test_without_both_labels_the_weight_is_the_papers() -> None:
    assert fusion.choose_weight(np.full(101, np.nan)) == 0.6


def test_sweep_aurocs_follow_the_labels() -> None:
    sweep = np.tile(np.array([[1.0], [2.0], [3.0]], dtype=np.float32), (1, 101))

    assert fusion.sweep_aurocs(sweep, np.array([False, False, True])).tolist() == [1.0] * 101
