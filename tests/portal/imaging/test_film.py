from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from portal.imaging.errors import UnusableFile
from portal.imaging.film import (
    Film,
    Lut,
    PixelFacts,
    Window,
    display_values,
    linear_range,
    linear_values,
    load_film,
    pack,
    padding_mask,
    pixel_sha256,
    preview,
    shown_values,
    unpack,
)
from portal.imaging.read_film import read_film
from tests.portal.imaging.factories import make_film, ramp, save_film

# --- an independent reference: PS3.3 C.11.1, C.11.2 and C.7.6.3.1.2, one pixel at a time ----------


def reference_real(stored: int, facts: PixelFacts) -> float:
    if facts.modality_lut is not None:
        return float(reference_lut(facts.modality_lut, stored))
    return facts.slope * (stored - facts.offset) + facts.intercept


def reference_lut(lut: Lut, value: float) -> int:
    if value <= lut.first:
        return lut.values[0]
    if value >= lut.first + len(lut.values) - 1:
        return lut.values[-1]
    return lut.values[round(value) - lut.first]


def reference_window(x: float, c: float, w: float, function: str) -> float:
    if function == "SIGMOID":
        exponent = -4 * (x - c) / w
        return 0.0 if exponent > 700 else 1 / (1 + math.exp(exponent))
    if function == "LINEAR_EXACT":
        if x <= c - w / 2:
            return 0.0
        if x > c + w / 2:
            return 1.0
        return (x - c) / w + 0.5
    if x <= c - 0.5 - (w - 1) / 2:
        return 0.0
    if x > c - 0.5 + (w - 1) / 2:
        return 1.0
    return (x - (c - 0.5)) / (w - 1) + 0.5


def reference_display(film: Film) -> list[list[float]]:
    facts = film.facts
    rows = []
    for line in film.stored.tolist():
        shown = []
        for stored in line:
            x = reference_real(stored, facts)
            if facts.voi_luts:
                y = reference_lut(facts.voi_luts[0], x) / (2 ** facts.voi_luts[0].bits - 1)
            else:
                window = facts.windows[0]
                y = reference_window(x, window.center, window.width, facts.voi_function)
            if facts.photometric == "MONOCHROME1":
                y = 1 - y
            if facts.presentation_inverse:
                y = 1 - y
            shown.append(y)
        rows.append(shown)
    return rows


CURVE = tuple(round(1000 * math.sqrt(step)) for step in range(600))
WINDOWS = [Window(2048, 4096), Window(700.5, 333), Window(-40, 400), Window(100, 1), Window(2000, 0.5)]


