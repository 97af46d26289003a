"""Inputs on which neighbouring tools were reported to fail, what Hilum does with each, and the test that shows it.

Those tests make their films by code, so that they run in any clone. Where the reported files lie beside the checkout
(`shared/cases`, each with the program that writes it), they are imported here as well.

| case | what Hilum does | shown with films of its own in |
|---|---|---|
| 01 VOI LUT of fewer bits than declared | scaled by the bits it uses; warning | test_a_voi_lut_that_uses_fewer_bits_than_declared_is_scaled_by_those |
| 02 window of width 0, -1, NaN | left out with a warning, the next one or percentiles | test_a_window_that_cannot_be_used_is_left_out_and_percentiles_take_its_place |
| 03 decimal commas in DS | read as points; warning | test_decimal_commas_are_read_as_points |
| 05 JPEG Extended, 12 bits | decoded | test_lossy_jpeg_of_12_bits_is_decoded |
| 06 JPEG 2000 of another sign or other bits | all bits kept, the header's sign; warning | test_header_and_jpeg_2000_differ_in_sign_or_bits |
| 07 zero frames, Pixel Data as UN or OB | a film | test_pixels_of_16_bits_under_another_vr, test_no_frames_is_one_frame |
| 08 negative slope; window 0/1 | right gray scale; window beside the values left out with a warning | test_a_negative_slope_turns_grey_values_around, test_a_window_beside_the_middle_of_the_values_shows_nothing |
| 10 the NIH's Data_Entry table | findings split at the bar, kept beside the film and counted, since no column is a label | test_the_published_table_of_nih_is_read, test_findings_without_a_label_are_kept_beside_the_film_and_counted |
| 11 findings as a Python list | split | test_findings_are_split_as_tables_write_them |
| 12 a table whose paths begin higher up | matched by the longest common end | test_the_longest_common_end_decides, test_a_table_that_begins_above_the_zipped_folder |
| 13 case of names | ignored where unambiguous; counted | test_names_in_another_case_and_without_an_ending |
| 14 names without ending | matched where unambiguous; counted | test_names_in_another_case_and_without_an_ending |
| 15 the same row twice | one row | test_the_same_row_twice_is_one_row |
| 16 00012, 12 and 12.0 | one patient; spellings counted | test_one_patient_in_the_spellings_of_spreadsheet_program_and_header |
| 17 PNG as L, RGB, RGBA, P, LA | grey values kept | test_grey_keeps_its_values, test_equal_channels_are_grey, test_alpha_does_not_change_the_values |
| 18 DICOM with three equal channels or a grey palette | a film | test_three_equal_channels_are_grey, test_a_grey_palette_gives_the_brightness |
| 19 EXIF orientation and boxes | the box turns with the film; counted | test_an_exif_turn_moves_the_boxes_with_the_film |
| 20 tables of spreadsheets and programs | read; other delimiters and UTF-16 without a mark refused with a sentence | test_a_dialect_gives_two_films_with_labels, test_other_delimiters_are_refused_with_a_sentence, test_utf_16_without_a_mark_is_refused_with_a_sentence, test_words_for_nothing_are_empty_in_every_column |
| 21 decimal commas in boxes | read where a comma is no delimiter | test_decimal_commas_where_a_comma_is_no_delimiter |
| 22 kinds of TIFF | BigTIFF and LZW are films; several pictures and floats refused | test_big_tiff, test_lzw_tiff, test_several_pictures, test_floating_point_pixels_are_unsupported |
| 23 PNG oddities | a wrong checksum beside the pixels is a warning; sBIT changes nothing; 16-bit RGB refused | test_wrong_checksum_beside_the_pixels_is_a_warning, test_significant_bits_of_a_png_do_not_change_the_values, test_several_16_bit_channels_would_lose_bits |
| 24 kinds of zip | zips in zips opened once, tables of no films left aside, two members of one name counted, TSV and backslashes read | test_zips_in_a_zip_are_opened_once, test_a_table_that_names_no_films_is_left_aside, test_two_members_of_one_name, test_tables_of_other_kinds_by_themselves_and_beside_films, test_backslashes_are_folders |
| 26 a corrected export | what differs is counted, and waits until a person takes it | test_spacing_window_and_gray_scale, test_a_corrected_window_and_gray_scale_show_the_film_right |
| 27 rescale slope 0, empty rescale | empty is absent; slope 0 left out with a warning | test_rescale_of_zero_empty_or_half |
| 28 JPEG lossless of 8 bits in 16; baseline that is called lossless | films; the second with a warning | test_eight_bits_in_sixteen, test_lossy_jpeg_that_the_header_calls_lossless_is_shown_and_said_to_be_lossy |
| 29 ways to write a window | the first window | test_all_ways_to_write_a_window |
| 30 no transfer syntax, no file meta, a wrong syntax | films | test_is_shown_correctly_or_refused_with_a_reason, test_explicit_elements_in_a_file_that_is_called_implicit |
| 31 JPEG-LS with a zero byte before its end | a film | test_a_whole_codestream_with_an_odd_end_is_shown |
| 32 window beside the values, film without contrast | warning, percentiles; counted in the grid, left out of fit | test_a_window_beside_the_middle_of_the_values_shows_nothing, test_a_film_without_contrast |
| 33 boxes outside | beside the film left aside, across its edge cut; both counted | test_boxes_beside_and_across_the_edge_of_their_films_are_counted |
| 34 view in the View Code Sequence | read | test_view_of_a_header |
| 35 view words of MIMIC, PadChest, CheXpert | known; others kept as unknown and counted | test_views_in_the_words_of_published_tables |
| 37 5,000 x 5,000 pixels | decoded within the limits | test_a_film_of_5000_by_5000_pixels_is_decoded_within_the_limits |
| 39 Modality DR or XR | a film with a warning, where the storage class is a radiograph's | test_words_for_a_radiograph_that_are_no_terms_of_dicom, test_a_word_of_another_storage_class_stays_refused |
| 40 scores in another batch or order | the same bits | test_a_film_has_the_same_scores_in_any_batch_and_order |

Numbers that are missing are cases without files: two parts of a split, patients without a name, near duplicates.
"""  # noqa: E501

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from portal import tasks
from portal.imaging.decoding import Decoder
from portal.imaging.errors import UnusableFile
from portal.imaging.film import shown_values
from portal.imaging.film_warnings import keys_of
from portal.imaging.read_film import read_film
from portal.intake import corrections
from portal.intake.csv_labels import InvalidCsv, read_boxes, read_labels
from portal.intake.entries import entries_of_folder
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.intake.zip_uploads import receive_zip
from portal.models import Dataset, HeaderDifference, Image, Patient, Upload
from tests.paths import ROOT
from tests.portal import factories

