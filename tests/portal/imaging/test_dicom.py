from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portal.imaging.errors import UnusableFile
from portal.imaging.film import Film, Lut, Window, linear_values, shown_values
from portal.imaging.read_film import read_film
from tests.paths import REAL_DATA
from tests.portal.imaging import factories as make
from tests.portal.imaging.factories import film_elements, ramp


def read(tmp_path: Path, extra: make.Elements | None = None, **plain: Any) -> Film:
    return make.read_bytes(make.dicom_bytes({**film_elements(**plain), **(extra or {})}), tmp_path)[0]


def refusal(tmp_path: Path, extra: make.Elements) -> UnusableFile:
    with pytest.raises(UnusableFile) as caught:
        read(tmp_path, extra)
    return caught.value


# --- the real files --------------------------------------------------------------------------------

EXPECTED = REAL_DATA / "dicom" / "expected.csv"


def expected_rows() -> list[tuple[str, str, str]]:
    if not EXPECTED.is_file():
        return [("", "", "")]
    with EXPECTED.open(newline="") as file:
        return [(row["file"], row["outcome"], row["reason"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("name", "outcome", "reason"), expected_rows())
def test_real_files_end_as_expected(dicom_samples: Path, name: str, outcome: str, reason: str) -> None:
    if outcome == "shown":
        film, _ = read_film(dicom_samples / name)
        shown = shown_values(film)
        assert shown.shape == (film.facts.rows, film.facts.columns)
        assert float(shown.std()) > 0.05
    else:
        with pytest.raises(UnusableFile) as caught:
            read_film(dicom_samples / name)
        assert caught.value.reason == reason
        assert caught.value.sentence.endswith(".")


def test_one_film_in_four_encodings_looks_the_same(dicom_samples: Path) -> None:
    names = ("rg1_mono1_explicit_le.dcm", "rg1_mono1_rle.dcm", "rg1_identifiers_invented.dcm")
    first, rle, other = (shown_values(read_film(dicom_samples / "derived" / name)[0]) for name in names)
    np.testing.assert_array_equal(rle, first)
    np.testing.assert_array_equal(other, first)
    inverted = shown_values(read_film(dicom_samples / "derived" / "rg1_mono2_implicit_le.dcm")[0])
    # its window was not adapted to the inversion: as bright but for (2**15 - 1 - 30000) / 30000
    difference = np.clip(first + 2767 / 30_000, 0, 1) - inverted
    assert float(np.abs(difference).max()) < 1e-3
    full = shown_values(read_film(dicom_samples / "chest" / "RG1_J2KI.dcm")[0])
    np.testing.assert_array_equal(first, full[::2, ::2])


@pytest.mark.parametrize(
    ("name", "air", "body"),
    [  # places in a film as (row, column) shares: air has to be dark, the body bright
        ("chest/RG1_J2KI.dcm", (0.45, 0.28), (0.8, 0.6)),
        ("chest/CR-MONO1-10-chest", (0.4, 0.25), (0.93, 0.5)),
        ("chest/siim_1517875201.850819.dcm", (0.35, 0.65), (0.9, 0.3)),
        ("other-xray/RG2_J2KR_hip.dcm", (0.9, 0.3), (0.45, 0.4)),
    ],
)
def test_air_is_dark_on_screen(
    dicom_samples: Path, name: str, air: tuple[float, float], body: tuple[float, float]
) -> None:
    brightness = shown_values(read_film(dicom_samples / name)[0])

    def around(place: tuple[float, float]) -> float:
        row, column = int(place[0] * brightness.shape[0]), int(place[1] * brightness.shape[1])
        return float(brightness[row - 10 : row + 10, column - 10 : column + 10].mean())

    assert around(air) + 0.2 < around(body)


# --- stored pixels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [2, 7, 8, 10, 12, 14, 15, 16])
def test_stored_values_cover_all_bits(tmp_path: Path, bits: int, signed: bool) -> None:
    film = read(tmp_path, bits=bits, signed=signed)
    offset = 2 ** (bits - 1) if signed else 0
    assert (film.facts.bits_stored, film.facts.offset) == (bits, offset)
    np.testing.assert_array_equal(film.stored.astype(int) - offset, ramp(bits=bits, signed=signed))
    np.testing.assert_array_equal(linear_values(film), ramp(bits=bits, signed=signed))


@pytest.mark.parametrize("signed", [False, True])
def test_bits_of_an_overlay_beyond_the_stored_ones_do_not_count(tmp_path: Path, signed: bool) -> None:
    low = ramp(bits=10, signed=signed)
    noisy = (low & 0x3FF) | (np.arange(120).reshape(12, 10) % 63 << 10)
    overlay: make.Elements = {0x60000100: ("US", 16), 0x60000102: ("US", 15)}
    film = read(tmp_path, {make.PIXEL_DATA: ("OW", make.pixel_bytes(noisy, 16)), **overlay}, bits=10, signed=signed)
    np.testing.assert_array_equal(linear_values(film), low)


def test_signed_values_without_their_sign_in_the_unused_bits(tmp_path: Path) -> None:
    low = ramp(bits=10, signed=True)
    film = read(tmp_path, {make.PIXEL_DATA: ("OW", make.pixel_bytes(low & 0x3FF, 16))}, bits=10, signed=True)
    np.testing.assert_array_equal(linear_values(film), low)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("value", [0x0400, 0x8000, 0x0801])
def test_values_beyond_the_stored_bits_without_an_overlay_are_refused(tmp_path: Path, value: int, signed: bool) -> None:
    pixels = ramp(bits=10, signed=signed) & 0x3FF
    pixels[5, 5] = value  # neither a value of 10 bits nor one with its sign repeated
    error = refusal(tmp_path, {make.PIXEL_DATA: ("OW", make.pixel_bytes(pixels, 16)), **bits_of(10, signed=signed)})
    assert (error.reason, "outside the 10 bits" in error.sentence) == ("unreadable", True)


def bits_of(bits: int, *, signed: bool = False) -> make.Elements:
    return {make.BITS_STORED: ("US", bits), make.HIGH_BIT: ("US", bits - 1), make.REPRESENTATION: ("US", int(signed))}


@pytest.mark.parametrize(("surplus", "is_film"), [(0, True), (1, True), (2, False), (240, False)])
def test_bytes_after_the_pixels(tmp_path: Path, surplus: int, is_film: bool) -> None:
    pixels = make.pixel_bytes(ramp(3, 5, bits=8), 8)[:15] + bytes(surplus)
    elements = {**film_elements(ramp(3, 5, bits=8), bits=8), make.PIXEL_DATA: ("OB", pixels)}
    if is_film:
        assert make.read_bytes(make.dicom_bytes(elements), tmp_path)[0].stored.shape == (3, 5)
        return
    with pytest.raises(UnusableFile, match="size, bits or frames in the header are wrong"):
        make.read_bytes(make.dicom_bytes(elements), tmp_path)


def test_bits_allocated_that_contradict_the_data_are_refused(tmp_path: Path) -> None:
    eight_for_sixteen = {**film_elements(bits=8), make.PIXEL_DATA: ("OW", make.pixel_bytes(ramp(), 16))}
    sixteen_for_eight = {**film_elements(), make.PIXEL_DATA: ("OW", make.pixel_bytes(ramp(bits=8), 8))}
    for elements, reason in ((eight_for_sixteen, "unreadable"), (sixteen_for_eight, "truncated")):
        with pytest.raises(UnusableFile) as caught:
            make.read_bytes(make.dicom_bytes(elements), tmp_path)
        assert caught.value.reason == reason


def test_high_bit_above_the_lowest_place_is_shifted_down(tmp_path: Path) -> None:
    shifted = make.pixel_bytes(ramp(bits=12) << 4, 16)
    film = read(tmp_path, {make.HIGH_BIT: ("US", 15), make.PIXEL_DATA: ("OW", shifted)})
    np.testing.assert_array_equal(film.stored, ramp(bits=12))


def test_codestream_with_more_bits_than_the_header_keeps_them(tmp_path: Path) -> None:
    pixels = ramp(40, 36, bits=12)
    frame = make.compressed_frame(pixels, make.JPEG_2000, bits=12)
    data = make.encapsulated_bytes(film_elements(pixels, bits=10), frame, make.JPEG_2000)
    film, _ = make.read_bytes(data, tmp_path)
    assert film.facts.bits_stored == 12
    np.testing.assert_array_equal(film.stored, pixels)


def test_overlay_in_the_high_bits_of_a_codestream_does_not_count(tmp_path: Path) -> None:
    pixels = ramp(40, 36, bits=12)
    frame = make.compressed_frame(pixels | (pixels % 2 << 15), make.JPEG_2000, bits=16)
    elements = {**film_elements(pixels), 0x60000100: ("US", 16), 0x60000102: ("US", 15)}
    film, _ = make.read_bytes(make.encapsulated_bytes(elements, frame, make.JPEG_2000), tmp_path)
    assert film.facts.bits_stored == 12
    np.testing.assert_array_equal(film.stored, pixels)


# --- facts -----------------------------------------------------------------------------------------


def test_rescale_and_windows(tmp_path: Path) -> None:
    facts = read(
        tmp_path,
        {
            0x00281052: ("DS", "-1024"),
            0x00281053: ("DS", "2.5"),
            0x00281050: ("DS", "100\\200.5\\7"),
            0x00281051: ("DS", "50\\60.25"),
            0x00281055: ("LO", "SOFT TISSUE\\Doe, Jane"),
            0x00281056: ("CS", "SIGMOID"),
        },
    ).facts
    assert (facts.slope, facts.intercept, facts.voi_function) == (2.5, -1024, "SIGMOID")
    assert facts.windows == (Window(100, 50, "SOFT TISSUE"), Window(200.5, 60.25, ""))


@pytest.mark.parametrize(
    ("photometric", "shape", "is_inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),  # as the standard requires: one inversion, not two
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
    ],
)
def test_a_film_is_inverted_once(tmp_path: Path, photometric: str, shape: str | None, is_inverted: bool) -> None:
    extra: make.Elements = {make.PHOTOMETRIC: ("CS", photometric)}
    if shape:
        extra[0x20500020] = ("CS", shape)
    film = read(tmp_path, extra)
    assert film.facts.is_inverted == is_inverted
    shown = shown_values(film)
    assert (shown[0, 0] > shown[-1, -1]) == is_inverted


@pytest.mark.parametrize(
    ("spacings", "expected"),
    [
        ({0x00280030: "0.2\\0.1"}, ((0.2, 0.1), "patient")),
        ({0x00181164: "0.2\\0.1"}, ((0.2, 0.1), "detector")),
        ({0x00280030: "0.18\\0.18", 0x00181164: "0.2\\0.2"}, ((0.18, 0.18), "patient")),
        ({0x00280030: "0.2\\0.2", 0x00181164: "0.2\\0.2"}, ((0.2, 0.2), "detector")),
        ({0x00280030: "0\\0", 0x00181164: "0.2\\0.2"}, ((0.2, 0.2), "detector")),
        ({0x00280030: "0.2"}, (None, "")),
        ({0x00280030: "nan\\0.2"}, (None, "")),
        ({0x00280030: "abc\\0.2"}, (None, "")),
        ({0x00280030: "-0.2\\0.2"}, (None, "")),
        ({0x00280030: "0.01\\19"}, (None, "")),
        ({}, (None, "")),
    ],
)
def test_spacing_and_its_plane(tmp_path: Path, spacings: dict[int, str], expected: tuple[Any, str]) -> None:
    facts = read(tmp_path, {tag: ("DS", value) for tag, value in spacings.items()}).facts
    assert (facts.spacing_mm, facts.spacing_plane) == expected


@pytest.mark.parametrize(("value", "aspect"), [("4\\3", 4 / 3), ("0\\1", 1), ("1", 1), ("x\\1", 1), ("1\\99", 1)])
def test_pixel_aspect_is_height_over_width(tmp_path: Path, value: str, aspect: float) -> None:
    assert read(tmp_path, {0x00280034: ("IS", value)}).facts.pixel_aspect == aspect


@pytest.mark.parametrize(
    ("extra", "signed", "expected"),
    [
        ({0x00280120: ("US", 7)}, False, (7, 7)),
        ({0x00280120: ("US", 7), 0x00280121: ("US", 3)}, False, (3, 7)),
        ({0x00280120: ("SS", -2048)}, True, (0, 0)),
        ({0x00280120: ("US", 0xF800)}, True, (0, 0)),  # the same in the wrong VR
        ({0x00280120: ("SS", -5), 0x00280121: ("SS", 5)}, True, (2043, 2053)),
        ({0x00280120: ("SS", -32768)}, True, None),
        ({0x00280120: ("US", 5000)}, False, None),
        ({0x00280120: ("US", 4000), 0x00280121: ("US", 9000)}, False, (4000, 4095)),
    ],
)
def test_padding(tmp_path: Path, extra: make.Elements, signed: bool, expected: tuple[int, int] | None) -> None:
    assert read(tmp_path, extra, signed=signed).facts.padding == expected


# --- lookup tables ---------------------------------------------------------------------------------

MODALITY_LUTS, VOI_LUTS, DESCRIPTOR, LUT_DATA = 0x00283000, 0x00283010, 0x00283002, 0x00283006


def lut_item(first: tuple[str, int], *, count: int = 4, bits: int = 16, data: tuple[str, Any] | None = None) -> Any:
    vr, value = first
    return {DESCRIPTOR: (vr, [count, value, bits]), LUT_DATA: data or ("US", [1, 20, 300, 4000])}


@pytest.mark.parametrize("syntax", [make.EXPLICIT, make.IMPLICIT, make.BIG_ENDIAN])
@pytest.mark.parametrize("signed", [False, True])
def test_modality_lut(tmp_path: Path, syntax: str, signed: bool) -> None:
    first = ("SS", -3) if signed else ("US", 3)
    elements = {**film_elements(signed=signed), MODALITY_LUTS: ("SQ", [lut_item(first)])}
    if syntax == make.BIG_ENDIAN:
        elements[make.PIXEL_DATA] = ("OW", make.pixel_bytes(ramp(signed=signed), 16, signed=signed, big=True))
    film, _ = make.read_bytes(make.dicom_bytes(elements, syntax=syntax), tmp_path)
    # counted in stored values, so the offset of signed ones is included
    assert film.facts.modality_lut == Lut(2045 if signed else 3, 16, (1, 20, 300, 4000))
    assert {1.0, 4000.0} <= set(np.unique(linear_values(film)))


def test_voi_lut_after_a_negative_intercept_starts_below_zero(tmp_path: Path) -> None:
    extra: make.Elements = {VOI_LUTS: ("SQ", [lut_item(("US", 0x10000 - 1000))]), 0x00281052: ("DS", "-1024")}
    extra[0x00281053] = ("DS", "1")
    assert read(tmp_path, extra, pixels=ramp(bits=2) + 24).facts.voi_luts == (Lut(-1000, 12, (1, 20, 300, 4000)),)


def test_voi_lut_of_unsigned_values_may_start_above_half(tmp_path: Path) -> None:
    extra: make.Elements = {VOI_LUTS: ("SQ", [lut_item(("US", 40_000))])}
    assert read(tmp_path, extra, bits=16).facts.voi_luts[0].first == 40_000


@pytest.mark.parametrize(
    ("data", "bits", "values"),
    [
        (("OW", bytes([1, 0, 20, 0, 44, 1, 160, 15])), 12, (1, 20, 300, 4000)),
        (("OW", bytes([1, 20, 30, 255])), 8, (1, 20, 30, 255)),  # bytes in words
        (("US", [1 + (20 << 8), 30 + (255 << 8)]), 8, (1, 20, 30, 255)),
    ],
)
def test_lut_data_in_bytes_and_words(tmp_path: Path, data: Any, bits: int, values: tuple[int, ...]) -> None:
    extra: make.Elements = {VOI_LUTS: ("SQ", [lut_item(("US", 0), bits=bits, data=data)])}
    assert read(tmp_path, extra, bits=2).facts.voi_luts == (Lut(0, bits, values),)


def test_a_count_of_zero_means_65536_lut_entries(tmp_path: Path) -> None:
    data = ("OW", np.arange(65_536, dtype="<u2").tobytes())
    extra: make.Elements = {VOI_LUTS: ("SQ", [lut_item(("US", 0), count=0, data=data)])}
    assert len(read(tmp_path, extra, bits=16).facts.voi_luts[0].values) == 65_536


@pytest.mark.parametrize(
    "item",
    [
        lut_item(("US", 0), count=5),
        lut_item(("US", 0), bits=0),
        lut_item(("US", 0), bits=32),
        {DESCRIPTOR: ("US", [4, 0])},
        {LUT_DATA: ("US", [1])},
        {},
    ],
)
def test_damaged_lut(tmp_path: Path, item: Any) -> None:
    error = refusal(tmp_path, {VOI_LUTS: ("SQ", [item])})
    assert (error.reason, "lookup table" in error.sentence) == ("unreadable", True)


COLOUR: make.Elements = {make.PIXEL_DATA: ("OW", np.arange(12 * 10 * 3, dtype="<u2").tobytes())}


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "reason", "words"),
    [
        ({make.MODALITY: ("CS", "CT")}, "not_a_radiograph", "This is CT"),
        ({make.MODALITY: ("CS", "DOE JANE")}, "not_a_radiograph", "none of CR"),
        ({make.PHOTOMETRIC: ("CS", "PALETTE COLOR")}, "colour", "colour"),
        ({make.PHOTOMETRIC: ("CS", "RGB"), make.SAMPLES: ("US", 3), **COLOUR}, "colour", "colour"),
        ({make.PHOTOMETRIC: ("CS", "YBR_FULL"), make.SAMPLES: ("US", 3), **COLOUR}, "colour", "colour"),
        ({make.PHOTOMETRIC: ("CS", "YBR_FULL_422"), make.SAMPLES: ("US", 3), **COLOUR}, "colour", "colour"),
        ({make.PHOTOMETRIC: ("CS", "RGB"), make.SAMPLES: ("US", 4), **COLOUR}, "colour", "colour"),
        ({make.PHOTOMETRIC: ("CS", "DOE JANE")}, "unreadable", "white or black"),
        ({make.FRAMES: ("IS", "2")}, "multi_frame", "2 frames"),
        ({make.FRAMES: ("IS", "1A")}, "unreadable", "NumberOfFrames"),
        ({make.ROWS: ("US", 0)}, "no_pixels", "0 rows"),
        ({make.ROWS: ("US", 65535), make.COLUMNS: ("US", 65535)}, "too_large", "65535 x 65535"),
        ({make.ROWS: ("UL", 4_000_000_000)}, "too_large", "4000000000 x"),
        ({make.BITS_ALLOCATED: ("US", 32), make.BITS_STORED: ("US", 32)}, "unsupported", "allocates 32 bits"),
        ({make.BITS_ALLOCATED: ("US", 1), make.BITS_STORED: ("US", 1)}, "unsupported", "allocates 1 bits"),
        ({make.BITS_STORED: ("US", 17)}, "unreadable", "17 stored bits of 16"),
        ({make.BITS_STORED: ("US", 0)}, "unreadable", "0 stored bits"),
        ({make.REPRESENTATION: ("US", 7)}, "unreadable", "PixelRepresentation"),
        ({0x00281053: ("DS", "nan")}, "unreadable", "slope is nan"),
        ({0x00281053: ("DS", "inf")}, "unreadable", "slope is inf"),
        ({0x00281053: ("DS", "1e308")}, "unreadable", "slope is 1e+308"),
        ({0x00281053: ("DS", "0"), 0x00281052: ("DS", "-1024")}, "unreadable", "slope is 0"),
        ({0x00281053: ("DS", "one")}, "unreadable", "RescaleSlope"),
        ({0x00281052: ("DS", "-inf")}, "unreadable", "intercept is -inf"),
        ({make.PIXEL_DATA: ("OW", b"")}, "no_pixels", "empty"),
        ({make.PIXEL_DATA: ("OW", b"\0" * 100)}, "truncated", "100 of the 240 bytes"),
    ],
)
def test_refusals_give_the_reason(tmp_path: Path, extra: make.Elements, reason: str, words: str) -> None:
    error = refusal(tmp_path, extra)
    assert error.reason == reason
    assert words in error.sentence


