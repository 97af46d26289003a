"""Hilum below a path of its host, in a real browser against the real server: log-in, grid, pixels, a label, a mail."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import global_settings
from playwright.sync_api import Page, expect

from ml_engine.models import RunState
from portal.models import Image, User
from tests.browser.test_outages import Server
from tests.ml_engine import made
from tests.paths import ROOT
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]
PREFIX = "/hilum"
MAIL_END = """
import sys, threading, django
django.setup()
from django.conf import settings
settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
from ml_engine.tasks import mail_end
thread = threading.Thread(target=mail_end, args=[sys.argv[1]])  # as in a worker
thread.start()
thread.join()
"""


@pytest.fixture
def environment(process_environment: dict[str, str], data_dir: Path, settings: Any) -> dict[str, str]:
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS  # the server's
    return {
        **process_environment,
        "HILUM_SECRET_KEY": settings.SECRET_KEY,
        "HILUM_PSEUDONYM_SECRET": settings.PSEUDONYM_SECRET,
        "HILUM_DATA_DIR": str(data_dir),
        "HILUM_URL_PREFIX": PREFIX,
    }


@pytest.fixture
def server(environment: dict[str, str]) -> Iterator[Server]:
    running = Server(environment)
    yield running
    running.stop()


def test_a_person_works_below_a_path(page: Page, server: Server, environment: dict[str, str]) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
    kim, of = factories.curator("kim"), factories.dataset()
    factories.films(of, unlabelled=3)
    here = f"{server.url}{PREFIX}"

    page.goto(f"{here}/datasets/{of.uuid}/")
    assert page.url == f"{here}/accounts/login/?next={PREFIX}/datasets/{of.uuid}/"
    page.get_by_label("User name").fill("kim")
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#grid")).to_have_attribute("data-keys", "ready")
    assert page.url == f"{here}/datasets/{of.uuid}/"
    assert {cookie.get("path") for cookie in page.context.cookies()} == {PREFIX}
    first = page.locator(".hilum-tile img").first
    assert first.evaluate("image => image.decode().then(() => image.naturalWidth > 0)")

    for key in ("ArrowRight", "a"):
        page.keyboard.press(key)
    expect(page.locator("#saved")).to_contain_text("Saved: 1 film normal")
    assert Image.objects.filter(current_label__value="normal").count() == 1

    page.keyboard.press("Enter")
    expect(page.locator("[data-hilum-viewer]")).to_have_attribute("data-state", "ready")
    assert any(re.match(f"{here}/images/[^/]+/pixels$", url) for url in asked)

    page.goto(mailed_link(server, environment, kim))
    expect(page.get_by_role("heading", name="Of May")).to_be_visible()
    assert [url for url in asked if not url.startswith(f"{here}/")] == []


def mailed_link(server: Server, environment: dict[str, str], person: User) -> str:
    """The link in a mail that a task sends."""
    person.email, person.mail_at_run_end = "kim@example.org", True
    person.save()
    run = made.run(made.split(person.memberships.get().site), name="Of May", state=RunState.DONE, requested_by=person)
    of_worker = {
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "HILUM_MAIL_URL": "smtp://localhost:25",
        "HILUM_MAIL_FROM": "hilum@example.org",
        "HILUM_TRUSTED_ORIGINS": server.url,
    }
    sent = subprocess.run(
        [sys.executable, "-c", MAIL_END, str(run.uuid)],
        cwd=ROOT,
        env={**environment, **of_worker},
        capture_output=True,
        text=True,
        check=True,
    )
    (link,) = re.findall(r"^http\S+$", sent.stdout, re.MULTILINE)
    return str(link)
