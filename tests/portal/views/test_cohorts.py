"""Cohorts on pages and in the API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import Cohort, Dataset, Image, User
from portal.sets.cohorts import freeze_cohort, images_of
from tests.pages import one_line
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def ann(of: Dataset) -> User:
    return factories.curator("ann")


@pytest.fixture
def films(of: Dataset) -> list[Image]:
    return factories.films(of, normal=5)


@pytest.fixture
def versions(of: Dataset, ann: User, films: list[Image]) -> list[Cohort]:
    """normals v1 of films 0 to 2; v2 of films 1 to 4, of which 2 was relabelled."""
    first = freeze_cohort(site=of.site, name="normals", images=films[:3], author=ann, note="the first")
    factories.event(films[2], "abnormal")
    return [first, freeze_cohort(site=of.site, name="normals", images=films[1:], author=ann)]


def text(answer: Any) -> str:
    assert answer.status_code == 200
    return one_line(answer)


def test_the_films_of_the_grid_are_frozen(curator: Client, of: Dataset, films: list[Image]) -> None:
    factories.film(of, "abnormal")
    answer = curator.post(f"/datasets/{of.uuid}/freeze/?label=normal", {"name": "normals", "note": "of May"})
    cohort = Cohort.objects.get()
    assert answer["Location"] == f"/cohorts/{cohort.uuid}/"
    assert list(images_of(cohort).order_by("pk")) == films
    assert (cohort.note, cohort.filters) == ("of May", {"dataset": "Normals", "label": "normal"})


def test_a_refused_freeze_is_explained(curator: Client, of: Dataset) -> None:
    answer = curator.post(f"/datasets/{of.uuid}/freeze/?label=normal", {"name": "normals"})
    assert (answer.status_code, "needs at least one film" in answer.content.decode()) == (400, True)
    assert not Cohort.objects.exists()


def test_the_list_and_the_page_show_the_version(curator: Client, versions: list[Cohort]) -> None:
    page = text(curator.get("/cohorts/"))
    assert page.index("normals v2") < page.index("normals v1")
    page = text(curator.get(f"/cohorts/{versions[0].uuid}/"))
    assert "the first" in page
    assert page.count("hilum-tile") == 3
    assert page.count('<span class="visually-hidden">then</span>') == 1  # one film has another label now


def test_a_cohort_is_read_page_by_page(
    curator: Client, versions: list[Cohort], films: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.views.cohorts.FILMS_A_PAGE", 2)
    address = f"/cohorts/{versions[1].uuid}/"
    assert f'rel="next" href="?from={films[3].uuid}"' in text(curator.get(address))
    page = text(curator.get(f"{address}?from={films[3].uuid}"))
    assert f'rel="prev" href="?from={films[1].uuid}"' in page
    assert page.count("hilum-tile") == 2


@pytest.mark.parametrize("count", [2, 9])
def test_the_page_takes_a_constant_number_of_queries(
    curator: Client, of: Dataset, ann: User, count: int, django_assert_num_queries: Any
) -> None:
    cohort = freeze_cohort(site=of.site, name="n", images=factories.films(of, normal=count), author=ann)
    with django_assert_num_queries(14):
        curator.get(f"/cohorts/{cohort.uuid}/")


def test_the_difference_shows_the_changes_from_the_earlier(curator: Client, versions: list[Cohort]) -> None:
    page = text(curator.get(f"/cohorts/{versions[1].uuid}/difference/"))
    assert "From normals v1 to normals v2" in page
    for words in ('Added <span class="tabular text-secondary">2', 'Removed <span class="tabular text-secondary">1'):
        assert words in page
    assert '<span class="label label-normal">normal</span> <span aria-hidden="true">→</span>' in page
    assert curator.get(f"/cohorts/{versions[0].uuid}/difference/").status_code == 404  # nothing before v1


def test_the_api_returns_cohorts(curator: Client, versions: list[Cohort], films: list[Image]) -> None:
    first, second = versions
    listed = curator.get("/api/v1/cohorts/").json()["results"]
    assert [(row["name"], row["version"], row["films"]) for row in listed] == [("normals", 2, 4), ("normals", 1, 3)]
    assert curator.get(f"/api/v1/cohorts/{first.uuid}/").json()["counts"] == {"normal": 3}
    members = curator.get(f"/api/v1/cohorts/{second.uuid}/images/").json()["results"]
    assert members[1] == {"image": str(films[2].uuid), "label": "abnormal"}
    difference = curator.get(f"/api/v1/cohorts/{second.uuid}/difference/?earlier={first.uuid}").json()
    assert difference == {
        "cohort": "normals v2",
        "earlier": "normals v1",
        "added": [str(films[3].uuid), str(films[4].uuid)],
        "removed": [str(films[0].uuid)],
        "relabelled": [{"image": str(films[2].uuid), "before": "normal", "after": "abnormal"}],
        "omitted": "",
    }
    for earlier in ("", "x", factories.somewhere()):
        assert curator.get(f"/api/v1/cohorts/{second.uuid}/difference/?earlier={earlier}").status_code == 404


def test_who_may(reader: Client, stranger: Client, of: Dataset, versions: list[Cohort], films: list[Image]) -> None:
    cohort = versions[1]
    for address in (
        f"/cohorts/{cohort.uuid}/",
        f"/cohorts/{cohort.uuid}/difference/",
        f"/api/v1/cohorts/{cohort.uuid}/",
        f"/api/v1/cohorts/{cohort.uuid}/images/",
        f"/api/v1/cohorts/{cohort.uuid}/difference/?earlier={versions[0].uuid}",
    ):
        assert (reader.get(address).status_code, stranger.get(address).status_code) == (200, 404), address
    assert reader.post(f"/datasets/{of.uuid}/freeze/", {"name": "n"}).status_code == 403
    assert stranger.post(f"/datasets/{of.uuid}/freeze/", {"name": "n"}).status_code == 404
    assert reader.post(f"/cohorts/{cohort.uuid}/queue/", {"name": "n"}).status_code == 403
    assert stranger.post(f"/cohorts/{cohort.uuid}/queue/", {"name": "n"}).status_code == 404
    assert str(cohort.uuid) not in stranger.get("/cohorts/").content.decode()
    assert stranger.get("/api/v1/cohorts/").json()["results"] == []
