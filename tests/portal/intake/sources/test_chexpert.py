"""CheXpert as it was published: -1 is unsure, devices are no finding, train is mined by software and valid was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.intake.tables import InvalidCsv
from portal.models import Dataset
from tests.portal import factories
from tests.portal.intake.sources import published
from tests.portal.intake.sources.published import counts_of, film_named, label_of, run

pytestmark = [pytest.mark.django_db]


def row(path: str, **fields: Any) -> dict[str, Any]:
    facts = {"Sex": "Female", "Age": 68, "Frontal/Lateral": "Frontal", "AP/PA": "PA"}
    return {"Path": f"CheXpert-v1.0-small/{path}", **facts, **fields}


def film(patient: int, view: int = 1, folder: str = "train", side: str = "frontal") -> str:
    return f"{folder}/patient{patient:05}/study1/view{view}_{side}.jpg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    train = [
        row(film(1), **{"No Finding": "1.0", "Support Devices": "1.0"}),
        row(film(2), **{"Edema": "1.0", "Pneumonia": "-1.0", "Support Devices": "1.0"}),
        row(film(3), Cardiomegaly="-1.0", Edema="0.0"),
        row(film(4), **{"Support Devices": "1.0"}),
        row(film(5, side="lateral"), **{"Frontal/Lateral": "Lateral", "AP/PA": "", "No Finding": "1.0"}),
        row(film(6), Age=17, **{"No Finding": "1.0"}),
    ]
    nothing = dict.fromkeys(published.CHEXPERT[5:], "0.0")
    valid = [row(film(64541, folder="valid"), **{**nothing, "No Finding": "1.0"})]
    published.write(tmp_path / "train.csv", published.CHEXPERT, train)
    published.write(tmp_path / "valid.csv", published.CHEXPERT, valid)
    for number, each in enumerate([*train, *valid]):
        factories.jpeg(tmp_path / each["Path"].partition("/")[2], seed=number)
    return tmp_path


def test_labels_mean_what_they_say(of: Dataset, folder: Path) -> None:
    assert counts_of(run(of, "chexpert", folder)) == {
        "imported": 5,
        "left out: another view": 1,
        "left out: under 18": 1,
    }
    assert label_of(of, film(1)) == ("normal", [], "software")
    assert film_named(of, film(1)).current_label.attributes == ["device"]
    assert label_of(of, film(2)) == ("abnormal", ["Edema"], "software")
    assert film_named(of, film(2)).extra == {"unsure of": "Pneumonia"}
    assert label_of(of, film(3)) == ("unsure", ["Cardiomegaly"], "software")
    assert not hasattr(film_named(of, film(4)), "current_label")
    assert label_of(of, film(64541, folder="valid")) == ("normal", [], "reader")


def test_facts_of_a_film(of: Dataset, folder: Path) -> None:
    run(of, "chexpert", folder, views="all")
    one = film_named(of, film(1))
    assert (one.view_position, one.csv_split, one.patient.sex, one.patient.age_band) == ("PA", "train", "F", "60-69")
    assert film_named(of, film(64541, folder="valid")).csv_split == "tune"
    assert film_named(of, film(5, side="lateral")).view_position == "LATERAL"
    assert one.original_name == film(1)  # without the folder of the size, so that another size names the same films


def test_labels_that_other_software_made_are_not_taken_for_those_of_the_dataset(of: Dataset, folder: Path) -> None:
    other = [row(film(1), Fracture="1.0"), row(film(3), Fracture="1.0")]
    for name in ("train_cheXbert.csv", "train_visualCheXbert.csv"):
        published.write(folder / name, published.CHEXPERT, other)
    batch = folder / "CheXpert-v1.0 batch 1 (validate & csv)"  # as Stanford's whole set lies in folders
    batch.mkdir()
    (folder / "train.csv").rename(batch / "train.csv")
    run(of, "chexpert", folder)
    assert label_of(of, film(1)) == ("normal", [], "software")
    assert label_of(of, film(3)) == ("unsure", ["Cardiomegaly"], "software")


def test_two_tables_of_one_part_are_refused(of: Dataset, folder: Path) -> None:
    published.write(folder / "another.csv", published.CHEXPERT, [row(film(1), Fracture="1.0")])
    with pytest.raises(InvalidCsv, match="both label the part train of CheXpert; keep one of them"):
        run(of, "chexpert", folder)
    assert not of.images.exists()


def test_the_table_of_test_has_labels_alone(of: Dataset, folder: Path) -> None:
    columns = ("Path", *published.CHEXPERT[5:])
    nothing = dict.fromkeys(columns[1:], "0.0")
    test = [
        {"Path": film(64741, folder="test"), **nothing, "No Finding": "1.0"},
        {"Path": film(64742, folder="test"), **nothing, "Edema": "1.0"},
        {"Path": film(64742, view=2, folder="test", side="lateral"), **nothing, "Edema": "1.0"},
    ]
    published.write(folder / "test_labels.csv", columns, test)
    for number, each in enumerate(test):
        factories.jpeg(folder / each["Path"], seed=50 + number)
    assert counts_of(run(of, "chexpert", folder))["left out: another view"] == 2  # and that of train
    assert label_of(of, film(64741, folder="test")) == ("normal", [], "reader")
    assert label_of(of, film(64742, folder="test")) == ("abnormal", ["Edema"], "reader")
    assert film_named(of, film(64741, folder="test")).csv_split == "test"
