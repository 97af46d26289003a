"""An export of labels says what is there, and an import takes it back without a change."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portal.intake.csv_labels import read_boxes, read_labels
from portal.intake.entries import entries_of, entries_of_folder
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.models import Dataset, LabelEvent, Upload
from portal.sets.label_export import FilmSet, exported_films
from portal.sets.label_files import FILES
from tests.portal import factories

pytestmark = [pytest.mark.django_db]

BOX = {"x": 2.25, "y": 3.0, "width": 4.5, "height": 1 / 3, "finding": "=nodule"}


@pytest.fixture
def of() -> Dataset:
    return factories.dataset("Exported")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Films and a table whose cells a spreadsheet would calculate."""
    rows = [
        {"filename": "=1+1.png", "label": "abnormal", "finding": "-2 opacities|=nodule", "patient_id": "P1", "age": 44},
        {"filename": "b.png", "label": "normal", "attributes": "device", "patient_id": "P1", "projection": "AP"},
        {"filename": "c.png", "label": "unsure", "finding": "'+sign", "patient_id": "P2", "split": "test", "sex": "F"},
        {"filename": "d.png", "label": ""},
        {"filename": "e.png", "label": "exclude", "patient_id": "P3"},
    ]
    for number, row in enumerate(rows):
        factories.png(tmp_path / "films" / str(row["filename"]), seed=number)
    factories.table(tmp_path / "labels.csv", *rows)
    factories.box_table(tmp_path / "boxes.csv", ("=1+1.png", *list(BOX.values())))
    return tmp_path


def imported(of: Dataset, folder: Path, labels: Path, boxes: Path | None = None) -> ImportReport:
    report = ImportReport()
    rows, of_films = read_labels(labels, report.skipped), read_boxes(boxes) if boxes else None
    entries = entries_of_folder(folder / "films", rows, of_films, report)
    return import_entries(upload=Upload.objects.create(dataset=of), entries=entries, report=report, actor=None)


def write(films: FilmSet, folder: Path) -> Path:
    folder.mkdir()
    for name, make in FILES.items():
        (folder / name).write_text("".join(make(exported_films(films))), encoding="utf-8", newline="")
    return folder


def state(of: Dataset) -> dict[str, Any]:
    """What is known of each film, by its name."""
    films = of.images.select_related("patient", "current_label").order_by("original_name")
    events = LabelEvent.objects.filter(image__dataset=of).order_by("pk")
    boxes = {event.image_id: event.boxes for event in events}
    known: dict[str, Any] = {}
    for film in films:
        label = getattr(film, "current_label", None)
        of_label = (label.value, label.findings, label.attributes, label.origin) if label else None
        facts = (film.patient_id, film.patient.sex, film.view_position, film.csv_split, film.header.get("age_years"))
        known[film.original_name] = (of_label, boxes.get(film.pk, []), facts)
    return known


