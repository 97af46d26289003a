"""Test takes labels that software did not mine from reports, where there are such; the paper's split by a seed."""

from __future__ import annotations

from typing import Any

import pytest

from portal.models import Dataset, Image, Split, SplitImage
from portal.sets.patient_draw import FilmNumbers
from portal.sets.splits import (
    MINED,
    ONE_EACH,
    InvalidSplit,
    SplitRequest,
    draw_split,
    split_by_numbers,
)
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
SHARES = {"fit": 0.5, "test": 0.5}


@pytest.fixture
def of() -> Dataset:
    return factories.dataset("PadChest")


def film(of: Dataset, person: str, value: str, origin: str, view: str = "PA") -> Image:
    image = factories.film(of, person=person, view=view)
    factories.event(image, value, origin=origin)
    return image


def request(of: Dataset, **changes: Any) -> SplitRequest:
    author = factories.user("ann", factories.Role.CURATOR, at=of.site)
    return SplitRequest(**{"site": of.site, "name": "S", "datasets": [of], "seed": 0, "author": author} | changes)


def origins_of_test(split: Split) -> set[str]:
    films = SplitImage.objects.filter(member__split=split, member__part="test")
    return set(films.values_list("image__current_label__origin", flat=True))


def test_test_takes_films_that_physicians_labelled(of: Dataset) -> None:
    for number in range(12):
        film(of, f"p{number}", "normal" if number % 2 else "abnormal", "software" if number % 3 else "report")
    split = draw_split(request(of), fractions=SHARES)
    assert origins_of_test(split) == {"report"}
    assert split.counts["left_out"][MINED] > 0
    assert "mined_in_test" not in split.counts


def test_on_request_or_where_there_is_nothing_else_test_takes_them_and_says_so(of: Dataset) -> None:
    for number in range(12):
        film(of, f"p{number}", "normal", "software")
    split = draw_split(request(of), fractions=SHARES)
    assert (split.counts["mined_in_test"], MINED in split.counts["left_out"]) == (6, False)
    film(of, "q", "normal", "report")
    again = draw_split(
        SplitRequest(**{**vars(request_of(split)), "name": "T", "mined_in_test": True}), fractions=SHARES
    )
    assert again.counts["mined_in_test"] >= 5


def request_of(split: Split) -> SplitRequest:
    assert split.created_by is not None
    return SplitRequest(site=split.site, name="S", datasets=list(split.datasets.all()), seed=0, author=split.created_by)


@pytest.mark.slow
def test_the_split_of_the_paper_takes_its_numbers_by_a_seed(of: Dataset) -> None:
    for number in range(9):
        film(of, f"n{number}", "normal", "report")
        film(of, f"n{number}", "normal", "report")
        film(of, f"m{number}", "normal", "software")
        film(of, f"a{number}", "abnormal", "report")
        film(of, f"b{number}", "abnormal", "software")
        film(of, f"l{number}", "normal", "report", view="LATERAL")
    numbers = FilmNumbers(fit=7, test_normal=5, test_abnormal=6)
    split = split_by_numbers(request(of), numbers=numbers)
    assert split.counts["parts"] == {"fit": {"normal": 7}, "test": {"normal": 5, "abnormal": 6}}
    assert origins_of_test(split) == {"report"}
    assert split.counts["left_out"][ONE_EACH] == 9
    assert (split.origin, split.fractions) == ("paper", {"fit": 7, "test_normal": 5, "test_abnormal": 6})
    again = split_by_numbers(SplitRequest(**{**vars(request_of(split)), "name": "T"}), numbers=numbers)
    assert films_of(again) == films_of(split)
    with pytest.raises(InvalidSplit, match="Too few patients: the split takes 1182 normal films for test"):
        split_by_numbers(SplitRequest(**{**vars(request_of(split)), "name": "U"}), numbers=FilmNumbers())


def films_of(split: Split) -> set[tuple[int, str]]:
    return set(SplitImage.objects.filter(member__split=split).values_list("image_id", "member__part"))
