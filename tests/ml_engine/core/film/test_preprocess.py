from __future__ import annotations

import numpy as np
import pytest
import torch

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import UnsupportedImage
from ml_engine.core.film.preprocess import FilmArray, intensities, prepare, valid_area
from ml_engine.core.geometry import apply

PAPER = PipelineConfig.from_preset("paper").replace(size=64)
DEFAULT = PipelineConfig.from_preset("default").replace(size=64)


def film(values: np.ndarray, *, bits: int = 12, **facts: object) -> FilmArray:
    defaults = {"ends": (0.0, 2.0**bits - 1), "display": None, "padding": np.zeros(values.shape, dtype=bool)}
    return FilmArray(values=values.astype(np.float32), bits=bits, **(defaults | facts))


def ramp(height: int = 40, width: int = 60, high: float = 4000) -> np.ndarray:
    return np.linspace(100, high, height * width).reshape(height, width)


def test_paper_divides_8_bit_films_by_255() -> None:
    values = np.array([[30, 51], [102, 204]])

    assert intensities(film(values, bits=8), PAPER) == pytest.approx(values / 255)


def test_paper_scales_8_bit_films_with_a_rescale_over_what_their_header_allows() -> None:
    stored = np.array([[0, 51], [102, 255]])

    scaled = intensities(film(stored * 16 - 1024, bits=8, ends=(-1024.0, 3056.0)), PAPER)

    assert scaled == pytest.approx(stored / 255)


def test_paper_scales_deeper_films_from_minimum_to_maximum() -> None:
    values = ramp()

    scaled = intensities(film(values), PAPER)

    assert scaled == pytest.approx((values - 100) / 3900, abs=1e-6)
    assert scaled.dtype == np.float32


def test_default_takes_the_window_of_the_header() -> None:
    display = np.random.default_rng(0).random((40, 60)).astype(np.float32)

    np.testing.assert_array_equal(intensities(film(ramp(), display=display), DEFAULT), display)
    assert intensities(film(ramp(), display=display), PAPER) != pytest.approx(display)


def test_default_takes_percentiles_outside_the_padding_without_a_window() -> None:
    values = ramp()
    values[:, :20] = -9999  # padding, darker than any tissue
    padding = values == -9999

    scaled = intensities(film(values, padding=padding), DEFAULT)

    inside = np.sort(values[~padding])
    low, high = np.percentile(inside, 0.5), np.percentile(inside, 99.5)
    assert scaled[~padding] == pytest.approx(np.clip((values[~padding] - low) / (high - low), 0, 1), abs=1e-5)
    assert (scaled[padding] == 0).all()


@pytest.mark.parametrize("shape", [(1, 2), (7, 3), (40, 60), (200, 101)])
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1.0, -1.0), (1.0, 1.0), (0.5, 0.0)])
def test_percentiles_are_those_of_numpy(shape: tuple[int, int], scale: float, shift: float) -> None:
    """Films of 8 bits, whose values are counted, and films that a rescale makes darker, brighter or not whole."""
    random = np.random.default_rng(shape[0])
    for low, high in ((0.5, 99.5), (0.0, 100.0), (10.0, 63.5)):
        config = DEFAULT.replace(low_percentile=low, high_percentile=high)
        values = (random.integers(0, 256, shape) * scale + shift).astype(np.float32)
        first, last = np.percentile(values, [low, high])

        scaled = intensities(film(values, bits=8), config)

        expected = (values - np.float32(first)) / np.float32(max(last - first, 1e-12))
        np.testing.assert_array_equal(scaled, np.clip(expected, 0, 1))


def test_a_constant_film_is_black() -> None:
    for config in (PAPER, DEFAULT):
        assert (intensities(film(np.full((5, 5), 700.0)), config) == 0).all()


def test_a_film_of_padding_alone_is_black() -> None:
    scaled = intensities(film(ramp(), padding=np.ones((40, 60), dtype=bool)), DEFAULT)

    assert (scaled == 0).all()


def test_stretch_fills_the_square() -> None:
    prepared = prepare(film(ramp()), PAPER)

    assert prepared.image.shape == (64, 64)
    assert prepared.box == (0, 0, 64, 64)
    np.testing.assert_allclose(prepared.original_from_input.numpy(), [[60 / 64, 0, 0], [0, 40 / 64, 0]])


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (64, 64), (77, 200), (1000, 999)])
def test_pad_keeps_the_aspect_and_centres_the_film(height: int, width: int) -> None:
    prepared = prepare(film(ramp(height, width)), DEFAULT)

    top, left, bottom, right = prepared.box
    assert max(bottom - top, right - left) == 64
    assert (bottom - top) / (right - left) == pytest.approx(height / width, rel=0.03)
    assert abs(top - (64 - bottom)) <= 1
    assert abs(left - (64 - right)) <= 1
    outside = ~valid_area(np.array([prepared.box]), 64)[0, 0]
    assert (prepared.image[outside] == 0).all()


@pytest.mark.parametrize("config", [PAPER, DEFAULT])
@pytest.mark.parametrize(("height", "width"), [(77, 200), (200, 77)])
def test_the_affine_takes_the_films_corners_to_its_corners(config: PipelineConfig, height: int, width: int) -> None:
    prepared = prepare(film(ramp(height, width)), config)

    top, left, bottom, right = prepared.box
    corners = apply(prepared.original_from_input, np.array([[left, top], [right, bottom]], dtype=float))
    np.testing.assert_allclose(corners.numpy(), [[0, 0], [width, height]], atol=1e-9)


@pytest.mark.parametrize("config", [PAPER, DEFAULT])
def test_the_affine_takes_a_spot_back_to_its_place_in_the_original(config: PipelineConfig) -> None:
    values = np.zeros((90, 180))
    values[60:66, 120:126] = 255  # centre (123, 63)
    prepared = prepare(film(values, bits=8), config.replace(intensity="minmax"))

    y, x = np.mgrid[0:64, 0:64] + 0.5
    weight = prepared.image.numpy().astype(float)
    centre = [(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()]

    original = apply(prepared.original_from_input, np.array([centre])).numpy()[0]
    np.testing.assert_allclose(original, [123, 63], atol=0.6)


def test_pixels_that_are_not_square_are_made_square() -> None:
    prepared = prepare(film(ramp(50, 100), pixel_aspect=2.0), DEFAULT)

    assert prepared.box == (0, 0, 64, 64)


def test_antialiasing_turns_a_fine_grid_gray() -> None:
    fine = np.tile([0.0, 255.0], (640, 320))

    image = prepare(film(fine, bits=8), PAPER).image

    assert float((image - 0.5).abs().max()) < 0.06


def test_size_replaces_the_side_of_the_config() -> None:
    assert prepare(film(ramp()), DEFAULT, size=32).image.shape == (32, 32)


def test_a_film_too_thin_is_refused() -> None:
    with pytest.raises(UnsupportedImage, match="1 x 400 pixels is too thin"):
        prepare(film(ramp(400, 1)), DEFAULT)


def test_valid_area_is_the_box() -> None:
    valid = valid_area(np.array([[1, 2, 3, 5], [0, 0, 6, 6]]), 6)

    assert valid.shape == (2, 1, 6, 6)
    assert valid.dtype == torch.bool
    assert valid[0, 0].nonzero().tolist() == [[r, c] for r in (1, 2) for c in (2, 3, 4)]
    assert valid[1].all()
