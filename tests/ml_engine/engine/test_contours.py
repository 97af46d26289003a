"""Contours of maps: closed, at the level, never over masked patches, and the same as the viewer's way of sampling."""

from __future__ import annotations

import numpy as np
import pytest

from ml_engine.engine.contours import contour, hottest

NAN = np.nan


def hill(*, rows: int = 12, columns: int = 10, at: tuple[float, float] = (4.5, 6.5), radius: float = 3) -> np.ndarray:
    """A cone: `radius` minus the distance in patches from the point (x, y) `at`."""
    y, x = np.mgrid[:rows, :columns] + 0.5
    return radius - np.hypot(x - at[0], y - at[1])


def sampled(values: np.ndarray, x: float, y: float) -> float:
    """Bilinear between the centres of unmasked patches, one point at a time."""
    if np.isnan(values[int(y), int(x)]):
        return NAN
    left, top = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
    total = weights = 0.0
    for c in (left, left + 1):
        for r in (top, top + 1):
            weight = (1 - abs(x - 0.5 - c)) * (1 - abs(y - 0.5 - r))
            if 0 <= c < values.shape[1] and 0 <= r < values.shape[0] and not np.isnan(values[r, c]):
                total, weights = total + weight * values[r, c], weights + weight
    return total / weights


def test_the_line_of_a_cone_is_a_circle() -> None:
    lines = contour(hill(), 1.0)
    assert len(lines) > 8
    away = np.hypot(lines[..., 0] - 4.5, lines[..., 1] - 6.5)
    assert away == pytest.approx(2.0, abs=0.2)


def test_lines_close() -> None:
    ends = contour(hill(), 1.0).reshape(-1, 2).round(9)
    assert all(count == 2 for count in np.unique(ends, axis=0, return_counts=True)[1])


@pytest.mark.parametrize("seed", range(3))
def test_every_end_lies_at_the_level(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(6, 7))
    values[0, 0] = values[3, 4] = NAN
    lines = contour(values, 0.3)
    grid = np.array([[sampled(values, (i + 0.5) / 2, (j + 0.5) / 2) for i in range(14)] for j in range(12)])
    assert len(lines) > 5
    # each lies on an edge of the finer grid, where the map is linear
    for x, y in (lines.reshape(-1, 2) * 2 - 0.5).round(12):
        (left, top), (fx, fy) = np.floor([x, y]).astype(int), np.array([x, y]) % 1
        right, below = min(left + 1, 13), min(top + 1, 11)
        row = (1 - fx) * grid[top, left] + fx * (grid[top, right] if fx else 0)
        value = row if not fy else (1 - fy) * row + fy * grid[below, left]
        assert value == pytest.approx(0.3, abs=1e-9)


def test_masked_patches_have_no_line() -> None:
    values = hill()
    values[:, 4:] = NAN
    lines = contour(values, 1.0)
    assert len(lines)
    assert lines[..., 0].max() < 4
    assert len(contour(np.full((3, 3), NAN), 1.0)) == 0


def test_a_patch_at_the_level_is_inside() -> None:
    """As it is marked when it reaches the threshold: the line runs around the plateau, not nowhere."""
    plateau = np.zeros((5, 5))
    plateau[1:4, 1:4] = 1.0
    lines = contour(plateau, 1.0)
    assert lines.reshape(-1, 2).min(axis=0) == pytest.approx([1.75, 1.75], abs=0.25)
    assert lines.reshape(-1, 2).max(axis=0) == pytest.approx([3.25, 3.25], abs=0.25)


@pytest.mark.parametrize(("level", "joined"), [(-0.1, True), (0.1, False)])
def test_a_saddle_is_joined_by_its_middle(level: float, joined: bool) -> None:
    """Two high corners, upper left and lower right: below the middle's 0 they are one piece, and the lines cut the low
    corners off; above it the lines cut the high ones off."""
    lines = contour(np.array([[1.0, -1.0], [-1.0, 1.0]]), level)
    inner = [line.mean(axis=0) - 1 for line in lines if np.abs(line - 1).max() <= 0.25]
    assert len(inner) == 2
    assert all((x * y < 0) == joined for x, y in inner)


def test_the_hottest_patch_is_given_by_its_centre() -> None:
    values = hill(at=(7.5, 2.5))
    assert hottest(values) == (7.5, 2.5)
    assert hottest(np.full((2, 2), NAN)) is None
