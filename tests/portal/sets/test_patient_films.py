"""The other films of a patient, oldest first where dates tell it, and no claim where they do not."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from portal.models import Dataset, Image, Role, User
from portal.sets import patient_films
from portal.sets.patient_films import other_films
from tests.portal import factories

pytestmark = [pytest.mark.django_db]

TODAY = date(2015, 6, 1)


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def ann(of: Dataset) -> User:
    return factories.user("ann", Role.READER)


def film(of: Dataset, days: int | None = None, **fields: Any) -> Image:
    """A film of the patient, this many days after TODAY."""
    day = None if days is None else TODAY + timedelta(days=days)
    return factories.film(of, person="one", acquired_day=day, **fields)


def listed(image: Image, person: User) -> list[tuple[int, str]]:
    return [(other.image.pk, other.when) for other in other_films(image, person).films]


def test_dated_films_are_listed_oldest_first_with_their_days(of: Dataset, ann: User) -> None:
    later, shown, earlier, same = film(of, 1), film(of, 0), film(of, -1412), film(of, 0)
    assert listed(shown, ann) == [
        (earlier.pk, "1,412 days before"),
        (same.pk, "same date"),
        (later.pk, "1 day after"),
    ]
    assert other_films(shown, ann).note == "Oldest to newest."


def test_films_without_a_date_come_last_and_claim_nothing(of: Dataset, ann: User) -> None:
    undated, shown, earlier, second = film(of), film(of, 0), film(of, -3), film(of)
    assert listed(shown, ann) == [(earlier.pk, "3 days before"), (undated.pk, ""), (second.pk, "")]
    assert other_films(shown, ann).note == "Oldest to newest; 2 films without a date are last."


@pytest.mark.parametrize(
    ("own", "others"),
    [
        (None, (None, None)),
        (None, (5, -5)),  # how they relate to this film is not known
        (0, (None, None)),
        (0, (0, 0)),  # one date for all, as tools that remove dates write it
    ],
)
def test_an_unknown_order_is_that_of_the_import(of: Dataset, ann: User, own: int | None, others: Any) -> None:
    first, second = (film(of, days) for days in others)
    shown = film(of, own)
    assert listed(shown, ann) == [(first.pk, ""), (second.pk, "")]
    assert other_films(shown, ann).note == "The order of acquisition is not known; films are in order of import."


def test_copies_and_films_of_other_patients_and_sites_are_not_listed(of: Dataset, ann: User) -> None:
    shown, other = film(of), film(of)
    elsewhere = factories.dataset("Other")
    for image in (shown, other):  # the same films in another dataset of the site
        factories.film(elsewhere, person="one")
        copy = Image(dataset=elsewhere, patient=image.patient, pixel_sha256=image.pixel_sha256, rows=24, columns=20)
        copy.facts = image.facts
        copy.save()
    factories.film(of, person="two")
    factories.film(factories.dataset(at=factories.site("Busan")), person="one")
    own = [other_film.image for other_film in other_films(shown, ann).films]
    assert (own[0], len(own), len({image.pixel_sha256 for image in own})) == (other, 3, 3)
    assert shown.pixel_sha256 not in {image.pixel_sha256 for image in own}
    stranger = factories.user("stranger", *Role, at=factories.site("Busan"))
    assert other_films(shown, stranger).films == ()


def test_the_nearest_in_time_are_listed_of_many(of: Dataset, ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_films, "MOST", 2)
    shown = film(of, 0)
    _, before, after, _ = (film(of, days) for days in (-400, -30, 10, None))
    assert listed(shown, ann) == [(before.pk, "30 days before"), (after.pk, "10 days after")]
    assert other_films(shown, ann).note.endswith("is last. 2 more are not listed.")


def test_films_of_the_same_study_are_marked(of: Dataset, ann: User) -> None:
    study = factories.patient("one").studies.create(pseudonym="s")
    shown = film(of, study=study)
    film(of, study=study)
    film(of)
    assert [other.same_study for other in other_films(shown, ann).films] == [True, False]


def test_two_queries(of: Dataset, ann: User, django_assert_num_queries: Any) -> None:
    shown = film(of, 0)
    for days in range(5):
        film(of, days)
    with django_assert_num_queries(1):
        other_films(shown, ann)
