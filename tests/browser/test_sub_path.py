"""Hilum below a path of its host, in a real browser against the real server: log-in, grid, pixels, a label, a mail."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
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
from tests.portal.people.one_time import code_of

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


def test_a_link_a_second_factor_and_an_upload_lead_nowhere_else(
    page: Page, server: Server, environment: dict[str, str], tmp_path: Path
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
    factories.curator("kim")
    of = factories.dataset()
    here, chosen = f"{server.url}{PREFIX}", "Falkenauge-41-Birke"
    command = [sys.executable, "manage.py", "password_link", "kim"]
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)

    page.goto(f"{server.url}{printed.stdout.strip()}")
    page.get_by_label("New password", exact=True).fill(chosen)
    page.get_by_label("New password confirmation").fill(chosen)
    page.get_by_role("button", name="Set the password").click()
    page.get_by_label("User name").fill("kim")
    page.get_by_label("Password").fill(chosen)
    page.keyboard.press("Enter")

    page.get_by_role("link", name="kim").click()
    page.get_by_role("link", name="Second factor").click()
    page.get_by_role("link", name="Set up an app").click()
    page.get_by_label("Your password").fill(chosen)
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("Or type the key into the app").click()
    secret = page.locator("#totp-secret").inner_text()
    page.get_by_label("Code of six digits").fill(code_of(secret))
    page.get_by_role("button", name="Set it up").click()
    codes = page.get_by_role("list", name="Recovery codes").get_by_role("listitem")
    expect(codes).to_have_count(10)
    code = codes.first.inner_text()
    page.get_by_role("button", name="Log out").click()
    page.goto(f"{here}/datasets/{of.uuid}/")
    page.get_by_label("User name").fill("kim")
    page.get_by_label("Password").fill(chosen)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your second factor")).to_be_visible()
    page.get_by_label("Code of your authenticator app, or a recovery code").fill(code)
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page).to_have_url(f"{here}/datasets/{of.uuid}/")

    with zipfile.ZipFile(tmp_path / "films.zip", "w") as films:
        films.writestr("a.dcm", b"which no worker reads here")
    expect(page.locator("#sendings")).to_have_attribute("data-ready", "")
    page.get_by_label("A zip of").set_input_files(tmp_path / "films.zip")
    with page.expect_response(lambda answer: answer.request.method == "PATCH") as sent:
        page.get_by_role("button", name="Import").click()
    assert sent.value.status == 204
    assert re.match(f"{here}/api/v1/uploads/[^/]+/$", sent.value.url)
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
