"""NIH ChestX-ray14 as it was published: no finding of a report is normal by software, boxes are a radiologist's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.intake.sources.nih import patient_of
from portal.models import Dataset, LabelEvent
from tests.portal import factories
from tests.portal.intake.sources import published
from tests.portal.intake.sources.published import counts_of, film_named, label_of, run

pytestmark = [pytest.mark.django_db]


def row(name: str, labels: str, patient: int, **fields: Any) -> dict[str, Any]:
    facts = {"Follow-up #": 0, "Patient Age": 58, "Patient Gender": "M", "View Position": "PA"}
    return {"Image Index": name, "Finding Labels": labels, "Patient ID": patient, **facts, **fields}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ("00000001_000.png", "00000002_000.png", "00000003_000.png", "00000004_000.png")
    rows = [
        row(names[0], "No Finding", 1),
        row(names[1], "Infiltration|Effusion", 2, **{"View Position": "AP"}),
        row(names[2], "No Finding", 3, **{"Patient Age": 12}),
        row(names[3], "Hernia", 4, **{"Patient Age": 414}),  # as published
    ]
    published.write(tmp_path / "Data_Entry_2017_v2020.csv", published.NIH, rows)
    (tmp_path / "BBox_List_2017.csv").write_text(
        f"Image Index,Finding Label,Bbox [x,y,w,h],,,\n{names[1]},Infiltrate,4.5,6.25,8,10.5,,,\n"
    )
    (tmp_path / "train_val_list.txt").write_text(f"{names[0]}\n{names[3]}\n")
    (tmp_path / "test_list.txt").write_text(f"{names[1]}\n")
    for number, name in enumerate(names):
        factories.png_8bit(tmp_path / "images_001" / "images" / name, seed=number)
    return tmp_path


def test_labels_boxes_and_parts(of: Dataset, folder: Path) -> None:
    assert counts_of(run(of, "nih", folder)) == {"imported": 3, "left out: under 18": 1}
    assert label_of(of, "1_000.png") == ("normal", [], "software")
    assert label_of(of, "2_000.png") == ("abnormal", ["Infiltration", "Effusion"], "software")
    box = {"x": 4.5, "y": 6.25, "width": 8.0, "height": 10.5, "finding": "Infiltration"}
    assert LabelEvent.objects.get(image=film_named(of, "2_000.png")).boxes == [box]
    assert [film_named(of, end).csv_split for end in ("1_000.png", "2_000.png", "4_000.png")] == [
        "train",
        "test",
        "train",
    ]


def test_facts_of_a_film(of: Dataset, folder: Path) -> None:
    run(of, "nih", folder)
    film = film_named(of, "2_000.png")
    assert (film.view_position, film.patient.sex, film.patient.age_band) == ("AP", "M", "50-59")
    assert film_named(of, "4_000.png").patient.age_band == ""  # 414 is no age


def test_patients_of_two_sets_are_not_the_same() -> None:
    assert patient_of("1") == patient_of("00000001") == "NIH ChestX-ray14 1"
