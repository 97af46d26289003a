"""Every page in a real browser, below a path of its host: nothing violates the policy of contents, which is loose only
where figures are; the console has no error; no address leaves the path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import ConsoleMessage, Error, Page, Request, Response

from portal.models import User
from tests.access import world as worlds
from tests.access.url_table import URLS
from tests.access.world import World
from tests.browser.test_outages import Server
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(900)]
PREFIX = "/hilum"
NO_PAGES = {
    *("logout", "openid_connect_login", "openid_connect_callback", "readyz", "healthz", "metrics", "schema"),
    *("saml_login", "saml_finish_acs", "saml_metadata"),
    *("invitation", "mfa_authenticate"),  # asked by somebody who is not logged in: tests/browser/test_second_factors.py
    *("analysis:report", "analysis:run-archive", "portal:image-pixels"),  # files, slow ones among them
}
ADMIN = ("admin:index", "admin:portal_image_changelist", "admin:portal_site_add", "admin:portal_auditevent_changelist")
FIGURES = {  # that have figures with the rows of this world
    *("analysis:ablation", "analysis:bank-study", "analysis:blind-spots", "analysis:comparison", "analysis:drift"),
    *("analysis:evaluation", "analysis:external-validation", "analysis:reader-study", "analysis:sweep"),
}
VIOLATIONS = """document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`))"""
# the values of all attributes, and the texts in the data for scripts, that may be addresses of this host
ADDRESSES = """() => {
  const values = [...document.querySelectorAll("*")].flatMap((one) => [...one.attributes].map(({ value }) => value));
  for (const data of document.querySelectorAll("script[type='application/json']"))
    values.push(...data.textContent.matchAll(/"([^"]*)"/g).map((found) => found[1]));
  return values.filter((value) => /^\\/\\w/.test(value) || value.startsWith(location.origin));
}"""


@pytest.fixture
def server(process_environment: dict[str, str], data_dir: Path, settings: Any) -> Iterator[Server]:
    environment = {
        **process_environment,
        "HILUM_SECRET_KEY": settings.SECRET_KEY,
        "HILUM_PSEUDONYM_SECRET": settings.PSEUDONYM_SECRET,
        "HILUM_DATA_DIR": str(data_dir),
        "HILUM_URL_PREFIX": PREFIX,
    }
    running = Server(environment)
    yield running
    running.stop()


class Visitor:
    """An administrator with every role, who opens one page after the other."""

    def __init__(self, page: Page, here: str) -> None:
        self.page, self.here = page, here
        self.noted: list[str] = []
        self.asked = ""
        client = Client()
        client.force_login(administrator())
        session = client.cookies["sessionid"].value
        page.context.add_cookies([{"name": "sessionid", "value": session, "url": here}])
        page.add_init_script(VIOLATIONS)
        page.on("console", self._note)
        page.on("request", self._note_request)

    def open(self, path: str) -> Response | None:
        """The answer if it is a page, and neither a file nor a part of a page."""
        self.page.evaluate("0")  # what the last page has left to say comes before the answer
        self.noted.clear()
        self.asked = self.here + path
        try:
            response = self.page.goto(self.asked, wait_until="load")
        except Error as refused:
            if "Download is starting" in refused.message:
                return None
            raise
        assert response is not None
        is_page = "text/html" in response.headers.get("content-type", "") and "<!doctype html>" in response.text()
        return response if is_page else None

    def outside(self) -> list[str]:
        """The addresses in the page that leave the path."""
        found = {urlsplit(one).path for one in self.page.evaluate(ADDRESSES)}
        return sorted(path for path in found if not f"{path}/".startswith(f"{PREFIX}/"))

    def _note(self, message: ConsoleMessage) -> None:
        expected = {self.asked, f"{self.here.removesuffix(PREFIX)}/favicon.ico"}  # a refused page; an icon for a file
        if message.type == "error" and message.location["url"] not in expected:
            self.noted.append(f"{message.text} {message.location}")

    def _note_request(self, request: Request) -> None:
        if request.url.startswith("http") and not request.url.startswith(f"{self.here}/"):
            self.noted.append(f"request for {request.url}")


def administrator() -> User:
    person = User.objects.get(username="boss")
    person.is_staff = person.is_superuser = True
    person.save()
    return person


def pages(world: World) -> Iterator[tuple[str, str]]:
    """The name and the address, inside the path, of everything that may be a page."""
    for name, url in URLS.items():
        if url.method == "get" and not name.startswith("api-") and name not in NO_PAGES:
            arguments = [getattr(world.things[thing], "uuid", world.things[thing]) for thing in url.of]
            yield name, reverse(name, args=arguments, query=url.query(world))
    for name in ADMIN:
        yield name, reverse(name)


def test_no_page_violates_the_policy_has_errors_or_leaves_the_path(page: Page, server: Server) -> None:
    factories.restart_seeds()
    world = worlds.build()
    visitor = Visitor(page, server.url + PREFIX)
    wrong: dict[str, Any] = {}
    opened, loose = 0, set()
    for name, address in pages(world):
        response = visitor.open(address)
        if response is None:
            continue
        opened += 1
        outside = visitor.outside()
        if found := [*visitor.noted, *outside]:
            wrong[name] = found
        if "'unsafe-inline'" in response.headers["content-security-policy"]:
            loose.add(name)
    assert wrong == {}
    assert loose == FIGURES
    assert opened > 80
