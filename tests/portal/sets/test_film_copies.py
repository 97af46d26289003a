"""Copies of a film in a split: one is kept, the patients who share it go into one part, the database refuses more."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from portal.models import Dataset, Image, Split, SplitImage, SplitMember
from portal.sets.film_copies import FilmCopies, divided_films
from portal.sets.splits import SplitRequest, draw_split, split_from_csv
from tests.portal import factories
from tests.portal.sets.test_splits import cleaned_by_score

pytestmark = [pytest.mark.django_db]

HALVES = {"fit": 0.5, "test": 0.5}


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def other() -> Dataset:
    return factories.dataset("More")


def request_for(*datasets: Dataset, **fields: Any) -> SplitRequest:
    defaults = {"name": "S", "seed": 0, "site": factories.site(), "datasets": datasets}
    return SplitRequest(author=factories.curator(fields.get("name", "curator")), **defaults | fields)


def part_of(split: Split) -> dict[int, str]:
    return dict(SplitImage.objects.filter(member__split=split).values_list("image_id", "member__part"))


def force_old_split(parts: dict[str, list[Image]], name: str = "Old") -> Split:
    """A split as it was frozen before copies were looked for."""
    split = Split.objects.create(
        site=factories.site(), name=name, origin="drawn", seed=0, label_cutoff="2026-01-01T00:00Z", counts={"parts": {}}
    )
    factories.put_in_unchecked(split, parts)
    return split


# drawn ----------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_a_split_keeps_one_copy_and_counts_the_rest(of: Dataset, other: Dataset) -> None:
    films = factories.films(of, normal=8)
    copies = [factories.copy(film, other, "normal") for film in films[:3]]
    split = draw_split(request_for(of, other), fractions=HALVES)
    assert split.counts["left_out"] == {"further copy of a film in the split": 3}
    assert set(part_of(split)) == {film.pk for film in films}
    assert not set(part_of(split)) & {film.pk for film in copies}


def test_an_unlabelled_copy_does_not_take_the_place_of_a_labelled_one(of: Dataset, other: Dataset) -> None:
    factories.films(of, normal=2)
    unlabelled = factories.film(of)
    labelled = factories.copy(unlabelled, other, "normal")
    split = draw_split(request_for(of, other), fractions={"fit": 1.0})
    assert labelled.pk in part_of(split)
    assert split.counts["left_out"] == {"unlabelled": 1}


@pytest.mark.parametrize("seed", range(8))
def test_patients_who_share_a_film_are_in_one_part(of: Dataset, other: Dataset, seed: int) -> None:
    """Joined through two copies: one with two, two with three."""
    for number in range(6):
        factories.film(of, "normal", person=f"alone {number}")
    one, two, three = (factories.film(of, "normal", person=person) for person in ("one", "two", "three"))
    factories.copy(one, other, "normal", person="two")
    factories.copy(two, other, "normal", person="three")
    split = draw_split(request_for(of, other, seed=seed), fractions=HALVES)
    parts = part_of(split)
    assert parts[one.pk] == parts[two.pk] == parts[three.pk]
    assert split.counts["left_out"] == {"further copy of a film in the split": 2}


def test_patients_are_joined_by_films_of_datasets_that_are_not_in_the_split(of: Dataset, other: Dataset) -> None:
    films = [factories.film(of, "normal", person=f"person {number}") for number in range(8)]
    for number, film in enumerate(films[:7]):
        factories.copy(film, other, person=f"person {number + 1}")
    parts = part_of(draw_split(request_for(of), fractions={"fit": 1.0}))
    assert len(parts) == 8
    copies = FilmCopies(factories.site())
    assert len({copies.person(film.patient_id) for film in films}) == 1
    assert copies.patients_joined_with({films[3].patient_id}) == {film.patient_id for film in films}


def test_a_film_that_shows_nothing_joins_nobody(of: Dataset, other: Dataset) -> None:
    """A hundred black films are not of one patient; only one of them is kept all the same."""
    black = factories.film(of, "normal", person="one", shows_nothing=True)
    again = factories.copy(black, other, "normal", person="two", shows_nothing=True)
    copies = FilmCopies(factories.site())
    assert copies.person(black.patient_id) != copies.person(again.patient_id)
    factories.film(of, "normal")
    split = draw_split(request_for(of, other, fit_on_nothing=True), fractions={"fit": 1.0})
    assert split.counts["left_out"] == {"further copy of a film in the split": 1}


@pytest.mark.parametrize("label", ["abnormal", "unsure", "exclude"])
def test_copies_with_different_labels_are_all_left_out(of: Dataset, other: Dataset, label: str) -> None:
    factories.films(of, normal=4)
    film = factories.film(of, "normal")
    factories.copy(film, other, "normal")
    factories.copy(film, factories.dataset("Third"), label)
    split = draw_split(request_for(*Dataset.objects.all()), fractions=HALVES)
    assert split.counts["left_out"] == {"copy of a film with another label": 3}
    assert len(part_of(split)) == 4


def test_copies_elsewhere_do_not_change_the_draw(of: Dataset) -> None:
    for number in range(12):
        factories.film(of, "normal", person=f"person {number}")
    first = part_of(draw_split(request_for(of, seed=3), fractions=HALVES))
    twin = factories.film(factories.dataset("Third"), "normal", person="x")
    factories.copy(twin, factories.dataset("Fourth"), "normal", person="y")
    assert part_of(draw_split(request_for(of, seed=3, name="Again"), fractions=HALVES)) == first


def test_a_person_cleaned_by_score_under_another_name_does_not_calibrate(of: Dataset, other: Dataset) -> None:
    film = factories.film(other, "normal", person="cleaned")
    own = [factories.film(of, "normal", person=person) for person in ("same", "b", "c", "d")]
    factories.copy(film, of, "normal", person="same")
    cleaned_by_score(other, [film], labelled=1)
    for seed in range(6):
        fractions = {"fit": 0.5, "calibrate": 0.5}
        split = draw_split(request_for(of, other, seed=seed, name=f"S{seed}"), fractions=fractions)
        assert part_of(split)[own[0].pk] == "fit"


# from the CSV -----------------------------------------------------------------------------------------------------


def test_the_csv_s_test_part_stays_whole_and_fit_loses_the_other_name(of: Dataset, other: Dataset) -> None:
    fit = [factories.film(of, "normal", person=f"fit {number}", csv_split="fit") for number in range(3)]
    further = factories.film(of, "normal", person="fit 0", csv_split="fit")
    tested = factories.copy(fit[0], other, "normal", person="tested", csv_split="test")
    split = split_from_csv(request_for(of, other))
    assert part_of(split) == {fit[1].pk: "fit", fit[2].pk: "fit", tested.pk: "test"}
    assert split.counts["left_out"] == {"of a patient who shares a film with one in test": 2}
    assert further.pk not in part_of(split)


@pytest.mark.parametrize("train_is_fit", [True, False])
def test_copies_among_train_are_drawn_as_one(of: Dataset, other: Dataset, train_is_fit: bool) -> None:
    films = [factories.film(of, "normal", person=f"p {number}", csv_split="train") for number in range(10)]
    factories.copy(films[0], other, "normal", person="p 1", csv_split="train")
    split = split_from_csv(request_for(of, other), train_is_fit=train_is_fit)
    parts = part_of(split)
    assert parts[films[0].pk] == parts[films[1].pk]
    assert split.counts["left_out"] == {"further copy of a film in the split": 1}


def test_train_gives_way_to_test(of: Dataset, other: Dataset) -> None:
    films = [factories.film(of, "normal", person=f"p {number}", csv_split="train") for number in range(10)]
    tested = factories.copy(films[0], other, "normal", person="tested", csv_split="test")
    split = split_from_csv(request_for(of, other), train_is_fit=True)
    assert part_of(split)[tested.pk] == "test"
    assert films[0].pk not in part_of(split)


# the database ------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_the_database_refuses_a_second_copy_in_a_split(of: Dataset, other: Dataset) -> None:
    films = factories.films(of, normal=4)
    split = draw_split(request_for(of), fractions=HALVES)
    copy = factories.copy(films[0], other)
    member = SplitMember.objects.create(split=split, patient=copy.patient, part="test")
    with pytest.raises(IntegrityError, match=r"split_pixels_once|UNIQUE"), transaction.atomic():
        SplitImage.under(member, copy).save()
    for missing in ({"pixel_sha256": None}, {"split": None}, {"pixel_sha256": "0" * 64}):
        row = SplitImage.under(member, copy)
        for name, value in missing.items():
            setattr(row, name, value)
        with pytest.raises(IntegrityError, match="split and pixels are not those"), transaction.atomic():
            row.save()


# splits frozen before ------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_old_splits_with_a_film_in_two_parts_are_counted(of: Dataset, other: Dataset) -> None:
    films = factories.films(of, normal=4)
    crossing = [factories.copy(film, other) for film in films[:2]]
    inside = factories.copy(films[2], other)
    broken = force_old_split({"fit": [*films[:3], inside], "test": crossing})
    sound = force_old_split({"fit": [*films[:3], inside], "test": [films[3]]}, name="Sound")
    checked = draw_split(request_for(of), fractions={"fit": 1.0})
    assert divided_films([broken, sound, checked]) == {broken.pk: 2}


def test_pages_mark_an_old_split_with_a_film_in_two_parts(client: Client, of: Dataset, other: Dataset) -> None:
    films = factories.films(of, normal=2)
    broken = force_old_split({"fit": films, "test": [factories.copy(films[0], other)]})
    force_old_split({"fit": films}, name="Sound")
    client.force_login(factories.curator())
    page = client.get("/splits/").content.decode()
    assert page.count("1 film in two parts") == 1
    page = " ".join(client.get(f"/splits/{broken.uuid}/").content.decode().split())
    assert "1 film of this split is in two parts" in page
