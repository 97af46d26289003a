"""The tags of a site: their names, lists, renaming, merging and deleting."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from portal.grid.saved_views import save_view
from portal.grid.tagging import add_tag
from portal.grid.tags import (
    InvalidTag,
    clean_name,
    delete_tag,
    merge_tags,
    rename_tag,
    tags_by_dataset,
    tags_by_film,
    tags_in,
    tags_of,
)
from portal.models import AuditEvent, Dataset, FilmTag, FilmView, Image, Role, TaggedFilm, User
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


@pytest.fixture
def boss(of: Dataset) -> User:
    return factories.user("boss", Role.MANAGER)


def tag(of: Dataset, author: User, name: str, *films: Image) -> FilmTag:
    ids = [film.pk for film in films]
    add_tag(images=of.images.filter(pk__in=ids), among=of.images.all(), name=name, author=author, site=of.site)
    return FilmTag.objects.get(name=name)


@pytest.mark.parametrize(
    ("text", "name"),
    [("  For   Teaching ", "for teaching"), ("e\u0301tude", "étude"), ("pa-2026", "pa-2026"), ("교육", "교육")],
)
def test_names_are_letters_few_digits_spaces_and_hyphens(text: str, name: str) -> None:
    assert clean_name(text) == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has 0 characters; use 1 to 30"),
        ("x" * 31, "has 31 characters"),
        ("a|b", "may not hold '|'"),
        ("a\0b", "may not hold '\\\\x00'"),
        ("<b>", "may not hold '<'"),
        ("-a", "may not hold '-' at its beginning"),
        ("case 12345", "at most 4 digits"),
        ("1950-03-04", "at most 4 digits"),
    ],
)
def test_other_names_are_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidTag, match=why.replace("|", r"\|")):
        clean_name(text)


def test_tags_are_counted_by_site_dataset_and_film(of: Dataset, boss: User) -> None:
    films, other = factories.films(of, unlabelled=3), factories.dataset("Other")
    abroad = factories.film(other)
    tag(of, boss, "a", *films[:2])
    tag(of, boss, "b", films[0])
    tag(other, boss, "b", abroad)
    assert [(count.tag.name, count.films) for count in tags_of(of.site)] == [("a", 2), ("b", 2)]
    assert [(count.tag.name, count.films) for count in tags_in(of)] == [("a", 2), ("b", 1)]
    assert [(count.tag.name, count.films) for count in tags_in(other)] == [("a", 0), ("b", 1)]
    without = {films[0].patient_id}
    assert [(count.tag.name, count.films) for count in tags_of(of.site, without=without)] == [("a", 1), ("b", 1)]
    assert [(count.tag.name, count.films) for count in tags_in(of, without=without)] == [("a", 1), ("b", 0)]
    b = FilmTag.objects.get(name="b")
    assert tags_by_dataset(of.site)[b.pk] == [(of, 1), (other, 1)]
    assert tags_by_film(films) == {films[0].pk: ["a", "b"], films[1].pk: ["a"]}


def test_a_renamed_tag_stays_on_its_films_and_in_views(of: Dataset, boss: User) -> None:
    film = factories.film(of)
    renamed = tag(of, boss, "a", film)
    save_view(dataset=of, name="V", query={"tag": "a"}, author=boss)
    rename_tag(tag=renamed, name="B ", author=boss)
    assert tags_by_film([film]) == {film.pk: ["b"]}
    assert (FilmView.objects.get().query, FilmView.objects.get().words) == ({"tag": "b"}, "tagged b")
    event = AuditEvent.objects.get(verb="rename tag")
    assert (event.before, event.after) == ({"tag": "a"}, {"tag": "b"})
    tag(of, boss, "c", film)
    with pytest.raises(InvalidTag, match="There is a tag “c” already; merge “b” into it"):
        rename_tag(tag=renamed, name="c", author=boss)


def test_a_merged_tag_is_gone_and_its_films_have_the_other(of: Dataset, boss: User) -> None:
    films = factories.films(of, unlabelled=3)
    a, b = tag(of, boss, "a", *films[:2]), tag(of, boss, "b", *films[1:])
    save_view(dataset=of, name="V", query={"tag": "a"}, author=boss)
    with pytest.raises(InvalidTag, match="name two different tags"):
        merge_tags(tag=a, into=a, author=boss)
    assert merge_tags(tag=a, into=b, author=boss) == 1
    assert tags_by_film(films) == {film.pk: ["b"] for film in films}
    assert FilmView.objects.get().query == {"tag": "b"}
    assert AuditEvent.objects.get(verb="merge tags").before["films"] == 2


def test_a_deleted_tag_is_off_all_films(of: Dataset, boss: User) -> None:
    a = tag(of, boss, "a", *factories.films(of, unlabelled=2))
    assert delete_tag(tag=a, author=boss) == 2
    assert not TaggedFilm.objects.exists()
    assert AuditEvent.objects.get(verb="delete tag").before == {"tag": "a", "films": 2}


def test_only_managers_change_tags(of: Dataset, boss: User) -> None:
    ann, a, b = factories.curator("ann"), tag(of, boss, "a", factories.film(of)), tag(of, boss, "b", factories.film(of))
    for act in (
        lambda: rename_tag(tag=a, name="x", author=ann),
        lambda: merge_tags(tag=a, into=b, author=ann),
        lambda: delete_tag(tag=a, author=ann),
    ):
        with pytest.raises(PermissionDenied, match="To manage tags at Seoul you need"):
            act()
