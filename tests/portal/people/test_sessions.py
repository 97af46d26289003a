"""Sessions end when their time is over, and the log-in page says why."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from portal import tasks
from portal.models import AuditEvent, User
from portal.people import sessions
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]
HOUR = 3600


@pytest.fixture
def kim(settings: Any) -> Client:
    cache.clear()
    settings.SESSION_IDLE_MINUTES, settings.SESSION_COOKIE_AGE = 30, 12 * HOUR
    factories.curator("kim")
    client = Client()
    client.post("/accounts/login/", {"login": "kim", "password": factories.PASSWORD})
    return client


def earlier(client: Client, key: str, seconds: float) -> None:
    session = client.session
    session[key] = time.time() - seconds
    session.save()


def test_a_session_ends_after_the_idle_time_and_the_log_in_page_says_so_once(kim: Client) -> None:
    earlier(kim, sessions.STARTED, 2 * HOUR)
    earlier(kim, sessions.SEEN, 29 * 60)
    assert kim.get("/datasets/").status_code == 200
    earlier(kim, sessions.SEEN, 31 * 60)
    page = kim.get("/splits/", follow=True)
    assert page.redirect_chain[-1][0] == "/accounts/login/?next=/splits/"
    assert "Your session ended: for 30 minutes you asked for no page. Log in to go on" in one_line(page)
    assert "session ended" not in one_line(kim.get("/accounts/login/"))
    event = AuditEvent.objects.get(verb="end session")
    assert event.target_uuid == User.objects.get().uuid
    answer = kim.post("/accounts/login/", {"login": "kim", "password": factories.PASSWORD, "next": "/splits/"})
    assert answer["Location"] == "/splits/"


def test_a_session_ends_some_time_after_the_log_in_whatever_its_person_does(kim: Client) -> None:
    earlier(kim, sessions.STARTED, 11.9 * HOUR)
    earlier(kim, sessions.SEEN, 1)
    assert kim.get("/datasets/").status_code == 200
    earlier(kim, sessions.STARTED, 12.1 * HOUR)
    assert "after 12 hours everybody logs in again" in one_line(kim.get("/datasets/", follow=True))


def test_a_request_of_the_person_keeps_the_session_and_one_of_a_page_by_itself_does_not(kim: Client) -> None:
    earlier(kim, sessions.SEEN, 20 * 60)
    kim.get("/runs/", headers={"HX-Request": "true"})
    assert time.time() - kim.session[sessions.SEEN] > 19 * 60
    kim.get("/runs/")
    assert time.time() - kim.session[sessions.SEEN] < 60


def test_a_fragment_of_a_session_that_is_over_reloads_its_page(kim: Client) -> None:
    earlier(kim, sessions.SEEN, 31 * 60)
    assert kim.get("/runs/", headers={"HX-Request": "true"})["HX-Refresh"] == "true"
    assert "session ended" in one_line(kim.get("/runs/", follow=True))


def test_requests_within_a_minute_write_nothing(kim: Client) -> None:
    kim.get("/datasets/")
    assert sessions.SEEN not in kim.session


def test_without_an_idle_time_only_the_whole_time_counts(kim: Client, settings: Any) -> None:
    settings.SESSION_IDLE_MINUTES = 0
    earlier(kim, sessions.STARTED, 11 * HOUR)
    assert kim.get("/datasets/").status_code == 200


def test_logging_in_again_starts_anew(kim: Client) -> None:
    earlier(kim, sessions.STARTED, 11 * HOUR)
    kim.post("/accounts/logout/")
    kim.post("/accounts/login/", {"login": "kim", "password": factories.PASSWORD})
    assert time.time() - kim.session[sessions.STARTED] < 60


def test_a_session_of_before_an_upgrade_counts_from_the_last_log_in(kim: Client) -> None:
    client = as_(User.objects.get())
    User.objects.update(last_login="2020-01-01T00:00:00Z")
    assert client.get("/datasets/").status_code == 302


def test_the_api_is_closed_to_a_session_that_is_over(kim: Client) -> None:
    earlier(kim, sessions.SEEN, 31 * 60)
    assert kim.get("/api/v1/datasets/").status_code == 403


@pytest.mark.parametrize(
    ("minutes", "words"), [(1, "a minute"), (45, "45 minutes"), (60, "1 hour"), (720, "12 hours"), (2880, "2 days")]
)
def test_spans_are_words(minutes: int, words: str) -> None:
    assert sessions._span(minutes) == words


def test_rows_of_sessions_that_ended_are_removed(kim: Client) -> None:
    over = Session.objects.create(session_key="over", session_data="", expire_date=timezone.now())
    tasks.tidy_up()
    assert not Session.objects.filter(pk=over.pk).exists()
    assert Session.objects.filter(pk=kim.session.session_key).exists()
