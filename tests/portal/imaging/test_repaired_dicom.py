"""Good films whose files break a rule beside the pixels: they are shown with the right values, and carry a warning.

Each test follows a kind of file that users of other programs have reported. The films are made by code.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from ml_engine.engine.decode_films import as_array
from portal.imaging.errors import UnusableFile
from portal.imaging.film import Film, Window, shown_values
from portal.imaging.film_warnings import keys_of
from portal.imaging.read_film import read_film
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


# --- lookup tables ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("declared", "warnings"), [(16, ["voi_lut_bits"]), (12, [])])
def test_a_voi_lut_that_uses_fewer_bits_than_declared_is_scaled_by_those(
    tmp_path: Path, declared: int, warnings: list[str]
) -> None:
    data = np.arange(4096, dtype="<u2").tobytes()
    lut = {0x00283002: ("US", [4096, 0, declared]), 0x00283006: ("OW", data)}
    film, keys = read(tmp_path, {0x00283010: ("SQ", [lut])})
    assert keys == warnings
    assert_shown(film, disc() / 4095)
    shown = as_array(film).display  # what the engine takes
    assert shown is not None and abs(float(shown.mean()) - 0.519) < 0.001


# --- codestreams -----------------------------------------------------------------------------------


def read_frame(
    folder: Path, frame: bytes, syntax: str, extra: make.Elements | None = None, *, bits: int = 12
) -> tuple[Film, list[str]]:
    elements = {**make.film_elements(disc(), bits=bits), CENTER: ("DS", "2047.5"), WIDTH: ("DS", "4096")}
    film, header = make.read_bytes(make.encapsulated_bytes({**elements, **(extra or {})}, frame, syntax), folder)
    return film, keys_of(header)


def test_lossy_jpeg_of_12_bits_is_decoded(tmp_path: Path) -> None:
    frame = make.frame_by_gdcm(tmp_path, disc(), is_lossy=True)
    film, warnings = read_frame(tmp_path, frame, make.JPEG_EXTENDED)
    assert warnings == []
    assert_shown(film, disc() / 4095, within=10 / 4095)


def test_lossy_jpeg_of_12_bits_by_another_encoder(tmp_path: Path) -> None:
    """pydicom's file, whose values its own tests give for other decoders: 244 at (420, 140), 95 at (230, 120)."""
    path = pydicom.data.get_testdata_file("JPGExtended.dcm", download=False)
    assert path is not None
    ds = pydicom.dcmread(path)
    ds.Modality, ds.PatientID = "CR", "P1"
    ds.save_as(tmp_path / "film.dcm")
    film, _ = read_film(tmp_path / "film.dcm")
    assert (film.stored[420, 140], film.stored[230, 120], film.facts.bits_stored) == (244, 95, 12)


@pytest.mark.parametrize(
    ("values", "bits", "signed", "header", "warnings"),
    [
        ((disc() - 2048) & 0x1FFF, 13, False, (13, True, "0", "4096"), ["sign"]),
        (disc(), 16, True, (12, False, "2048", "4096"), ["sign"]),
        (disc() * 4, 14, False, (16, False, "8190.5", "16381"), []),
        (disc(), 12, False, (10, False, "2047.5", "4096"), ["bits"]),
    ],
)
def test_header_and_jpeg_2000_differ_in_sign_or_bits(
    tmp_path: Path,
    values: NDArray[np.int64],
    bits: int,
    signed: bool,
    header: tuple[int, bool, str, str],
    warnings: list[str],
) -> None:
    stored, is_signed, center, width = header
    extra: make.Elements = {make.REPRESENTATION: ("US", int(is_signed)), CENTER: ("DS", center), WIDTH: ("DS", width)}
    frame = make.encoded_frame(values, make.JPEG_2000, bits=bits, signed=signed)
    film, keys = read_frame(tmp_path, frame, make.JPEG_2000, extra, bits=stored)
    assert keys == warnings
    assert_shown(film, disc() / 4095)


def test_eight_bits_in_sixteen(tmp_path: Path) -> None:
    extra: make.Elements = {make.BITS_ALLOCATED: ("US", 16), CENTER: ("DS", "128"), WIDTH: ("DS", "256")}
    for frame, syntax in (
        (make.encoded_frame(disc(255), make.JPEG_2000, bits=8), make.JPEG_2000),
        (
            make.frame_by_gdcm(tmp_path, disc(255), bits=8),
            make.JPEG_LOSSLESS,
        ),
    ):
        film, warnings = read_frame(tmp_path, frame, syntax, extra, bits=8)
        assert warnings == []
        assert_shown(film, disc(255) / 255)


