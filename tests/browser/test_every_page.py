"""Every page in a real browser, below a path of its host, with scripts in every text of the database: none becomes part
of a page, nothing violates the policy of contents, which is loose only where figures are; the console has no error; no
address leaves the path; axe finds nothing serious in either theme."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import CharField, JSONField, TextField, Value
from django.db.models.functions import Concat, Left
from django.test import Client
from django.urls import reverse
from playwright.sync_api import ConsoleMessage, Error, Page, Request, Response

from portal.models import User
from tests.access import world as worlds
from tests.access.url_table import URLS
from tests.access.world import World
from tests.browser.axe import serious_findings
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

# In the columns of these names people, tables and files put text. Blank ones that nothing follows from are filled.
TEXTS = {
    *("first_name", "last_name", "name", "original_name", "source", "licence", "purpose", "ethics_approval"),
    *("text", "words", "source_words", "finding_words", "attribute_words", "comment", "note", "reason", "statement"),
    *("action", "sentence", "message", "detail", "warning", "error"),
}
MAY_BE_BLANK = {"first_name", "last_name", "source", "licence", "purpose", "comment", "note"}
LISTS = {"findings", "attributes", "tags"}
HOSTILE = "'\"><svg/onload=hit()>"  # short, since the name of a tag has 30 characters


def _takes_text(field: Any) -> bool:
    """Of these names, some short columns hold one of several words."""
    shortest = 100 if field.name in ("reason", "source") else 30
    return isinstance(field, CharField | TextField) and not field.choices and (field.max_length or 1000) >= shortest


def put_scripts_into_texts() -> int:
    """The number of columns. Rows that are only ever added are changed as no role of the application could."""
    columns = 0
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
    for model in apps.get_models():
        if model._meta.app_label not in ("portal", "ml_engine", "analysis"):
            continue
        for field in model._meta.concrete_fields:
            rows = model._default_manager.all()
            if field.name in LISTS and isinstance(field, JSONField):
                for row in rows:
                    if isinstance(getattr(row, field.name), list):
                        rows.filter(pk=row.pk).update(**{field.name: [*getattr(row, field.name), HOSTILE]})
                columns += 1
            elif field.name in TEXTS and _takes_text(field):
                filled = rows if field.name in MAY_BE_BLANK else rows.exclude(**{field.name: ""})
                room = (field.max_length or 1000) - len(HOSTILE)
                filled.update(**{field.name: Concat(Left(field.name, room), Value(HOSTILE))})
                columns += 1
    with connection.cursor() as cursor:
        cursor.execute("RESET session_replication_role")
    return columns


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

    def scripts(self) -> list[str]:
        """Elements that a text has become."""
        found: int = self.page.locator("svg[onload]").count()
        return [f"{found} texts became elements"] * bool(found)

    def serious_in_both_themes(self) -> set[str]:
        """What axe finds; pages of films are dark for everybody."""
        found = set(serious_findings(self.page))
        if self.page.evaluate("document.documentElement.dataset.bsTheme") == "light":
            self.page.evaluate("document.documentElement.dataset.bsTheme = 'dark'")
            found.update(serious_findings(self.page))
        return found

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
    assert put_scripts_into_texts() > 50
    visitor = Visitor(page, server.url + PREFIX)
    wrong: dict[str, Any] = {}
    opened, with_texts, loose = 0, 0, set()
    for name, address in pages(world):
        response = visitor.open(address)
        if response is None:
            continue
        opened += 1
        with_texts += "onload=hit()" in response.text()
        outside = visitor.outside()
        if found := [*visitor.noted, *outside, *visitor.scripts(), *visitor.serious_in_both_themes()]:
            wrong[name] = found
        if "'unsafe-inline'" in response.headers["content-security-policy"]:
            loose.add(name)
    assert wrong == {}
    assert loose == FIGURES
    assert opened > 80
    assert with_texts > 90
