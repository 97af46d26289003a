"""Whose the files in quarantine are, by the table that named them and by their headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.intake.quarantined_patients import kept_at, quarantined_of
from portal.models import Dataset, QuarantinedFile
from tests.portal import factories
from tests.portal.intake.test_films import run

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


def ct(path: Path, seed: int, patient: str | None) -> Path:
    return factories.dicom(path, seed=seed, Modality="CT", PatientID=patient)


def test_files_are_found_by_header_and_by_table_in_any_spelling(of: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    ct(folder / "a.dcm", 1, "00012")
    ct(folder / "b.dcm", 2, "13")
    ct(folder / "c.dcm", 3, None)
    cut = factories.dicom(folder / "d.dcm", seed=4, PatientID="00012")
    cut.write_bytes(cut.read_bytes()[:-300])
    run(of, folder)
    for path in folder.iterdir():
        path.unlink()
    factories.colour_png(folder / "e.png")
    run(of, folder, labels=factories.table(folder / "l.csv", {"filename": "e.png", "patient_id": "12.0"}))
    patient = factories.film(of, "normal", person="00012").patient
    found = quarantined_of(patient)
    reasons = sorted(file.reason for file in found.files)
    assert (reasons, found.nameless) == (["colour", "not_a_radiograph", "truncated"], 1)
    assert kept_at(of.site) == QuarantinedFile.objects.count() == 5


def test_without_a_file_in_quarantine_nothing_is_started(of: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("portal.intake.quarantined_patients.Decoder")
    found = quarantined_of(factories.film(of, "normal", person="one").patient)
    assert (found.files, found.nameless) == ([], 0)