def test_lossy_jpeg_that_the_header_calls_lossless_is_shown_and_said_to_be_lossy(tmp_path: Path) -> None:
    extra: make.Elements = {CENTER: ("DS", "128"), WIDTH: ("DS", "256")}
    film, warnings = read_frame(tmp_path, make.jpeg_bytes(disc(255)), make.JPEG_LOSSLESS, extra, bits=8)
    assert warnings == ["syntax", "lossy"]
    assert_shown(film, disc(255) / 255, within=0.06)


def test_lossy_jpeg_ls_that_the_header_calls_lossless(tmp_path: Path) -> None:
    film, warnings = read_frame(tmp_path, make.encoded_frame(disc(), make.JPEG_LS, lossy_error=3), make.JPEG_LS)
    assert warnings == ["lossy"]
    assert_shown(film, disc() / 4095, within=4 / 4095)


@pytest.mark.parametrize("change", ["nothing", "zeros after", "no end", "zero before"])
@pytest.mark.parametrize("kind", ["jpeg", "lossless", "jpeg-ls", "2000"])
def test_a_whole_codestream_with_an_odd_end_is_shown(tmp_path: Path, kind: str, change: str) -> None:
    frame, syntax, bits = frames(tmp_path)[kind]
    body, end = frame[:-2], frame[-2:]
    assert end == b"\xff\xd9"
    frame = {"nothing": frame, "zeros after": frame + bytes(30), "no end": body, "zero before": body + b"\0" + end}[
        change
    ]
    if (kind, change) == ("2000", "zero before"):
        with pytest.raises(UnusableFile, match="cut off"):  # the tile-part does not have the length that it states
            read_frame(tmp_path, frame, syntax, bits=bits)
        return
    film, warnings = read_frame(tmp_path, frame, syntax, bits=bits)
    is_repaired = change == "no end" or (kind, change) == ("jpeg-ls", "zero before")
    assert warnings == (["end_marker"] if is_repaired else [])
    np.testing.assert_allclose(film.stored, disc(2**bits - 1), atol=12 if kind == "jpeg" else 0)


def frames(folder: Path) -> dict[str, tuple[bytes, str, int]]:
    """A codestream, its syntax and bits, by kind."""
    return {
        "jpeg": (make.jpeg_bytes(disc(255)), make.JPEG_BASELINE, 8),
        "lossless": (
            make.frame_by_gdcm(folder, disc()),
            make.JPEG_LOSSLESS,
            12,
        ),
        "jpeg-ls": (make.encoded_frame(disc(), make.JPEG_LS, lossy_error=0), make.JPEG_LS, 12),
        "2000": (make.encoded_frame(disc(), make.JPEG_2000).rstrip(b"\0"), make.JPEG_2000, 12),
    }


@pytest.mark.parametrize("cut", [1, 2, 20, 200])
@pytest.mark.parametrize("kind", ["jpeg", "lossless", "jpeg-ls", "2000"])
def test_a_codestream_with_less_data_than_its_size_needs_is_refused(tmp_path: Path, kind: str, cut: int) -> None:
    frame, syntax, bits = frames(tmp_path)[kind]
    for shorter in (frame[: -2 - cut] + frame[-2:], frame[: -2 - cut]):
        with pytest.raises(UnusableFile) as caught:
            read_frame(tmp_path, shorter, syntax, bits=bits)
        assert caught.value.reason in ("truncated", "unreadable")


@pytest.mark.parametrize("kind", ["jpeg", "lossless", "jpeg-ls", "2000"])
def test_a_codestream_that_states_more_rows_than_it_holds_is_refused(tmp_path: Path, kind: str) -> None:
    frame, syntax, bits = frames(tmp_path)[kind]
    if kind == "2000":
        at = frame.index(b"\xff\x51") + 10
        taller = frame[:at] + struct.pack(">L", 96) + frame[at + 4 :]
    else:
        taller = frame.replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 96, 64))
    assert taller != frame
    with pytest.raises(UnusableFile) as caught:
        read_frame(tmp_path, taller, syntax, {make.ROWS: ("US", 96)}, bits=bits)
    assert caught.value.reason in ("truncated", "unreadable")


def test_more_bits_than_allocated_are_refused(tmp_path: Path) -> None:
    eight: make.Elements = {make.BITS_ALLOCATED: ("US", 8), make.BITS_STORED: ("US", 8), make.HIGH_BIT: ("US", 7)}
    for frame, syntax in (
        (make.encoded_frame(disc(), make.JPEG_2000), make.JPEG_2000),
        (make.compressed_frame(disc(), make.RLE), make.RLE),
    ):
        with pytest.raises(UnusableFile, match="allocates 8 bits"):
            read_frame(tmp_path, frame, syntax, eight)


