"""Guessing is slow, and whoever guesses, from wherever, does not keep the owner of an account out."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from portal.people.wrong_passwords import COOKIE
from tests.pages import one_line
from tests.portal import factories
from tests.portal.people.one_time import code_of
from tests.portal.people.test_second_factors import SECRET, with_app

pytestmark = [pytest.mark.django_db]
HERE, ELSEWHERE = "203.0.113.9", "198.51.100.7"


@pytest.fixture(autouse=True)
def _no_counts(settings: Any) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    cache.clear()


def log_in(
    client: Client, name: str, password: str = factories.PASSWORD, *, address: str = HERE, host: str = ""
) -> str:
    headers = {"X-Forwarded-For": address, **({"Host": host} if host else {})}
    sent = {"login": name, "password": password}
    return one_line(client.post("/accounts/login/", sent, headers=headers, follow=True))


def is_inside(client: Client) -> bool:
    return "_auth_user_id" in client.session


def guess(name: str, *, times: int, address: str = HERE, host: str = "") -> str:
    client, page = Client(), ""
    for number in range(times):
        page = log_in(client, name, f"wrong {number}", address=address, host=host)
    return page


def guess_from_everywhere(name: str) -> str:
    page = ""
    for number in range(21):
        page = guess(name, times=5, address=f"192.0.2.{number}")
    return page


def test_whoever_guesses_at_an_account_keeps_nobody_at_another_address_out() -> None:
    factories.user("boss", is_superuser=True)
    assert "Too many wrong passwords. Wait five minutes" in guess("boss", times=9)
    assert "Too many wrong passwords. Wait five minutes" in log_in(Client(), "boss"), "guessing stays slow"
    owner = Client()
    log_in(owner, "boss", address=ELSEWHERE)
    assert is_inside(owner)


def test_another_name_of_the_host_or_another_case_makes_no_room_for_more_guesses(settings: Any) -> None:
    settings.ALLOWED_HOSTS = [".example.org"]
    factories.user("boss")
    guess("boss", times=5, host="a.example.org")
    assert "Too many wrong passwords" in guess("boss", times=1, host="b.example.org")
    assert "Too many wrong passwords" in guess("BOSS", times=1, host="a.example.org")


def test_guesses_from_many_addresses_are_limited_together() -> None:
    factories.user("boss")
    assert "from several places" in guess_from_everywhere("boss")
    assert "from several places" in log_in(Client(), "boss", address=ELSEWHERE)
    other = Client()
    factories.user("kim")
    log_in(other, "kim", address=ELSEWHERE)
    assert is_inside(other)


def test_a_browser_in_which_its_owner_has_logged_in_is_kept_out_by_nobody() -> None:
    factories.user("boss")
    own = Client()
    log_in(own, "boss")
    own.post("/accounts/logout/")
    guess("boss", times=6)
    guess_from_everywhere("boss")
    log_in(own, "boss")
    assert is_inside(own)


def test_a_known_browser_guesses_as_slowly_and_at_its_own_account_alone() -> None:
    factories.user("boss")
    factories.user("mallory")
    browser = Client()
    log_in(browser, "mallory")
    browser.post("/accounts/logout/")
    for number in range(5):
        assert "do not match" in log_in(browser, "mallory", f"wrong {number}")
    assert "Too many wrong passwords" in log_in(browser, "mallory")
    guess("boss", times=5)
    assert "Too many wrong passwords" in log_in(browser, "boss", "wrong"), "it is no known browser of boss"


def test_a_shared_machine_knows_all_who_log_in_there() -> None:
    browser = Client()
    for name in ("ana", "ben", "cleo"):
        factories.user(name)
        log_in(browser, name)
        browser.post("/accounts/logout/")
    for name in ("ana", "ben", "cleo"):
        guess(name, times=6)
        log_in(browser, name)
        assert is_inside(browser)
        browser.post("/accounts/logout/")


def test_the_cookie_cannot_be_forged_or_lent_to_a_name_that_differs_in_its_case() -> None:
    factories.user("boss")
    factories.user("Boss")
    browser = Client()
    log_in(browser, "Boss")
    browser.post("/accounts/logout/")
    kept = browser.cookies[COOKIE]
    assert kept["httponly"] and kept["samesite"] == "Lax"
    assert "oss" not in kept.value
    guess("boss", times=6)
    assert "Too many wrong" in log_in(browser, "boss")
    for value in ("", "x", "." * 50, f"{kept.value.split('.')[0]}.{'0' * 64}", "ü" * 25, kept.value + "." + "a" * 64):
        forged = Client()
        forged.cookies[COOKIE] = value
        assert "Too many wrong" in log_in(forged, "boss")


@pytest.mark.parametrize(("proxies", "sent"), [(2, HERE), (1, "unknown"), (3, f"{HERE}, {ELSEWHERE}")])
def test_a_header_that_is_not_as_the_setting_says_counts_all_of_the_proxy_together(
    settings: Any, caplog: pytest.LogCaptureFixture, proxies: int, sent: str
) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    factories.user("boss")
    guess("boss", times=5, address=sent)
    assert "Too many wrong passwords" in guess("boss", times=1, address=sent)
    factories.user("kim")
    other = Client()
    log_in(other, "kim", address=sent)
    assert is_inside(other)
    assert f"HILUM_PROXIES is {proxies}, and X-Forwarded-For has {len(sent.split(','))} addresses" in caplog.text


def test_a_code_that_is_right_makes_no_room_for_guesses_at_others(settings: Any) -> None:
    few = {"wrong_password": "5/5m/key,6/5m/ip", "login_failed": "5/5m/key,6/5m/ip"}
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, **few}
    mallory = factories.user("mallory")
    with_app(mallory)
    browser = Client()
    log_in(browser, "mallory")
    for name in ("ana", "ben", "cleo"):
        guess(name, times=2)
    done = browser.post("/accounts/second-factor/log-in/", {"code": code_of(SECRET)}, headers={"X-Forwarded-For": HERE})
    assert done.status_code == 302
    assert is_inside(browser)
    assert "Too many wrong" in guess("dan", times=1)
