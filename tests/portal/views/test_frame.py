"""General pages: the site and theme of a person, and errors."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import SuspiciousOperation
from django.test import Client, RequestFactory, override_settings

from portal.models import Dataset, Membership, Role, User
from portal.views import frame
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


def test_the_chosen_site_is_kept(of: Dataset) -> None:
    person = factories.user("both", Role.READER)
    busan = factories.site("Busan")
    Membership.objects.create(user=person, site=busan, role=Role.READER)
    client = as_(person)
    assert client.get("/datasets/").context["site"] == busan  # the first by name
    client.post("/site/", {"site": of.site.uuid})
    assert client.get("/datasets/").context["site"] == of.site
    Membership.objects.filter(site=of.site).delete()
    assert client.get("/datasets/").context["site"] == busan


def test_a_page_of_another_site_brings_its_lists(of: Dataset) -> None:
    person = factories.user("both", Role.CURATOR)
    busan = factories.site("Busan")
    Membership.objects.create(user=person, site=busan, role=Role.CURATOR)
    client = as_(person)
    assert client.get("/datasets/").context["site"] == busan
    assert client.get(f"/datasets/{of.uuid}/").context["site"] == of.site
    assert client.get("/splits/").context["site"] == of.site
    client.post("/site/", {"site": busan.uuid})
    client.get(f"/datasets/{of.uuid}/counts/", headers={"HX-Request": "true"})  # a part of a page brings none
    client.get(f"/datasets/{of.uuid}/no-such-page/")
    assert client.get("/splits/").context["site"] == busan


def test_an_administrator_begins_at_a_site_of_their_own(of: Dataset) -> None:
    factories.site("Busan")  # the first by name, of which they are no member
    person = factories.user("boss", Role.MANAGER, at=of.site, is_superuser=True)
    assert as_(person).get("/datasets/").context["site"] == of.site


def test_another_site_opens_where_its_person_works(of: Dataset) -> None:
    person = factories.user("both", Role.CURATOR, at=of.site)
    busan = factories.site("Busan")
    Membership.objects.create(user=person, site=busan, role=Role.READER)
    client = as_(person)
    assert client.post("/site/", {"site": busan.uuid}, follow=True).redirect_chain[-1][0] == "/reading/"
    assert client.post("/site/", {"site": of.site.uuid}, follow=True).redirect_chain[-1][0] == "/datasets/"


@pytest.mark.parametrize("site", ["", "nonsense", "00000000-0000-4000-8000-000000000000"])
def test_the_site_of_others_cannot_be_chosen(stranger: Client, of: Dataset, site: str) -> None:
    assert stranger.post("/site/", {"site": site}).status_code == 404
    assert stranger.post("/site/", {"site": of.site.uuid}).status_code == 404
    assert stranger.get("/site/").status_code == 405


def test_the_theme_is_remembered(curator: Client) -> None:
    answer = curator.post("/theme/", {"theme": "dark", "next": "/splits/"})
    assert answer["Location"] == "/splits/"
    assert User.objects.get(username="curator").theme == "dark"
    assert 'data-bs-theme="dark"' in curator.get("/splits/").content.decode()
    curator.post("/theme/", {"theme": "purple"})
    assert User.objects.get(username="curator").theme == "light"


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
def test_the_redirect_back_stays_on_this_site(curator: Client, target: str) -> None:
    assert curator.post("/theme/", {"theme": "dark", "next": target})["Location"] == "/"


def test_pages_of_films_are_dark_and_show_the_disclaimer(curator: Client, of: Dataset) -> None:
    page = curator.get(f"/datasets/{of.uuid}/").content.decode()
    assert 'data-bs-theme="dark"' in page
    assert "Research use only. Not a medical device." in page


def test_log_out(curator: Client) -> None:
    curator.post("/accounts/logout/")
    assert "/accounts/login/" in curator.get("/datasets/")["Location"]


def test_a_bug_shows_a_page_with_the_reference_in_the_log(
    of: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a bug with details")

    monkeypatch.setattr("portal.views.datasets._list", broken)
    client = Client(raise_request_exception=False)
    client.force_login(factories.curator("kim"))
    response = client.get("/datasets/")
    page = response.content.decode()
    assert response.status_code == 500
    assert "a bug with details" not in page
    reference = page.split("the reference ")[1].split(".")[0]
    assert reference in caplog.text
    assert reference.isalnum()
    sent = client.get("/datasets/", headers={"Accept": "application/json"})
    assert "the reference" in sent.json()["error"]


def test_the_page_of_a_bug_makes_no_queries(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert frame.broken(RequestFactory().get("/")).status_code == 500


def test_a_malformed_request_has_a_page() -> None:
    response = frame.bad_request(RequestFactory().get("/"), SuspiciousOperation())
    assert response.status_code == 400


@override_settings(ALLOWED_HOSTS=["hilum.example.org"])
def test_a_host_that_is_not_ours_has_a_page_that_names_the_setting() -> None:
    page = Client().get("/accounts/login/", headers={"Host": "other.example.org"})
    assert page.status_code == 400
    assert "Not this host" in page.text and "adds its host to HILUM_ALLOWED_HOSTS" in page.text
    assert "other.example.org" not in page.text
    sent = Client().get("/api/v1/", headers={"Host": "other.example.org"})
    assert sent.status_code == 400 and "HILUM_ALLOWED_HOSTS" in sent.json()["detail"]


def test_every_page_has_security_headers(curator: Client) -> None:
    headers = curator.get("/datasets/").headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_fragment_requested_after_the_session_ended_reloads_the_page() -> None:
    response = Client().get("/datasets/", headers={"HX-Request": "true"})
    assert (response.status_code, response["HX-Refresh"]) == (200, "true")
    assert response.content == b""
