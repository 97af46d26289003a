"""A phantom's film agrees with its own truth, and the same seed gives the same film."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.typing import NDArray

from portal.imaging.film import Film, linear_values, padding_mask
from portal.imaging.phantom import FINDINGS, Phantom, make_phantom
from portal.imaging.phantom.anatomy import draw_habitus, draw_pose, heart_reach, landmarks, with_ctr
from portal.imaging.phantom.canvas import CENTRE_Y, make_grid, transform
from portal.imaging.phantom.organs import draw_organs, heart_silhouette

SIZE = 256
SEEDS = (1, 2, 3)


@functools.cache
def film(seed: int, finding: str | None = None, photometric: str = "MONOCHROME2") -> Phantom:
    return make_phantom(seed=seed, finding=finding, size=SIZE, photometric=photometric)


def brightness(phantom: Phantom) -> NDArray[np.float32]:
    """Values as on screen, larger = brighter, whatever the photometric interpretation."""
    return linear_values(Film(phantom.pixels, phantom.facts))


def around(phantom: Phantom, name: str, radius: float, shift_mm: tuple[float, float] = (0, 0)) -> float:
    """Mean brightness near a landmark, shifted by `shift_mm` in the atlas."""
    x, y = phantom.atlas_landmarks[name]
    at = transform(phantom.pose, np.array([[x + shift_mm[0], y + shift_mm[1]]]))[0]
    rows, columns = np.indices(phantom.pixels.shape) + 0.5
    return float(brightness(phantom)[np.hypot(columns - at[0], rows - at[1]) < radius].mean())


# --- the same seed, the same film ---------------------------------------------------------------


@pytest.mark.parametrize("finding", [None, "consolidation"])
def test_the_same_seed_gives_the_same_bytes(finding: str | None) -> None:
    again = make_phantom(seed=1, finding=finding, size=SIZE)
    assert again.pixels.tobytes() == film(1, finding).pixels.tobytes()
    assert again.landmarks == film(1, finding).landmarks


def test_another_seed_gives_another_person_and_pose() -> None:
    assert not np.array_equal(film(1).pixels, film(2).pixels)
    assert film(1).atlas_landmarks != film(2).atlas_landmarks
    assert not np.array_equal(film(1).pose, film(2).pose)


def test_one_person_can_have_two_films() -> None:
    first = make_phantom(seed=11, person_seed=5, size=64)
    second = make_phantom(seed=12, person_seed=5, size=64)
    assert first.atlas_landmarks == second.atlas_landmarks
    assert (first.sex, first.age) == (second.sex, second.age)
    assert not np.array_equal(first.pixels, second.pixels)


def test_a_finding_leaves_the_rest_of_the_film_alone() -> None:
    healthy, ill = film(1), film(1, "nodule")
    assert np.array_equal(healthy.pose, ill.pose)
    assert ill.mask is not None
    far = np.ones_like(ill.mask)
    (x, y, width, height) = (int(v) for v in ill.boxes[0])
    far[max(y - 40, 0) : y + height + 40, max(x - 40, 0) : x + width + 40] = False
    change = np.abs(brightness(ill) - brightness(healthy))[far]
    assert float(change.mean()) < 8  # of 4095: the effect of scatter and range compression


# --- stored values ------------------------------------------------------------------------------


def test_stored_values_use_twelve_bits_and_most_of_the_range() -> None:
    pixels = film(1).pixels
    assert pixels.dtype == np.uint16
    assert pixels.shape == (SIZE, SIZE)
    assert int(pixels.max()) <= 4095
    low, high = np.percentile(pixels[~padding_mask(Film(pixels, film(1).facts))], [1, 99])
    assert low < 500
    assert high > 3500


def test_monochrome1_holds_the_same_film_inverted() -> None:
    inverted = film(1, None, "MONOCHROME1")
    assert inverted.photometric == inverted.facts.photometric == "MONOCHROME1"
    assert np.array_equal(inverted.pixels, 4095 - film(1).pixels)
    assert np.array_equal(brightness(inverted), brightness(film(1)))


def test_padding_is_black_and_only_at_the_border() -> None:
    padded = [film(seed) for seed in range(1, 9) if film(seed).facts.padding is not None]
    assert padded
    for phantom in padded:
        mask = padding_mask(Film(phantom.pixels, phantom.facts))
        assert 0 < mask.mean() < 0.2
        assert not mask[SIZE // 5 : -SIZE // 5, SIZE // 5 : -SIZE // 5].any()


@pytest.mark.parametrize("size", [64, 100, 257])
def test_any_size_from_64_on(size: int) -> None:
    phantom = make_phantom(seed=4, finding="effusion", size=size)
    assert phantom.pixels.shape == (size, size)
    assert phantom.mask is not None
    assert phantom.mask.shape == (size, size)
    assert phantom.facts.rows == phantom.facts.columns == size


def test_a_film_of_another_size_shows_the_same_area() -> None:
    large = make_phantom(seed=1, size=2 * SIZE).pixels.astype(float)
    small = large.reshape(SIZE, 2, SIZE, 2).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), film(1).pixels.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"finding": "fracture"}, "fracture"),
        ({"photometric": "RGB"}, "RGB"),
        ({"size": 32}, "32"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make_phantom(seed=1, **arguments)  # type: ignore[arg-type]


# --- it looks like a chest ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_lungs_are_darker_than_the_mediastinum_and_the_abdomen(seed: int) -> None:
    phantom = film(seed)
    lung = around(phantom, "dome_right", 5, (0, -35))
    assert lung + 400 < around(phantom, "vertebra_T10", 5)
    assert lung + 400 < around(phantom, "dome_right", 5, (0, 40))


def test_the_trachea_holds_air_down_to_the_carina() -> None:
    person = draw_habitus(np.random.Generator(np.random.PCG64(3)))
    grid = make_grid(np.array([[1.0, 0, 200], [0, 1.0, 40]]), 400, 1)
    gas = draw_organs(person, grid).gas
    assert gas[40 + 100, 200] == pytest.approx(17, abs=2)  # across the trachea, 100 mm down
    assert gas[40 + 160, 200] == 0  # below the carina
    assert gas[40 + 100, 230] == 0


def test_the_marker_is_on_the_patients_left() -> None:
    values = brightness(make_phantom(seed=1, size=512))
    assert (values[:100, -120:] > 3900).sum() > (values[:100, :120] > 3900).sum() + 50


@pytest.mark.parametrize("seed", range(12))
def test_normal_hearts_are_normal(seed: int) -> None:
    assert 0.40 <= film(seed).ctr <= 0.48


def test_the_drawn_heart_has_the_stated_cardiothoracic_ratio() -> None:
    habitus = with_ctr(draw_habitus(np.random.Generator(np.random.PCG64(3))), 0.45)
    grid = make_grid(np.array([[2.0, 0, 400], [0, 2.0, 0]]), 800, 2)
    columns = np.flatnonzero(heart_silhouette(habitus, grid).any(axis=0))
    drawn = (columns[-1] + 1 - columns[0]) * grid.pixel_mm
    assert drawn / (2 * habitus.inner_half_width) == pytest.approx(0.45, abs=0.01)
    assert sum(heart_reach(habitus.heart_scale)) == pytest.approx(drawn, abs=2)


# --- the pose -----------------------------------------------------------------------------------


def test_landmarks_are_the_atlas_landmarks_in_the_pose() -> None:
    phantom = film(2)
    assert len(phantom.landmarks) >= 10
    for name, (x, y) in phantom.atlas_landmarks.items():
        moved = phantom.pose[:, :2] @ (x, y) + phantom.pose[:, 2]
        assert phantom.landmarks[name] == pytest.approx(tuple(moved))


def test_poses_stay_within_their_limits() -> None:
    for seed in range(60):
        pose = draw_pose(np.random.Generator(np.random.PCG64(seed)), 400)
        scale = np.sqrt(np.linalg.det(pose[:, :2]))
        turn = np.rad2deg(np.arctan2(pose[1, 0], pose[0, 0]))
        centre = pose @ (0, CENTRE_Y, 1)
        assert 0.87 < scale < 1.13
        assert abs(turn) <= 8.01
        assert np.all(np.abs(centre - 200) <= 0.08 * 400)


def test_the_film_moves_with_the_pose() -> None:
    """The edge of the right dome is at its landmark, in films with different poses."""
    for seed in SEEDS:
        phantom = film(seed)
        steps = [around(phantom, "dome_right", 2.5, (0, dy)) for dy in range(-20, 21, 4)]
        rise = np.diff(steps)
        assert -12 <= -20 + 4 * int(np.argmax(rise)) + 2 <= 12


# --- findings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("finding", FINDINGS)
def test_each_finding_has_a_mask_and_boxes_around_it(finding: str, seed: int) -> None:
    phantom = film(seed, finding)
    assert phantom.finding == finding
    assert phantom.mask is not None
    assert phantom.mask.shape == (SIZE, SIZE)
    assert 0.0002 < phantom.mask.mean() < 0.25
    covered = np.zeros_like(phantom.mask)
    for x, y, width, height in phantom.boxes:
        assert 0 <= x < x + width <= SIZE
        assert 0 <= y < y + height <= SIZE
        covered[int(y) : int(y + height), int(x) : int(x + width)] = True
    assert np.all(covered[phantom.mask])


def test_a_normal_film_has_neither_mask_nor_boxes() -> None:
    assert film(1).mask is None
    assert film(1).boxes == ()
    assert film(1).finding is None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("finding", ["nodule", "consolidation", "effusion", "cardiomegaly"])
def test_dense_findings_are_brighter_inside_their_mask(finding: str, seed: int) -> None:
    change = brightness(film(seed, finding)) - brightness(film(seed))
    mask = film(seed, finding).mask
    assert mask is not None
    least = 60 if finding == "nodule" else 200
    assert float(change[mask].mean()) > least


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pneumothorax_is_darker_and_without_vessels(seed: int) -> None:
    ill = make_phantom(seed=seed, finding="pneumothorax", size=512)
    healthy = make_phantom(seed=seed, size=512)
    assert ill.mask is not None
    change = brightness(ill) - brightness(healthy)
    assert float(change[ill.mask].mean()) < -100


@pytest.mark.parametrize("seed", SEEDS)
def test_an_effusion_blunts_the_angle_of_one_side_only(seed: int) -> None:
    ill = film(seed, "effusion")
    change = {
        side: around(ill, f"costophrenic_{side}", 4, (-sign * 12, -18))
        - around(film(seed), f"costophrenic_{side}", 4, (-sign * 12, -18))
        for side, sign in (("left", 1), ("right", -1))
    }
    assert max(change.values()) > 300
    assert min(change.values()) < 150


def test_a_large_heart_is_large() -> None:
    for seed in range(8):
        phantom = film(seed, "cardiomegaly")
        assert 0.55 <= phantom.ctr <= 0.70


def test_landmarks_of_a_large_heart_are_its_own() -> None:
    assert film(1, "cardiomegaly").landmarks["heart_left"][0] > film(1).landmarks["heart_left"][0]
    person = draw_habitus(np.random.Generator(np.random.PCG64(1)))
    assert landmarks(with_ctr(person, 0.6))["carina"] == landmarks(person)["carina"]