def without_image(path: Path) -> list[dict[str, str]]:
    """The rows, without the UUIDs of the films, which are others."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: value for name, value in row.items() if name != "image"} for row in csv.DictReader(file)]


def test_import_takes_the_export_into_a_new_dataset_as_it_is(of: Dataset, folder: Path) -> None:
    imported(of, folder, folder / "labels.csv", folder / "boxes.csv")
    out = write(of, folder / "out")
    again = factories.dataset("Again")
    imported(again, folder, out / "labels.csv", out / "boxes.csv")
    before, after = state(of), state(again)
    film_without_patient = after.pop("d.png"), before.pop("d.png")
    assert after == before
    assert film_without_patient[0][0] == film_without_patient[1][0]
    assert before["=1+1.png"][0] == ("abnormal", ["-2 opacities", "=nodule"], [], "")
    assert before["=1+1.png"][1] == [BOX]
    twice = write(again, folder / "out 2")
    for name in ("labels.csv", "boxes.csv"):
        assert without_image(twice / name) == without_image(out / name)


def test_import_of_the_export_changes_nothing_of_the_dataset(of: Dataset, folder: Path) -> None:
    imported(of, folder, folder / "labels.csv", folder / "boxes.csv")
    film = of.images.get(original_name="b.png")
    factories.label_films(images=[film], value="abnormal", author=factories.curator(), site=of.site)
    out = write(of, folder / "out")
    events = LabelEvent.objects.count()
    report = ImportReport()
    rows, boxes = read_labels(out / "labels.csv", report.skipped), read_boxes(out / "boxes.csv")
    entries = entries_of([], rows, boxes, report)
    import_entries(upload=Upload.objects.create(dataset=of), entries=entries, report=report, actor=None)
    assert LabelEvent.objects.count() == events
    counts = {str(name): count for name, count in report.counts.items() if count}
    assert counts == {"labels unchanged": 3, "labels of people": 1, "rows without a label": 1}


def test_no_cell_is_a_formula(of: Dataset, folder: Path) -> None:
    imported(of, folder, folder / "labels.csv", folder / "boxes.csv")
    for name in ("labels.csv", "boxes.csv", "history.csv"):
        for row in csv.reader(io.StringIO("".join(FILES[name](exported_films(of))))):
            assert not [cell for cell in row if cell[:1] in "=+-@\t\r" and cell]
    assert json.loads("".join(FILES["labels.json"](exported_films(of))))["films"][0]["filename"] == "=1+1.png"


def test_several_readers_of_a_film_go_out_and_come_back(of: Dataset, folder: Path) -> None:
    (film,) = factories.films(of, unlabelled=1)
    for reader, value, box in (("R8", "normal", []), ("R9", "abnormal", [BOX]), ("R10", "normal", [])):
        factories.event(film, value, reader=reader, origin="reader", boxes=box, findings=["nodule"] if box else [])
    out = write(of, folder / "out")
    rows = read_labels(out / "labels.csv")
    boxes = read_boxes(out / "boxes.csv")
    (entry,) = entries_of([], rows, boxes, ImportReport())
    assert entry.row is not None
    assert [(each.reader, each.label, each.findings, len(each.boxes)) for each in entry.row.readings] == [
        ("R8", "normal", (), 0),
        ("R9", "abnormal", ("nodule",), 1),
        ("R10", "normal", (), 0),
    ]
    report = ImportReport()
    import_entries(upload=Upload.objects.create(dataset=of), entries=[entry], report=report, actor=None)
    assert report.counts["labels unchanged"] == 1
    film.current_label.refresh_from_db()
    assert film.current_label.value == "unresolved"


def test_the_history_has_every_event(of: Dataset, folder: Path) -> None:
    (film,) = factories.films(of, abnormal=1)
    ann = factories.curator("ann")
    factories.label_films(images=[film], value="normal", author=ann, site=of.site, reason="seen twice")
    rows = list(csv.DictReader(io.StringIO("".join(FILES["history.csv"](exported_films(of))))))
    assert [(row["source"], row["author"], row["label"], row["reason"]) for row in rows] == [
        ("import", "", "abnormal", ""),
        ("reader", "ann", "normal", "seen twice"),
    ]
    assert {row["film"] for row in rows} == {str(film.uuid)}
    whole = json.loads("".join(FILES["labels.json"](exported_films(of))))["films"][0]
    assert (whole["label"], [event["label"] for event in whole["history"]]) == ("normal", ["abnormal", "normal"])


def test_boxes_as_coco(of: Dataset) -> None:
    (film, other) = factories.films(of, unlabelled=2)
    factories.event(film, "abnormal", boxes=[BOX, {**BOX, "finding": ""}])
    factories.event(other, "normal")
    coco = json.loads("".join(FILES["boxes.coco.json"](exported_films(of))))
    assert [(image["id"], image["width"], image["height"]) for image in coco["images"]] == [(1, 20, 24), (2, 20, 24)]
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert [names[each["category_id"]] for each in coco["annotations"]] == ["=nodule", "abnormality"]
    assert coco["annotations"][0]["bbox"] == [2.25, 3.0, 4.5, 1 / 3]
    np.testing.assert_allclose(coco["annotations"][0]["area"], 1.5)
