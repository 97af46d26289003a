"""A CSV labels films that are in the dataset, found by name or UUID, and never before their readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.intake.csv_labels import InvalidCsv, read_boxes, read_labels
from portal.intake.entries import NamedFile, entries_of
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.models import CurrentLabel, Dataset, Image, LabelEvent, Upload
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


def run(of: Dataset, folder: Path, *rows: dict[str, Any], boxes: Any = None, files: Any = None) -> ImportReport:
    report = ImportReport()
    table = folder / "l.csv"
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    read = read_boxes(factories.box_table(folder / "b.csv", *boxes)) if boxes is not None else None
    entries = entries_of(files or [], read_labels(table), read, report)
    return import_entries(upload=Upload.objects.create(dataset=of), entries=entries, report=report, actor=None)


def label_of(film: Image) -> tuple[str, list[str], str]:
    label = CurrentLabel.objects.get(image=film)
    return label.value, label.findings, label.source


def test_a_film_is_found_by_its_name_or_its_last_part(of: Dataset, tmp_path: Path) -> None:
    first, second = (factories.film(of, original_name=name) for name in ("x/a.png", "b.png"))
    report = run(
        of,
        tmp_path,
        {"filename": "a.png", "label": "abnormal", "finding": "nodule|mass"},
        {"filename": "b.png", "label": "normal"},
        {"filename": "y/b.png", "label": "abnormal"},
    )
    assert report.to_json() == {"labelled": 2, "missing": 1}
    assert label_of(first) == ("abnormal", ["nodule", "mass"], "import")
    assert label_of(second) == ("normal", [], "import")


def test_a_name_of_several_films_labels_none_but_the_path_does(of: Dataset, tmp_path: Path) -> None:
    films = [factories.film(of, original_name=name) for name in ("x/a.png", "y/a.png", "twice.png", "twice.png")]
    rows = [{"filename": name, "label": "normal"} for name in ("a.png", "twice.png", "y/a.png")]
    report = run(of, tmp_path, *rows, boxes=[["a.png", 1, 2, 3, 4, ""]])
    assert report.to_json() == {"labelled": 1, "ambiguous names": 2, "boxes left aside": 1}
    assert LabelEvent.objects.get().image == films[1]
    assert "2 names of the CSV stand for several films" in " ".join(report.sentences())


def test_a_film_is_found_by_its_uuid(of: Dataset, tmp_path: Path) -> None:
    film, elsewhere = factories.film(of), factories.film(factories.dataset("Other"))
    rows = [{"image": image.uuid, "label": "abnormal"} for image in (film, elsewhere)]
    (tmp_path / "b.csv").write_text(f"image,x,y,width,height\n{film.uuid},1,2,3,4\n")
    assert read_boxes(tmp_path / "b.csv")[str(film.uuid)][0].width == 3
    assert run(of, tmp_path, *rows).to_json() == {"labelled": 1, "missing": 1}
    assert LabelEvent.objects.get().image == film
    assert elsewhere.label_events.count() == 0


def test_a_column_image_that_holds_no_uuid_is_a_further_column(of: Dataset, tmp_path: Path) -> None:
    row = read_labels(_written(tmp_path, "filename,image\na.png,left one\n"))["a.png"]
    assert (row.image, dict(row.extra)) == ("", {})
    with pytest.raises(InvalidCsv, match="line 2: the image is not the UUID of a film"):
        read_labels(_written(tmp_path, "image,label\nleft one,normal\n"))


def _written(folder: Path, text: str) -> Path:
    (folder / "t.csv").write_text(text)
    return folder / "t.csv"


def test_a_second_import_counts_what_it_changes(of: Dataset, tmp_path: Path) -> None:
    for name in "abc":
        factories.film(of, original_name=f"{name}.png")
    rows = [{"filename": f"{name}.png", "label": "normal"} for name in "ab"]
    assert run(of, tmp_path, *rows).to_json() == {"labelled": 2}
    again = run(of, tmp_path, rows[0], {"filename": "b.png", "label": "abnormal"}, {"filename": "c.png"})
    assert again.to_json() == {"labels changed": 1, "labels unchanged": 1, "rows without a label": 1}
    assert "1 film that is there has another imported label than before" in again.sentences()
    assert LabelEvent.objects.count() == 3


def test_boxes_come_with_the_labels(of: Dataset, tmp_path: Path) -> None:
    film = factories.film(of, original_name="a.png")
    row = {"filename": "a.png", "label": "abnormal"}
    run(of, tmp_path, row, boxes=[["a.png", 1, 2, 3, 4, "nodule"]])
    box = {"x": 1, "y": 2, "width": 3, "height": 4, "finding": "nodule"}
    assert film.label_events.get().boxes == [box]
    assert run(of, tmp_path, row).to_json() == {"labels unchanged": 1}  # no table of boxes removes none


def test_readers_labels_stay(of: Dataset, tmp_path: Path) -> None:
    film = factories.film(of, "normal", original_name="a.png")
    factories.event(film, "abnormal", factories.curator("ann"), findings=["nodule"])
    report = run(of, tmp_path, {"filename": "a.png", "label": "unsure"})
    assert report.to_json() == {"labels changed": 1, "readers' labels stay": 1}
    assert label_of(film) == ("abnormal", ["nodule"], "reader")


def test_a_name_of_several_files_of_the_import_names_no_film(of: Dataset, tmp_path: Path) -> None:
    """Else the row of the ambiguous name would label a film that this import brings."""
    factories.film(of, original_name="old.png")
    names = ("x/a.png", "y/a.png")
    files = [NamedFile(name, factories.png(tmp_path / name, seed=seed)) for seed, name in enumerate(names)]
    rows = [{"filename": name, "label": "normal"} for name in ("x/a.png", "a.png", "old.png")]
    report = run(of, tmp_path, *rows, files=files)
    assert report.to_json() == {"imported": 1, "labelled": 1, "not in the CSV": 1, "ambiguous files": 1}
    assert [row.filename for row in report.ambiguous] == ["a.png"]


def test_a_film_is_found_without_regard_to_case_and_ending(of: Dataset, tmp_path: Path) -> None:
    for name in ("x/IMG_1.PNG", "RA-2.dcm"):
        factories.film(of, original_name=name)
    report = run(of, tmp_path, {"filename": "img_1.png", "label": "normal"}, {"filename": "RA-2", "label": "normal"})
    assert report.to_json() == {"labelled": 2, "matched without case": 1, "matched without ending": 1}


def test_the_films_own_facts_stay(of: Dataset, tmp_path: Path) -> None:
    film = factories.film(of, original_name="a.png", view="PA")
    report = run(of, tmp_path, {"filename": "a.png", "label": "normal", "projection": "AP"})
    assert report.to_json() == {"labelled": 1, "kept as imported": 1}
    film.refresh_from_db()
    assert film.view_position == "PA"
