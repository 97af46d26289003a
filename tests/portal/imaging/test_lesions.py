"""Lesions pasted into films: where and by how much they change a film, and their size."""

from __future__ import annotations

import numpy as np
import pytest

from portal.imaging import lesions
from portal.imaging.lesions import Lesion

SPACING = (0.5, 0.8)  # mm between rows and between columns; not square, so that swapped axes show
SHAPE = (400, 300)


def film() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.3, 0.6, SHAPE).astype(np.float32)


def lung(side: int) -> np.ndarray:
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]] + 0.5
    return ((x - (90 if side < 0 else 210)) / 50) ** 2 + ((y - 200) / 150) ** 2 < 1


def make_lesion(kind: str, size_mm: float, side: int = -1) -> Lesion:
    if kind == "nodule":
        rng = np.random.default_rng(1)
        return lesions.nodule(SHAPE, (90.3, 140.8), size_mm=size_mm, spacing_mm=SPACING, rng=rng)
    draw = lesions.effusion if kind == "effusion" else lesions.pneumothorax
    lesion = draw(lung(side), side=side, size_mm=size_mm, spacing_mm=SPACING)
    assert lesion is not None
    return lesion


@pytest.mark.parametrize("kind", lesions.KINDS)
@pytest.mark.parametrize("size_mm", [5, 20, 60])
def test_only_the_footprint_changes_and_by_no_more_than_the_contrast(kind: str, size_mm: float) -> None:
    before, lesion = film(), make_lesion(kind, size_mm)
    after = lesions.paste(before, lesion, 0.2)
    footprint = np.zeros(SHAPE, dtype=bool)
    footprint[lesion.rows, lesion.columns] = lesion.change != 0

    assert (after == before)[~footprint].all()
    difference = (after - before)[footprint]
    assert np.abs(difference).max() == pytest.approx(0.2, abs=1e-3)
    assert len(lesion.points()) == footprint.sum()
    if kind != "nodule":
        assert not footprint[~lung(-1)].any()


@pytest.mark.parametrize("kind", lesions.KINDS)
def test_a_lesion_without_contrast_changes_nothing(kind: str) -> None:
    before = film()
    assert lesions.paste(before, make_lesion(kind, 20), 0.0).tobytes() == before.tobytes()


@pytest.mark.parametrize("kind", lesions.KINDS)
def test_a_pasted_lesion_stays_within_the_gray_scale(kind: str) -> None:
    after = lesions.paste(film(), make_lesion(kind, 30), 1.0)
    assert after.min() >= 0 and after.max() <= 1


@pytest.mark.parametrize("size_mm", [6, 20, 40])
def test_a_nodule_has_the_requested_size_in_both_directions(size_mm: float) -> None:
    lesion = make_lesion("nodule", size_mm)
    high = (lesion.change != 0).any(1).sum() * SPACING[0]
    wide = (lesion.change != 0).any(0).sum() * SPACING[1]
    for length in (high, wide):  # flattened by up to 0.82, irregular by a few per cent, whole pixels
        assert 0.78 * size_mm - 1 <= length <= 1.1 * size_mm + 1.6
    thickest = np.unravel_index(lesion.change.argmax(), lesion.change.shape)
    assert thickest[1] + lesion.columns.start + 0.5 == pytest.approx(90.3, abs=1.0)
    assert thickest[0] + lesion.rows.start + 0.5 == pytest.approx(140.8, abs=1.0)


def test_a_nodule_smaller_than_a_pixel_fills_one() -> None:
    lesion = lesions.nodule((40, 40), (7.9, 20.1), size_mm=1, spacing_mm=(9, 9), rng=np.random.default_rng(0))
    assert lesion.points().tolist() == [[7.5, 20.5]]


@pytest.mark.parametrize("side", [-1, 1])
def test_an_effusion_has_the_requested_height_at_the_wall(side: int) -> None:
    whole, lesion = lung(side), make_lesion("effusion", 40, side)
    rows, columns = np.nonzero(whole)
    points = lesion.points()
    base = (rows.max() + 1) * SPACING[0]
    assert base - points[:, 1].min() * SPACING[0] == pytest.approx(40, abs=8)  # the wall curves away from its top
    assert points[:, 1].max() == rows.max() + 0.5
    middle = columns.mean()
    lateral = points[(points[:, 0] - middle) * side > 20]
    medial = points[(points[:, 0] - middle) * side < -20]
    assert lateral[:, 1].min() < medial[:, 1].min()  # the surface rises at the wall
    assert lesion.change.min() >= 0


@pytest.mark.parametrize("side", [-1, 1])
def test_a_pneumothorax_is_dark_at_the_wall_and_wider_at_the_apex(side: int) -> None:
    whole, lesion = lung(side), make_lesion("pneumothorax", 16, side)
    dark = np.zeros(SHAPE, dtype=bool)
    dark[lesion.rows, lesion.columns] = lesion.change < -0.5

    def width(row: int) -> float:
        return float(dark[row].sum() * SPACING[1])

    assert width(130) > width(290) > 0
    inside = np.flatnonzero(whole[200])
    wall = inside[-1] if side > 0 else inside[0]
    medial = inside[0] if side > 0 else inside[-1]
    assert dark[200, wall] and not dark[200, medial] and not dark[200, 210 if side > 0 else 90]
    assert 0 < (lesion.change > 0).sum() < dark.sum()  # the line of the pleura


def test_a_lung_that_is_too_small_gets_no_lesion() -> None:
    tiny = np.zeros(SHAPE, dtype=bool)
    tiny[100:105, 100:105] = True
    for draw in (lesions.effusion, lesions.pneumothorax):
        assert draw(tiny, side=1, size_mm=20, spacing_mm=SPACING) is None
