"""The pages of screening: axe finds nothing serious, and the content security policy refuses nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from portal.models import Role, User
from portal.sets.cohorts import freeze_cohort
from portal.sets.screening_queues import queue_films
from tests.browser.axe import serious_findings
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]

NASTY = '"><img src=x onerror=alert(1)>'


@pytest.fixture
def pages(page: Page, live_server: Any, data_dir: Path, sign_in: Callable[[Any], None]) -> dict[str, str]:
    """Name -> URL, for a person with every role; every free text holds markup that must not run."""
    boss = factories.user("boss", *Role)
    of = factories.dataset(NASTY)
    of.site.findings = ["pneumonia", NASTY]
    of.site.save()
    films = factories.films(of, normal=4, unlabelled=2)
    first = freeze_cohort(site=of.site, name=NASTY, images=films[:3], author=boss, note=NASTY)
    factories.event(films[2], "abnormal", boss, findings=[NASTY], reason=NASTY)
    second = freeze_cohort(site=of.site, name=NASTY, images=films[1:], author=boss)
    queue = queue_films(site=of.site, name=NASTY, images=of.images.all(), author=boss, source=NASTY, order="unlabelled")
    factories.criteria(NASTY)
    factories.criteria(f"{NASTY}\n\nNo device.")
    factories.event(films[3], "normal", boss, attributes=["device"])
    User.objects.filter(pk=boss.pk).update(label_keys={"normal": NASTY})
    sign_in(boss)
    addresses = {
        "grid": f"/datasets/{of.uuid}/",
        "queue": f"/queues/{queue.uuid}/",
        "queues": "/queues/",
        "cohorts": "/cohorts/",
        "cohort": f"/cohorts/{second.uuid}/",
        "difference": f"/cohorts/{second.uuid}/difference/?earlier={first.uuid}",
        "keys": "/keys/",
        "findings": "/findings/",
        "criteria": "/criteria/",
        "film": f"/images/{films[3].uuid}/",
        "new split": f"/splits/new/?cohort={first.uuid}",
    }
    return {name: live_server.url + address for name, address in addresses.items()}


NAMES = [
    "grid",
    "queue",
    "queues",
    "cohorts",
    "cohort",
    "difference",
    "keys",
    "findings",
    "criteria",
    "film",
    "new split",
]


@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing_serious(page: Page, pages: dict[str, str], name: str) -> None:
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    page.on("dialog", lambda dialog: refused.append(f"a script ran: {dialog.message}"))
    page.goto(pages[name])
    if name == "queue":
        expect(page.locator("#queue")).to_have_attribute("data-shown", "1")
    for part in page.locator("details").all():
        part.evaluate("part => { part.open = true; }")
    assert serious_findings(page) == []
    for dialog in page.locator("dialog").all():
        dialog.evaluate("dialog => dialog.showModal()")
        assert serious_findings(page) == []
        dialog.evaluate("dialog => dialog.close()")
    assert refused == []
