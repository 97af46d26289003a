"""Films aligned by hand in a browser become a canonical image that a run uses; what its alignment did is decided on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import Page, expect

from ml_engine.boards import films, stacks
from ml_engine.boards.canonicals import LANDMARKS
from ml_engine.core import files
from ml_engine.core.alignment.model import load_alignment
from ml_engine.models import AffineDecision, CanonicalBoard, FilmPlacement, HandMadeCanonical, Run, RunState
from ml_engine.runs import lifecycle, paths, supervisor
from portal.intake.film_files import pixel_path
from portal.models import Role, Split, User
from tests.browser.axe import serious_findings
from tests.browser.test_queue import end_session, log_in_again
from tests.ml_engine import made
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _patience(page: Page) -> Iterator[None]:
    """A film is decoded and a mean computed for each step, which takes its time on a busy machine."""
    page.set_default_timeout(120_000)
    expect.set_options(timeout=60_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture
def split(data_dir: Path, sign_in: Any, monkeypatch: pytest.MonkeyPatch) -> Split:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)
    split = made.small_split(made.site(), fit=5)
    sign_in(made.person("ana", at=split.site, role=Role.ANALYST))
    return split


class Board:
    """The page of a board, on which one film after another is placed."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)

    def shows(self, number: int) -> None:
        expect(self.page.locator("#board")).to_have_attribute("data-shown", str(number))

    def saved(self, number: int) -> None:
        expect(self.page.locator("#kept")).to_have_text(f"Saved: Film {number}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of the page at a share of the frame."""
        stage = self.page.locator("#board-handles").bounding_box()
        assert stage is not None
        return stage["x"] + x * stage["width"], stage["y"] + y * stage["height"]

    def click_at(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*end), steps=4)
        self.page.mouse.up()

    def value(self, name: str) -> float:
        return float(self.page.locator(f"#move-{name}").input_value())


SIX = [(0.3, 0.2), (0.7, 0.2), (0.5, 0.45), (0.2, 0.8), (0.8, 0.8), (0.4, 0.65)]


def test_five_films_aligned_by_hand_become_a_canonical_image_that_a_run_uses(
    page: Page, live_server: Any, split: Split
) -> None:
    page.goto(f"{live_server.url}/boards/")
    page.locator("#id_name").fill("Five")
    page.locator("#id_films").fill("5")
    page.get_by_role("button", name="Start the board").click()
    board = Board(page)

    board.shows(1)
    expect(page.locator("#mean-words")).to_have_text("The first film has nothing to be compared with.")
    board.press("ArrowRight", "ArrowRight", "3", "ArrowUp", "2", "]")
    assert (board.value("x"), board.value("y"), board.value("angle")) == (2, -8, 0.5)
    board.press("z")
    assert board.value("angle") == 0
    board.press("]", "Enter")
    board.saved(1)

    board.shows(2)
    expect(page.locator("#mean-words")).to_have_text("Over the mean of 1 other film.")
    page.locator("#move-scale").fill("4")
    page.locator("#move-scale").press("Tab")
    page.get_by_role("button", name="Save, next film").click()
    board.saved(2)

    board.shows(3)
    board.drag((0.5, 0.5), (0.55, 0.48))
    assert (round(board.value("x")), round(board.value("y"))) == (round(0.05 * 448), round(-0.02 * 448))
    board.drag((0.95, 0.08), (0.97, 0.05))  # the handle of the scale, which moved with the film
    assert board.value("scale") > 0
    board.press("l", "k", "Enter")
    board.saved(3)

    board.shows(4)
    board.press("m")
    for x, y in SIX:
        board.click_at(x, y)
    expect(page.locator("#landmarks-rms")).to_contain_text("This film says where they lie")
    board.press("Enter")
    board.saved(4)

    board.shows(5)
    for x, y in SIX:
        board.click_at(x + 0.03, y - 0.02)
    expect(page.locator("#landmarks-rms")).to_contain_text("over 6 landmarks")
    expect(page.locator("#landmarks li").first).to_contain_text("px")
    board.press("v")
    assert serious_findings(page) == []
    board.press("Enter")
    board.saved(5)

    rows = list(FilmPlacement.objects.order_by("pk"))
    assert [row.how for row in rows] == ["handles", "handles", "handles", "landmarks", "landmarks"]
    assert {row.author.username for row in rows} == {"ana"}
    assert abs(rows[2].matrix[6]) > 1e-6  # in perspective
    assert rows[4].rms_px == pytest.approx(0, abs=2)
    targets = np.array([rows[4].targets[name] for name in LANDMARKS[:6]]) - np.array(SIX) * 448
    np.testing.assert_allclose(targets, 0, atol=2)

    expect(page.locator("#finish-words")).to_have_text("5 of 5 films are placed.")
    page.get_by_label("Name of the canonical image").fill("Five by hand")
    page.get_by_role("button", name="Make the canonical image").click()
    canonical = made_canonical(page)
    assert serious_findings(page) == []
    assert board.errors == []
    page.get_by_role("link", name="Fit an alignment to it").click()
    run = fitted_by(page, split)
    assert run.canonical == canonical
    expect(page.locator("aside")).to_contain_text("Five by hand, made by hand of 5 films")

    aligned = load_alignment(paths.model_path(run.alignment_made.sha256))
    image = torch.from_numpy(files.read_npy(paths.canonical_path(canonical.sha256)))
    expected = F.interpolate(image[None, None], (64, 64), mode="bilinear", antialias=True)[0, 0].clamp(0, 1)
    torch.testing.assert_close(aligned.canonical, expected)
    assert aligned.report["canonical_source"] == "a file that was given"
    decide_on_films(page, live_server, run)


