"""Saved views: whose they are, who may use and change them, what a dataset opens with, and what is gone."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404

from portal.grid.saved_views import (
    MOST_VIEWS,
    InvalidView,
    change_view,
    delete_view,
    gone_sentence,
    may_change,
    open_with,
    opened_view,
    save_view,
    view_of,
    views_for,
)
from portal.models import AuditEvent, CurrentLabel, Dataset, FilmView, Role, User
from portal.people.blinding import open_for
from portal.sets.splits import SplitRequest, draw_split
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def of(db: None) -> Dataset:
    return factories.dataset()


@pytest.fixture
def ann(of: Dataset) -> User:
    return factories.curator("ann")


@pytest.fixture
def ben(of: Dataset) -> User:
    return factories.user("ben", Role.READER)


def save(of: Dataset, author: User, name: str = "PA normals", **fields: Any) -> FilmView:
    return save_view(dataset=of, name=name, author=author, **{"query": {"label": "normal", "view": "PA"}} | fields)


def test_a_view_keeps_the_filters_that_the_grid_knows(of: Dataset, ann: User) -> None:
    view = save(of, ann, "  PA   normals ", query={"label": "normal", "view": "PA", "from": "x", "finding": ""})
    assert (view.name, view.query, view.words) == ("PA normals", {"label": "normal", "view": "PA"}, "normal, PA")
    event = AuditEvent.objects.get(verb="save view", target_uuid=view.uuid)
    assert (event.target_uuid, event.actor, event.after["query"]) == (view.uuid, ann, view.query)
    assert save(of, ann, "Newest", query={"sort": "-imported"}).words == "newest first"
    assert save(of, ann, "Newest", query={"sort": "patient", "view": "AP"}).words == "AP, by patient"
    FilmView.objects.get(name="Newest").delete()
    again = save(of, ann, query={"label": "unsure"})
    assert (again.pk, again.query, FilmView.objects.count()) == (view.pk, {"label": "unsure"}, 1)


def test_own_and_shared_views_are_seen_and_no_others(of: Dataset, ann: User, ben: User) -> None:
    private, shared, bens = save(of, ann), save(of, ann, "Ours", share=True), save(of, ben, "Mine")
    assert list(views_for(ben, of)) == [bens, shared]
    assert view_of(ben, shared.uuid) == shared
    for stranger in (ben, factories.user("eve", *Role, at=factories.site("Busan"))):
        with pytest.raises(Http404):
            view_of(stranger, private.uuid)


def test_only_curators_and_managers_share(of: Dataset, ann: User, ben: User) -> None:
    with pytest.raises(PermissionDenied, match="To share views at Seoul you need"):
        save(of, ben, share=True)
    view = save(of, ben)
    with pytest.raises(PermissionDenied):
        change_view(view=view, author=ben, name="x", share=True)
    assert change_view(view=view, author=ben, name="AP", share=False).name == "AP"


def test_a_shared_view_is_changed_by_those_who_may_share(of: Dataset, ann: User, ben: User) -> None:
    view, boss = save(of, ann, share=True), factories.user("boss", Role.MANAGER)
    assert (may_change(ben, view), may_change(boss, view), may_change(ann, view)) == (False, True, True)
    for act in (
        lambda: delete_view(view=view, author=ben),
        lambda: change_view(view=view, author=ben, name="x", share=True),
    ):
        with pytest.raises(PermissionDenied):
            act()
    open_with(dataset=of, view=view, person=ben)
    change_view(view=view, author=boss, name="Ours", share=False)
    assert opened_view(ben, of, {}) is None
    delete_view(view=view, author=ann)
    assert [event.verb for event in AuditEvent.objects.order_by("pk")][-2:] == ["change view", "delete view"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\0b"])
def test_a_name_is_1_to_60_characters(of: Dataset, ann: User, name: str) -> None:
    with pytest.raises(InvalidView, match="1 to 60 characters"):
        save(of, ann, name)


def test_a_name_is_taken_once(of: Dataset, ann: User) -> None:
    save(of, ann, "A")
    view = save(of, ann, "B", share=True)
    with pytest.raises(InvalidView, match="ann has another view “A” of this dataset"):
        change_view(view=view, author=ann, name="A", share=False)
    with pytest.raises(InvalidView, match="You share a view “B” with the site"):
        save(of, ann, "B")


def test_a_person_has_a_limited_number_of_views(of: Dataset, ann: User) -> None:
    FilmView.objects.bulk_create([FilmView(dataset=of, owner=ann, name=f"{n}") for n in range(MOST_VIEWS)])
    with pytest.raises(InvalidView, match="You have 100 views of Normals; delete one"):
        save(of, ann)


def test_a_dataset_opens_with_the_view_that_a_person_chose(of: Dataset, ann: User, ben: User) -> None:
    view = save(of, ann, share=True)
    open_with(dataset=of, view=view, person=ben)
    opened = opened_view(ben, of, {})
    assert opened is not None
    assert (opened.view, views_for(ben, of).get().opens) == (view, True)
    assert opened_view(ann, of, {}) is None
    assert opened_view(ben, of, {"label": ""}) is None
    open_with(dataset=of, view=None, person=ben)
    assert opened_view(ben, of, {}) is None
    with pytest.raises(InvalidView, match="of another dataset"):
        open_with(dataset=factories.dataset("Other"), view=view, person=ben)
    assert opened_view(ben, factories.dataset("Third"), {"saved": str(view.uuid)}) is None


# What is gone -------------------------------------------------------------------------------------------


def test_a_view_of_what_is_there_says_nothing(of: Dataset, ann: User) -> None:
    factories.event(factories.film(of), "abnormal", findings=["nodule"])
    view = save(of, ann, query={"label": "abnormal", "view": "PA", "finding": "nodule"})
    assert gone_sentence(view, ann) == ""


def test_a_view_of_a_split_that_is_gone_says_so(of: Dataset, ann: User) -> None:
    factories.films(of, normal=3)
    split = draw_split(SplitRequest(site=of.site, name="S", datasets=[of], seed=0, author=ann), fractions={"fit": 1.0})
    view = save(of, ann, query={"split": str(split.uuid), "part": "fit"})
    assert gone_sentence(view, ann) == ""
    view.query = {"split": str(factories.somewhere()), "part": "fit"}
    assert gone_sentence(view, ann) == (
        f"The view “PA normals” asks for the split “{view.query['split'][:8]}” and the part “fit”, which are no longer "
        "there: it is shown without, so with more films than when it was saved."
    )


def test_a_view_of_a_finding_that_no_film_has_says_so(of: Dataset, ann: User) -> None:
    film = factories.film(of)
    factories.event(film, "abnormal", findings=["nodule"])
    view = save(of, ann, query={"finding": "nodule", "view": "PA"})
    open_for(person=ann, images=[film], source=film.uuid, words="the worklist Tuesday", days=3)
    sentence = gone_sentence(view, ann)  # as in the list of findings: it says nothing of a film that is read blinded
    CurrentLabel.objects.all().delete()
    assert gone_sentence(view, ann) == sentence
    assert sentence == (
        "The view “PA normals” asks for the finding “nodule”, which no film that you may see has any more: it shows "
        "no film. Save it again without, or delete it."
    )


def test_a_view_of_criteria_attributes_and_filters_that_are_gone(of: Dataset, ann: User) -> None:
    view = save(of, ann, query={"criteria": "7", "attribute": "device"})
    FilmView.objects.update(query=view.query | {"mood": "good"})
    view.refresh_from_db()
    sentence = gone_sentence(view, ann)
    assert "asks for the filter 'mood', which is no longer there" in sentence
    assert "the attribute “device” and the criteria v7, which no film" in sentence
    assert gone_sentence(save(of, ann, "Old", query={"criteria": "older"}), ann) == ""
