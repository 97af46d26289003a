"""Cohorts never change, versions are numbered, and differences use the labels at the time of freezing."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connections, transaction

from portal.models import AuditEvent, Cohort, CohortImage, Image, Role, User
from portal.sets.cohorts import InvalidCohort, Relabelled, diff, freeze_cohort, images_of
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def ann() -> User:
    return factories.curator("ann")


def freeze(films: Any, author: User, name: str = "normals", **fields: Any) -> Cohort:
    return freeze_cohort(site=factories.site(), name=name, images=films, author=author, **fields)


def test_a_cohort_keeps_its_films_and_their_labels(ann: User) -> None:
    films = factories.films(factories.dataset(), normal=2, unlabelled=1)
    cohort = freeze(films, ann, name="  normals   of May ", note="after the second look", filters={"label": "normal"})
    assert (str(cohort), cohort.films, cohort.counts) == ("normals of May v1", 3, {"normal": 2, "unlabelled": 1})
    assert cohort.filters == {"label": "normal"}
    assert list(images_of(cohort).order_by("pk")) == films
    factories.event(films[0], "abnormal")
    assert sorted(cohort.members.values_list("label", flat=True)) == ["", "normal", "normal"]
    event = AuditEvent.objects.get(verb="freeze cohort")
    assert (event.target_uuid, event.actor, event.reason) == (cohort.uuid, ann, "after the second look")


def test_a_name_frozen_again_is_its_next_version(ann: User) -> None:
    films = factories.films(factories.dataset(), normal=2)
    versions = [freeze(films, ann), freeze(films[:1], ann), freeze(films, ann, name="others")]
    assert [str(cohort) for cohort in versions] == ["normals v1", "normals v2", "others v1"]


def test_a_queryset_is_frozen_without_naming_its_films(ann: User, django_assert_max_num_queries: Any) -> None:
    of = factories.dataset()
    factories.films(of, normal=30)
    with django_assert_max_num_queries(12):
        assert freeze(of.images.all(), ann).films == 30
    assert freeze(of.images.order_by("pk")[:4], ann).films == 4


def test_a_film_named_twice_is_in_once(ann: User) -> None:
    film = factories.film(factories.dataset())
    assert freeze([film, film], ann).films == 1


def test_the_difference_names_added_removed_and_relabelled_films(ann: User) -> None:
    first, second, third, fourth = factories.films(factories.dataset(), normal=3, unlabelled=1)
    earlier = freeze([first, second, fourth], ann)
    factories.event(second, "abnormal")
    factories.event(fourth, "normal")
    later = freeze([second, third, fourth], ann)
    factories.event(third, "abnormal")  # after both, so not part of the difference
    difference = diff(later, earlier)
    assert (difference.added, difference.removed) == ((third.pk,), (first.pk,))
    assert difference.relabelled == (
        Relabelled(second.pk, "normal", "abnormal"),
        Relabelled(fourth.pk, "unlabelled", "normal"),
    )
    assert diff(later, later) == type(difference)((), (), ())


def test_what_cannot_be_frozen_is_refused_with_a_sentence(ann: User) -> None:
    film = factories.film(factories.dataset())
    stranger = factories.film(factories.dataset(at=factories.site("Busan")))
    for films, name, note, words in [
        ([], "normals", "", "at least one"),
        (Image.objects.none(), "normals", "", "at least one"),
        ([film, stranger], "normals", "", "another site"),
        ([film], "  ", "", "needs a name"),
        ([film], "x" * 101, "", "needs a name"),
        ([film], "nor\0mals", "", "needs a name"),
        ([film], "normals", "x" * 501, "at most 500"),
    ]:
        with pytest.raises(InvalidCohort, match=words):
            freeze(films, ann, name=name, note=note)
    assert not Cohort.objects.exists()


def test_two_sites_are_not_compared(ann: User) -> None:
    busan = factories.site("Busan")
    theirs = freeze_cohort(
        site=busan,
        name="normals",
        images=[factories.film(factories.dataset(at=busan))],
        author=factories.curator("ben", at=busan),
    )
    with pytest.raises(InvalidCohort, match="different sites"):
        diff(freeze([factories.film(factories.dataset())], ann), theirs)


def test_who_may_freeze(ann: User) -> None:
    film = factories.film(factories.dataset())
    with pytest.raises(PermissionDenied, match="freeze cohorts"):
        freeze([film], factories.user("reader", Role.READER))


@pytest.mark.parametrize("model", [Cohort, CohortImage])
@pytest.mark.parametrize("act", ["update", "delete"])
def test_the_database_keeps_a_cohort_as_it_is(ann: User, model: Any, act: str) -> None:
    freeze(factories.films(factories.dataset(), normal=1), ann)
    rows = model.objects.all()
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
        rows.update(**({"note": "other"} if model is Cohort else {"label": "abnormal"})) if act == "update" else (
            rows._raw_delete(rows.db)
        )


@pytest.mark.django_db(transaction=True)
def test_two_people_who_freeze_one_name_at_once_make_two_versions(ann: User) -> None:
    films = factories.films(factories.dataset(), normal=2)
    faults: list[BaseException] = []

    def freeze_one() -> None:
        try:
            freeze(films, ann)
        except BaseException as error:  # for the main thread of the test
            faults.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=freeze_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert sorted(Cohort.objects.values_list("version", flat=True)) == [1, 2, 3, 4]