def made_canonical(page: Page) -> HandMadeCanonical:
    expect(page.locator("body")).to_contain_text("“Five by hand” is the mean of 5 films")
    canonical = HandMadeCanonical.objects.get()
    board = CanonicalBoard.objects.get()
    stored = files.read_npy(paths.canonical_path(canonical.sha256))
    np.testing.assert_array_equal(stored, stacks.stack_of(board).aligned.mean())
    return canonical


def fitted_by(page: Page, split: Split) -> Run:
    """The run that the form requests, executed."""
    for summary in page.locator("summary").all():
        summary.click()
    expect(page.locator("#id_canonical option:checked")).to_contain_text("Five by hand")
    page.locator("#id_advanced").fill("\n".join(f"{name}={value}" for name, value in made.SMALL.items()))
    page.get_by_role("button", name="Queue the run").click()
    page.wait_for_url("**/runs/*-*/")
    run = Run.objects.get(split=split)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert (run.state, run.message, run.detail) == (RunState.DONE, "", "")
    page.reload()
    return run


def decide_on_films(page: Page, live_server: Any, run: Run) -> None:
    page.get_by_role("link", name="See its films").click()
    board = Board(page)
    expect(page.locator("#board")).to_have_attribute("data-shown", "1")
    board.press("o", "d")
    expect(page.locator("#before")).to_have_attribute("aria-pressed", "true")
    board.press("a")
    board.saved(1)
    board.shows(2)
    board.press("ArrowLeft", "Enter")
    board.saved(2)
    board.shows(3)
    board.press("x")
    board.saved(3)
    assert serious_findings(page) == []
    verdicts = AffineDecision.objects.order_by("pk").values_list("verdict", flat=True)
    assert list(verdicts) == ["accept", "by hand", "exclude"]
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_contain_text("Accept the place")
    expect(page.locator("#keys")).not_to_contain_text("Perspective")
    page.keyboard.press("Escape")
    assert board.errors == []


def test_a_film_that_was_moved_is_saved_before_another_is_shown(
    page: Page, live_server: Any, split: Split, sign_in: Any
) -> None:
    ana = User.objects.get(username="ana")
    ana.set_password(factories.PASSWORD)
    ana.save()
    sign_in(ana)
    page.goto(f"{live_server.url}/boards/")
    page.locator("#id_films").fill("3")
    page.get_by_role("button", name="Start the board").click()
    board = Board(page)
    board.shows(1)
    board.press("ArrowDown")
    page.get_by_role("button", name="Film 3").click()
    board.saved(1)
    board.shows(3)
    end_session(page)
    board.press("x")
    log_in_again(page)
    board.saved(3)
    page.reload()
    board.shows(2)  # the first that nobody has placed
    page.get_by_role("button", name="Film 1").click()
    board.shows(1)
    expect(page.locator("#film-state")).to_have_text("placed by handles")
    board.press("m")
    board.click_at(0.5, 0.5)
    board.press("Enter")
    expect(page.locator("#kept")).to_have_text("Not saved. 1 landmarks are marked: mark at least 6, or stop marking.")
    assert FilmPlacement.objects.count() == 2


