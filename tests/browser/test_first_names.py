"""First names that an import could not match, in a real browser with the real processes: shown once, kept nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from django.conf import global_settings
from django.core.serializers import serialize
from playwright.sync_api import Page, expect

from portal.models import AuditEvent, Role, Upload
from tests.browser.test_whole_path import MINUTE, address  # noqa: F401
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

IN_TABLE, IN_ZIP = ("Zzyzxson-1.png", "Quirina.png"), "Marmaduke.png"


def test_names_of_both_sides_are_shown_once_and_kept_nowhere(
    page: Page,
    address: str,  # noqa: F811
    data_dir: Path,
    tmp_path: Path,
    settings: Any,
) -> None:
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS  # the portal is a process of its own
    of = factories.dataset("Names")
    factories.user("ann", Role.CURATOR)
    factories.png(tmp_path / "a.png", seed=1)
    table = factories.table_text([{"filename": name, "label": "normal"} for name in IN_TABLE])
    archive = factories.zipped(tmp_path / "z.zip", {IN_ZIP: tmp_path / "a.png", "labels.csv": table})
    page.goto(urljoin(address, f"/datasets/{of.uuid}/"))
    page.get_by_label("User name").fill("ann")
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"**/datasets/{of.uuid}/")
    page.get_by_label("A zip of").set_input_files(archive)
    page.get_by_role("button", name="Import").click()
    shown = page.get_by_text("First names without a match (shown once, to you only, and not kept)")
    expect(shown).to_be_visible(timeout=MINUTE)
    expect(page.get_by_text(f"In the CSV: {', '.join(IN_TABLE)}")).to_be_visible()
    expect(page.get_by_text(f"Files without a row: {IN_ZIP}")).to_be_visible()
    page.reload()
    expect(page.get_by_text("no row of the CSV names a file")).to_be_visible()
    expect(shown).to_have_count(0)
    assert Upload.objects.get().state == "failed"
    stored = serialize("json", [*Upload.objects.all(), *AuditEvent.objects.all()])
    logs = [path.read_bytes() for path in tmp_path.rglob("*.log")]
    assert logs
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    for name in ("Zzyzxson", "Quirina", "Marmaduke"):
        assert name not in stored
        assert not any(name.encode() in log for log in logs)
        assert not any(name.encode() in path.read_bytes() for path in files)
        assert not any(name in str(path) for path in files)
