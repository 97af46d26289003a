"""Real films, if they are beside the checkout: a sample of chest X-rays with boxes, and all DICOM files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from portal.imaging.film import Film, PixelFacts, shown_values, unpack
from portal.intake import film_files
from portal.intake.csv_labels import read_boxes, read_labels
from portal.intake.entries import entries_of_folder
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.models import Dataset, Image, LabelEvent, QuarantinedFile, Upload
from tests.portal import factories
from tests.portal.intake.test_films import counts_of

pytestmark = [pytest.mark.django_db]


def run(of: Dataset, folder: Path, labels: Path, boxes: Path | None = None) -> ImportReport:
    report = ImportReport()
    tables = read_labels(labels), read_boxes(boxes) if boxes else None
    entries = entries_of_folder(folder, *tables, report)
    return import_entries(upload=Upload.objects.create(dataset=of), entries=entries, report=report, actor=None)


def test_a_sample_of_chest_films_with_boxes(cxr_a: Path, tmp_path: Path) -> None:
    """Twelve films: four with boxes, and PNG and JPEG of both labels and both halves."""
    with_boxes = read_boxes(cxr_a / "boxes_nih.csv")
    lines = list(csv.DictReader((cxr_a / "labels.csv").read_text().splitlines()))
    of_each = {(line["label"], line["split"], line["filename"][-3:]): line for line in lines}
    boxed = [line for line in lines if line["filename"] in with_boxes][:4]
    plain = [line for line in lines if line not in boxed and line not in of_each.values()]
    sample = {line["filename"]: line for line in [*boxed, *of_each.values(), *plain]}
    chosen = dict(list(sample.items())[:12])
    labels = factories.table(tmp_path / "labels.csv", *chosen.values())
    dataset = factories.dataset("cxr-a")

    counts = counts_of(run(dataset, cxr_a / "images", labels, cxr_a / "boxes_nih.csv"))
    assert (counts["imported"], counts["not in the CSV"]) == (12, 420 - 12)
    for image in dataset.images.select_related("current_label", "patient"):
        line = chosen[image.original_name]
        assert (image.current_label.value, image.view_position) == (line["label"], line["projection"])
        assert image.current_label.findings == [
            word for word in line["finding"].split("|") if word not in ("", "No Finding")
        ]
        assert (image.rows, image.columns, image.csv_split) == (1024, 1024, line["split"])
        assert image.extra == {}
        assert len(image.label_events.get().boxes) == len(with_boxes.get(image.original_name, ()))
    assert LabelEvent.objects.count() == 12
    assert counts_of(run(dataset, cxr_a / "images", labels, cxr_a / "boxes_nih.csv"))["there already"] == 12
    assert LabelEvent.objects.count() == 12


def test_the_whole_tables_are_valid(cxr_a: Path) -> None:
    assert len(read_labels(cxr_a / "labels.csv")) == 420
    assert len(read_labels(cxr_a / "labels-boxed.csv")) == 58
    assert sum(map(len, read_boxes(cxr_a / "boxes_nih.csv").values())) == 36


# DICOM ------------------------------------------------------------------------------------------------------


@pytest.fixture
def expected(dicom_samples: Path, tmp_path: Path) -> dict[str, dict[str, str]]:
    """Import the DICOM files with a CSV that lists each, and return the expected outcomes by file. Two of them have the
    pixels of a third, so they go into other datasets."""
    table = list(csv.DictReader((dicom_samples / "expected.csv").read_text().splitlines()))
    of_dataset = {"derived/rg1_mono1_explicit_le.dcm": "second", "derived/rg1_mono1_rle.dcm": "third"}
    for name in ("first", "second", "third"):
        rows = [{"filename": line["file"]} for line in table if of_dataset.get(line["file"], "first") == name]
        run(factories.dataset(name), dicom_samples, factories.table(tmp_path / "labels.csv", *rows))
    return {line["file"]: line for line in table}


def shown_film(name: str) -> np.ndarray:
    """The film as on screen, (rows, columns), 0 to 1."""
    image = Image.objects.get(original_name=name)
    stored = unpack(film_files.pixel_path(image.pixel_sha256).read_bytes(), image.rows, image.columns)
    return shown_values(Film(stored, PixelFacts.from_json(image.facts)))


@pytest.mark.slow
def test_the_dicom_files_end_as_expected(expected: dict[str, dict[str, str]]) -> None:
    assert len(expected) == 32
    films = set(Image.objects.values_list("original_name", flat=True))
    reasons = dict(QuarantinedFile.objects.values_list("name", "reason"))
    expected_films = {name for name, line in expected.items() if line["outcome"] == "shown"}
    assert films == expected_films
    # Where two reasons apply, either is correct (see the README of the files).
    either = {"nasty/MR_truncated.dcm", "nasty/rtplan_truncated.dcm"}
    wrong = {
        name: (line["reason"], reasons.get(name))
        for name, line in expected.items()
        if name not in expected_films and reasons.get(name) != line["reason"] and name not in either
    }
    assert wrong == {}
    assert set(reasons) == set(expected) - expected_films

    for sentence in QuarantinedFile.objects.values_list("sentence", flat=True):
        assert sentence.endswith(".")
        assert len(sentence) > 20
    for image in Image.objects.all():
        assert film_files.preview_path(image).exists()

    # The same film in four encodings, with and without inversion, looks the same on screen.
    reference = shown_film("derived/rg1_mono1_explicit_le.dcm")
    for other in ("rg1_mono1_rle", "rg1_identifiers_invented"):
        np.testing.assert_array_equal(shown_film(f"derived/{other}.dcm"), reference)
    correlation = np.corrcoef(shown_film("derived/rg1_mono2_implicit_le.dcm").ravel(), reference.ravel())[0, 1]
    assert correlation > 0.9
    # Lungs, in the middle of the upper half, are darker than the spine between them: inverted once, not twice.
    rows, columns = reference.shape
    lung = reference[rows // 3 : rows // 2, columns // 5 : columns // 3].mean()
    spine = reference[rows // 3 : rows // 2, int(columns * 0.45) : int(columns * 0.55)].mean()
    assert lung < spine

    warned = {image.original_name: image.warning for image in Image.objects.exclude(warning="")}
    assert "not chest" in warned["other-xray/RG2_J2KR_hip.dcm"]
    lut = Image.objects.get(original_name="nasty/vlut_04.dcm")
    assert lut.facts["voi_luts"]
    identified = Image.objects.get(original_name="derived/rg1_identifiers_invented.dcm")
    assert identified.patient.identified