pytestmark = [pytest.mark.django_db]

BESIDE = ROOT.parent / "shared" / "cases"
_ROW = re.compile(r"^\| (\d\d) [^|]*\|[^|]*\| ([^|]*) \|$", re.MULTILINE)


def rows() -> dict[str, list[str]]:
    """The tests that the table names, by case."""
    return {number: re.findall(r"test_\w+", tests) for number, tests in _ROW.findall(__doc__ or "")}


def test_every_test_that_the_table_names_is_there() -> None:
    written = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)", written, re.MULTILINE))
    assert len(rows()) == 35
    assert all(rows().values())
    assert {name for names in rows().values() for name in names} - there == set()


# The reported files themselves ---------------------------------------------------------------------------


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


@pytest.fixture
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What the program of the case writes."""
    case = next(BESIDE.glob(f"{request.param}-*"), None)
    if case is None:
        pytest.skip(f"The files of case {request.param} are not beside this checkout ({BESIDE.name}).")
    folder = tmp_path / case.name
    shutil.copytree(case, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    subprocess.run(
        [sys.executable, "make.py"], cwd=folder, check=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(BESIDE)},
    )  # fmt: skip
    return folder / "files"


def run(of: Dataset, files: Path, **tables: Path | None) -> ImportReport:
    """Import the folder with the tables `labels` and `boxes`, by default those of these names that are in it."""
    named = {name: path if (path := files / f"{name}.csv").exists() else None for name in ("labels", "boxes")} | tables
    report = ImportReport()
    labels = read_labels(named["labels"], report.skipped) if named["labels"] else None
    boxes = read_boxes(named["boxes"], report.skipped) if named["boxes"] else None
    entries = entries_of_folder(files, labels, boxes, report)
    return import_entries(upload=Upload.objects.create(dataset=of), entries=entries, report=report, actor=None)


def assert_shown(files: Path, *names: str, within: float = 0.002) -> None:
    """Each file is shown as the program of the case says it has to look."""
    for name in names:
        film, _ = read_film(files / name)
        expected = np.load(files / f"{name}.expected.npy")
        assert float(np.abs(shown_values(film) - expected).max()) <= within, name


def warnings(files: Path, name: str) -> list[str]:
    return keys_of(read_film(files / name)[1])


def labels(of: Dataset) -> list[str]:
    return sorted(image.current_label.value for image in of.images.filter(current_label__isnull=False))


def voi_lut(of: Dataset, files: Path) -> None:
    assert_shown(files, "declared16.dcm", "declared12.dcm")


def window_that_cannot_be_used(of: Dataset, files: Path) -> None:
    for name in ("w0.dcm", "w-1.dcm", "nan.dcm"):
        assert warnings(files, name) == ["window"]
    assert read_film(files / "second0.dcm")[0].facts.windows[0].width == 4096
    assert run(of, files).counts["imported"] == 3  # two of the four have the same pixels


def decimal_commas(of: Dataset, files: Path) -> None:
    assert_shown(files, "window.dcm")
    assert read_film(files / "spacing.dcm")[0].facts.spacing_mm == (0.143, 0.143)
    assert read_film(files / "slope.dcm")[0].facts.slope == 1


def jpeg_extended(of: Dataset, files: Path) -> None:
    assert_shown(files, "raw.dcm")
    assert_shown(files, "ext12.dcm", within=8 / 4095)


def jpeg_2000(of: Dataset, files: Path) -> None:
    assert_shown(
        files, "a-signed13-in-unsigned13.dcm", "b-unsigned12-in-signed16.dcm", "d-header16-code14.dcm",
        "e-alloc16-stored8-code8.dcm",
    )  # fmt: skip


def pixel_data(of: Dataset, files: Path) -> None:
    assert_shown(files, "frames0.dcm", "un.dcm", "ob16.dcm")


def negative_slope(of: Dataset, files: Path) -> None:
    assert_shown(files, "negslope.dcm", within=0.005)
    assert "window_beside" in warnings(files, "placeholder01.dcm")
    assert_shown(files, "placeholder01.dcm", within=0.01)


def nih(of: Dataset, files: Path) -> None:
    report = run(of, files)
    assert (report.counts["imported"], report.counts["findings without a label"]) == (3, 2)
    findings = [film.extra.get("finding without a label", "") for film in of.images.all()]
    assert sorted(findings) == ["", "Cardiomegaly|Effusion", "Effusion"]


def list_like(of: Dataset, files: Path) -> None:
    run(of, files)
    assert of.images.get(original_name="p2.png").current_label.findings == ["pleural effusion", "cardiomegaly"]
    assert labels(of) == ["abnormal", "normal"]


def two_labels(of: Dataset, files: Path) -> None:
    assert run(of, files).counts["imported"] == 2
    assert labels(of) == ["abnormal", "normal"]


def without_ending(of: Dataset, files: Path) -> None:
    run(of, files)
    assert labels(of) == ["abnormal", "normal", "normal"]


def same_row(of: Dataset, files: Path) -> None:
    run(of, files)
    assert labels(of) == ["normal", "normal"]


def one_patient(of: Dataset, files: Path) -> None:
    assert run(of, files).counts["imported"] == 3
    assert Patient.objects.count() == 1


def channels(of: Dataset, files: Path) -> None:
    for name in ("L", "RGB", "RGBA", "P", "LA"):
        film, _ = read_film(files / f"{name}.png")
        shown = np.load(files / f"{name}.png.expected.npy")
        np.testing.assert_array_equal(film.stored, np.rint(shown * 255))


def grey_dicom(of: Dataset, files: Path) -> None:
    assert_shown(files, "rgb.dcm", "palette.dcm")


def exif(of: Dataset, files: Path) -> None:
    report = run(of, files)
    film = of.images.get()
    assert (film.rows, film.columns, report.counts["boxes turned"]) == (64, 48, 1)
    (box,) = film.label_events.get().boxes
    assert (box["width"], box["height"]) == (8, 14)


def spreadsheets(of: Dataset, files: Path) -> None:
    tables = files.parent / "tables"
    names = ("sep-line", "trailing-delimiter", "blank-first-line", "commas-in-header", "quoted-all-crlf-bom")
    for name in (*names, "index-column", "nan-cells"):
        table = read_labels(tables / f"{name}.csv")
        assert [(row.filename, row.label) for row in table.values()] == [("s1.png", "normal"), ("s2.png", "abnormal")]
    assert {(row.patient_id, row.projection) for row in table.values()} == {("", "PA"), ("", "")}
    for name in ("pipe", "utf16le-no-bom"):
        with pytest.raises(InvalidCsv):
            read_labels(tables / f"{name}.csv")


def box_with_commas(of: Dataset, files: Path) -> None:
    run(of, files)
    (box,) = of.images.get().label_events.get().boxes
    assert [box[name] for name in ("x", "y", "width", "height")] == [10.5, 12.25, 8, 6.5]


def tiff(of: Dataset, files: Path) -> None:
    assert_shown(files, "big.tif", "lzw.tif", within=0.01)
    for name in ("with-thumbnail-page.tif", "float32.tif"):
        with pytest.raises(UnusableFile):
            read_film(files / name)


def png(of: Dataset, files: Path) -> None:
    assert_shown(files, "bad-text-crc.png", "sbit12.png", within=0.01)
    with pytest.raises(UnusableFile, match="16-bit"):
        read_film(files / "rgb16.png")


def zips(of: Dataset, files: Path) -> None:
    def import_zip(name: str) -> Upload:
        made = factories.dataset(name)
        content = SimpleUploadedFile(name, (files / name).read_bytes())
        upload = receive_zip(dataset=made, file=content, author=factories.curator(name))
        tasks.import_upload(str(upload.uuid))
        upload.refresh_from_db()
        return upload

    nested = import_zip("nested.zip")
    assert (nested.dataset.images.count(), labels(nested.dataset)) == (2, ["normal", "normal"])
    assert import_zip("nested-without-csv.zip").dataset.images.count() == 2
    extra = import_zip("extra-csv.zip")
    assert (extra.dataset.images.count(), extra.counts["tables left aside"]) == (1, 1)
    twice = import_zip("same-name-twice.zip")
    assert (twice.dataset.images.count(), twice.counts["names twice"]) == (2, 1)
    assert labels(import_zip("tsv.zip").dataset) == ["normal"]
    assert labels(import_zip("csv-upper-name.zip").dataset) == ["normal"]
    damaged = import_zip("xlsx.zip")
    assert (damaged.state, "labels.xlsx" in damaged.message) == ("failed", True)


def corrected(of: Dataset, files: Path) -> None:
    run(of, files / "1")
    report = run(of, files / "2")
    assert report.counts["another header"] == 1
    assert set(HeaderDifference.objects.values_list("fact", flat=True)) >= {"gray scale", "window"}
    corrections.take(HeaderDifference.objects.all(), actor=None)
    film = Image.objects.get()
    right, _ = read_film(files / "2" / "film.dcm")
    assert film.facts == right.facts.to_json()
    assert_shown(files / "2", "film.dcm")


def rescale(of: Dataset, files: Path) -> None:
    assert warnings(files, "slope0-intercept0.dcm") == ["slope"]
    assert warnings(files, "empty.dcm") == []
    names = ("slope0-intercept0.dcm", "empty.dcm", "only-intercept.dcm", "intercept-none-slope2.dcm")
    assert_shown(files, *names, within=0.01)


def jpeg_lossless(of: Dataset, files: Path) -> None:
    assert_shown(files, "raw.dcm", "lossless16-8.dcm")
    assert_shown(files, "says-lossless-is-baseline.dcm", within=0.02)


def windows(of: Dataset, files: Path) -> None:
    names = ("zeros", "list", "exp", "spaces", "more-centres")
    assert_shown(files, *(f"{name}.dcm" for name in names))
    assert_shown(files, "only-centre.dcm", within=0.01)


def transfer_syntax(of: Dataset, files: Path) -> None:
    names = ("meta-implicit", "meta-explicit", "bare-implicit", "bare-explicit", "says-implicit-is-explicit")
    assert_shown(files, *(f"{name}.dcm" for name in names))


def jpeg_ls(of: Dataset, files: Path) -> None:
    assert_shown(files, "plain.dcm", "zero-before-eoi.dcm")
    assert_shown(files, "near3.dcm", within=4 / 4095)


def nothing_to_see(of: Dataset, files: Path) -> None:
    report = run(of, files)
    assert of.images.filter(shows_nothing=True).count() == 2
    assert (report.counts["warned: window_beside"], report.counts["warned: no_contrast"]) == (1, 1)
    assert_shown(files, "white.dcm", within=0.01)


def boxes_outside(of: Dataset, files: Path) -> None:
    report = run(of, files)
    assert (report.counts["boxes outside"], report.counts["boxes cut"]) == (2, 1)


def view_codes(of: Dataset, files: Path) -> None:
    for name, view in (("pa", "PA"), ("ap", "AP"), ("lat", "LATERAL"), ("position", "PA")):
        assert read_film(files / f"{name}.dcm")[1]["view_position"] == view


def view_words(of: Dataset, files: Path) -> None:
    report = run(of, files)
    assert (report.counts["imported"], report.counts["unknown views"]) == (11, 0)
    assert {"LAO", "LPO", "AP", "LATERAL"} <= set(of.images.values_list("view_position", flat=True))


def large_films(of: Dataset, files: Path) -> None:
    with Decoder() as decoder:
        for name in ("j2k.dcm", "raw.dcm", "lossless.dcm", "png16.png"):
            film, _ = decoder.decode(files / name)
            assert film.stored.shape == (5000, 5000)


def modality_words(of: Dataset, files: Path) -> None:
    for name in ("m0.dcm", "m1.dcm"):
        assert "modality_word" in warnings(files, name)
    assert run(of, files).counts["imported"] >= 4


CHECKS: dict[str, Callable[[Dataset, Path], None]] = {
    "01": voi_lut, "02": window_that_cannot_be_used, "03": decimal_commas, "05": jpeg_extended, "06": jpeg_2000,
    "07": pixel_data, "08": negative_slope, "10": nih, "11": list_like, "12": two_labels, "13": two_labels,
    "14": without_ending, "15": same_row, "16": one_patient, "17": channels, "18": grey_dicom, "19": exif,
    "20": spreadsheets, "21": box_with_commas, "22": tiff, "23": png, "24": zips, "26": corrected, "27": rescale,
    "28": jpeg_lossless, "29": windows, "30": transfer_syntax, "31": jpeg_ls, "32": nothing_to_see,
    "33": boxes_outside, "34": view_codes, "35": view_words, "37": large_films, "39": modality_words,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("files", CHECKS, indirect=True)
def test_the_reported_files(of: Dataset, files: Path, published: list[str]) -> None:
    CHECKS[files.parent.name[:2]](of, files)
