from __future__ import annotations

import math

import numpy as np
import pytest

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.core.film.masking import hard_mask, patch_limits


def config(preset: str = "paper", **values: object) -> PipelineConfig:
    return PipelineConfig.from_preset(preset).replace(size=64, **values)


def mean_film(seed: int = 0) -> np.ndarray:
    """Dark to the left, bright to the right, with noise; (64, 64) in [0, 1]."""
    ramp = np.tile(np.linspace(0, 0.12, 64), (64, 1))
    return np.clip(ramp + np.random.default_rng(seed).normal(0, 0.02, (64, 64)), 0, 1)


def plain_mask(film: np.ndarray, threshold: float, coverage: float) -> np.ndarray:
    keep = np.zeros((8, 8), dtype=bool)
    for r in range(8):
        for c in range(8):
            pixels = film[8 * r : 8 * r + 8, 8 * c : 8 * c + 8]
            keep[r, c] = (pixels * 255 > threshold).sum() >= coverage * 64
    return keep


@pytest.mark.parametrize("coverage", [0.01, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("threshold", [14.0, 17.5])
def test_keeps_patches_whose_pixels_are_bright_enough(threshold: float, coverage: float) -> None:
    film = mean_film()

    mask = hard_mask(film, config(mask_threshold=threshold, mask_coverage=coverage))

    expected = plain_mask(film, threshold, coverage)
    assert 0 < expected.sum() < 64
    np.testing.assert_array_equal(mask.keep, expected)
    assert mask.share == expected.mean()


def test_a_patch_exactly_at_the_threshold_is_left_out() -> None:
    film = np.full((64, 64), 11 / 255)
    film[:, :32] = 10 / 255

    assert hard_mask(film, config()).keep.tolist() == [[False] * 4 + [True] * 4] * 8


def test_mask_keep_chooses_the_threshold_by_the_share() -> None:
    film = mean_film()

    mask = hard_mask(film, config("default", mask_keep=0.79))

    assert mask.share == pytest.approx(0.79, abs=1 / 64)
    np.testing.assert_array_equal(mask.keep, plain_mask(film, mask.threshold, 0.5))


def test_mask_keep_takes_the_nearest_share_that_equal_patches_allow() -> None:
    film = np.zeros((64, 64))
    film[:, 24:] = 0.5  # 5 of 8 columns: 62.5 %

    mask = hard_mask(film, config("default", mask_keep=0.79))

    assert mask.share == 0.625


def test_a_mask_that_keeps_too_much_or_too_little_is_refused() -> None:
    with pytest.raises(EngineError, match=r"keeps 100% of the patches; 55% to 95% is allowed.*mask\.keep"):
        hard_mask(np.full((64, 64), 0.5), config("default"))
    with pytest.raises(EngineError, match="keeps 30%"):
        hard_mask(mean_film(), config("default", mask_keep=0.3))
    dark = np.zeros((64, 64))
    dark[10, 10] = 0.9
    with pytest.raises(EngineError, match=r"keeps no patch: the mean film is nowhere above 10 .*reaches 0\)"):
        hard_mask(dark, config("paper"))


def test_without_a_mask_every_patch_is_kept() -> None:
    assert hard_mask(np.zeros((64, 64)), config("default", mask=False)).keep.all()


def test_a_patch_is_kept_by_every_threshold_below_its_limit() -> None:
    film = mean_film()

    limits = patch_limits(film, stride=8, coverage=0.5)

    below = np.nextafter(limits, -math.inf)
    for r, c in np.ndindex(8, 8):
        assert plain_mask(film, below[r, c], 0.5)[r, c]
        assert not plain_mask(film, limits[r, c], 0.5)[r, c]
