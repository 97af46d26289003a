"""The square film of the pages against the engine's own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import UnsupportedImage
from ml_engine.core.film.gray_scale import FilmArray
from ml_engine.core.film.preprocess import prepare
from ml_engine.core.film.square import square_film

CONFIG = PipelineConfig.from_preset("default").replace(size=64)


def film(height: int, width: int, *, pixel_aspect: float = 1.0) -> FilmArray:
    values = np.random.default_rng(0).random((height, width)).astype(np.float32) * 4000
    padding = np.zeros((height, width), dtype=bool)
    return FilmArray(values, bits=12, ends=(0.0, 4095.0), display=None, padding=padding, pixel_aspect=pixel_aspect)


@pytest.mark.parametrize("shape", [(300, 200), (150, 331), (40, 50), (64, 64)])
@pytest.mark.parametrize("pixel_aspect", [1.0, 1.25])
def test_it_is_what_the_engine_prepares(shape: tuple[int, int], pixel_aspect: float) -> None:
    made = film(*shape, pixel_aspect=pixel_aspect)
    square, expected = square_film(made, CONFIG, side=64), prepare(made, CONFIG)
    assert square.box == expected.box
    np.testing.assert_allclose(square.original_from_input[:2], expected.original_from_input.numpy(), rtol=1e-12)
    np.testing.assert_allclose(square.image, expected.image.numpy(), atol=1e-4)


def test_a_film_too_thin_is_refused() -> None:
    with pytest.raises(UnsupportedImage, match="A film of 3 x 900 pixels is too thin for a square input"):
        square_film(film(900, 3), CONFIG, side=64)


def test_it_loads_no_torch() -> None:
    names = "film.square, ml_engine.core.film.gray_scale, ml_engine.core.alignment.hand_stack"
    code = f"import sys, ml_engine.core.{names}, ml_engine.engine.decode_films; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
