"""The order of the grid by a run's scores: the same scores that every other page shows the person, and no others."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from analysis.evaluation.score_orders import listed, named
from analysis.evaluation.shown_scores import shown_scores_of_run
from ml_engine.models import RunState
from portal.grid.film_order import IMPORTED, WITHOUT_SCORE, UnknownOrder, exact_order, in_order, order_of, page_in_order
from portal.grid.saved_views import gone_sentence, save_view
from portal.models import Dataset, Exposure, Image, Role, User
from portal.people.blinding import open_for
from tests.analysis.scored import Scored, looked_at, scored_dataset
from tests.pages import one_line
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def of(scored: Scored) -> Dataset:
    return scored.films[0].dataset


def ranked(person: User, of: Dataset, scored: Scored) -> list[tuple[int, float]]:
    """Film and score in the person's order, without the films that have none, which come last."""
    order = named(person, of, str(scored.run.uuid))
    assert order is not None
    places = list(in_order(of.images.all(), order).values_list("pk", "_at"))
    without = [pk for pk, at in places if at == WITHOUT_SCORE]
    assert [pk for pk, _ in places[len(places) - len(without) :]] == without == sorted(without)
    return [(pk, -at) for pk, at in places if at != WITHOUT_SCORE]


@pytest.mark.both
@pytest.mark.parametrize("roles", [[Role.ANALYST], [Role.READER], [Role.CURATOR], [Role.ANALYST, Role.CURATOR]])
@pytest.mark.parametrize("opened", [False, True])
def test_each_person_gets_the_order_of_the_scores_they_may_see(
    scored: Scored, of: Dataset, roles: list[Role], opened: bool
) -> None:
    person = factories.user("person", *roles)
    for number, film in enumerate(scored.films):  # some have to be labelled again, or for the first time
        if number % 4 == 1:
            factories.event(film, "unsure")
        if number % 8 == 2:
            film.current_label.delete()
    if opened:
        looked_at(scored.run)
    if roles != [Role.CURATOR]:
        shown = shown_scores_of_run(person, scored.run).by_film
        expected = sorted(shown.items(), key=lambda pair: (-pair[1], pair[0]))
        assert ranked(person, of, scored) == [(pk, pytest.approx(score)) for pk, score in expected]
        assert 0 < len(expected) < of.images.count()
    else:
        assert named(person, of, str(scored.run.uuid)) is None


@pytest.mark.both
@pytest.mark.parametrize("opened", [False, True])
def test_pages_by_scores_follow_one_another_in_the_order_of_all(scored: Scored, of: Dataset, opened: bool) -> None:
    person = factories.user("person", Role.ANALYST, Role.CURATOR)
    if opened:
        looked_at(scored.run)
    order = named(person, of, str(scored.run.uuid))
    assert order is not None
    films = of.images.all()
    everything = list(in_order(films, order))
    scores = [film._at for film in everything]  # type: ignore[attr-defined]
    assert scores[0] < WITHOUT_SCORE == scores[-1]
    for place, film in enumerate(everything):
        with CaptureQueriesContext(connection) as asked:
            page = page_in_order(films, str(film.uuid), among=films, size=4, order=order)
        assert page.films == everything[place : place + 4]
        assert page.previous == (everything[max(place - 4, 0)].uuid if place else None)
        assert page.next == (everything[place + 4].uuid if place + 4 < len(everything) else None)
        # joined twice, the scores are read twice, and no index gives their order
        assert all(query["sql"].count('JOIN "ml_engine_score"') == 1 for query in asked.captured_queries)
    assert page_in_order(films, "", among=films, size=4, order=order).films == everything[:4]


@pytest.mark.parametrize("stranger", ["curator", "other site"])
def test_who_may_see_no_scores_has_no_such_order(scored: Scored, of: Dataset, client: Client, stranger: str) -> None:
    at = factories.site("Busan") if stranger == "other site" else of.site
    person = factories.user("eve", *(Role if stranger == "other site" else [Role.CURATOR]), at=at)
    query = {"sort": f"least-normal-{scored.run.uuid}"}
    assert (list(listed(person, of)), order_of(query, person, of)) == ([], IMPORTED)
    with pytest.raises(UnknownOrder, match="for you: after least-normal- comes the UUID of a finished scoring run"):
        exact_order(query, person, of)
    if stranger == "curator":
        client.force_login(person)
        page = client.get(f"/datasets/{of.uuid}/", query)
        assert [film.pk for film in page.context["films"]] == list(
            of.images.order_by("pk").values_list("pk", flat=True)
        )
        assert "least normal" not in page.text.lower()
        assert client.get(f"/api/v1/datasets/{of.uuid}/images/", query).status_code == 400
    assert not Exposure.objects.filter(person=person, kind="score").exists()


