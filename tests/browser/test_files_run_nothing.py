"""Files and answers for scripts, opened in a tab of a real browser: nothing in them runs, and what a browser saves is
saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from portal.models import Role
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]
RUNS = "<script>document.title = 'it ran'</script><img src=x onerror='document.title = 1'>"
HOSTILE = f"<!doctype html><title>quiet</title>{RUNS}".encode()


def as_a_page(route: Route) -> None:
    """The answer as by a proxy, or a browser, that heeds neither its kind nor that it is to be saved."""
    answer = route.fetch()
    dropped = ("content-disposition", "x-content-type-options", "content-type", "content-length")
    headers = {name: value for name, value in answer.headers.items() if name not in dropped}
    route.fulfill(response=answer, headers={**headers, "content-type": "text/html"})


def test_a_hostile_file_is_saved_and_would_run_nothing_even_as_a_page(
    page: Page, live_server: Any, sign_in: Any, data_dir: Any, tmp_path: Path
) -> None:
    kim = factories.user("kim", Role.CURATOR)
    of = factories.dataset(RUNS)
    file = factories.quarantined(of, author=kim, data=HOSTILE)
    address = f"{live_server.url}/api/v1/quarantine/{file.uuid}/file/"
    sign_in(kim)

    page.goto(f"{live_server.url}/datasets/{of.uuid}/quarantine/")
    with page.expect_download() as saving:
        page.evaluate("address => { location.href = address }", address)
    saving.value.save_as(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == HOSTILE

    page.goto(f"{live_server.url}/api/v1/datasets/{of.uuid}/")
    assert "it ran" in page.content() and page.title() == ""
    assert page.evaluate("self.origin") == "null", "it has an origin of its own, and reaches nothing of this host"

    page.route("**/file/", as_a_page)
    page.goto(address)
    assert page.title() == "quiet"
    assert page.evaluate("self.origin") == "null"
