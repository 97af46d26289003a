"""Numbers lose what makes a record number, rare values of a category become one. (What may be declared is tested with
the mappings, in `test_meaning`.)"""

from __future__ import annotations

import pytest

from portal.intake.further_columns import is_age, is_date, number_of, with_rare_together


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        *[("24.3171", "24.32"), ("24,3", "24.3"), ("-1e3", "-1000"), ("10023456", "1.002e+07"), ("0", "0")],
        *[("20240131", ""), ("about 30", ""), ("", ""), ("nan", ""), ("inf", ""), ("1,234.5", "")],
    ],
)
def test_numbers_have_four_significant_digits(written: str, kept: str) -> None:
    assert number_of(written) == kept


def test_ages_above_89_are_together() -> None:
    assert [number_of(text, of_age=True) for text in ("89", "90", "104.5")] == ["89", "90", "90"]
    assert [is_age(name) for name in ("age", "AgeAtScan", "Alter (Jahre)", "stage", "dosage")] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31",
        "20240131",
        "31.1.24",
        "1/31/2024",
        "31 Jan 2024",
        "January 31, 2024",
        "10:15",
        "2024-01-31 10:15:00",
    ],
)
def test_dates_and_times(text: str) -> None:
    assert is_date(text)


@pytest.mark.parametrize("text", ["24", "1.5", "120/80", "never", "DX 4", "12345", "T1 2"])
def test_no_dates(text: str) -> None:
    assert not is_date(text)


def test_rare_values_become_one() -> None:
    kept = with_rare_together(["never"] * 6 + ["Never"] * 4 + ["ex"] * 9 + ["31.1.2024"] * 10 + [""] * 50)
    assert kept == {"never": "never", "Never": "never", "ex": "other (rare)", "31.1.2024": "other (rare)"}


def test_a_category_has_at_most_twenty_values() -> None:
    kept = with_rare_together(f"v{n % 25}" for n in range(500))
    assert len(set(kept.values())) == 21
