"""The web server goes away while a person works, and comes back: nothing that they did is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, expect

from ml_engine.models import Run, RunState
from portal.models import Image, LabelEvent, Site, User
from portal.project.embedded import free_port
from portal.sets.screening_queues import queue_films
from tests.ml_engine import made
from tests.paths import ROOT
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]


class Server:
    """gunicorn as a process of its own, that can be killed and started again at its address."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.port = free_port("localhost", 8900)
        self.url = f"http://localhost:{self.port}"
        self._environment = environment
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "portal.wsgi", "--bind", f"localhost:{self.port}"]
        self._process = subprocess.Popen([*command, "--no-control-socket"], cwd=ROOT, env=self._environment)
        while not self._answers():
            assert self._process.poll() is None

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/healthz") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def server(process_environment: dict[str, str], data_dir: Path, settings: Any) -> Iterator[Server]:
    secrets = {"HILUM_SECRET_KEY": settings.SECRET_KEY, "HILUM_PSEUDONYM_SECRET": settings.PSEUDONYM_SECRET}
    running = Server({**process_environment, **secrets, "HILUM_DATA_DIR": str(data_dir)})
    yield running
    running.stop()


@pytest.fixture
def kim(data_dir: Any) -> User:
    return factories.curator("kim")


def test_labels_given_while_the_server_is_away_are_sent_when_it_is_back(
    page: Page, server: Server, sign_in: Callable[[Any], None], kim: User
) -> None:
    of = factories.dataset()
    factories.films(of, unlabelled=3)
    queue = queue_films(site=of.site, name="May", images=of.images.all(), author=kim, source="x", order="imported")
    sign_in(kim)
    page.goto(f"{server.url}/queues/{queue.uuid}/")
    expect(page.locator("#queue")).to_have_attribute("data-shown", "1")
    expect(page.locator("[data-hilum-viewer]")).to_have_attribute("data-state", "ready")
    server.stop()
    page.keyboard.press("a")
    expect(page.locator("#saved")).to_contain_text("1 change not saved, kept in this browser")
    expect(page.locator("#saved")).to_contain_text("The server did not answer. Trying again.")
    assert LabelEvent.objects.count() == 0

    server.start()

    expect(page.locator("#saved")).to_have_attribute("data-state", "saved", timeout=60_000)  # by itself
    labels = Image.objects.order_by("pk").values_list("current_label__value", flat=True)
    assert list(labels) == ["normal", None, None]


def test_a_page_that_polls_says_that_the_server_is_away_and_goes_on(
    page: Page, server: Server, sign_in: Callable[[Any], None], kim: User
) -> None:
    run = made.run(made.split(Site.objects.get()), name="Of May")
    sign_in(kim)
    page.goto(f"{server.url}/runs/")
    expect(page.get_by_text("Of May")).to_be_visible()
    assert page.locator("#away").count() == 0
    server.stop()
    expect(page.locator("#away")).to_contain_text("The server does not answer. This page shows what was known at")
    Run.objects.filter(pk=run.pk).update(state=RunState.CANCELLED)
    server.start()
    expect(page.locator("#away")).to_have_count(0, timeout=60_000)
    expect(page.get_by_role("cell", name="Cancelled")).to_be_visible()
