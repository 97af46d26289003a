"""VinDr-CXR as it was published: three readers of a film are three readings; if they differ, it is unresolved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.intake.tables import InvalidCsv
from portal.labels.boxes import boxes_shown
from portal.models import Dataset, LabelEvent
from tests.portal import factories
from tests.portal.intake.sources import published
from tests.portal.intake.sources.published import counts_of, film_named, label_of, run

pytestmark = [pytest.mark.django_db]


def read(film: str, reader: str, *marked: str) -> dict[str, Any]:
    nothing = dict.fromkeys(published.VINDR_FINDINGS, 0)
    return {"image_id": film, "rad_id": reader, **nothing, **dict.fromkeys(marked or ("No finding",), 1)}


def box(film: str, reader: str, finding: str, *corners: float) -> dict[str, Any]:
    places = dict(zip(published.VINDR_BOXES[3:], corners, strict=False))
    return {"image_id": film, "rad_id": reader, "class_name": finding, **places}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    train = [
        *(read("aa", reader) for reader in ("R8", "R9", "R10")),
        *(read("bb", reader, "Cardiomegaly") for reader in ("R8", "R9")),
        read("bb", "R10", "ILD", "Other lesion"),
        read("cc", "R8"),
        read("cc", "R11", "Nodule/Mass"),
    ]
    boxes = [
        box("aa", "R8", "No finding"),
        box("bb", "R8", "Cardiomegaly", 2, 3, 10, 12),
        box("bb", "R9", "Cardiomegaly", 3, 4, 11, 13),
        box("cc", "R11", "Nodule/Mass", 5, 5, 9, 9),
    ]
    annotations = tmp_path / "annotations"
    published.write(annotations / "image_labels_train.csv", ("image_id", "rad_id", *published.VINDR_FINDINGS), train)
    published.write(annotations / "annotations_train.csv", published.VINDR_BOXES, boxes)
    # the table of test has another spelling of a column, and no readers
    columns = ("image_id", *(name.replace("diseases", "disease") for name in published.VINDR_FINDINGS))
    test = [{name: value for name, value in read("dd", "", "Other disease").items() if name in columns}]
    published.write(annotations / "image_labels_test.csv", columns, test)
    published.write(
        annotations / "annotations_test.csv",
        tuple(name for name in published.VINDR_BOXES if name != "rad_id"),
        [{"image_id": "dd", "class_name": "Other lesion", "x_min": 1, "y_min": 1, "x_max": 4, "y_max": 4}],
    )
    for number, name in enumerate(("train/aa", "train/bb", "train/cc", "test/dd")):
        factories.dicom(tmp_path / f"{name}.dicom", seed=number, PatientID=None, PatientAge="061Y")
    return tmp_path


def readings(of: Dataset, film: str) -> dict[str, tuple[str, list[str], int]]:
    events = LabelEvent.objects.filter(image=film_named(of, film)).order_by("pk")
    return {event.reader: (event.value, event.findings, len(event.boxes)) for event in events}


def test_each_reader_has_a_reading(of: Dataset, folder: Path) -> None:
    assert counts_of(run(of, "vindr", folder)) == {"imported": 4}
    assert readings(of, "aa.dicom") == {reader: ("normal", [], 0) for reader in ("R8", "R9", "R10")}
    assert readings(of, "bb.dicom") == {
        "R8": ("abnormal", ["Cardiomegaly"], 1),
        "R9": ("abnormal", ["Cardiomegaly"], 1),
        "R10": ("abnormal", ["ILD", "Other lesion"], 0),
    }


def test_the_label_is_what_the_readers_agree_on(of: Dataset, folder: Path) -> None:
    run(of, "vindr", folder)
    assert label_of(of, "aa.dicom") == ("normal", [], "reader")
    assert label_of(of, "bb.dicom") == ("abnormal", ["Cardiomegaly", "ILD", "Other lesion"], "reader")
    assert film_named(of, "cc.dicom").current_label.value == "unresolved"
    assert label_of(of, "dd.dicom") == ("abnormal", ["Other disease"], "reader")
    assert len(boxes_shown(film_named(of, "bb.dicom").label_events.order_by("pk"))) == 2
    assert [film_named(of, name).csv_split for name in ("aa.dicom", "dd.dicom")] == ["train", "test"]


def test_a_film_that_a_person_reads_has_their_label(of: Dataset, folder: Path) -> None:
    run(of, "vindr", folder)
    film = film_named(of, "cc.dicom")
    factories.label_films(images=[film], value="abnormal", author=factories.curator(), site=of.site)
    assert label_of(of, "cc.dicom")[0] == "abnormal"


def test_an_import_again_changes_only_what_a_reader_says_otherwise(of: Dataset, folder: Path) -> None:
    run(of, "vindr", folder)
    table = folder / "annotations" / "image_labels_train.csv"
    changed = [read("cc", "R8", "Nodule/Mass"), read("cc", "R11", "Nodule/Mass")]
    published.write(table, ("image_id", "rad_id", *published.VINDR_FINDINGS), changed)
    assert counts_of(run(of, "vindr", folder)) == {"there already": 2, "label events": 1}
    assert label_of(of, "cc.dicom") == ("abnormal", ["Nodule/Mass"], "reader")


def test_without_a_table_of_labels_it_is_refused(of: Dataset, tmp_path: Path) -> None:
    factories.dicom(tmp_path / "train" / "aa.dicom")
    with pytest.raises(InvalidCsv, match=r"imported with its table image_labels_train.csv, image_labels_test.csv"):
        run(of, "vindr", tmp_path)
