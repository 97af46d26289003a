"""What a person has to do, counted in a real browser that waits for each page: clicks, texts and choices, and seconds.

    python -m benchmarks.acts [--films 60] [--side 512]

Starts web server, broker and workers as `manage.py start` does, on PostgreSQL, with a site and its first manager as
`manage.py setup` makes them. Draws phantom films and packs them into a zip. Then, in headless Chromium:

- logs in, makes a dataset, sends the zip, and opens the first film: a fresh installation;
- from there to the first ROC curve on test by *Evaluate this set*;
- the same step by step on a second dataset: split, detector, scores, evaluation.

The seconds hold the import and the runs, so they depend on the number of films. Prints the Markdown of
docs/performance.md.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, expect, sync_playwright
from tabulate import tabulate

from benchmarks.database import throw_away_portal
from benchmarks.first_roc import write_zip
from tools.browser import find_chromium

NAME, PASSWORD = "pat", "films and more films"
LONG = 1_800_000  # ms that a run may take
IDENTITY = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=60)
    parser.add_argument("--side", type=int, default=512, help="side of a drawn film, in pixels")
    given = parser.parse_args()
    with throw_away_portal() as folder:
        from portal.project.embedded import Portal

        path = folder / "films.zip"
        write_zip(path, films=given.films, side=given.side)
        make_first_manager()
        with Portal(port=8900) as portal, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1440, "height": 900}, base_url=portal.address)
            rows = [
                first_film(Person(page), path),
                in_one_request(Person(page), path),
                step_by_step(Person(page), path),
            ]
            browser.close()
    print(f"{given.films} films of {given.side} × {given.side} pixels.\n")
    print(tabulate(rows, ["way", "acts", "pages", "seconds"], tablefmt="github", floatfmt=".0f"))


def make_first_manager() -> None:
    from portal.models import Role, User
    from portal.people import members

    person = User.objects.create_superuser(NAME, password=PASSWORD)
    site = members.make_site(name="Hospital", author=person)
    members.set_roles(site=site, person=person, roles=list(Role), author=person)


class Person:
    """Counts what is done on a page: each click, each text and each choice is an act."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.acts = 0
        self.pages: set[str] = set()
        self.began = time.monotonic()

    def click(self, what: Locator) -> None:
        self._see()
        what.click()
        self.acts += 1

    def type(self, what: Locator, text: str) -> None:
        self._see()
        what.fill(text)
        self.acts += 1

    def choose(self, what: Locator, path: Path) -> None:
        self._see()
        what.set_input_files(str(path))
        self.acts += 1

    def wait(self, what: Locator) -> None:
        what.first.wait_for(timeout=LONG)
        self._see()

    def _see(self) -> None:
        self.pages.add(IDENTITY.sub("ID", urlsplit(self.page.url).path))

    def row(self, way: str) -> list[Any]:
        done = [way, self.acts, len(self.pages), time.monotonic() - self.began]
        print(*done, file=sys.stderr, flush=True)  # the next way may take long
        return done


def first_film(person: Person, path: Path) -> list[Any]:
    page = person.page
    page.goto("/")
    person.type(page.get_by_label("User name"), NAME)
    person.type(page.get_by_label("Password"), PASSWORD)
    person.click(page.get_by_role("button", name="Log in"))
    send_films(person, "First", path)
    person.click(page.get_by_role("link", name="Show the films"))
    person.click(page.locator(".hilum-tile a").first)
    person.wait(page.locator("[data-hilum-viewer][data-state=ready]"))
    return person.row("log in to first film, fresh installation")


def send_films(person: Person, name: str, path: Path) -> None:
    page = person.page
    person.type(page.get_by_label("Name", exact=True), name)
    person.click(page.get_by_role("button", name="Make dataset"))
    expect(page.locator("#sendings")).to_have_attribute("data-ready", "")
    person.choose(page.get_by_label("A zip of"), path)
    person.click(page.get_by_role("button", name="Import"))


def in_one_request(person: Person, path: Path) -> list[Any]:
    page = person.page
    page.goto("/datasets/")
    send_films(person, "Second", path)
    person.click(page.get_by_role("link", name="Evaluate this set"))
    person.click(page.get_by_role("button", name="Evaluate", exact=True))
    person.wait(page.locator("#roc .main-svg"))
    return person.row("zip to first ROC curve, *Evaluate this set*")


def step_by_step(person: Person, path: Path) -> list[Any]:
    page = person.page
    page.goto("/datasets/")
    send_films(person, "Third", path)
    person.click(page.get_by_role("link", name="Show the films"))
    person.click(page.get_by_role("link", name="New split"))
    person.type(page.get_by_label("Name", exact=True), "By hand")
    person.click(page.get_by_label("From the CSV", exact=True))
    person.click(page.get_by_role("button", name="Freeze the split"))
    person.click(page.get_by_role("link", name="Fit a detector"))
    person.click(page.get_by_role("button", name="Queue the run"))
    person.wait(page.get_by_role("link", name="Score films with it"))
    person.click(page.get_by_role("link", name="Score films with it"))
    person.click(page.get_by_role("button", name="Queue the run"))
    person.wait(page.get_by_role("link", name="See the results"))
    person.click(page.get_by_role("link", name="See the results"))
    person.click(page.locator("tr.table-active").get_by_role("button", name="Evaluate"))
    person.click(page.get_by_role("link", name="Test", exact=True))
    person.wait(page.locator("#roc .main-svg"))
    return person.row("zip to first ROC curve, step by step")


if __name__ == "__main__":
    main()