def test_the_grid_names_the_run_and_records_the_scores_that_it_tells(
    scored: Scored, of: Dataset, as_analyst: Client, analyst: User
) -> None:
    query = {"sort": f"least-normal-{scored.run.uuid}"}
    page = as_analyst.get(f"/datasets/{of.uuid}/", query)
    first = ranked(analyst, of, scored)
    assert [film.pk for film in page.context["films"]][: len(first)] == [pk for pk, _ in first]
    assert f"Least normal first, by {scored.run.name}" in page.text
    assert page.context["order"].note.startswith(
        "Random weights, not for evaluation. Sorted by the scores of Scores 0."
    )
    assert page.context["order"].note in one_line(page)
    shown = Exposure.objects.filter(person=analyst, kind="score", run=scored.run.uuid)
    assert set(shown.values_list("image", flat=True)) == {pk for pk, _ in first}


@pytest.mark.parametrize("address", ["page", "api", "list", "film"])
def test_each_way_to_the_order_is_recorded(
    scored: Scored, of: Dataset, as_analyst: Client, analyst: User, address: str
) -> None:
    places = [pk for pk, _ in ranked(analyst, of, scored)]
    film = Image.objects.get(pk=places[3])
    query = f"?sort=least-normal-{scored.run.uuid}"
    urls = {
        "page": f"/datasets/{of.uuid}/{query}",
        "api": f"/api/v1/datasets/{of.uuid}/images/{query}",
        "list": f"/api/v1/datasets/{of.uuid}/films.csv{query}",
        "film": f"/images/{film.uuid}/{query}",
    }
    answer = as_analyst.get(urls[address])
    assert answer.status_code == 200
    if answer.streaming:
        assert b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    shown = Exposure.objects.filter(person=analyst, kind="score", run=scored.run.uuid)
    expected = places[2:6] if address == "film" else places  # the film, and those that its links lead to
    assert set(shown.values_list("image", flat=True)) == set(expected)


def test_a_film_that_is_read_blinded_is_at_no_place(
    scored: Scored, of: Dataset, as_analyst: Client, analyst: User
) -> None:
    looked_at(scored.run)
    withheld = Image.objects.get(pk=ranked(analyst, of, scored)[3][0])
    open_for(person=analyst, images=[withheld], source=UUID(int=4), words="the worklist Tuesday", days=28)
    query = {"sort": f"least-normal-{scored.run.uuid}"}
    plain = as_analyst.get(f"/datasets/{of.uuid}/", query).context["films"]
    assert withheld not in plain
    assert as_analyst.get(f"/datasets/{of.uuid}/", {**query, "from": str(withheld.uuid)}).context["films"] == plain
    assert as_analyst.get(f"/images/{withheld.uuid}/", query).status_code == 403
    assert not Exposure.objects.filter(image=withheld, kind="score").exists()


def test_the_newest_finished_runs_of_the_dataset_are_offered(scored: Scored, of: Dataset, analyst: User) -> None:
    other = factories.dataset("Other")
    factories.films(other, normal=2, abnormal=2)
    later = scored_dataset(scored, other)
    assert [order.run for order in listed(analyst, of)] == [scored.run.uuid]
    assert [order.run for order in listed(analyst, other)] == [later.uuid]
    later.state = RunState.FAILED
    later.save()
    assert list(listed(analyst, other)) == []
    for uuid in (str(scored.run.uuid), "nonsense", str(later.uuid)):
        assert named(analyst, other, uuid) is None


def test_a_shared_view_in_this_order_says_why_it_is_not(scored: Scored, of: Dataset, analyst: User) -> None:
    query: dict[str, Any] = {"sort": f"least-normal-{scored.run.uuid}"}
    view = save_view(dataset=of, name="Odd ones", query=query, author=analyst)
    assert (view.query, view.words) == (query, f"least normal first, by {scored.run.name}")
    assert gone_sentence(view, analyst) == ""
    assert gone_sentence(view, factories.curator("ben")) == (
        "The view “Odd ones” is shown as imported: its order is by scores of a run that is gone, or that you may not "
        "see."
    )