@pytest.mark.parametrize(
    ("function", "window"),
    [
        (function, window)
        for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID")
        for window in WINDOWS
        if window.width >= 1 or function != "LINEAR"  # the standard has no such LINEAR window
    ],
    ids=str,
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("scale", [(1.0, 0.0, 0), (0.5, -1024.0, 0), (-2.0, 30.0, 2048)], ids=str)
def test_window_equals_the_standards_formulas(
    function: str, window: Window, photometric: str, scale: tuple[float, float, int]
) -> None:
    slope, intercept, offset = scale
    film = make_film(
        photometric=photometric,
        voi_function=function,
        windows=(window,),
        slope=slope,
        intercept=intercept,
        offset=offset,
    )
    shown = display_values(film)
    assert shown is not None
    assert shown.dtype == np.float32
    np.testing.assert_allclose(shown, reference_display(film), atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("first", [-100, 0, 900])
def test_voi_lut_equals_the_standards_formulas(photometric: str, inverse: bool, first: int) -> None:
    film = make_film(
        photometric=photometric,
        presentation_inverse=inverse,
        intercept=-50.0,
        voi_luts=(Lut(first, 15, CURVE), Lut(0, 8, (0, 255))),
        windows=(Window(1, 2),),
    )
    np.testing.assert_allclose(display_values(film), reference_display(film), atol=1e-6)


def test_modality_lut_applies_to_stored_values_and_replaces_the_rescale() -> None:
    film = make_film(offset=2048, slope=3.0, modality_lut=Lut(100, 15, CURVE), windows=(Window(9000, 20000),))
    np.testing.assert_allclose(display_values(film), reference_display(film), atol=1e-6)
    real = [[reference_real(stored, film.facts) for stored in line] for line in film.stored.tolist()]
    np.testing.assert_array_equal(linear_values(film), real)


def test_narrow_linear_window_is_a_step() -> None:
    film = make_film(np.array([[9, 10, 11]]), windows=(Window(10.5, 0.25),))
    np.testing.assert_array_equal(display_values(film), [[0, 0, 1]])


def test_display_is_none_without_window_and_lut() -> None:
    assert display_values(make_film()) is None


# --- linear values ---------------------------------------------------------------------------------


def test_linear_values_of_a_plain_film_are_the_stored_ones() -> None:
    film = make_film()
    np.testing.assert_array_equal(linear_values(film), film.stored)


@pytest.mark.parametrize(("slope", "intercept", "offset"), [(1, 0, 0), (2, -7, 2048), (-1, 5, 0)])
def test_linear_values_are_mirrored_in_the_possible_range(slope: float, intercept: float, offset: int) -> None:
    same = {"slope": slope, "intercept": intercept, "offset": offset}
    straight, mirrored = make_film(**same), make_film(photometric="MONOCHROME1", **same)
    low, high = linear_range(straight.facts)
    assert (low, high) == linear_range(mirrored.facts)
    np.testing.assert_allclose(linear_values(mirrored), low + high - linear_values(straight))
    assert float(linear_values(straight).min()) == low
    assert float(linear_values(straight).max()) == high


def test_brighter_on_screen_is_larger_in_linear_values() -> None:
    film = make_film(photometric="MONOCHROME1", windows=(Window(2048, 4096),))
    shown, linear = display_values(film), linear_values(film)
    assert shown is not None
    assert np.corrcoef(shown.ravel(), linear.ravel())[0, 1] > 0.999


# --- shown values and padding ----------------------------------------------------------------------


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_shown_values_stretch_between_percentiles_without_padding(photometric: str) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(500, 3000, (40, 50))
    pixels[:10] = 4000
    film = make_film(pixels, photometric=photometric, padding=(3990, 4010))
    linear = linear_values(film)[10:]
    low, high = np.percentile(linear, [0.5, 99.5], method="inverted_cdf")
    np.testing.assert_allclose(shown_values(film)[10:], np.clip((linear - low) / (high - low), 0, 1), atol=1e-5)


@pytest.mark.parametrize("padding", [None, (0, 4095)])
def test_shown_values_of_a_film_without_contrast_are_zero(padding: tuple[int, int] | None) -> None:
    film = make_film(np.full((4, 5), 77), padding=padding)
    np.testing.assert_array_equal(shown_values(film), np.zeros((4, 5)))


def test_shown_values_are_the_display_where_there_is_one() -> None:
    film = make_film(windows=(Window(1000, 100),))
    np.testing.assert_array_equal(shown_values(film), display_values(film))


def test_padding_mask_is_inclusive() -> None:
    film = make_film(np.array([[4, 5], [7, 8]]), padding=(5, 7))
    np.testing.assert_array_equal(padding_mask(film), [[False, True], [True, False]])
    assert not padding_mask(make_film()).any()


# --- preview ---------------------------------------------------------------------------------------


def _open(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("JPEG", "L")
    return image


@pytest.mark.parametrize(
    ("facts", "size"),
    [
        ({}, (160, 320)),
        ({"spacing_mm": (0.1, 0.2), "spacing_plane": "detector"}, (320, 320)),
        ({"pixel_aspect": 0.25}, (320, 160)),
        ({"pixel_aspect": 0.25, "spacing_mm": (0.1, 0.1)}, (160, 320)),
    ],
)
def test_preview_keeps_the_aspect_of_the_body(facts: dict[str, object], size: tuple[int, int]) -> None:
    assert _open(preview(make_film(ramp(80, 40), **facts))).size == size


def test_preview_shows_all_four_corners() -> None:
    pixels = np.zeros((100, 60), dtype=np.int64)
    pixels[:10, :10] = pixels[:10, -10:] = pixels[-10:, :10] = pixels[-10:, -10:] = 4095
    grey = np.asarray(_open(preview(make_film(pixels, windows=(Window(2048, 4096),)), long_side=100)))
    assert grey.shape == (100, 60)
    assert min(grey[5, 5], grey[5, -5], grey[-5, 5], grey[-5, -5]) > 240
    assert grey[50, 30] < 15


def test_preview_of_monochrome1_is_the_negative() -> None:
    window = (Window(2048, 4096),)
    dark = np.asarray(_open(preview(make_film(np.full((8, 8), 4000), photometric="MONOCHROME1", windows=window))))
    assert dark.max() < 15


# --- files -----------------------------------------------------------------------------------------


def test_pack_is_repeatable_and_reversible() -> None:
    stored = make_film().stored
    assert pack(stored) == pack(stored.copy())
    assert pack(stored)[4:8] == bytes(4)  # no timestamp
    np.testing.assert_array_equal(unpack(pack(stored), *stored.shape), stored)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-30], "truncated"),
        (lambda data: b"junk" + data, "unreadable"),
        (lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:], "unreadable"),  # another checksum
        (lambda data: pack(np.zeros((100, 100), np.uint16)), "truncated"),
        (lambda data: b"", "truncated"),
    ],
)
def test_unpack_refuses_damaged_files_and_other_sizes(damage: object, reason: str) -> None:
    stored = make_film().stored
    with pytest.raises(UnusableFile) as caught:
        unpack(damage(pack(stored)), *stored.shape)  # type: ignore[operator]
    assert caught.value.reason == reason


