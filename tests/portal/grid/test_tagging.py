"""Tags put on films and taken off, one or many, with undo, audit and blindness."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404

from portal.grid import tagging
from portal.grid.tagging import Tagged, add_tag, remove_tag, undo_tagging
from portal.grid.tags import InvalidTag, tags_by_film
from portal.models import AuditEvent, CurrentLabel, Dataset, FilmTag, Image, LabelEvent, Role, User
from portal.people.blinding import open_for
from portal.sets.film_filters import Filters
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]
LIST = UUID(int=9)


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


@pytest.fixture
def films(of: Dataset) -> list[Image]:
    return factories.films(of, unlabelled=4)


@pytest.fixture
def ann(of: Dataset) -> User:
    return factories.curator("ann")


def add(films: list[Image], author: User, name: str = "a", act: Any = add_tag) -> Tagged:
    of = films[0].dataset
    chosen = of.images.filter(pk__in=[film.pk for film in films])
    done: Tagged = act(images=chosen, among=chosen, name=name, author=author, site=of.site)
    return done


def remove(films: list[Image], author: User, name: str = "a") -> Tagged:
    return add(films, author, name, act=remove_tag)


def tags(films: list[Image]) -> list[list[str]]:
    names = tags_by_film(films)
    return [names.get(film.pk, []) for film in films]


def test_a_tag_is_put_on_and_taken_off_films(films: list[Image], ann: User) -> None:
    assert add(films[:2], ann, " A ").words == "Tagged: 2 films “a”."
    assert tags(films) == [["a"], ["a"], [], []]
    again = add(films[1:], ann)
    assert (again.films, again.same, again.words) == (2, 1, "Tagged: 2 films “a”. 1 had it already.")
    assert remove(films[:3], ann).words == "Taken off: “a” from 3 films."
    assert remove(films, ann).words == "Taken off: “a” from 1 film. 3 did not have it."
    assert remove(films, ann).act is None
    assert tags(films) == [[]] * 4
    events = AuditEvent.objects.filter(target_type="filmtag").order_by("pk").values_list("verb", "after__films")
    assert list(events) == [("tag films", 2), ("tag films", 2), ("untag films", 3), ("untag films", 1)]


def test_an_act_is_undone_as_a_whole_and_once(films: list[Image], ann: User) -> None:
    add(films[:1], ann)
    act = add(films, ann).act
    assert act is not None
    undone = undo_tagging(act=act, author=ann)
    assert (undone.films, tags(films)) == (3, [["a"], [], [], []])  # the first had it before
    with pytest.raises(InvalidTag, match="undone before"):
        undo_tagging(act=act, author=ann)
    gone = remove(films, ann).act
    assert gone is not None
    undo_tagging(act=gone, author=ann)
    assert tags(films) == [["a"], [], [], []]
    assert AuditEvent.objects.filter(verb="undo tags").count() == 2
    with pytest.raises(Http404):
        undo_tagging(act=undone.act or uuid4(), author=ann)  # an undo is not undone


def test_undo_leaves_what_others_changed_since(films: list[Image], ann: User) -> None:
    ben = factories.curator("ben")
    act = add(films[:2], ann).act
    assert act is not None
    with pytest.raises(Http404):
        undo_tagging(act=act, author=ben)
    remove(films[:1], ben)
    add(films[:1], ben)
    assert undo_tagging(act=act, author=ann).words == "Taken off: “a” from 1 film. 1 did not have it."
    assert tags(films[:2]) == [["a"], []]
    other = add(films[2:3], ann, "b").act
    assert other is not None
    remove(films[2:3], ben, "b")
    with pytest.raises(InvalidTag, match="others have changed these tags since"):
        undo_tagging(act=other, author=ann)


def test_films_read_blinded_are_left_out_and_counted(films: list[Image], ann: User) -> None:
    act = add(films, ann, "b").act
    open_for(person=ann, images=films[:1], source=LIST, words="the worklist Tuesday", days=3)
    done = add(films, ann)
    assert (done.films, done.omitted[:17]) == (3, "1 film is omitted")
    assert tags(films)[0] == ["b"]
    with pytest.raises(InvalidTag, match=r"There is no film to tag\. 1 film is omitted"):
        add(films[:1], ann)
    assert act is not None
    with pytest.raises(PermissionDenied, match="The act holds a film that you have yet to read blinded"):
        undo_tagging(act=act, author=ann)


def test_unknown_tags_films_of_other_sites_and_readers_are_refused(films: list[Image], ann: User) -> None:
    with pytest.raises(InvalidTag, match="There is no tag “a” at Seoul"):
        remove(films, ann)
    with pytest.raises(PermissionDenied, match="To tag films at Seoul you need"):
        add(films, factories.user("ben", Role.READER))
    abroad = factories.film(factories.dataset("Abroad", at=factories.site("Busan")))
    foreign = Image.objects.filter(pk=abroad.pk)
    with pytest.raises(InvalidTag, match="There is no film to tag"):
        add_tag(images=foreign, among=foreign, name="a", author=ann, site=films[0].dataset.site)


def test_a_site_has_a_limited_number_of_tags(films: list[Image], ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging, "MOST_TAGS", 1)
    add(films, ann, "a")
    add(films, ann, "a")
    with pytest.raises(InvalidTag, match="Seoul has 1 tags"):
        add(films, ann, "b")
    assert FilmTag.objects.count() == 1


def test_tags_filter_the_grid_and_are_no_labels(films: list[Image], of: Dataset, ann: User) -> None:
    act = add(films[:2], ann).act
    filters = Filters.from_query({"tag": "a"}, [])
    assert (filters.words(), filters.facts()) == ("tagged a", {"tag": "a"})
    assert list(filters.apply(of.images.order_by("pk"))) == films[:2]
    assert act is not None
    undo_tagging(act=act, author=ann)
    add(films[:1], ann)
    assert list(filters.apply(of.images.all())) == films[:1]  # once, whatever its tag's history
    assert not LabelEvent.objects.exists()
    assert not CurrentLabel.objects.exists()


def test_many_films_take_as_many_queries_as_few(of: Dataset, ann: User, django_assert_max_num_queries: Any) -> None:
    films = factories.films(of, unlabelled=12)
    add(films[:1], ann)
    with django_assert_max_num_queries(16):
        add(films, ann)
    with django_assert_max_num_queries(16):
        remove(films, ann)
