"""Lung areas in aligned films."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ml_engine.core.film.lungs import find_lungs, lungs_of

SIDE = 96


def chest(seed: int = 0, *, with_lungs: bool = True) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A bright body on black with two dark lungs and noise, (S, S); and the true lung areas, (2, S, S)."""
    y, x = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE
    film = 0.7 * ((x - 0.5) ** 2 / 0.2 + (y - 0.5) ** 2 / 0.22 < 1)
    truth = np.stack([((x - cx) / 0.12) ** 2 + ((y - 0.45) / 0.22) ** 2 < 1 for cx in (0.31, 0.69)])
    if with_lungs:
        film = np.where(truth.any(0), 0.25, film)
    return film + np.random.default_rng(seed).normal(0, 0.02, film.shape), truth


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_both_lungs_are_found_left_first() -> None:
    film, truth = chest()
    lungs = lungs_of(film)
    assert lungs is not None
    assert [overlap(a, b) > 0.75 for a, b in zip(lungs, truth, strict=True)] == [True, True]


def test_the_majority_of_films_decides() -> None:
    films = [chest(seed)[0] for seed in range(3)] + [chest(9, with_lungs=False)[0]]
    lungs, source = find_lungs(iter(films), SIDE)
    assert source == "films"
    assert overlap(lungs[0], chest()[1][0]) > 0.75


@pytest.mark.parametrize("films", [[], [np.zeros((SIDE, SIDE))], [chest(1, with_lungs=False)[0]] * 2 + [chest()[0]]])
def test_without_lungs_in_most_films_the_template_is_used(films: list[NDArray[np.float64]]) -> None:
    lungs, source = find_lungs(iter(films), SIDE)
    assert source == "template"
    assert lungs.shape == (2, SIDE, SIDE) and lungs.any((1, 2)).all() and not (lungs[0] & lungs[1]).any()
