"""Films that trained a semi-supervised head are left out of the test part of later splits, counted and said."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import DatabaseError, transaction

from portal.models import Part, Split, SplitImage, TrainingFilm, User
from portal.sets.splits import SplitRequest, split_from_csv
from portal.sets.training_films import NEVER_IN_TEST, out_of_test, patients_of_model, remember
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


def split_images(split: Split) -> list[int]:
    return list(SplitImage.objects.filter(member__split=split).values_list("image_id", flat=True))


@pytest.fixture
def author() -> User:
    return factories.user("manager", is_superuser=True)


def test_a_split_leaves_the_patients_out_of_test_and_counts_them(author: User) -> None:
    dataset = factories.dataset("Set")
    for n in range(4):
        factories.film(dataset, "normal", person=f"fit {n}", csv_split="fit")
    trained = factories.film(dataset, "abnormal", person="read", csv_split="test")
    other = factories.film(dataset, "normal", person="read", csv_split="test")
    tune = factories.film(dataset, "abnormal", person="tune", csv_split="tune")
    free = factories.film(dataset, "abnormal", person="free", csv_split="test")
    remember(images=[trained.pk, tune.pk], source=uuid4())

    request = SplitRequest(site=dataset.site, name="Later", datasets=[dataset], seed=0, author=author)
    split = split_from_csv(request)

    assert split.counts["left_out"] == {NEVER_IN_TEST: 2}
    assert split.counts["parts"]["test"] == {"abnormal": 1}
    inside = SplitImage.objects.filter(member__split=split).values_list("image_id", "member__part")
    assert {free.pk: Part.TEST, tune.pk: Part.TUNE}.items() <= dict(inside).items()
    assert not {trained.pk, other.pk} & set(dict(inside))


def test_whoever_shares_a_film_with_a_trained_patient_is_left_out_too(author: User) -> None:
    dataset = factories.dataset("Set")
    for n in range(4):
        factories.film(dataset, "normal", person=f"fit {n}", csv_split="fit")
    trained = factories.film(factories.dataset("Read", at=dataset.site), "abnormal", person="read")
    again = factories.copy(trained, dataset, "abnormal", person="under another name", csv_split="test")
    more = factories.film(dataset, "normal", person="under another name", csv_split="test")
    free = factories.film(dataset, "abnormal", person="free", csv_split="test")
    remember(images=[trained.pk], source=uuid4())

    request = SplitRequest(site=dataset.site, name="Later", datasets=[dataset], seed=0, author=author)
    split = split_from_csv(request)

    assert split.counts["left_out"] == {NEVER_IN_TEST: 2}
    in_test = SplitImage.objects.filter(member__split=split, member__part=Part.TEST)
    assert set(in_test.values_list("image_id", flat=True)) == {free.pk}
    assert not {again.pk, more.pk} & set(split_images(split))


def test_without_such_films_nothing_is_left_out() -> None:
    dataset = factories.dataset("Set")
    films = [factories.film(dataset, "normal", person=f"{n}") for n in range(3)]
    parts = {film.patient_id: Part.TEST for film in films}
    assert out_of_test(films, parts) == (films, {})


def test_a_film_is_remembered_once_a_model_and_for_good() -> None:
    film, source = factories.film(factories.dataset("Set")), uuid4()
    remember(images=[film.pk], source=source)
    remember(images=[film.pk], source=source)
    assert TrainingFilm.objects.count() == 1
    assert patients_of_model(source) == {film.patient_id}
    assert patients_of_model(uuid4()) == set()
    with pytest.raises(DatabaseError, match="portal_trainingfilm is append-only"), transaction.atomic():
        TrainingFilm.objects.all().delete()
