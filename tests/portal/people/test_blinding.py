"""What is withheld from a person who reads films blinded, and until when."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from portal.models import BlindedFilm, Dataset, Image, Role, User
from portal.people import blinding
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
SOURCE = uuid.UUID(int=7)


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def reader() -> User:
    return factories.user("reader", Role.READER)


def open_for(reader: User, *films: Image, source: uuid.UUID = SOURCE, days: int = 28) -> None:
    blinding.open_for(person=reader, images=films, source=source, words="the worklist Tuesday", days=days)


def expire() -> None:
    BlindedFilm.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.both
def test_all_films_of_the_patient_are_withheld_from_this_reader_alone(of: Dataset, reader: User) -> None:
    read, sibling, other = (factories.film(of, person=who) for who in ("p", "p", "q"))
    open_for(reader, read)
    assert blinding.is_withheld(reader, sibling)
    assert not blinding.is_withheld(reader, other)
    assert not blinding.is_withheld(factories.user("second", Role.READER), read)
    assert set(blinding.without_withheld(Image.objects.all(), reader)) == {other}
    assert set(blinding.withheld_images(reader)) == {read, sibling}
    assert blinding.withheld_patients(reader) == {read.patient_id}


def test_a_superuser_is_no_exception(of: Dataset) -> None:
    root = factories.user("root", is_superuser=True)
    film = factories.film(of)
    open_for(root, film)
    assert blinding.is_withheld(root, film)


def test_a_refusal_names_the_list_and_what_to_do(of: Dataset, reader: User) -> None:
    film = factories.film(of)
    blinding.refuse_withheld(reader, film)
    blinding.refuse_file(reader, Image.objects.all())
    open_for(reader, film)
    with pytest.raises(PermissionDenied, match=r"blinded in the worklist Tuesday: .* hand back what is left"):
        blinding.refuse_withheld(reader, film)
    with pytest.raises(PermissionDenied, match="This file holds a film that you have yet to read blinded"):
        blinding.refuse_file(reader, Image.objects.all())


def test_a_verdict_lifts_it_for_its_film(of: Dataset, reader: User) -> None:
    first, second = factories.film(of), factories.film(of)
    open_for(reader, first, second)
    blinding.close_read(person=reader, image=first, source=SOURCE)
    assert not blinding.is_withheld(reader, first)
    assert blinding.is_withheld(reader, second)
    assert blinding.left_to_read(reader, [SOURCE]) == {SOURCE: 1}
    assert list(BlindedFilm.objects.order_by("pk").values_list("outcome", flat=True)) == ["read", ""]


def test_a_film_in_two_lists_stays_withheld_until_both_have_its_verdict(of: Dataset, reader: User) -> None:
    film = factories.film(of)
    open_for(reader, film)
    open_for(reader, film, source=uuid.UUID(int=8))
    blinding.close_read(person=reader, image=film, source=SOURCE)
    assert blinding.is_withheld(reader, film)


def test_handing_back_or_expiry_locks_nobody_out(of: Dataset, reader: User) -> None:
    first, second = factories.film(of), factories.film(of)
    open_for(reader, first, second)
    blinding.close_read(person=reader, image=first, source=SOURCE)
    assert blinding.hand_back(person=reader, source=SOURCE) == 1
    assert not blinding.withheld_patients(reader)
    open_for(reader, second)
    expire()
    assert not blinding.is_withheld(reader, second)
    assert blinding.without_withheld(Image.objects.all(), reader).count() == 2


def test_a_list_that_expired_can_be_continued(of: Dataset, reader: User) -> None:
    film = factories.film(of)
    open_for(reader, film)
    expire()
    open_for(reader, film)
    assert blinding.is_withheld(reader, film)
    assert set(BlindedFilm.objects.values_list("outcome", flat=True)) == {"handed back", ""}


def test_a_film_that_is_settled_waits_for_nobody(of: Dataset, reader: User) -> None:
    film, other = (factories.film(of, person=who) for who in "pq")
    second = factories.user("second", Role.READER)
    open_for(reader, film, other)
    open_for(second, film)
    open_for(second, film, source=uuid.UUID(int=8))
    assert blinding.close_settled(image=film, source=SOURCE) == 2
    assert [blinding.is_withheld(reader, one) for one in (film, other)] == [False, True]
    assert blinding.is_withheld(second, film)  # by another list
    assert set(BlindedFilm.objects.exclude(outcome="").values_list("outcome", flat=True)) == {"handed back"}


def test_it_is_known_whether_another_list_withholds_a_film_of_the_patient(of: Dataset, reader: User) -> None:
    film, sibling, other = (factories.film(of, person=who) for who in "ppq")
    open_for(reader, film, other)
    assert not blinding.is_withheld_elsewhere(reader, sibling, source=SOURCE)
    open_for(reader, film, source=uuid.UUID(int=8))
    elsewhere = [blinding.is_withheld_elsewhere(reader, one, source=SOURCE) for one in (film, sibling, other)]
    assert elsewhere == [True, True, False]


def test_opening_twice_keeps_one_row(of: Dataset, reader: User) -> None:
    film = factories.film(of)
    open_for(reader, film)
    open_for(reader, film)
    assert BlindedFilm.objects.count() == 1


def test_the_words_count_the_films() -> None:
    assert blinding.omitted(0) == ""
    assert blinding.omitted(1).startswith("1 film is omitted: you have yet to read it,")
    assert blinding.omitted(2).startswith("2 films are omitted: you have yet to read them,")


@pytest.mark.both
def test_the_database_refuses_a_row_that_is_closed_without_an_outcome(of: Dataset, reader: User) -> None:
    open_for(reader, factories.film(of))
    with pytest.raises((IntegrityError, DatabaseError)), transaction.atomic():
        BlindedFilm.objects.update(closed_at=timezone.now())
