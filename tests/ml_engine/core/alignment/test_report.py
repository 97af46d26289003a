"""What is measured of an alignment, as JSON and back."""

from __future__ import annotations

import pytest

from ml_engine.core.alignment.report import AlignmentMeasures, KnownMeasures
from ml_engine.core.json_objects import IncompleteJson
from tests.ml_engine import reports


def test_measures_come_back_with_what_was_measured_and_no_more() -> None:
    plain = reports.alignment_measures()
    full = reports.alignment_measures(known=reports.KNOWN, consistency=reports.LEFT, landmarks=reports.LANDMARKS)
    for measures in (plain, full):
        assert AlignmentMeasures.from_json(measures.to_json()) == measures
    assert set(full.to_json()) - set(plain.to_json()) == {"known", "consistency", "landmarks"}


def test_what_known_affines_tell_is_part_of_the_measures() -> None:
    told = KnownMeasures(known=reports.KNOWN, consistency=reports.LEFT).to_json()
    measures = AlignmentMeasures.from_json(reports.alignment_measures().to_json() | told)
    assert (measures.known, measures.consistency) == (reports.KNOWN, reports.LEFT)
    assert KnownMeasures().to_json() == {}


def test_a_missing_measure_is_named() -> None:
    values = reports.alignment_measures(known=reports.KNOWN).to_json()
    del values["known"]["after"]["shift_median_px"]
    with pytest.raises(IncompleteJson, match=r"does not hold known.after.shift_median_px: fit the alignment again"):
        AlignmentMeasures.from_json(values)