def test_a_drag_with_pauses_is_one_step_and_landmarks_are_undone(page: Page, live_server: Any, split: Split) -> None:
    page.goto(f"{live_server.url}/boards/")
    page.get_by_role("button", name="Start the board").click()
    board = Board(page)
    board.shows(1)
    page.clock.install()
    page.mouse.move(*board.at(0.5, 0.5))
    page.mouse.down()
    for x in (0.52, 0.55, 0.6):
        page.mouse.move(*board.at(x, 0.5))
        page.clock.run_for(2_000)
    page.mouse.up()
    assert board.value("x") == pytest.approx(0.1 * 448, abs=1)
    board.press("z")
    assert board.value("x") == 0
    for text in ("1e6", ""):  # of the first, no number comes
        page.locator("#move-scale").fill(text)
        page.locator("#move-scale").press("Tab")
        assert board.value("scale") == 0
    page.get_by_role("button", name="Mark landmarks").click()
    for x, y in SIX:
        board.click_at(x, y)
    board.press("z")
    expect(page.locator("#landmarks-rms")).to_have_text("5 marked: at least 6 are needed.")
    assert board.errors == []


def test_a_film_without_pixels_can_be_left_out(page: Page, live_server: Any, split: Split) -> None:
    page.goto(f"{live_server.url}/boards/")
    page.get_by_role("button", name="Start the board").click()
    board = Board(page)
    board.shows(1)
    board.press("Enter")
    board.saved(1)
    board.shows(2)
    lost = CanonicalBoard.objects.get().films.get(position=3).image
    pixel_path(lost.pixel_sha256).unlink()
    films._square.cache_clear()  # of the films of an earlier test
    board.press("n")
    expect(page.locator("#kept")).to_contain_text("Film 3 could not be shown. The pixel file of film")
    board.press("ArrowRight", "Enter")
    expect(page.locator("#kept")).to_have_text("Not saved: Film 3 is not shown.")
    board.press("x")
    board.saved(3)
    assert list(FilmPlacement.objects.order_by("pk").values_list("how", flat=True)) == ["handles", "left out"]


ARITHMETIC = """async ([points, targets, params]) => {
  const module = await import('/static/js/board/transforms.js');
  const start = [5, 0.2, -3, 0.1, 4.8, 7, 0, 0, 1];
  return {
    fitted: module.fitAffine(points, targets),
    line: module.fitAffine(points, targets.map(([x]) => [x, 2 * x])),
    misses: module.residualsOf(module.fitAffine(points, targets), points, targets),
    moved: module.moved(params, 448),
    placed: module.matrixOf(start, params, 448),
    back: module.multiply(module.matrixOf(start, params, 448), module.moved(params, 448)),
  };
}"""


def test_the_pages_arithmetic_is_numpys(page: Page, live_server: Any, split: Split) -> None:
    page.goto(f"{live_server.url}/boards/")
    draw = np.random.default_rng(4)
    targets = draw.uniform(20, 420, (8, 2))
    points = targets @ np.array([[4.9, 0.3], [-0.2, 5.1]]) + [12, -40] + draw.normal(0, 5, (8, 2))
    params = {"x": 3, "y": -2, "angle": 7, "scale": 5, "aspect": -3, "shear": 4, "across": 6, "down": -5}
    answer = page.evaluate(ARITHMETIC, [points.tolist(), targets.tolist(), params])

    expected = np.linalg.lstsq(np.column_stack([targets, np.ones(8)]), points, rcond=None)[0].T
    np.testing.assert_allclose(np.reshape(answer["fitted"], (3, 3))[:2], expected, rtol=1e-9)
    assert answer["line"] is None
    back = np.linalg.solve(expected[:, :2], (points - expected[:, 2]).T).T
    np.testing.assert_allclose(answer["misses"], np.hypot(*(back - targets).T), rtol=1e-9)

    turn, half = np.deg2rad(7), 224
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    shear = np.array([[1, 0.04, 0], [0, 1, 0], [0, 0, 1]])
    scale = np.diag([np.exp(0.05 - 0.015), np.exp(0.05 + 0.015), 1])
    perspective = np.array([[1, 0, 0], [0, 1, 0], [0.06 / half, -0.05 / half, 1]])
    to_centre, from_centre = np.eye(3), np.eye(3)
    to_centre[:2, 2], from_centre[:2, 2] = [half + 3, half - 2], [-half, -half]
    moved = to_centre @ rotation @ shear @ scale @ perspective @ from_centre
    np.testing.assert_allclose(np.reshape(answer["moved"], (3, 3)), moved, rtol=1e-9, atol=1e-12)
    start = np.array([[5, 0.2, -3], [0.1, 4.8, 7], [0, 0, 1]])
    product = np.reshape(answer["back"], (3, 3))
    np.testing.assert_allclose(product / product[2, 2], start, rtol=1e-9, atol=1e-9)