@pytest.mark.parametrize("modality", ["CR", "DX", "RG", "PX", "RF", "OT", "dx"])
def test_radiographs_are_accepted(tmp_path: Path, modality: str) -> None:
    read(tmp_path, {make.MODALITY: ("CS", modality)})


@pytest.mark.parametrize(
    ("storage_class", "is_accepted"), [("1.2.840.10008.5.1.4.1.1.1.1", True), ("1.2.840.10008.5.1.4.1.1.4", False)]
)
def test_without_modality_the_storage_class_decides(tmp_path: Path, storage_class: str, is_accepted: bool) -> None:
    extra: make.Elements = {make.MODALITY: ("CS", ""), 0x00080016: ("UI", storage_class)}
    if is_accepted:
        read(tmp_path, extra)
    else:
        assert refusal(tmp_path, extra).reason == "not_a_radiograph"


def test_floating_point_pixels_are_unsupported(tmp_path: Path) -> None:
    elements = film_elements()
    del elements[make.PIXEL_DATA]
    elements[0x7FE00008] = ("OF", b"\0" * 480)
    with pytest.raises(UnusableFile) as caught:
        make.read_bytes(make.dicom_bytes(elements), tmp_path)
    assert caught.value.reason == "unsupported"


@pytest.mark.parametrize("syntax", [make.JPEG_2000, make.JPEG_LS])
def test_size_of_a_codestream_is_checked_before_decoding(tmp_path: Path, syntax: str) -> None:
    frame = make.compressed_frame(ramp(40, 36), syntax)
    data = make.encapsulated_bytes(film_elements(ramp(40, 40)), frame, syntax)
    with pytest.raises(UnusableFile, match="40 x 40 pixels, but the compressed picture has another size"):
        make.read_bytes(data, tmp_path)


@pytest.mark.parametrize("element", [bytes(8), b"\x08\x00\x05\x00CS\x00\x00"])
def test_a_header_of_very_many_elements_is_too_large(tmp_path: Path, element: bytes) -> None:
    """A deflated file of half a megabyte was parsed for minutes."""
    head = make.bare_bytes(film_elements(), syntax=make.EXPLICIT)
    with pytest.raises(UnusableFile, match="header of this DICOM file has more than 20000 elements"):
        make.read_bytes(make.meta(make.EXPLICIT) + element * 20_001 + head, tmp_path)


def test_deflated_file_that_inflates_without_end_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zlib

    monkeypatch.setattr("portal.imaging.dicom_file.MAX_INFLATED_BYTES", 1 << 20)
    packer = zlib.compressobj(wbits=-15)
    body = packer.compress(make.bare_bytes(film_elements(), syntax=make.EXPLICIT))
    body += packer.compress(bytes(64 << 20)) + packer.flush()
    with pytest.raises(UnusableFile) as caught:
        make.read_bytes(make.meta(make.DEFLATED) + body, tmp_path)
    assert caught.value.reason == "too_large"
