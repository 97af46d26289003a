"""CLAHE compared with a plain loop over pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ml_engine.core.config import PipelineConfig
from ml_engine.core.film.clahe import clahe
from ml_engine.core.film.preprocess import FilmArray, prepare


def tile_map(values: list[float], clip: float) -> list[float]:
    counts = [0.0] * 256
    for value in values:
        counts[min(255, int(value * 256))] += 1
    limit = clip * len(values) / 256
    excess = sum(max(0.0, count - limit) for count in counts)
    total, mapping = 0.0, []
    for count in counts:
        total += min(count, limit) + excess / 256
        mapping.append(min(1.0, total / len(values)))
    return mapping


def plain(image: np.ndarray, clip: float, tiles: int) -> np.ndarray:
    height, width = image.shape
    rows = [k * height // min(tiles, height) for k in range(min(tiles, height) + 1)]
    columns = [k * width // min(tiles, width) for k in range(min(tiles, width) + 1)]
    maps = {
        (r, c): tile_map(image[rows[r] : rows[r + 1], columns[c] : columns[c + 1]].ravel().tolist(), clip)
        for r in range(len(rows) - 1)
        for c in range(len(columns) - 1)
    }

    def around(edges: list[int], place: float) -> tuple[int, int, float]:
        centres = [(a + b) / 2 for a, b in pairwise(edges)]
        for k in range(len(centres) - 1):
            if centres[k] <= place <= centres[k + 1]:
                return k, k + 1, (place - centres[k]) / (centres[k + 1] - centres[k])
        return (0, 0, 0.0) if place < centres[0] else (len(centres) - 1, len(centres) - 1, 0.0)

    equalised = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            level = min(255, int(image[y, x] * 256))
            r0, r1, down = around(rows, y + 0.5)
            c0, c1, across = around(columns, x + 0.5)
            upper = (1 - across) * maps[r0, c0][level] + across * maps[r0, c1][level]
            lower = (1 - across) * maps[r1, c0][level] + across * maps[r1, c1][level]
            equalised[y, x] = (1 - down) * upper + down * lower
    return equalised


@pytest.mark.parametrize(
    ("shape", "clip", "tiles"),
    [((24, 24), 2.0, 4), ((17, 23), 3.0, 5), ((5, 3), 1.0, 8), ((1, 1), 2.0, 8), ((9, 9), 256, 1)],
)
def test_equals_the_definition(shape: tuple[int, int], clip: float, tiles: int) -> None:
    image = np.random.default_rng(3).beta(2, 5, shape).astype(np.float32)

    equalised = clahe(image, clip=clip, tiles=tiles)

    assert equalised.dtype == np.float32
    np.testing.assert_allclose(equalised, plain(image, clip, tiles), atol=1e-6)


def test_a_faint_texture_gains_contrast_and_the_order_of_grays_stays() -> None:
    y, x = np.mgrid[0:64, 0:64]
    image = (0.4 + 0.02 * np.sin(x / 3) * np.sin(y / 3)).astype(np.float32)

    equalised = clahe(image, clip=8.0, tiles=1)

    assert equalised.std() > 2 * image.std()
    order = np.argsort(image.ravel(), kind="stable")
    assert (np.diff(equalised.ravel()[order]) >= -1e-7).all()


def test_prepare_equalises_inside_the_film_only() -> None:
    values = np.random.default_rng(0).random((40, 20)).astype(np.float32)
    film = FilmArray(values, 12, (0.0, 1.0), values, np.zeros((40, 20), dtype=bool))
    config = PipelineConfig(size=64, clahe=True, clahe_tiles=2, kept_precision="single")

    plain_film, equalised = prepare(film, config.replace(clahe=False)), prepare(film, config)

    top, left, bottom, right = equalised.box
    inside = plain_film.image[top:bottom, left:right].numpy()
    np.testing.assert_array_equal(
        equalised.image[top:bottom, left:right].numpy(), clahe(inside, clip=config.clahe_clip, tiles=2)
    )
    assert float(equalised.image[:, :left].abs().max()) == 0
