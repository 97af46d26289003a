"""What the portal's own pages and acts leave out for a person who reads films blinded, and what they still do."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from ml_engine.engine import manifest
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.reports import PicturePair
from ml_engine.runs import paths
from portal.models import Dataset, Exposure, Image, LabelEvent, ScreeningQueue, User
from portal.people.blinding import hand_back, open_for
from portal.sets.cohorts import Difference, Relabelled, freeze_cohort
from portal.sets.screening_queues import Numbering, Order, Suspect, queue_films, queue_suspects
from portal.sets.splits import SplitRequest, draw_split
from tests.access.world import everyone
from tests.ml_engine import made, reports
from tests.portal import factories

pytestmark = pytest.mark.django_db
LIST = UUID(int=4)


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


@pytest.fixture
def films(of: Dataset) -> list[Image]:
    """Six films, of which the person has yet to read the third; the fifth is of the same patient."""
    people = ["a", "b", "c", "d", "c", "e"]
    return [factories.film(of, "normal" if n % 2 else "abnormal", person=name) for n, name in enumerate(people)]


@pytest.fixture
def person(films: list[Image]) -> User:
    person = everyone("reader", films[0].dataset.site)
    open_for(person=person, images=[films[2]], source=LIST, words="the worklist Tuesday", days=28)
    return person


@pytest.fixture
def web(client: Client, person: User) -> Client:
    client.force_login(person)
    return client


def numbers(web: Client, queue: Any, **query: Any) -> list[tuple[int, str]]:
    sent = web.get(f"/queues/{queue.uuid}/films/", {"count": 50, **query}).json()
    return [(film["position"], film["image"]) for film in sent["films"]]


def named(*films: Image) -> list[str]:
    return [str(film.uuid) for film in films]


# Pages ---------------------------------------------------------------------------------------------------


def test_the_grid_omits_them_from_tiles_and_counts(web: Client, of: Dataset, films: list[Image], person: User) -> None:
    page = web.get(f"/datasets/{of.uuid}/")
    assert [film.uuid for film in page.context["films"]] == [films[n].uuid for n in (0, 1, 3, 5)]
    assert "2 films are omitted: you have yet to read them, or others of the patient, blinded." in page.text
    counts = page.context["counts"]
    assert (counts["all"], counts["normal"], counts["abnormal"]) == (4, 3, 1)
    for query in ("label=abnormal", "view=PA&label=abnormal"):
        filtered = web.get(f"/datasets/{of.uuid}/?{query}")
        assert [film.uuid for film in filtered.context["films"]] == [films[0].uuid]
        assert filtered.context["counts"] == counts
        assert "2 films are omitted" in filtered.text  # as many under every filter: else their labels could be counted
    hand_back(person=person, source=LIST)
    assert "omitted" not in web.get(f"/datasets/{of.uuid}/").text


def test_no_page_of_the_grid_begins_at_the_place_of_one_of_them(
    web: Client, of: Dataset, films: list[Image], person: User
) -> None:
    """In the order of labels, the films after its place would tell its label."""
    other_site = factories.film(factories.dataset(at=factories.site("Elsewhere")), "unsure")
    at = f"/datasets/{of.uuid}/?sort=label&from="
    for film in (films[2], films[4], other_site):
        assert [one.uuid for one in web.get(f"{at}{film.uuid}").context["films"]] == [
            films[n].uuid for n in (0, 1, 3, 5)
        ]
    assert web.get(f"{at}{films[3].uuid}").context["films"][0] == films[3]
    hand_back(person=person, source=LIST)
    assert web.get(f"{at}{films[4].uuid}").context["films"][0] == films[4]


def test_the_grid_counts_who_was_shown_a_film(web: Client, of: Dataset, films: list[Image]) -> None:
    before = web.get(f"/datasets/{of.uuid}/")
    assert [film.shown_to for film in before.context["films"]] == [before.context["films"][0].shown_to] * 4
    Exposure.objects.create(
        person=factories.user("other"), image=films[0], kind="score", run=UUID(int=3), day="2026-01-02"
    )
    first = web.get(f"/datasets/{of.uuid}/").context["films"][0]
    assert (first.shown_to.label, first.shown_to.model) == (1, 1)
    assert "score or map to 1" in web.get(f"/datasets/{of.uuid}/").text


def test_a_cohort_shows_the_numbers_of_the_others(web: Client, films: list[Image]) -> None:
    boss = everyone("boss", films[0].dataset.site)
    first = freeze_cohort(site=films[0].dataset.site, name="all", images=films[:3], author=boss)
    second = freeze_cohort(site=films[0].dataset.site, name="all", images=films[1:], author=boss)
    page = web.get(f"/cohorts/{second.uuid}/")
    assert (page.context["cohort"].films, page.context["cohort"].counts) == (3, {"normal": 3})
    assert "are left out here and not counted" in page.text
    listed = web.get("/api/v1/cohorts/").json()["results"]
    assert [(row["version"], row["films"], row["counts"]) for row in listed] == [
        (2, 3, {"normal": 3}),
        (1, 2, {"abnormal": 1, "normal": 1}),
    ]
    difference = web.get(f"/api/v1/cohorts/{second.uuid}/difference/?earlier={first.uuid}").json()
    assert (difference["added"], difference["removed"]) == (named(films[3], films[5]), named(films[0]))
    assert "left out" in difference["omitted"]
    first.refresh_from_db()
    assert first.films == 3


def test_a_difference_without_films() -> None:
    changes = Difference(added=(1, 2), removed=(3, 4), relabelled=(Relabelled(5, "", "normal"), Relabelled(6, "", "x")))
    assert changes.without({2, 3, 6}) == Difference(added=(1,), removed=(4,), relabelled=(Relabelled(5, "", "normal"),))


# Queues --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("withheld", "numbering"),
    [([], [1, 2, 3, 4, 5]), ([1], [1, 1, 2, 3, 4]), ([2, 3], [1, 2, 2, 2, 3]), ([4, 5], [1, 2, 3, 3, 3])],
)
def test_films_are_numbered_as_if_the_withheld_ones_were_not_there(withheld: list[int], numbering: list[int]) -> None:
    numbers = Numbering(withheld, films=5)
    assert [numbers.number_at(position) for position in range(1, 6)] == numbering
    shown = [position for position in range(1, 6) if position not in withheld]
    assert numbers.total == len(shown)
    assert [numbers.position_of(number) for number in range(1, numbers.total + 1)] == shown


def test_a_queue_has_no_gap(web: Client, films: list[Image], of: Dataset) -> None:
    boss = everyone("boss", of.site)
    queue = queue_films(
        site=of.site, name="All", images=of.images.all(), author=boss, source="all", order=Order.IMPORTED
    )
    shown = named(films[0], films[1], films[3], films[5])
    assert numbers(web, queue) == list(enumerate(shown, start=1))
    assert numbers(web, queue, **{"from": 3, "count": 1}) == [(3, shown[2])]
    page = web.get(f"/queues/{queue.uuid}/")
    assert page.context["total"] == 4
    assert "are left out here and not counted" in page.text
    assert web.post(f"/queues/{queue.uuid}/place/", {"position": 3}).json() == {"position": 3}
    assert web.get(f"/queues/{queue.uuid}/").context["place"] == 3
    assert queue.places.get().position == 4


def test_an_order_by_score_records_that_scores_were_shown(web: Client, films: list[Image], of: Dataset) -> None:
    boss = everyone("boss", of.site)
    films_to_fit = [factories.film(of, "normal", person=f"fit {n}") for n in range(3)]
    split = draw_split(SplitRequest(site=of.site, name="S", datasets=[of], seed=0, author=boss), fractions={"fit": 1.0})
    suspects = [Suspect(film.pk, []) for film in films_to_fit]
    queue = queue_suspects(site=of.site, name="Q", suspects=suspects, split=split, author=boss, source="s")
    shown = numbers(web, queue)
    kinds = Exposure.objects.filter(image__in=films_to_fit).values_list("kind", flat=True)
    assert len(shown) == 3
    assert sorted(kinds) == ["label"] * 3 + ["score"] * 3


def test_a_new_queue_leaves_them_out(web: Client, films: list[Image], of: Dataset) -> None:
    web.post(f"/datasets/{of.uuid}/queue/", {"name": "Mine", "order": "imported"})
    queue = ScreeningQueue.objects.get()
    assert (queue.films, queue.source.endswith(", without films read blinded")) == (4, True)


# Acts ----------------------------------------------------------------------------------------------------


def test_a_bulk_label_leaves_them_aside_and_says_so(web: Client, films: list[Image]) -> None:
    answer = web.post("/labels/", {"image": named(*films), "value": "exclude"}).json()
    assert answer["omitted"].startswith("2 films are omitted")
    assert set(answer["labels"]) == set(named(*(films[n] for n in (0, 1, 3, 5))))
    assert not LabelEvent.objects.filter(image__in=[films[2], films[4]], value="exclude").exists()
    by_api = web.post("/api/v1/labels/", {"images": named(*films), "value": "unsure"}, content_type="application/json")
    assert (by_api.status_code, by_api.json()["omitted"][:19]) == (201, "2 films are omitted")
    assert not LabelEvent.objects.filter(image=films[2], value="unsure").exists()


def test_an_act_on_one_of_them_is_not_undone(web: Client, films: list[Image], person: User) -> None:
    hand_back(person=person, source=LIST)
    act = web.post("/labels/", {"image": named(*films[2:4]), "value": "exclude"}).json()["act"]
    open_for(person=person, images=[films[2]], source=LIST, words="the worklist Tuesday", days=28)
    for answer in (web.post("/labels/undo/", {"act": act}), web.post("/labels/undo/")):
        assert answer.status_code == 403
        assert "blinded in the worklist Tuesday" in answer.json()["error"]
    assert LabelEvent.objects.filter(image=films[3]).count() == 2


def test_no_cohort_is_frozen_from_their_dataset(web: Client, of: Dataset, films: list[Image]) -> None:
    answer = web.post(f"/datasets/{of.uuid}/freeze/?label=normal", {"name": "normals"})
    assert answer.status_code == 403
    assert "The dataset holds 2 films that you have yet to read blinded" in answer.text


def test_films_beside_have_no_names(web: Client, of: Dataset, films: list[Image]) -> None:
    factories.film(of, "abnormal", person="c", original_name="effusion.png")
    answer = web.get(f"/images/{films[2].uuid}/beside")
    assert len(answer.json()["films"]) == 2
    assert "effusion" not in answer.text


# Runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "status"), [(0, 200), (2, 403), (4, 403), (None, 403)])
def test_pictures_of_a_withheld_film_are_refused(
    web: Client, of: Dataset, films: list[Image], row: int | None, status: int
) -> None:
    """A pair without a row is of a film that is not known."""
    pair = PicturePair(name="worst-1", before="b.png", after="a.png", row=row)
    split = draw_split(
        SplitRequest(site=of.site, name="S", datasets=[of], seed=0, author=everyone("boss", of.site)),
        fractions={"fit": 1.0},
    )
    run = made.alignment_model(
        split, reports.alignment_report(pictures=["mean.png", "b.png", "a.png"], pairs=[pair])
    ).run
    for name in ("mean.png", "b.png"):
        paths.picture_path(run.uuid, name).parent.mkdir(parents=True, exist_ok=True)
        paths.picture_path(run.uuid, name).write_bytes(b"a picture")
    folder = paths.run_folder(run.uuid)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [ManifestRow(filename=f"{film.uuid}.gz", image=str(film.uuid), part="fit") for film in films]
    manifest.write(folder / "images.csv", rows, with_labels=False)
    answers = [web.get(f"/runs/{run.uuid}/pictures/{name}") for name in ("mean.png", "b.png")]
    assert [answer.status_code for answer in answers] == [200, status]
    page = web.get(f"/runs/{run.uuid}/").text
    assert ("b.png" in page) == (status == 200)
    assert b"".join(answers[0].streaming_content) == b"a picture"  # type: ignore[attr-defined]
    assert answers[1].content if status == 403 else b"".join(answers[1].streaming_content)  # type: ignore[attr-defined]
