"""The date of acquisition: read from the header, shifted by a secret number of days for each patient."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydicom.dataset import Dataset

from portal.imaging.acquisition import LONGEST_SHIFT_DAYS, acquired_on, shifted_day

KEY = b"a secret"


def header(**elements: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of the old form of dates
@pytest.mark.parametrize(
    ("elements", "day"),
    [
        ({"AcquisitionDate": "20190304", "StudyDate": "20190301"}, "2019-03-04"),
        ({"AcquisitionDateTime": "20190304101500.5", "StudyDate": "20190301"}, "2019-03-04"),
        ({"StudyDate": "2019.03.01"}, "2019-03-01"),
        ({"AcquisitionDate": "", "StudyDate": "20190301"}, "2019-03-01"),
        ({"ContentDate": "20190301"}, ""),
        ({}, ""),
    ],
)
def test_the_date_of_acquisition_comes_before_that_of_the_study(elements: dict[str, str], day: str) -> None:
    assert acquired_on(header(**elements)) == day


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("text", ["20191341", "Doe^Jane", "00000000", "2019"])
def test_what_is_no_date_leaves_nothing(text: str) -> None:
    assert acquired_on(header(AcquisitionDate=text)) == ""
    assert acquired_on(header(AcquisitionDate=text, StudyDate="20190301")) == "2019-03-01"


def test_days_between_the_films_of_a_patient_stay() -> None:
    first, second = (shifted_day(KEY, "one", day) for day in ("2019-02-27", "2020-03-01"))
    assert first
    assert second
    assert (second - first).days == 368
    assert 1 <= (date(2019, 2, 27) - first).days <= LONGEST_SHIFT_DAYS


def test_the_shift_differs_by_patient_and_site_and_is_spread() -> None:
    def shift(key: bytes, patient: str) -> int:
        day = shifted_day(key, patient, "2019-02-27")
        assert day
        return (date(2019, 2, 27) - day).days

    shifts = [shift(KEY, f"patient {n}") for n in range(2000)]
    assert len(set(shifts)) > 1200
    assert (min(shifts) < 20, max(shifts) > LONGEST_SHIFT_DAYS - 20) == (True, True)
    assert shift(b"another secret", "patient 0") != shifts[0]


def test_without_a_date_there_is_no_day_and_without_a_key_no_shift() -> None:
    assert shifted_day(KEY, "one", "") is None
    assert shifted_day(KEY, "one", "0001-01-01") is None
    with pytest.raises(ValueError, match="The site key is empty"):
        shifted_day(b"", "one", "2019-02-27")
