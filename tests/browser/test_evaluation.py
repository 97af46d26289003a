"""The evaluation page in a browser: its controls, and its messages when the server refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from analysis.evaluation.evaluate import evaluate
from portal.models import Membership, Role
from tests.analysis.scored import scored_run
from tests.browser.test_queue import log_in_again
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def evaluation(page: Page, live_server: Any, data_dir: Path, sign_in: Any) -> Page:
    analyst = factories.user("analyst", Role.ANALYST)
    evaluation = evaluate(run=scored_run(factories.site(), author=analyst).run, author=analyst)
    sign_in(analyst)
    page.goto(f"{live_server.url}/results/{evaluation.uuid}/")
    expect(page.locator("#evaluation")).to_have_attribute("data-shown-weight", "0.6")
    return page


def move(page: Page, weight: str) -> None:
    page.locator("#weight").evaluate(
        "(slider, to) => { slider.value = to; for (const name of ['input', 'change'])"
        " slider.dispatchEvent(new Event(name, {bubbles: true})); }",
        weight,
    )


def test_the_slider_moves_numbers_and_figures(evaluation: Page) -> None:
    move(evaluation, "0.25")
    expect(evaluation.locator("#evaluation")).to_have_attribute("data-shown-weight", "0.25")
    expect(evaluation.locator("#summary")).to_contain_text("at 0.25")
    expect(evaluation.locator("#trouble")).to_be_empty()


def test_the_operating_point_moves_numbers_and_its_mark(evaluation: Page, live_server: Any) -> None:
    evaluation.goto(evaluation.url + "?part=test")
    numbers = evaluation.locator("#operating [data-threshold]")
    expect(evaluation.locator("#operating")).to_contain_text("needs normal films of more patients than the 6 of tune")
    for rule, target in (("sensitivity", "0.8"), ("specificity", "0.8")):
        evaluation.locator("select[name=rule]").select_option(rule)
        evaluation.locator("select[name=target]").select_option(target)
        expect(evaluation.locator("#operating caption").first).to_contain_text(
            "normal films of 6 patients of tune" if rule == "specificity" else "abnormal films of 6 patients of tune"
        )
        uuid = evaluation.url.split("/results/")[1].split("/")[0]
        data = evaluation.request.get(
            f"{live_server.url}/api/v1/evaluations/{uuid}/operating/?part=test&rule={rule}&target={target}"
        ).json()
        expect(numbers).to_have_attribute("data-threshold", str(data["threshold"]))
        expect(evaluation.locator("[data-number=sensitivity]")).to_contain_text(f"{data['sensitivity']['value']:.3f}")
        mark = evaluation.evaluate(
            "() => document.getElementById('roc').data.filter((trace) => trace.meta === 'operating')"
            ".map((trace) => [trace.x[0], trace.y[0]])"
        )
        assert len(mark) == 1
        assert mark[0] == pytest.approx([1 - data["specificity"]["value"], data["sensitivity"]["value"]], abs=1e-9)


def test_a_moved_weight_moves_the_operating_point(evaluation: Page) -> None:
    expect(evaluation.locator("#operating")).to_contain_text("A threshold for tune is never fixed on tune itself")
    with evaluation.expect_response(lambda response: "operating" in response.url and "weight=0.25" in response.url):
        move(evaluation, "0.25")


def test_after_the_session_the_slider_goes_on_with_the_log_in(evaluation: Page) -> None:
    evaluation.context.clear_cookies()
    move(evaluation, "0.25")
    dialog = evaluation.get_by_role("dialog", name="Your session has ended")
    dialog.get_by_role("button", name="Later").click()
    sentence = "Your session has ended: log in, then move the slider again."
    expect(evaluation.locator("#trouble")).to_have_text(sentence)
    move(evaluation, "0.5")
    log_in_again(evaluation)
    expect(evaluation.locator("#evaluation")).to_have_attribute("data-shown-weight", "0.5")


def test_a_refusal_is_shown_in_the_server_s_words(evaluation: Page) -> None:
    Membership.objects.update(role=Role.CURATOR)
    move(evaluation, "0.25")
    expect(evaluation.locator("#trouble")).to_contain_text("To see scores at Seoul you need one of these roles")


@pytest.mark.usefixtures("routed_from_the_start")
def test_a_server_that_does_not_answer_is_reported(evaluation: Page) -> None:
    evaluation.route("**/figures?**", lambda route: route.abort())
    move(evaluation, "0.25")
    expect(evaluation.locator("#trouble")).to_have_text("The server did not answer; move the slider again.")
