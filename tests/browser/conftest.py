"""A real browser: the system's Chromium, otherwise Playwright's own (see tools/browser.py)."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from typing import Any

import pytest
from playwright.sync_api import Page

from tools.browser import find_chromium

# Playwright's blocking interface runs an event loop in this thread, so Django takes the tests for async code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

# Features that each window would start a process for, the suggestions of its address bar; and those that Playwright
# turns off, since Chromium follows the last such option alone.
OFF = [
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
]
QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    f"--disable-features={','.join(OFF)}",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses root
    return {**browser_type_launch_args, "executable_path": find_chromium(), "args": [*QUIET, *sandbox]}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "viewport": {"width": 1440, "height": 900}}


@pytest.fixture
def page(page: Page) -> Generator[Page]:
    """A page that fails its test on a script error or on a request to any other machine."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
    page.on("request", lambda request: problems.extend(_external_request(request.url)))
    yield page
    assert not problems, "\n".join(problems)


@pytest.fixture
def routed_from_the_start(page: Page) -> None:
    """Sends the requests of the page through Playwright from the first one on. Where this begins with a route that is
    added to an open page, its process may send one more request past the route."""
    page.route(re.compile("no address"), lambda route: route.fallback())


@pytest.fixture
def sign_in(page: Page, live_server: Any) -> Any:
    """A function that logs a person in without the form."""

    def log_in(person: Any) -> None:
        from django.test import Client

        client = Client()
        client.force_login(person)
        cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
        page.context.add_cookies([cookie])

    return log_in


def _external_request(url: str) -> list[str]:
    local = ("http://localhost:", "http://127.0.0.1:", "data:", "blob:", "about:")
    return [] if url.startswith(local) else [f"request to another machine: {url}"]
