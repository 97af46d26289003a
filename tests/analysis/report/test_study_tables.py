"""The files for R packages."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from analysis.models import Reading
from analysis.reading.study_reference import ReferenceRefused, state_reference
from analysis.report.study_tables import study_csv
from portal.models import User
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, read_study, reader, study

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of(scored: Scored, analyst: User) -> Any:
    return study(scored, analyst)


def test_both_layouts_hold_every_rating_and_the_truth(of: Any, analyst: User) -> None:
    person = reader("=formula")
    read_study(of, person, lambda item, stage: "abnormal" if item.flagged else "normal")
    state_reference(worklist=of, source="ct", statement="CT", author=analyst)
    films = sorted((item for item in items(of) if not item.repeat), key=lambda item: item.position)
    long = list(csv.DictReader(io.StringIO(study_csv(of, "long"))))
    assert len(long) == 2 * len(films)
    assert {row["reader"] for row in long} == {"'=formula"}
    for number, item in enumerate(films, start=1):
        rows = {row["modality"]: row for row in long if row["case"] == str(number)}
        assert set(rows) == {"unaided", "aided"}
        truth = item.image.label_events.get().value == "abnormal"
        for stage, row in rows.items():
            stored = Reading.objects.get(item=item, stage=stage)
            assert (row["truth"], row["rating"]) == (str(int(truth)), str(stored.confidence))
    imrmc = list(csv.reader(io.StringIO(study_csv(of, "imrmc"))))
    assert imrmc[0] == ["readerID", "caseID", "modalityID", "score"]
    assert sum(row[0] == "truth" for row in imrmc) == len(films)
    assert len(imrmc) == 1 + 3 * len(films)


def test_there_is_no_file_without_a_reference_and_a_reader(of: Any, analyst: User) -> None:
    with pytest.raises(ReferenceRefused, match="State first what the readers are compared with"):
        study_csv(of, "long")
    state_reference(worklist=of, source="ct", statement="CT", author=analyst)
    with pytest.raises(ReferenceRefused, match="No reader has read all films yet"):
        study_csv(of, "imrmc")
