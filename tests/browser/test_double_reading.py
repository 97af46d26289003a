"""A double reading in a real browser: made on a dataset's page, read by two people by keyboard, closed, adjudicated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from portal.models import Adjudication, CurrentLabel, Image, LabelEvent, QueueReading, Role, ScreeningQueue, User
from tests.browser.axe import serious_findings
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def people(data_dir: Path) -> dict[str, User]:
    site = factories.site()
    site.findings = ["nodule", "effusion"]
    site.save()
    roles = {"maria": Role.MANAGER, "ann": Role.CURATOR, "ben": Role.CURATOR, "ada": Role.ADJUDICATOR}
    return {name: factories.user(name, role) for name, role in roles.items()}


def wait_for_film(page: Page, position: int) -> None:
    expect(page.locator("#queue")).to_have_attribute("data-shown", str(position))
    expect(page.locator("[data-hilum-viewer]")).to_have_attribute("data-state", "ready")


def read_by_keys(page: Page, keys: list[list[str]]) -> None:
    """Begin on the page of the queue, and press the keys of each film."""
    page.get_by_role("button", name="Begin").click()
    for position, of_film in enumerate(keys, start=1):
        wait_for_film(page, position)
        for key in of_film:
            page.keyboard.press(key)
    expect(page.locator("#saved")).to_have_attribute("data-state", "saved")
    expect(page.locator("#queue-end")).to_be_visible()


def test_a_disagreement_is_adjudicated(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], people: dict[str, User]
) -> None:
    of = factories.dataset("June")
    factories.films(of, unlabelled=3)
    seen: dict[str, list[str]] = {}

    def check(name: str) -> None:
        seen[name] = serious_findings(page)

    def go(person: str, address: str) -> None:
        sign_in(people[person])
        page.goto(live_server.url + address)

    # The manager makes the double reading on the page of the dataset.
    go("maria", f"/datasets/{of.uuid}/")
    page.get_by_text("Have these films read by several people").click()
    form = page.locator("form").filter(has=page.get_by_role("button", name="Make double reading"))
    form.get_by_label("Name").fill("Pairs")
    form.get_by_label("Order").select_option("imported")
    check("form")
    form.get_by_label("ann").check()
    form.get_by_label("ben").check()
    page.get_by_role("button", name="Make double reading").click()
    expect(page.locator("#double-reading")).to_contain_text("2 people read each film, blinded to each other")
    queue = ScreeningQueue.objects.get()
    address = f"/queues/{queue.uuid}/"

    # Both read by keyboard; the second does not see what the first has said.
    go("ann", address)
    check("begin")
    read_by_keys(page, [["a"], ["1", "Enter"], ["s"]])
    page.goto(live_server.url + address)
    expect(page.locator("#film-label")).not_to_have_text("unlabelled")
    go("ben", address)
    page.get_by_role("button", name="Begin").click()
    wait_for_film(page, 1)
    expect(page.locator("#film-label")).to_have_text("unlabelled")
    check("queue")
    page.keyboard.press("a")
    wait_for_film(page, 2)
    expect(page.locator("#film-findings")).to_have_text("")
    page.keyboard.press("a")
    wait_for_film(page, 3)
    page.keyboard.press("d")
    expect(page.locator("#queue-end")).to_be_visible()
    page.keyboard.press("z")  # the last reading was a slip: taken back, and given anew
    wait_for_film(page, 3)
    expect(page.locator("#film-label")).to_have_text("unlabelled")
    page.keyboard.press("a")
    expect(page.locator("#queue-end")).to_be_visible()
    expect(page.locator("#saved")).to_have_attribute("data-state", "saved")
    assert QueueReading.objects.filter(reader=people["ben"], reverted_by=None, reverts=None).count() == 3
    assert not LabelEvent.objects.exists()

    # The manager sees progress, closes, and names the adjudicator.
    go("maria", address)
    expect(page.locator("#double-reading")).to_contain_text("3 of 3, done")
    page.get_by_text("Close the reading").first.click()
    check("closing")
    page.get_by_role("button", name="Close the reading").click()
    expect(page.get_by_text("Films labelled by agreement: 1; to be settled: 2")).to_be_visible()
    page.locator("#double-reading select[name=adjudicator]").select_option(label="ada")
    page.get_by_role("button", name="Name").click()
    expect(page.locator("#double-reading")).to_contain_text("ada")

    # The adjudicator gives a verdict of their own, sees the readings, and settles.
    go("ada", "/queues/")
    page.get_by_role("link", name="adjudicate").click()
    check("list")
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("link", name="Film 2").click()
    expect(page.locator("#adjudication")).to_have_attribute("data-keys", "ready")
    expect(page.locator("#readings")).to_have_count(0)
    check("own verdict")
    page.keyboard.press("s")
    expect(page.locator("#readings li")).to_have_count(2)
    expect(page.locator("#readings")).to_contain_text("nodule")
    expect(page.locator("#adjudication")).to_have_attribute("data-keys", "ready")
    check("settling")
    page.keyboard.press("1")
    expect(page.locator('[data-pick="1"]')).to_be_checked()
    page.get_by_label("Reason").fill("a nodule behind the rib")
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    expect(page.get_by_text("Film 2 is settled.")).to_be_visible()
    expect(page.locator("#adjudication")).to_have_attribute("data-keys", "ready")  # the next film
    page.keyboard.press("a")
    expect(page.locator("#readings li")).to_have_count(2)
    expect(page.locator("#adjudication")).to_have_attribute("data-keys", "ready")
    page.keyboard.press("a")
    expect(page.get_by_text("nothing is left to settle")).to_be_visible()

    # The film's page shows the label and where it comes from.
    films = list(Image.objects.order_by("pk"))
    page.goto(f"{live_server.url}/images/{films[1].uuid}/")
    expect(page.locator("span[data-label]")).to_have_text("abnormal")
    expect(page.locator("#history")).to_contain_text("adjudication after readings by ann, ben")
    page.goto(f"{live_server.url}/images/{films[0].uuid}/")
    expect(page.locator("#history")).to_contain_text("consensus after readings by ann, ben")
    labels = CurrentLabel.objects.order_by("image").values_list("value", "source", "findings")
    assert list(labels) == [
        ("normal", "consensus", []),
        ("abnormal", "adjudication", ["nodule"]),
        ("normal", "adjudication", []),
    ]
    assert Adjudication.objects.filter(reason="a nodule behind the rib").count() == 1

    # Everything is settled, so that readers see how far they agree.
    go("ann", address)
    page.get_by_role("link", name="Agreement").click()
    expect(page.locator("#disputed tbody tr")).to_have_count(2)
    check("agreement")
    assert {name: findings for name, findings in seen.items() if findings} == {}
