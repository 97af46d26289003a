"""Harmless changes of normal films: what each does to a film, and how much."""

from __future__ import annotations

import numpy as np
import pytest

from ml_engine.core.film import controls
from ml_engine.core.film.controls import Collimation, Device, LargerHabitus, Line, ReExposure, Rotation

SHAPE = (120, 90)


def film(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.2, 0.7, shape).astype(np.float32)


def body(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """A bright disc with a dark, smaller one inside, on black: a crude chest."""
    y, x = (np.indices(shape).T + 0.5).T / np.array(shape)[:, None, None] * 2 - 1
    radius = np.hypot(x, y)
    return np.where(radius < 0.4, 0.2, np.where(radius < 0.8, 0.7, 0)).astype(np.float32)


def draws(kind: str, count: int = 200) -> list[controls.Change]:
    return [controls.draw(kind, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("kind", controls.KINDS)
@pytest.mark.parametrize("shape", [SHAPE, (64, 200), (3, 2), (1, 1)])
def test_a_change_keeps_shape_type_and_range_and_leaves_the_film_alone(kind: str, shape: tuple[int, int]) -> None:
    before = film(shape)
    kept = before.copy()
    after = controls.change(before, kind, np.random.default_rng(1))

    assert after.shape == shape
    assert after.dtype == np.float32
    assert after.min() >= 0
    assert after.max() <= 1
    np.testing.assert_array_equal(before, kept)


@pytest.mark.parametrize("kind", controls.KINDS)
def test_the_same_draw_gives_the_same_film_and_another_one_another(kind: str) -> None:
    first, again, other = (controls.change(film(), kind, np.random.default_rng(seed)) for seed in (5, 5, 6))

    assert first.tobytes() == again.tobytes()
    assert (first != film()).any()
    assert (first != other).any()


def test_exposures_are_brighter_and_darker_within_their_range() -> None:
    drawn = draws("re_exposed")

    assert min(each.gamma for each in drawn) >= 1 / 1.4
    assert max(each.gamma for each in drawn) <= 1.4
    assert 0.35 < np.mean([each.gamma > 1 for each in drawn]) < 0.65
    assert all(abs(np.log(each.gamma)) >= np.log(1.15) - 1e-9 and abs(each.offset) <= 0.06 for each in drawn)


def test_an_exposure_is_a_gamma_and_an_offset() -> None:
    after = controls.apply(film(), ReExposure(gamma=1.3, offset=0.05))

    np.testing.assert_allclose(after, film().astype(np.float64) ** 1.3 + 0.05, atol=1e-6)


def test_rotations_are_of_four_to_six_degrees_in_both_directions() -> None:
    degrees = np.array([each.degrees for each in draws("rotated")])

    assert (np.abs(degrees) >= 4).all()
    assert (np.abs(degrees) <= 6).all()
    assert 0.35 < (degrees > 0).mean() < 0.65


def test_a_quarter_turn_is_clockwise() -> None:
    square = film((40, 40))

    np.testing.assert_allclose(controls.apply(square, Rotation(90)), np.rot90(square, k=-1), atol=1e-5)


def test_a_rotation_is_one_in_millimetres() -> None:
    """Rows twice as far apart: a quarter turn makes a line of 10 columns one of 5 rows."""
    line = np.zeros((41, 41), dtype=np.float32)
    line[20, 10:31] = 1
    turned = controls.apply(line, Rotation(90), pixel_aspect=2.0)

    assert np.flatnonzero(turned[:, 20] > 0.5).tolist() == list(range(15, 26))


def test_what_a_rotation_brings_in_is_black() -> None:
    turned = controls.apply(np.full((100, 100), 0.5, np.float32), Rotation(5))

    assert turned[0, 0] == turned[-1, -1] == turned[0, -1] == turned[-1, 0] == 0
    assert turned[50, 50] == 0.5


def test_collimation_blackens_one_to_three_borders_and_nothing_else() -> None:
    counts = set()
    for drawn in draws("collimated"):
        sides = [drawn.top, drawn.bottom, drawn.left, drawn.right]
        counts.add(sum(side > 0 for side in sides))
        assert all(side == 0 or 0.05 <= side <= 0.12 for side in sides)
    after = controls.apply(film((100, 200)), Collimation(top=0.05, bottom=0, left=0.1, right=0.12))

    assert counts == {1, 2, 3}
    assert (after[:5] == 0).all()
    assert (after[:, :20] == 0).all()
    assert (after[:, 176:] == 0).all()
    np.testing.assert_array_equal(after[5:, 20:176], film((100, 200))[5:, 20:176])


def test_both_devices_are_drawn_and_only_brighten() -> None:
    dark = np.full((400, 300), 0.3, np.float32)
    shares: dict[str, list[float]] = {name: [] for name in controls.DEVICES}
    for drawn in draws("with_device", 60):
        after = controls.apply(dark, drawn)
        assert (after >= dark).all()
        assert after.max() == pytest.approx(drawn.level)
        shares[drawn.name].append(float((after > dark).mean()))

    assert all(len(of_name) > 15 for of_name in shares.values())
    assert all(0.002 < share < 0.03 for of_name in shares.values() for share in of_name)


def test_a_line_is_as_wide_as_it_says_and_its_edge_is_smooth() -> None:
    """Against the exact share of a wide line: its area in pixels, rows twice as high as columns are wide."""
    line = Line(((0.25, 0.5), (0.75, 0.5)), 0.05)
    after = controls.apply(np.zeros((100, 200), np.float32), Device("pacemaker", (line,), 1.0), pixel_aspect=2.0)
    area = 100 * 20 + np.pi * 10**2  # square columns: a strip of 100 x 20 with a half disc at each end

    assert after.sum() * 2 == pytest.approx(area, rel=0.01)
    assert ((after > 0) & (after < 1)).any()


def test_a_device_does_not_darken_what_is_brighter() -> None:
    bright = np.full((50, 50), 0.95, np.float32)

    after = controls.apply(bright, Device("pacemaker", (Line(((0.5, 0.5),), 0.2),), 0.9))

    np.testing.assert_array_equal(after, bright)


def test_a_larger_habitus_lowers_the_contrast_of_the_lungs_and_widens_the_body() -> None:
    before = body((200, 200))
    after = controls.apply(before, LargerHabitus(scatter=0.35, widening=0.05))
    y, x = np.indices((200, 200)) + 0.5 - 100
    lung, wall = np.hypot(x, y) < 36, (np.hypot(x, y) > 44) & (np.hypot(x, y) < 60)
    wide = [int((image[100] > 0.3).sum()) for image in (before, after)]

    assert after[lung].mean() > before[lung].mean() + 0.01
    assert after[wall].mean() - after[lung].mean() < 0.9 * (before[wall].mean() - before[lung].mean())
    assert wide[1] > wide[0]


def test_without_scatter_and_widening_nothing_changes() -> None:
    np.testing.assert_allclose(controls.apply(film(), LargerHabitus(scatter=0, widening=0)), film(), atol=1e-6)


def test_the_middle_is_not_widened_and_the_edge_by_the_whole_share() -> None:
    ramp = np.tile(np.linspace(0, 1, 201, dtype=np.float32), (4, 1))
    after = controls.apply(ramp, LargerHabitus(scatter=0, widening=0.06))

    np.testing.assert_allclose(after[:, 52:149], ramp[:, 52:149], atol=1e-6)
    assert after[0, -1] == pytest.approx(1 - 0.06 / 2, abs=2e-3)
    assert (np.diff(after[0]) > 0).all()


def test_only_rotations_and_habitus_move_pixels() -> None:
    moving = {kind for kind in controls.KINDS if controls.moves(controls.draw(kind, np.random.default_rng(0)))}

    assert moving == {"rotated", "larger_habitus"}
