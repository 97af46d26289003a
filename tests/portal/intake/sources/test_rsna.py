"""The RSNA challenge as it was published: not normal is abnormal, boxes, ages of the headers, patients of the NIH."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from portal.intake import film_files
from portal.intake.tables import InvalidCsv
from portal.models import Dataset, LabelEvent
from tests.portal import factories
from tests.portal.intake.sources import published
from tests.portal.intake.sources.published import counts_of, film_named, label_of, run

pytestmark = [pytest.mark.django_db]

FILMS = {
    "0004cfab": "No Lung Opacity / Not Normal",
    "000924cf": "Normal",
    "00436515": "Lung Opacity",
    "0010f549": "Normal",
}
BOXES = [
    {"patientId": "0004cfab", "Target": 0},
    {"patientId": "000924cf", "Target": 0},
    {"patientId": "00436515", "x": "2.0", "y": "3.0", "width": "5.0", "height": "7.0", "Target": 1},
    {"patientId": "00436515", "x": "9.0", "y": "3.0", "width": "4.0", "height": "6.0", "Target": 1},
    {"patientId": "0010f549", "Target": 0},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    classes = [{"patientId": box["patientId"], "class": FILMS[str(box["patientId"])]} for box in BOXES]
    published.write(tmp_path / "stage_2_detailed_class_info.csv", ("patientId", "class"), classes)
    published.write(tmp_path / "stage_2_train_labels.csv", published.RSNA_BOXES, BOXES)
    for number, name in enumerate(FILMS):
        # as published: an age without its unit, and the name of the film for the patient
        facts = {"PatientID": name, "PatientAge": "8" if name == "0010f549" else "51"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            factories.dicom(tmp_path / "stage_2_train_images" / f"{name}.dcm", seed=number, **facts)
    return tmp_path


def test_labels_and_boxes(of: Dataset, folder: Path) -> None:
    assert counts_of(run(of, "rsna", folder)) == {"imported": 3, "left out: under 18": 1}
    assert label_of(of, "000924cf.dcm") == ("normal", [], "reader")
    assert label_of(of, "0004cfab.dcm") == ("abnormal", [], "reader")
    assert label_of(of, "00436515.dcm") == ("abnormal", ["Lung Opacity"], "reader")
    boxes = LabelEvent.objects.get(image=film_named(of, "00436515.dcm")).boxes
    assert [(box["x"], box["width"], box["finding"]) for box in boxes] == [
        (2, 5, "Lung Opacity"),
        (9, 4, "Lung Opacity"),
    ]


def test_pixels_of_a_child_do_not_stay(of: Dataset, folder: Path) -> None:
    run(of, "rsna", folder)
    kept = {path.name for path in film_files.pixel_path("00").parent.parent.rglob("*.u16.gz")}
    assert kept == {f"{sha256}.u16.gz" for sha256 in of.images.values_list("pixel_sha256", flat=True)}


def test_patients_by_the_mapping_are_those_of_the_nih(of: Dataset, folder: Path) -> None:
    mapping = [
        {"subset_img_id": name, "img_id": f"00000{1 + number // 2:03}_000.png"} for number, name in enumerate(FILMS)
    ]
    (folder / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(mapping))
    run(of, "rsna", folder)
    films = [film_named(of, f"{name}.dcm").patient for name in ("0004cfab", "000924cf", "00436515")]
    assert films[0] == films[1] != films[2]
    assert "another patient" not in of.uploads.get().message  # the headers name the film for the patient
    assert films[0] == factories.patient("NIH ChestX-ray14 1", at=of.site)


def test_a_mapping_of_another_kind_is_refused(of: Dataset, folder: Path) -> None:
    (folder / "mappings.json").write_text('{"a": 1}')
    with pytest.raises(InvalidCsv, match="not the list of mappings as RSNA published it"):
        run(of, "rsna", folder)
