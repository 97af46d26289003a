"""Good films whose files break a rule beside the pixels: they are shown with the right values, and carry a warning.

Each test follows a kind of file that users of other programs have reported. The films are made by code.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from portal.imaging.errors import UnusableFile
from portal.imaging.film import Film, Window, shown_values
from portal.imaging.film_warnings import keys_of
from tests.portal.imaging import factories as make

SLOPE, INTERCEPT, CENTER, WIDTH = 0x00281053, 0x00281052, 0x00281050, 0x00281051
DX = "1.2.840.10008.5.1.4.1.1.1.1"


def disc(top: int = 4095, rows: int = 48, columns: int = 64) -> NDArray[np.int64]:
    """Left black, right white, and a bright disc: unmistakable if inverted, flat or cut."""
    picture = np.tile(np.linspace(0, top, columns), (rows, 1))
    y, x = np.mgrid[:rows, :columns]
    picture[(y - rows // 3) ** 2 + (x - columns // 4) ** 2 < (rows // 8) ** 2] = top * 0.8
    return picture.round().astype(np.int64)


def read(folder: Path, extra: make.Elements, *, bits: int = 12, top: int = 4095) -> tuple[Film, list[str]]:
    """The film of `disc` with these elements, and the keys of its warnings."""
    film, header = make.read_bytes(make.dicom_bytes({**make.film_elements(disc(top), bits=bits), **extra}), folder)
    return film, keys_of(header)


def assert_shown(film: Film, expected: NDArray[np.float64], *, within: float = 0.002) -> None:
    assert float(np.abs(shown_values(film) - expected).max()) <= within


# --- windows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("center", "width"), [("0", "0"), ("0", "-1"), ("NaN", "NaN"), ("2047", "0.5"), ("wide", "4096"), ("2047", "")]
)
def test_a_window_that_cannot_be_used_is_left_out_and_percentiles_take_its_place(
    tmp_path: Path, center: str, width: str
) -> None:
    film, warnings = read(tmp_path, {CENTER: ("DS", center), WIDTH: ("DS", width)})
    assert (film.facts.windows, warnings) == ((), ["window"])
    assert_shown(film, disc() / 4095)


def test_the_next_window_takes_the_place_of_one_that_cannot_be_used(tmp_path: Path) -> None:
    film, warnings = read(tmp_path, {CENTER: ("DS", "0\\100\\2047.5"), WIDTH: ("DS", "0\\-3\\4096")})
    assert (film.facts.windows, warnings) == ((Window(2047.5, 4096),), ["window"])


def test_a_bad_window_after_a_good_one_leaves_the_good_one_first(tmp_path: Path) -> None:
    film, warnings = read(tmp_path, {CENTER: ("DS", "2047.5\\0"), WIDTH: ("DS", "4096\\0")})
    assert (film.facts.windows, warnings) == ((Window(2047.5, 4096),), ["window"])
    assert_shown(film, disc() / 4095)


def test_a_narrow_window_of_the_exact_function_is_used(tmp_path: Path) -> None:
    exact: make.Elements = {0x00281056: ("CS", "LINEAR_EXACT"), CENTER: ("DS", "0.5"), WIDTH: ("DS", "0.5")}
    film, warnings = read(tmp_path, {**exact, SLOPE: ("DS", "0.0002442"), INTERCEPT: ("DS", "0")})
    assert (film.facts.windows, warnings) == ((Window(0.5, 0.5),), [])
    assert_shown(film, np.clip(disc() / 4095 * 2 - 0.5, 0, 1))


@pytest.mark.parametrize(
    ("center", "width"),
    [
        ("02047.5", "04096"),
        ("2047.5\\2047.5", "4096\\4096"),
        ("2.0475e3", "4.096E+03"),
        (" 2047.5 ", " 4096 "),
        ("2047.5\\100", "4096"),
    ],
)
def test_all_ways_to_write_a_window(tmp_path: Path, center: str, width: str) -> None:
    film, warnings = read(tmp_path, {CENTER: ("DS", center), WIDTH: ("DS", width)})
    assert film.facts.windows[0] == Window(2047.5, 4096)
    assert warnings == []
    assert_shown(film, disc() / 4095)


# --- numbers of the header -------------------------------------------------------------------------


def test_decimal_commas_are_read_as_points(tmp_path: Path) -> None:
    commas: make.Elements = {
        CENTER: ("DS", "2047,5"),
        WIDTH: ("DS", "4096,0"),
        SLOPE: ("DS", "1,0000"),
        INTERCEPT: ("DS", "0"),
        0x00181164: ("DS", "0,143\\0,143"),
    }
    film, warnings = read(tmp_path, commas)
    assert film.facts.windows == (Window(2047.5, 4096),)
    assert (film.facts.slope, film.facts.spacing_mm) == (1.0, (0.143, 0.143))
    assert warnings == ["decimal_comma"]
    assert_shown(film, disc() / 4095)


@pytest.mark.parametrize("text", ["1,000.5", "1,2,3", "Doe, Jane"])
def test_a_comma_that_is_no_decimal_comma_is_not_repaired(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnusableFile, match="RescaleSlope holds a malformed value"):
        read(tmp_path, {SLOPE: ("DS", text), INTERCEPT: ("DS", "0")})


@pytest.mark.parametrize(
    ("extra", "slope", "intercept", "warnings"),
    [
        ({SLOPE: ("DS", "0"), INTERCEPT: ("DS", "0")}, 1.0, 0.0, ["slope"]),
        ({SLOPE: ("DS", ""), INTERCEPT: ("DS", "")}, 1.0, 0.0, []),
        ({INTERCEPT: ("DS", "-100")}, 1.0, -100.0, []),
        ({SLOPE: ("DS", "2")}, 2.0, 0.0, []),
    ],
)
def test_rescale_of_zero_empty_or_half(
    tmp_path: Path, extra: make.Elements, slope: float, intercept: float, warnings: list[str]
) -> None:
    film, keys = read(tmp_path, extra)
    assert (film.facts.slope, film.facts.intercept, keys) == (slope, intercept, warnings)
    assert_shown(film, disc() / 4095)


def test_a_negative_slope_turns_grey_values_around(tmp_path: Path) -> None:
    extra: make.Elements = {SLOPE: ("DS", "-10"), INTERCEPT: ("DS", "3000"), CENTER: ("DS", "1725")}
    film, warnings = read(tmp_path, {**extra, WIDTH: ("DS", "2551")}, bits=8, top=255)
    assert warnings == []
    assert_shown(film, 1 - disc(255) / 255)


@pytest.mark.parametrize("word", ["DR", "XR", "dr", "X-RAY"])
def test_words_for_a_radiograph_that_are_no_terms_of_dicom(tmp_path: Path, word: str) -> None:
    pixels = make.film_elements(disc())
    data = make.dicom_bytes({**pixels, make.MODALITY: ("CS", word), 0x00080016: ("UI", DX)})
    _, header = make.read_bytes(data, tmp_path)
    assert (header["modality"], keys_of(header)) == ("DX", ["modality_word"])


def test_a_word_of_another_storage_class_stays_refused(tmp_path: Path) -> None:
    ct: make.Elements = {make.MODALITY: ("CS", "DR"), 0x00080016: ("UI", "1.2.840.10008.5.1.4.1.1.2")}
    with pytest.raises(UnusableFile, match="none of CR, DX"):
        read(tmp_path, ct)
