"""Each page fits a window of 390 pixels: a table may scroll in its own box, the page never to the side. The bar has one
row at any width."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from ml_engine.models import CanonicalBoard, Run
from portal.models import Dataset, Membership, Role, User
from tests.access import world as worlds
from tests.access.url_table import URLS
from tests.access.world import World
from tests.ml_engine import made, reports
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]

PORTAL = (
    *("datasets", "dataset", "about-dataset", "quarantine", "corrections", "cohorts", "cohort", "cohort-diff"),
    *("queues", "queue", "image", "duplicates", "duplicate", "splits", "new-split", "split", "people", "keys"),
    *("findings", "criteria", "manual", "manual-page", "mapping"),
)
RUNS = ("runs", "run", "run-new", "boards", "board", "alignment-outcome")
RESULTS = (
    *("results", "evaluation", "external-validation", "drift", "comparison", "changed-films", "ablation", "sweep"),
    *("bank-study", "blind-spots", "plan", "split-data", "film", "film-scores", "study-size", "evaluate-set"),
    *("set-evaluation", "search", "embedding-map", "erasures", "erase-patient", "double-reading"),
)
READING = (
    *("worklists", "new-worklist", "worklist", "reader-study", "adjudications", "escalations", "head-proposals"),
    *("normal-proposals", "normal-proposal"),
)
PAGES = [
    f"{space}:{name}"
    for space, names in (("portal", PORTAL), ("ml_engine", RUNS), ("analysis", (*RESULTS, *READING)))
    for name in names
]
# the width of the document, and what is to the right of the window outside any box that scrolls
WIDER = """
() => {
  const scrolls = (one) => one && one !== document.documentElement && one !== document.body
    && (["auto", "scroll", "hidden"].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
  const out = [...document.body.querySelectorAll("*")]
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !scrolls(one.parentElement))
    .map((one) => `${one.tagName.toLowerCase()}#${one.id}.${[...one.classList].join(".")}`);
  return [document.documentElement.scrollWidth, out.slice(0, 4)];
}
"""


LONG = "NIH-ChestXray14_normals_2026-11-29_wide_resnet50_2_seed42_rate0.01"  # as people name their runs


@pytest.fixture
def world(data_dir: Path) -> World:
    """With names that no space divides, and negative controls of the detector."""
    built = worlds.build()
    controls = reports.negative_controls(unchanged=4, habitus=7)
    detector = made.detector_model(built.things["split"], reports.detector_report(controls=controls))
    built.things["detector run"] = detector.run
    for row in (*Run.objects.all(), *Dataset.objects.all(), *CanonicalBoard.objects.all()):
        type(row).objects.filter(pk=row.pk).update(name=f"{LONG}-{row.pk}")
    return built


def address(world: World, name: str) -> str:
    url = URLS[name]
    path = reverse(name, args=[getattr(world.things[thing], "uuid", world.things[thing]) for thing in url.of])
    return f"{path}?{urlencode(url.query(world), doseq=True)}"


def test_no_page_is_wider_than_a_phone(page: Page, live_server: Any, world: World, sign_in: Any) -> None:
    sign_in(User.objects.get(username="boss"))
    page.set_viewport_size({"width": 390, "height": 844})
    wide = {}
    for name in PAGES:
        answer = page.goto(live_server.url + address(world, name), wait_until="networkidle")
        assert answer is not None and answer.status == 200, name
        width, out = page.evaluate(WIDER)
        if width > 390:
            wide[name] = (width, out)
    assert wide == {}


@pytest.mark.parametrize("width", [390, 768, 1200, 1440])
def test_the_bar_has_one_row(page: Page, live_server: Any, sign_in: Any, width: int) -> None:
    """Also an administrator's, of two sites: below 1200 pixels it folds."""
    person = factories.user("administrator-of-seoul", *Role, at=factories.site("Seoul National"), is_staff=True)
    Membership.objects.create(user=person, site=factories.site("Busan"), role=Role.MANAGER)
    sign_in(person)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{live_server.url}/datasets/")
    link, bar = page.get_by_role("link", name="Reading", exact=True), page.get_by_role("navigation", name="Main")
    box = bar.bounding_box()
    assert box is not None
    assert box["height"] < 60
    if width < 1200:
        page.get_by_role("button", name="Menu").click()
    expect(link).to_be_visible()
    expect(page.get_by_role("link", name="Docs")).to_have_count(1)
