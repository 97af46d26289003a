"""A reading with the model is proposed, and adjudicated blinded by keyboard, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from analysis.models import Reading
from analysis.reading.verdicts import propose_adjudication, usable_as_reference
from portal.models import Adjudication, Role, User
from tests.analysis.scored import scored_run
from tests.analysis.worklists import items, read, worklist
from tests.browser.axe import serious_findings
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def proposed(live_server: Any, data_dir: Any) -> Reading:
    analyst = factories.user("analyst", Role.ANALYST)
    of = worklist(scored_run(factories.site(), author=analyst), analyst)
    reader = factories.user("romy", Role.READER)
    row = read(items(of, flagged=True)[0], reader, "abnormal", findings=["nodule or mass"], comment="behind the rib")
    propose_adjudication(reading=row, author=analyst)
    return row


def test_a_proposed_film_is_adjudicated_by_keyboard(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], proposed: Reading
) -> None:
    ada: User = factories.user("ada", Role.ADJUDICATOR)
    seen: dict[str, list[str]] = {}
    sign_in(ada)
    page.goto(f"{live_server.url}/reading/")
    page.get_by_role("link", name="To adjudicate (1)").click()
    seen["list"] = serious_findings(page)
    page.get_by_role("button", name="Begin").click()
    seen["list that is begun"] = serious_findings(page)
    page.get_by_role("link", name=proposed.image.neutral_name).click()
    expect(page.locator("#adjudication")).to_have_attribute("data-keys", "ready")
    expect(page.locator("[data-hilum-viewer]")).to_have_attribute("data-state", "ready")
    expect(page.get_by_text("behind the rib")).to_have_count(0)
    seen["own verdict"] = serious_findings(page)
    page.keyboard.press("1")
    expect(page.locator('[data-pick="1"]')).to_be_checked()
    page.keyboard.press("s")
    expect(page.locator("#readings li")).to_have_count(1)
    expect(page.locator("#readings")).to_contain_text("behind the rib")
    expect(page.locator("#adjudication")).to_have_attribute("data-keys", "ready")
    seen["settling"] = serious_findings(page)
    page.get_by_label("Reason").fill("not convinced")
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    expect(page.get_by_text("is settled.")).to_be_visible()
    expect(page.get_by_text("0 of 1 film left to settle")).to_be_visible()
    settled = Adjudication.objects.get()
    assert settled.own_verdict is not None
    assert (settled.own_verdict.value, settled.own_verdict.findings) == ("abnormal", ["nodule or mass"])
    assert (settled.verdict, settled.reason, settled.changed_own_verdict) == ("unsure", "not convinced", True)
    assert usable_as_reference([proposed]) == {proposed.pk}  # the own verdict confirms
    assert {name: findings for name, findings in seen.items() if findings} == {}
