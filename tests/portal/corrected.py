"""Films that come again with another header, as files and as rows that wait for a decision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db.models import QuerySet

from portal.intake.entries import entries_of_folder
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.models import Dataset, HeaderDifference, Upload, User
from tests.portal import factories

FIRST = {
    "PatientID": "12",
    "StudyInstanceUID": "1.2.3.1",
    "AcquisitionDate": "20240101",
    "ViewPosition": "PA",
    "PixelSpacing": [0.14, 0.14],
    "WindowCenter": "2000",
    "WindowWidth": "4000",
    "PatientSex": "F",
    "PatientAge": "051Y",
}


def export(path: Path, *, seed: int = 1, **header: Any) -> None:
    """A DICOM file with the pixels of `seed`. Elements that are None are left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    factories.dicom(path, seed=seed, **{**FIRST, **header})


def run(of: Dataset, folder: Path, *, by: User | None = None, takes_new_facts: bool = False) -> ImportReport:
    report = ImportReport(takes_new_facts=takes_new_facts)
    entries = entries_of_folder(folder, None, None, report)
    return import_entries(
        upload=Upload.objects.create(dataset=of, uploaded_by=by), entries=entries, report=report, actor=by
    )


def come_again(of: Dataset, folder: Path, *, films: int = 1, **header: Any) -> QuerySet[HeaderDifference]:
    """Films of the dataset, each of a patient of its own, that came again with these elements changed: what waits."""
    for seed in range(1, films + 1):
        export(folder / "first" / f"{seed}.dcm", seed=seed, PatientID=str(seed))
        export(folder / "second" / f"{seed}.dcm", seed=seed, **{"PatientID": str(seed), **header})
    run(of, folder / "first")
    run(of, folder / "second")
    return HeaderDifference.objects.filter(image__dataset=of, state="pending")