def test_two_codestreams_are_no_film(tmp_path: Path) -> None:
    frame = make.encoded_frame(disc(), make.JPEG_LS, lossy_error=0)
    frame += bytes(len(frame) % 2)
    data = make.encapsulated_bytes(make.film_elements(disc()), frame + frame, make.JPEG_LS, fragments=2)
    with pytest.raises(UnusableFile, match="2 compressed pictures"):
        make.read_bytes(data, tmp_path)


@pytest.mark.parametrize(
    ("name", "plugin"), [("other-xray/RG2_J2KR_hip.dcm", "gdcm"), ("derived/rg1_mono1_rle.dcm", "pydicom")]
)
def test_real_lossless_films_decode_equally_by_two_decoders(dicom_samples: Path, name: str, plugin: str) -> None:
    ds = pydicom.dcmread(dicom_samples / name)
    film, _ = read_film(dicom_samples / name)
    decoder = pydicom.pixels.get_decoder(ds.file_meta.TransferSyntaxUID)
    values, _ = decoder.as_array(ds, raw=True, decoding_plugin=plugin)  # not the product's decoder
    np.testing.assert_array_equal(film.stored, values)


@pytest.mark.parametrize("name", ["RG3_JPLL_leg.dcm", "CR-ModalitySequenceLUT_teeth.dcm"])
def test_real_lossless_jpeg_decodes_as_by_the_standard(dicom_samples: Path, name: str) -> None:
    """Its first rows, by the decoder below: no other free decoder of lossless JPEG can be installed."""
    ds = pydicom.dcmread(dicom_samples / "other-xray" / name)
    frame = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
    film, _ = read_film(dicom_samples / "other-xray" / name)
    np.testing.assert_array_equal(film.stored[:60], lossless_rows(frame, 60, film.stored.shape[1], ds.BitsStored))


def lossless_rows(frame: bytes, rows: int, columns: int, bits: int) -> NDArray[np.int64]:
    """The first rows of a lossless JPEG (process 14, predictor 1), decoded as ITU-T T.81 Annex H says, bit by bit."""
    table_at, scan_at = frame.index(b"\xff\xc4"), frame.index(b"\xff\xda")
    precision = frame[frame.index(b"\xff\xc3") + 4]
    assert bits <= precision and frame[scan_at + 4 + 3] == 1 and b"\xff\xdd" not in frame[:scan_at]
    counts = frame[table_at + 5 : table_at + 21]
    symbols, code, place = {}, 0, table_at + 21
    for length, count in enumerate(counts, start=1):
        for _ in range(count):
            symbols[length, code] = frame[place]
            code, place = code + 1, place + 1
        code <<= 1
    scan = frame[scan_at + 2 + int.from_bytes(frame[scan_at + 2 : scan_at + 4], "big") :].replace(b"\xff\0", b"\xff")
    stream = iter("".join(f"{byte:08b}" for byte in scan[: rows * columns * 4]))
    out = np.zeros((rows, columns), np.int64)
    for row in range(rows):
        for column in range(columns):
            length, code = 1, int(next(stream))
            while (length, code) not in symbols:
                length, code = length + 1, code * 2 + int(next(stream))
            size = symbols[length, code]
            number = int("".join(next(stream) for _ in range(size)) or "0", 2) if size < 16 else 32768
            difference = number if size in (0, 16) or number >= 1 << (size - 1) else number - (1 << size) + 1
            left = out[row, column - 1] if column else out[row - 1, 0] if row else 1 << (precision - 1)
            out[row, column] = (left + difference) & 0xFFFF
    return out


# --- grey stored as colour -------------------------------------------------------------------------


def colour_elements(channels: NDArray[np.int64], photometric: str, *, planar: int = 0) -> make.Elements:
    """A film of (rows, columns, 3) bytes."""
    data = (np.moveaxis(channels, -1, 0) if planar else channels).astype("u1").tobytes()
    return {
        **make.film_elements(channels[..., 0], bits=8),
        make.SAMPLES: ("US", 3),
        make.PHOTOMETRIC: ("CS", photometric),
        0x00280006: ("US", planar),
        make.PIXEL_DATA: ("OB", data),
    }


def three(pixels: NDArray[np.int64], others: NDArray[np.int64] | int | None = None) -> NDArray[np.int64]:
    second = np.broadcast_to(pixels if others is None else others, pixels.shape)
    return np.stack([pixels, second, second], axis=-1)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(("photometric", "others"), [("RGB", None), ("YBR_FULL", 128)])
