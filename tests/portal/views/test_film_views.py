"""Saved views on the dataset's page and in their list."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from django.test import Client

from portal.models import Dataset, FilmView, Role
from portal.people.blinding import open_for
from tests.portal import factories

pytestmark = pytest.mark.django_db


def saved(client: Client, of: Dataset, query: str = "label=normal", **fields: str) -> FilmView:
    client.post(f"/datasets/{of.uuid}/views/save/?{query}", {"name": "Normals", **fields})
    return FilmView.objects.get()


def test_a_shared_view_is_used_by_another_member(
    curator: Client, reader: Client, of: Dataset, data_dir: object
) -> None:
    normal, _ = factories.films(of, normal=1, abnormal=1)
    view = saved(curator, of, share="1")
    page = reader.get(f"/datasets/{of.uuid}/", {"saved": str(view.uuid)})
    assert list(page.context["films"]) == [normal]
    assert "Normals" in page.text
    assert f'href="/images/{normal.uuid}/?label=normal"' in page.text
    assert "shared by curator" in page.text


def test_a_private_view_is_closed_to_others(curator: Client, reader: Client, stranger: Client, of: Dataset) -> None:
    view = saved(curator, of)
    for client in (reader, stranger):
        assert client.get(f"/datasets/{of.uuid}/", {"saved": str(view.uuid)}).status_code == 404
        assert client.post(f"/views/{view.uuid}/delete/").status_code == 404
    assert reader.get(f"/datasets/{of.uuid}/", {"saved": "nonsense"}).status_code == 404


def test_a_dataset_opens_with_the_chosen_view(curator: Client, of: Dataset, data_dir: object) -> None:
    normal, abnormal = factories.films(of, normal=1, abnormal=1)
    view = saved(curator, of)
    answer = curator.post(f"/views/{view.uuid}/default/", follow=True)
    assert "Normals opens with the view “Normals” for you." in answer.text
    assert list(curator.get(f"/datasets/{of.uuid}/").context["films"]) == [normal]
    assert list(curator.get(f"/datasets/{of.uuid}/?label=").context["films"]) == [normal, abnormal]
    curator.post(f"/views/{view.uuid}/default/", {"all": "1"})
    assert list(curator.get(f"/datasets/{of.uuid}/").context["films"]) == [normal, abnormal]


def test_views_are_renamed_shared_and_deleted_in_their_list(curator: Client, reader: Client, of: Dataset) -> None:
    view = saved(curator, of)
    assert "Nobody has saved a view of Normals" in reader.get(f"/datasets/{of.uuid}/views/").text
    answer = curator.post(f"/views/{view.uuid}/change/", {"name": "Ours", "share": "1"}, follow=True)
    assert "The view “Ours” is changed." in answer.text
    listed = reader.get(f"/datasets/{of.uuid}/views/").text
    assert "curator, shared with the site" in listed
    assert "Delete Ours" not in listed
    assert reader.post(f"/views/{view.uuid}/change/", {"name": "Mine"}).status_code == 403
    answer = curator.post(f"/views/{view.uuid}/change/", {"name": ""}, follow=True)
    assert "The view was not changed. The view needs a name of 1 to 60 characters" in answer.text
    answer = curator.post(f"/views/{view.uuid}/delete/", follow=True)
    assert "The view “Ours” is deleted. No film was changed." in answer.text
    assert not FilmView.objects.exists()


def test_a_refused_name_is_answered_with_a_sentence(curator: Client, of: Dataset) -> None:
    answer = curator.post(f"/datasets/{of.uuid}/views/save/", {"name": " "}, follow=True)
    assert "The view was not saved. The view needs a name" in answer.text


def test_what_is_gone_is_said_above_the_grid(curator: Client, of: Dataset, data_dir: object) -> None:
    factories.films(of, normal=1)
    view = saved(curator, of, query=f"finding={quote('nodule')}")
    page = curator.get(f"/datasets/{of.uuid}/", {"saved": str(view.uuid)}).text
    assert "asks for the finding “nodule”, which no film that you may see has any more" in page
    assert "asks for the finding “nodule”" in curator.get(f"/datasets/{of.uuid}/views/").text


def test_a_view_shows_no_film_that_is_read_blinded(curator: Client, of: Dataset, data_dir: object) -> None:
    first, second = factories.films(of, normal=2)
    view = saved(curator, of, share="1")
    ann = factories.user("ann", Role.READER)
    open_for(person=ann, images=[first], source=view.uuid, words="the worklist Tuesday", days=3)
    client = Client()
    client.force_login(ann)
    assert list(client.get(f"/datasets/{of.uuid}/", {"saved": str(view.uuid)}).context["films"]) == [second]


def test_the_page_of_many_views_takes_no_query_for_each(
    curator: Client, of: Dataset, django_assert_max_num_queries: object
) -> None:
    view = saved(curator, of)
    url = f"/datasets/{of.uuid}/?label="
    curator.get(url)
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as once:
        curator.get(url)
    FilmView.objects.bulk_create([FilmView(dataset=of, owner=view.owner, name=f"view {n}") for n in range(20)])
    with CaptureQueriesContext(connection) as again:
        page = curator.get(url)
    assert len(again) == len(once)
    assert "9 more" in page.text
