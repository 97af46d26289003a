from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_engine.engine.decode_films import decode_film
from portal.imaging import visibility
from portal.imaging.film import Film, Lut, Window, shown_values
from portal.imaging.film_warnings import keys_of
from portal.imaging.visibility import leave_out_what_shows_nothing
from tests.portal.imaging import factories as make

VALUES = np.arange(100).reshape(10, 10) + 1000  # the 1st percentile is 1000, the 99th 1098


def keys(pixels: Any, **facts: Any) -> list[str]:
    return leave_out_what_shows_nothing(make.make_film(np.asarray(pixels), **facts))[1]


@pytest.mark.parametrize(
    ("window", "warnings"),
    [
        (Window(1050, 100), []),
        (Window(900, 100), ["window_beside"]),  # every pixel is white
        (Window(1200, 100), ["window_beside"]),  # every pixel is black
        (Window(950, 102), ["window_beside"]),  # ends at 1000.5 - 0.5: only the lowest value would be below
        (Window(950, 110), []),
        (Window(1149, 100), ["window_beside"]),
        (Window(1050, 1), []),  # a step in the middle
        (Window(1050, 1e6), ["window_beside"]),  # one grey
        (Window(0, 1), ["window_beside"]),  # a placeholder
    ],
)
def test_a_window_beside_the_middle_of_the_values_shows_nothing(window: Window, warnings: list[str]) -> None:
    assert keys(VALUES, windows=(window,)) == warnings


def test_the_next_window_or_percentiles_take_its_place() -> None:
    film = make.make_film(VALUES, windows=(Window(0, 1), Window(5000, 10), Window(1050, 100)))
    settled, warnings = leave_out_what_shows_nothing(film)
    assert (settled.facts.windows, warnings) == ((Window(1050, 100),), ["window_beside"])
    settled, _ = leave_out_what_shows_nothing(make.make_film(VALUES, windows=(Window(0, 1),)))
    assert settled.facts.windows == ()
    shown = shown_values(settled)
    assert (shown.min(), shown.max()) == (0, 1)


def test_a_lookup_table_beside_the_values_is_left_out_and_the_window_used() -> None:
    film = make.make_film(VALUES, voi_luts=(Lut(0, 8, tuple(range(256))),), windows=(Window(1050, 100),))
    settled, warnings = leave_out_what_shows_nothing(film)
    assert (settled.facts.voi_luts, settled.facts.windows) == ((), film.facts.windows)
    assert warnings == ["window_beside"]


def test_a_film_without_contrast() -> None:
    nearly = np.full((20, 20), 500)
    nearly[0, :3] = 4000  # less than 1 %
    for pixels in (np.full((20, 20), 500), nearly):
        assert keys(pixels) == ["no_contrast"]
        assert keys(pixels, windows=(Window(0, 1),)) == ["no_contrast"]
    nearly[0, :8] = 4000
    assert keys(nearly) == []


def test_padding_is_no_contrast() -> None:
    pixels = np.full((20, 20), 500)
    pixels[:10] = 0
    assert keys(pixels) == []
    assert keys(pixels, padding=(0, 0)) == ["no_contrast"]
    assert keys(pixels, padding=(0, 4095)) == ["no_contrast"]


def test_percentiles_are_those_after_the_modality_lut() -> None:
    downwards = {"slope": -1.0, "intercept": 2000.0}  # 901 to 1000
    assert keys(VALUES, windows=(Window(950, 100),), **downwards) == []
    assert keys(VALUES, windows=(Window(1050, 80),), **downwards) == ["window_beside"]


def test_every_stored_value_may_occur() -> None:
    assert keys(np.arange(65_536).reshape(256, 256), bits_stored=16, windows=(Window(32_768, 65_536),)) == []


def test_reader_and_engine_show_such_a_film_by_percentiles(tmp_path: Path) -> None:
    """Values from 12,000 to 16,000 with a window that ends at 4,387, and a constant film."""
    pixels = 12_000 + make.ramp(40, 40) * 4000 // 4095
    window: make.Elements = {0x00281050: ("DS", "3174"), 0x00281051: ("DS", "2426")}
    data = make.dicom_bytes({**make.film_elements(pixels, bits=16), **window})
    film, header = make.read_bytes(data, tmp_path)
    assert (keys_of(header), film.facts.windows) == (["window_beside"], ())
    np.testing.assert_allclose(shown_values(film), (pixels - 12_000) / 4000, atol=0.01)
    assert decode_film(tmp_path / "film").display is None
    _, header = make.read_bytes(make.dicom_bytes(make.film_elements(np.full((40, 40), 500))), tmp_path)
    assert keys_of(header) == ["no_contrast"]


def test_the_sample_proves_only_what_all_pixels_prove(monkeypatch: pytest.MonkeyPatch) -> None:
    """Films in which the sample has other values than the rest, too."""
    films = [odd_film(np.random.default_rng(seed)) for seed in range(1000)]
    settled = [leave_out_what_shows_nothing(film) for film in films]
    proven = sum(map(visibility._shows_something_surely, films))
    monkeypatch.setattr(visibility, "_shows_something_surely", lambda film: False)
    for film, (there, warnings) in zip(films, settled, strict=True):
        here, same_warnings = leave_out_what_shows_nothing(film)
        assert (there.facts, warnings) == (here.facts, same_warnings)
    assert 100 < proven < 900
    assert sum(bool(warnings) for _, warnings in settled) > 100


def odd_film(rng: np.random.Generator) -> Film:
    pixels = rng.integers(0, 4000) + rng.integers(0, rng.choice([1, 3, 40, 4096]), (40, 44))
    if rng.random() < 0.5:
        pixels[::4, ::4] = rng.integers(0, 4096, (10, 11))
    pixels[rng.random((40, 44)) < rng.choice([0, 0.5, 0.99])] = 0
    facts: dict[str, Any] = {"slope": rng.choice([1.0, -2.0])}
    if rng.random() < 0.7:
        facts["windows"] = (Window(facts["slope"] * rng.integers(0, 4096), rng.choice([1, 20, 400, 1e6])),)
    return make.make_film(pixels.clip(0, 4095), padding=(0, 0), **facts)


def test_a_large_film_is_proven_to_show_something() -> None:
    pixels = np.arange(400 * 400).reshape(400, 400) % 4096
    assert visibility._shows_something_surely(make.make_film(pixels, windows=(Window(2000, 1000),)))
    assert not visibility._shows_something_surely(make.make_film(pixels, windows=(Window(5000, 1000),)))