def test_three_equal_channels_are_grey(tmp_path: Path, photometric: str, others: int | None, planar: int) -> None:
    elements = colour_elements(three(disc(255), others), photometric, planar=planar)
    film, header = make.read_bytes(make.dicom_bytes(elements), tmp_path)
    assert keys_of(header) == ["equal_channels"]
    np.testing.assert_array_equal(film.stored, disc(255))
    assert_shown(film, disc(255) / 255)


def test_three_equal_channels_of_compressed_pictures_are_grey(tmp_path: Path) -> None:
    grey = disc(255)
    rle = pydicom.pixels.get_encoder(pydicom.uid.RLELossless).encode(
        three(grey).astype("u1").tobytes(),
        index=0,
        encoding_plugin="pydicom",
        rows=48,
        columns=64,
        samples_per_pixel=3,
        bits_allocated=8,
        bits_stored=8,
        pixel_representation=0,
        photometric_interpretation="RGB",
        planar_configuration=0,
        number_of_frames=1,
    )
    ycc = (make.jpeg_bytes(grey, "RGB"), make.JPEG_BASELINE, "YBR_FULL_422", 12)
    for frame, syntax, photometric, within in ((rle, make.RLE, "RGB", 0), ycc):
        elements = colour_elements(three(grey), photometric)
        film, header = make.read_bytes(make.encapsulated_bytes(elements, frame, syntax), tmp_path)
        assert keys_of(header) == ["equal_channels"]
        np.testing.assert_allclose(film.stored, grey, atol=within)


def test_channels_that_differ_in_one_pixel_are_colour(tmp_path: Path) -> None:
    channels = three(disc(255))
    channels[3, 4, 2] ^= 1
    with pytest.raises(UnusableFile, match="colour picture"):
        make.read_bytes(make.dicom_bytes(colour_elements(channels, "RGB")), tmp_path)


def palette_elements(*tables: NDArray[np.int64], bits: int = 16) -> make.Elements:
    elements = {**make.film_elements(disc(255), bits=8), make.PHOTOMETRIC: ("CS", "PALETTE COLOR")}
    for place, table in enumerate(tables, start=1):
        elements[0x00281100 + place] = ("US", [256, 0, bits])
        elements[0x00281200 + place] = ("OW", table.astype("<u2" if bits > 8 else "u1").tobytes())
    return elements


@pytest.mark.parametrize(
    ("scale", "bits", "warnings"), [(257, 16, ["palette"]), (1, 16, ["voi_lut_bits", "palette"]), (1, 8, ["palette"])]
)
def test_a_grey_palette_gives_the_brightness(tmp_path: Path, scale: int, bits: int, warnings: list[str]) -> None:
    table = (255 - np.arange(256)) * scale
    data = make.dicom_bytes(palette_elements(table, table, table, bits=bits))
    film, header = make.read_bytes(data, tmp_path)
    assert keys_of(header) == warnings
    assert_shown(film, 1 - disc(255) / 255)


def test_a_palette_of_colours_is_colour(tmp_path: Path) -> None:
    grey = np.arange(256) * 257
    for tables in ((grey, grey, grey[::-1]), (grey,)):
        with pytest.raises(UnusableFile, match="colour picture"):
            make.read_bytes(make.dicom_bytes(palette_elements(*tables)), tmp_path)


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


# --- how the pixels are labelled -------------------------------------------------------------------


@pytest.mark.parametrize("vr", ["UN", "OB", "OW"])
def test_pixels_of_16_bits_under_another_vr(tmp_path: Path, vr: str) -> None:
    film, warnings = read(tmp_path, {make.PIXEL_DATA: (vr, make.pixel_bytes(disc(), 16))})
    np.testing.assert_array_equal(film.stored, disc())
    assert warnings == []


def test_no_frames_is_one_frame(tmp_path: Path) -> None:
    film, warnings = read(tmp_path, {make.FRAMES: ("IS", "0"), CENTER: ("DS", "2047.5"), WIDTH: ("DS", "4096")})
    assert warnings == []
    assert_shown(film, disc() / 4095)


def test_explicit_elements_in_a_file_that_is_called_implicit(tmp_path: Path) -> None:
    data = make.dicom_bytes(make.film_elements(disc()), stated_syntax=make.IMPLICIT)
    film, header = make.read_bytes(data, tmp_path)
    np.testing.assert_array_equal(film.stored, disc())
    assert keys_of(header) == []