def test_hash_depends_on_the_shape() -> None:
    flat = np.arange(12, dtype=np.uint16)
    assert pixel_sha256(flat.reshape(3, 4)) != pixel_sha256(flat.reshape(4, 3))
    assert pixel_sha256(flat.reshape(3, 4)) == pixel_sha256(flat.astype(">u2").reshape(3, 4))


FULL = {
    "photometric": "MONOCHROME1",
    "offset": 2048,
    "slope": 0.5,
    "intercept": -3.0,
    "modality_lut": Lut(3, 10, (1, 2, 1023)),
    "windows": (Window(1, 2, "BONE"), Window(3.5, 4)),
    "voi_function": "SIGMOID",
    "voi_luts": (Lut(-5, 8, (0, 255)),),
    "padding": (0, 9),
    "spacing_mm": (0.15, 0.2),
    "spacing_plane": "detector",
    "pixel_aspect": 0.75,
    "presentation_inverse": True,
}


def test_facts_survive_json() -> None:
    facts = make_film(**FULL).facts
    assert PixelFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


def test_saved_film_is_loaded_again(tmp_path: Path) -> None:
    film = make_film(**FULL)
    path = save_film(film, tmp_path)
    again = load_film(path)
    assert again.facts == film.facts
    np.testing.assert_array_equal(again.stored, film.stored)
    assert read_film(path)[1] == {
        "identifier:patient_id": "",
        "identifier:study_uid": "",
        "identifier:sop_uid": "",
    }


@pytest.mark.parametrize("facts", ["{}", "[]", "no json", '{"rows": 1e9}'])
def test_load_film_names_what_is_missing(tmp_path: Path, facts: str) -> None:
    path = save_film(make_film(), tmp_path)
    (tmp_path / "a.json").write_text(facts)
    with pytest.raises(UnusableFile, match=r"needs its \.u16\.gz file"):
        load_film(path)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 0},
        {"rows": 70_000},
        {"columns": -1},
        {"bits_stored": 64},
        {"photometric": "RGB"},
        {"voi_function": "x"},
    ],
)
def test_load_film_distrusts_the_facts(tmp_path: Path, change: dict[str, object]) -> None:
    path = save_film(make_film(), tmp_path)
    facts = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps({**facts, **change}))
    with pytest.raises(UnusableFile):
        load_film(path)


def test_film_refuses_values_beyond_its_bits() -> None:
    with pytest.raises(ValueError, match="more than the film's 8 bits"):
        make_film(np.array([[256]]), bits_stored=8)


def test_film_refuses_another_shape_than_its_facts() -> None:
    film = make_film()
    with pytest.raises(ValueError, match="expected uint16"):
        Film(film.stored[:-1], film.facts)
