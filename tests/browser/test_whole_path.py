"""The main task as a person does it, in a real browser against the real processes: log in, upload a zip, label,
split, request runs, watch them, see the heatmap."""

from __future__ import annotations

import csv
import io
import signal
import subprocess
import sys
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import numpy as np
import pytest
from django.conf import global_settings
from playwright.sync_api import Page, expect

from ml_engine.models import Run, RunKind
from portal.imaging.phantom import make_phantom
from portal.models import Image, LabelEvent, Role
from tests.browser.run_form import open_themes
from tests.paths import ROOT
from tests.portal import factories

SIZE = 256
MINUTE = 60_000  # ms

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]


@pytest.fixture
def address(process_environment: dict[str, str], data_dir: Path, tmp_path: Path) -> Generator[str]:
    """`manage.py start` on the test's database and an empty data folder."""
    log_path = tmp_path / "start.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "start", "--port", "8765"],
            cwd=ROOT,
            env={**process_environment, "HILUM_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert "Hilum answers at" in line, line + log_path.read_text()
            yield line.split()[3].rstrip(".")
        finally:
            process.stdout.close()  # the terminal is closed; Ctrl-C and TERM do the same
            process.send_signal(signal.SIGHUP)
            process.wait(timeout=60)
    assert process.returncode == 0, log_path.read_text()


def film_zip(path: Path) -> Path:
    """12 labelled normal films, 4 labelled effusions and 4 normal films without a label, of 20 patients."""
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["filename", "label", "patient_id", "projection", "finding"])
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20):
            finding = "effusion" if 12 <= number < 16 else None
            label = "abnormal" if finding else ("normal" if number < 12 else "")
            phantom = make_phantom(seed=number, finding=finding, size=SIZE)
            name = f"films/{number:02}.png"
            archive.writestr(name, _png(phantom.pixels))
            writer.writerow([f"{number:02}.png", label, f"patient {number}", "PA", finding or ""])
        archive.writestr("labels.csv", table.getvalue())
    return path


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image as PillowImage

    file = io.BytesIO()
    PillowImage.fromarray(pixels.astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


def test_from_log_in_to_heatmap(page: Page, address: str, tmp_path: Path, settings: Any) -> None:
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS  # the portal is a process of its own
    factories.user("maria", *Role)
    log_in(page, address)
    make_dataset_and_upload(page, film_zip(tmp_path / "films.zip"))
    label_by_key(page)
    draw_split(page)
    fit_and_watch(page)
    score_and_watch(page)
    evaluate_and_open_worst_miss(page)
    see_heatmap(page)


def log_in(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_label("User name").fill("maria")
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()


def make_dataset_and_upload(page: Page, films: Path) -> None:
    page.get_by_label("Name", exact=True).fill("Phantoms")
    page.get_by_role("button", name="Make dataset").click()
    page.get_by_label("A zip of").set_input_files(str(films))
    page.get_by_role("button", name="Import").click()
    page.get_by_text("20 films imported").wait_for(timeout=MINUTE)
    page.get_by_role("link", name="Show the films").click()
    expect(page.locator(".hilum-tile")).to_have_count(20)


def label_by_key(page: Page) -> None:
    """The four films without a label become normal by key; one slip is undone."""
    page.locator("label[for=label-unlabelled]").click()
    expect(page.locator(".hilum-tile")).to_have_count(4)
    expect(page.locator("#grid")).to_have_attribute("data-keys", "ready")
    page.locator(".hilum-tile a").first.focus()
    page.keyboard.press("s")
    expect(page.locator("#saved")).to_have_text("Saved: 1 film abnormal")
    page.keyboard.press("z")
    expect(page.locator("#saved")).to_contain_text("Undone")
    page.keyboard.press("Shift+A")
    page.keyboard.press("a")
    expect(page.locator("#saved")).to_have_text("Saved: 4 films normal")
    assert Image.objects.filter(current_label__value="normal").count() == 16
    assert LabelEvent.objects.filter(author__username="maria").count() == 6  # 1 slip, 1 undo, 4 normal


def draw_split(page: Page) -> None:
    page.get_by_role("link", name="New split").click()
    page.get_by_label("Name").fill("By patient")
    page.get_by_role("checkbox", name="Phantoms").check()
    page.get_by_role("button", name="Freeze the split").click()
    expect(page.get_by_role("heading", name="By patient")).to_be_visible()


def fit_and_watch(page: Page) -> None:
    page.get_by_role("link", name="Fit a detector").click()
    page.get_by_label("Name").fill("Small detector")
    open_themes(page)
    page.locator("#id_alignment").select_option("none")
    page.locator("#id_weights").select_option("random")
    page.locator("#id_backbone").select_option("resnet18")
    page.locator("#id_size").fill("64")
    page.locator("#id_grid").fill("2")
    page.locator("#id_rate").fill("0.1")
    page.get_by_role("button", name="Queue the run").click()
    expect(page.get_by_role("heading", name="Small detector")).to_be_visible()
    page.get_by_role("link", name="Score films with it").wait_for(timeout=3 * MINUTE)
    expect(page.get_by_role("note").get_by_text("Random weights, not for evaluation")).to_be_visible()


def score_and_watch(page: Page) -> None:
    """Two runs requested at once are carried out one after the other."""
    form = page.get_by_role("link", name="Score films with it").get_attribute("href") or ""
    for name in ("First scores", "Small scores"):
        page.goto(urljoin(page.url, form))
        page.get_by_label("Name").fill(name)
        for part in ("tune", "test"):
            page.locator(f"input[name=parts][value={part}]").check()
        page.get_by_role("button", name="Queue the run").click()
    page.get_by_role("link", name="See the results").first.wait_for(timeout=3 * MINUTE)
    first, second = Run.objects.filter(kind=RunKind.SCORE).order_by("started_at")
    assert first.finished_at and second.started_at and first.finished_at <= second.started_at


def evaluate_and_open_worst_miss(page: Page) -> None:
    page.get_by_role("link", name="See the results").first.click()
    page.get_by_role("row", name="Small scores").get_by_role("button", name="Evaluate").click()
    expect(page.locator("#roc .main-svg").first).to_be_visible(timeout=MINUTE)
    before = page.locator("[data-auroc=fused]").inner_text()
    page.locator("#weight").evaluate(
        "slider => { slider.value = 0; slider.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    expect(page.locator("#evaluation")).to_have_attribute("data-shown-weight", "0")
    expect(page.locator("[data-auroc=fused]")).to_have_text(page.locator("[data-auroc=global]").inner_text())
    assert before
    page.locator("#gallery-title").scroll_into_view_if_needed()
    page.locator("[data-kind=lowest_abnormal] a").first.click()


def see_heatmap(page: Page) -> None:
    expect(page.get_by_text("random weights, not for evaluation").first).to_be_visible()
    viewer = page.locator("[data-hilum-viewer]")
    expect(viewer).to_be_visible()
    page.wait_for_function(
        "() => document.querySelector('[data-hilum-viewer]').hilumViewer?.state.status === 'ready'", timeout=MINUTE
    )
    state = viewer.evaluate("host => host.hilumViewer.state")
    assert (state["heatmapShown"], state["error"]) == (True, None)
    page.get_by_role("slider", name="Threshold").evaluate(
        "slider => { slider.value = slider.min; slider.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    with_heatmap = coloured_pixels(page)
    page.keyboard.down("Space")
    assert with_heatmap - coloured_pixels(page) > 10_000  # the background around the film keeps its colour
    page.keyboard.up("Space")
    assert coloured_pixels(page) == with_heatmap


def coloured_pixels(page: Page) -> int:
    """How many pixels of the film show the colour of a heatmap."""
    return page.locator("[data-hilum-viewer]").evaluate(
        """host => {
            const { data } = host.hilumViewer.readCanvas();
            let coloured = 0;
            for (let at = 0; at < data.length; at += 4) if (data[at] !== data[at + 2]) coloured += 1;
            return coloured;
        }"""
    )
