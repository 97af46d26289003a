"""MIMIC-CXR-JPG as it was published, with packed tables: labels are those of the study, and a radiologist's count."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from portal.models import Dataset
from tests.portal import factories
from tests.portal.intake.sources import published
from tests.portal.intake.sources.published import counts_of, film_named, label_of, run

pytestmark = [pytest.mark.django_db]

ONE, TWO, THREE, FOUR = (f"{number}2aa804e-bde0afdd-112c0b34-7bc16630-4e384014" for number in range(4))


def film(name: str, study: int, **fields: Any) -> dict[str, Any]:
    return {"dicom_id": name, "subject_id": 10000032, "study_id": study, "ViewPosition": "PA", **fields}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    films = [
        film(ONE, 50414267),
        film(TWO, 50414267, ViewPosition="LATERAL"),
        film(THREE, 53189527, ViewPosition="", ViewCodeSequence_CodeMeaning="antero-posterior"),
        film(FOUR, 53911762),
    ]
    labels = [
        {"subject_id": 10000032, "study_id": 50414267, "No Finding": "1.0"},
        {"subject_id": 10000032, "study_id": 53189527, "Edema": "-1.0"},
        {"subject_id": 10000032, "study_id": 53911762, "No Finding": "1.0"},
    ]
    packed(published.write(tmp_path / "mimic-cxr-2.0.0-metadata.csv", published.MIMIC_FILMS, films))
    packed(published.write(tmp_path / "mimic-cxr-2.0.0-chexpert.csv", published.MIMIC_LABELS, labels))
    packed(published.write(tmp_path / "mimic-cxr-2.0.0-negbio.csv", published.MIMIC_LABELS, []))
    split = [
        {"dicom_id": name, "study_id": 1, "subject_id": 1, "split": part}
        for name, part in zip((ONE, TWO, THREE, FOUR), ("train", "train", "validate", "test"), strict=True)
    ]
    packed(published.write(tmp_path / "mimic-cxr-2.0.0-split.csv", tuple(split[0]), split))
    names = {"No Finding": "No Findings", "Lung Opacity": "Airspace Opacity"}
    renamed = [names.get(name, name) for name in published.MIMIC_LABELS[1:]]
    read = [{"study_id": 53911762, "Airspace Opacity": "1.0"}]
    published.write(tmp_path / "mimic-cxr-2.1.0-test-set-labeled.csv", renamed, read)
    for number, each in enumerate(films):
        path = f"files/p10/p10000032/s{each['study_id']}/{each['dicom_id']}.jpg"
        factories.jpeg(tmp_path / path, seed=number)
    return tmp_path


def packed(path: Path) -> None:
    with gzip.open(f"{path}.gz", "wb") as file:
        file.write(path.read_bytes())
    path.unlink()


def test_labels_are_those_of_the_study(of: Dataset, folder: Path) -> None:
    assert counts_of(run(of, "mimic", folder)) == {"imported": 3, "left out: another view": 1}
    assert label_of(of, f"{ONE}.jpg") == ("normal", [], "software")
    assert label_of(of, f"{THREE}.jpg") == ("unsure", ["Edema"], "software")
    assert label_of(of, f"{FOUR}.jpg") == ("abnormal", ["Lung Opacity"], "report")
    assert [film_named(of, f"{name}.jpg").csv_split for name in (ONE, THREE, FOUR)] == ["train", "tune", "test"]
    assert [film_named(of, f"{name}.jpg").view_position for name in (ONE, THREE)] == ["PA", "AP"]
    assert len({film_named(of, f"{name}.jpg").patient_id for name in (ONE, THREE, FOUR)}) == 1
