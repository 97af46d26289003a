"""Values of a header that may be malformed in any way."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from portal.imaging import elements
from portal.imaging.errors import UnusableFile


def header(**values: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def test_absent_and_empty_elements_have_no_value() -> None:
    for ds in (header(), header(WindowCenter=None, PatientID="")):
        assert elements.values(ds, "WindowCenter") == []
        assert elements.number(ds, "WindowCenter") is None
        assert elements.whole(ds, "WindowCenter") is None
        assert elements.text(ds, "PatientID") == ""
        assert elements.items(ds, "VOILUTSequence") == []


def test_the_first_of_several_values_counts() -> None:
    ds = header(WindowCenter=[40.5, 50], Rows=12, PatientID="P1 ")
    assert elements.numbers(ds, "WindowCenter") == [40.5, 50.0]
    assert (elements.number(ds, "WindowCenter"), elements.whole(ds, "Rows")) == (40.5, 12)
    assert elements.text(ds, "PatientID") == "P1"


def test_a_fraction_is_not_a_whole_number() -> None:
    with pytest.raises(UnusableFile, match="WindowCenter holds a malformed value"):
        elements.whole(header(WindowCenter="1.5"), "WindowCenter")


def test_the_message_names_the_element_and_never_quotes_the_value() -> None:
    ds = header()
    ds[Tag("WindowCenter")] = RawDataElement(Tag("WindowCenter"), "DS", 6, b"secret", 0, False, True)
    with pytest.raises(UnusableFile) as refused:
        elements.numbers(ds, "WindowCenter")
    assert "WindowCenter" in str(refused.value) and "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_an_element_that_is_not_a_sequence_is_refused() -> None:
    with pytest.raises(UnusableFile, match="PatientID"):
        elements.items(header(PatientID="P1"), "PatientID")
