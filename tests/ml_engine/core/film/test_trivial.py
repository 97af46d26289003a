"""Brightness, gradient and size of a film, compared with values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ml_engine.core.film.trivial import NAMES, trivial_scores


def test_a_slope_has_its_mean_its_step_and_its_area() -> None:
    image = np.zeros((8, 8), dtype=np.float32)
    image[2:6, 1:7] = 0.1 * np.arange(6, dtype=np.float32)
    affine = np.array([[10.0, 0, 3], [0, 20.0, 4]])
    scores = dict(zip(NAMES, trivial_scores(image, np.array([2, 1, 6, 7]), affine), strict=True))
    assert scores["brightness"] == pytest.approx(0.25)
    assert scores["gradient"] == pytest.approx(0.1)  # the padding around it does not count
    assert scores["size"] == pytest.approx(4 * 20 * 6 * 10)


def test_a_film_one_pixel_high_has_no_scores() -> None:
    scores = trivial_scores(np.ones((4, 4), np.float32), np.array([1, 0, 2, 4]), np.eye(2, 3))
    assert np.isnan(scores).all()
