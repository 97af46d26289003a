"""What a page says of an empty list never contradicts what is beside it.

An empty state is marked by `data-empty`, the name of the list that would stand in its place.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import User
from tests.access import world as worlds
from tests.access.test_walk import SAYS_SO, SLOW, Walk
from tests.access.url_table import ANYONE, URLS, Url
from tests.access.world import World
from tests.paths import ROOT
from tests.portal import factories

pytestmark = pytest.mark.django_db

OF_ONE_MESSAGE = {"portal/error.html", "portal/upload_refused.html", "portal/queue.html"}  # no list stands there
# What the world really has none of.
NONE_HERE = {
    *(("analysis:erasures", "erasures"), ("portal:pacs", "pacs"), ("portal:tokens", "tokens")),
    ("portal:retired", "retired"),
    *(("portal:deidentification", "elements"), ("ml_engine:burned-in", "films with text")),
}
LISTS = (
    *("portal:datasets", "portal:cohorts", "portal:queues", "portal:splits", "portal:duplicates", "ml_engine:runs"),
    *("analysis:results", "analysis:worklists", "analysis:adjudications", "analysis:escalations"),
    *("analysis:normal-proposals", "analysis:head-proposals", "analysis:erasures"),
    "portal:retired",
)


class EmptyStates(HTMLParser):
    """The texts of a page's empty states by the names of their lists, and the rows of all its tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.states: dict[str, str] = {}
        self.rows = 0
        self._inside, self._depth, self._in_body = "", 0, False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if name := dict(attrs).get("data-empty"):
            self._inside, self._depth = name, 0
            self.states[name] = ""
        if self._inside and tag == "div":
            self._depth += 1
        self._in_body |= tag == "tbody"
        self.rows += tag == "tr" and self._in_body

    def handle_endtag(self, tag: str) -> None:
        self._in_body &= tag != "tbody"
        if self._inside and tag == "div":
            self._depth -= 1
            self._inside = self._inside if self._depth else ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.states[self._inside] += data


@pytest.fixture
def world(data_dir: Path) -> World:
    return worlds.build()


def pages() -> dict[str, Url]:
    """The pages for people who are logged in."""
    return {
        name: url
        for name, url in URLS.items()
        if url.method == "get" and not name.startswith("api-") and url.action != ANYONE and name not in SLOW
    }


def test_every_empty_state_names_its_list() -> None:
    unnamed = {
        path.relative_to(ROOT / "templates").as_posix()
        for path in (ROOT / "templates").rglob("*.html")
        for tag in re.findall(r"<div[^>]*hilum-empty[^>]*>", path.read_text())
        if "data-empty=" not in tag
    }
    assert unnamed == OF_ONE_MESSAGE


def test_no_list_with_rows_is_called_empty(world: World) -> None:
    walk = Walk(User.objects.get(username="boss"), world)
    shown = {
        (name, empty)
        for name, url in pages().items()
        for answer in [walk.ask(name, url)]
        if answer.status == 200
        for empty in EmptyStates(answer.body).states
    }
    assert shown == NONE_HERE


def test_a_list_without_rows_says_so_and_what_to_do(data_dir: Path) -> None:
    client = Client()
    client.force_login(worlds.everyone("founder", factories.site("Busan")))
    for name in LISTS:
        page = EmptyStates(client.get(reverse(name)).text)
        assert len(page.states) == 1, name
        assert page.rows == 0, name
        assert len(next(iter(page.states.values())).split()) > 6, name


def test_a_page_that_omits_films_says_that_it_has_no_others(world: World) -> None:
    world.blind()
    walk = Walk(world.blinded, world)
    wrong, checked = {}, 0
    for name, url in pages().items():
        answer = walk.ask(name, url)
        if answer.status != 200 or not SAYS_SO.search(answer.body):
            continue
        for empty, text in EmptyStates(answer.body).states.items():
            checked += 1
            if not re.search(r"\b(another|other|else)\b", text):
                wrong[name, empty] = " ".join(text.split())
    assert wrong == {}
    assert checked > 0


@pytest.mark.parametrize("name", LISTS)
def test_a_person_without_a_site_reads_on_each_list_who_can_add_them(client: Client, name: str) -> None:
    client.force_login(factories.user("kim"))
    answer = client.get(reverse(name), follow=True)
    assert answer.status_code in (200, 403)
    assert re.search(r"you\s+are\s+not\s+a\s+member\s+of\s+any\s+site\s+yet", answer.content.decode(), re.I)
