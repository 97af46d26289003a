"""One PACS for all tests of DICOMweb of a process; each test begins with an empty one."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.portal import factories
from tests.portal.dicomweb.pacs import Pacs, running_pacs

STUDY = "1.2.826.0.1.3680043.8.498.{}"


@pytest.fixture(scope="session")
def _pacs() -> Generator[Pacs]:
    with running_pacs() as pacs:
        yield pacs


@pytest.fixture
def pacs(_pacs: Pacs, settings: object) -> Pacs:
    _pacs.empty()
    settings.PACS_TARGETS = (_pacs.target,)  # type: ignore[attr-defined]
    return _pacs


def study_film(folder: Path, number: int, **elements: object) -> Path:
    """A film of study `number`, of 2026-11-(10 + number), of patient Quagga-`number`."""
    values = {
        "StudyInstanceUID": STUDY.format(number),
        "SeriesInstanceUID": STUDY.format(f"{number}.1"),
        "StudyDate": f"202611{10 + number:02}",
        "PatientID": f"Quagga-{number}",
        **elements,
    }
    return factories.dicom(folder / f"{number}-{len(list(folder.iterdir()))}.dcm", seed=number, **values)
