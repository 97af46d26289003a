"""The evaluation page in a browser: what it says when the server refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from analysis.evaluation import evaluate
from portal.models import Membership, Role
from tests.analysis.scored import scored_run
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def evaluation(page: Page, live_server: Any, data_dir: Path, sign_in: Any, settings: Any) -> Page:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    analyst = factories.user("analyst", Role.ANALYST)
    made = evaluate(run=scored_run(factories.site(), author=analyst).run, author=analyst)
    sign_in(analyst)
    page.goto(f"{live_server.url}/results/{made.uuid}/")
    expect(page.locator("#evaluation")).to_have_attribute("data-shown-weight", "0.6")
    return page


def move(page: Page, weight: str) -> None:
    page.locator("#weight").evaluate(
        "(slider, to) => { slider.value = to; slider.dispatchEvent(new Event('input', {bubbles: true})); }", weight
    )


def test_the_slider_moves_numbers_and_figures(evaluation: Page) -> None:
    move(evaluation, "0.25")
    expect(evaluation.locator("#evaluation")).to_have_attribute("data-shown-weight", "0.25")
    expect(evaluation.locator("#summary")).to_contain_text("at 0.25")
    expect(evaluation.locator("#trouble")).to_be_empty()


def test_after_log_out_the_slider_says_what_to_do(evaluation: Page) -> None:
    evaluation.context.clear_cookies()
    move(evaluation, "0.25")
    sentence = "You were logged out. Log in in another tab, then move the slider again."
    expect(evaluation.locator("#trouble")).to_have_text(sentence)


def test_a_refusal_is_told_in_the_server_s_words(evaluation: Page) -> None:
    Membership.objects.update(role=Role.CURATOR)
    move(evaluation, "0.25")
    expect(evaluation.locator("#trouble")).to_contain_text("To see scores at Seoul you need one of these roles")


def test_a_server_that_does_not_answer_is_named(evaluation: Page) -> None:
    evaluation.route("**/figures?**", lambda route: route.abort())
    move(evaluation, "0.25")
    expect(evaluation.locator("#trouble")).to_have_text("The server did not answer; move the slider again.")
