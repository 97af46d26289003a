"""What waits for a decision, as rows for page and API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.intake import corrections
from portal.intake.correction_rows import counts_of, rows_of, waiting_in
from portal.models import Dataset
from tests.portal import factories
from tests.portal.corrected import come_again, export, run

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


def test_rows_show_old_beside_new_and_counts_are_by_fact(of: Dataset, tmp_path: Path) -> None:
    come_again(of, tmp_path, films=2, ViewPosition="AP", PixelSpacing=[0.2, 0.2], AcquisitionDate="20231231")
    rows = rows_of(waiting_in(of))
    assert [(row.difference.fact, row.old, row.new) for row in rows[:3]] == [
        ("acquisition date", "known", "1 day earlier"),
        ("spacing", "0.14 × 0.14 mm (patient plane)", "0.2 × 0.2 mm (patient plane)"),
        ("view", "PA", "AP"),
    ]
    assert counts_of(of) == {"acquisition date": 2, "view": 2, "spacing": 2}
    assert waiting_in(of, "view").count() == 2
    assert not waiting_in(factories.dataset("Other")).exists()


def test_a_day_is_compared_under_the_shift_of_the_patient_of_now(of: Dataset, tmp_path: Path) -> None:
    rows = come_again(of, tmp_path, PatientID="Other", AcquisitionDate="20240111")
    before = next(row for row in rows_of(waiting_in(of)) if row.difference.fact == "acquisition date")
    corrections.take(rows.filter(fact="patient"), actor=None)
    (after,) = rows_of(waiting_in(of))
    assert before.new == after.new == "10 days later"


def test_a_day_of_a_film_without_a_patient_becomes_known(of: Dataset, tmp_path: Path) -> None:
    export(tmp_path / "first" / "a.dcm", PatientID=None)
    run(of, tmp_path / "first")
    export(tmp_path / "second" / "a.dcm")
    run(of, tmp_path / "second")
    rows = {row.difference.fact: (row.old, row.new) for row in rows_of(waiting_in(of))}
    assert rows["acquisition date"] == ("not known", "known")
