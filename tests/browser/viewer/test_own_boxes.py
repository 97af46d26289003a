"""Boxes that a reader draws with mouse and keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.viewer.conftest import Viewer
from tests.browser.viewer.films import flat_film

pytestmark = pytest.mark.browser

Open = Callable[..., Viewer]
BOX = {"x": 20, "y": 30, "width": 40, "height": 25, "finding": "Effusion", "confidence": 80}


@pytest.fixture
def editing(open_viewer: Open) -> Viewer:
    viewer = open_viewer(flat_film())
    viewer.host.evaluate(
        """(host) => {
          window.changes = [];
          window.events = 0;
          document.addEventListener("hilum:boxes", () => (window.events += 1));
          host.hilumViewer.editBoxes({ findings: ["Effusion", "Nodule"], onChange: (boxes) => changes.push(boxes) });
        }"""
    )
    return viewer


def boxes(viewer: Viewer) -> list[dict[str, Any]]:
    return list(viewer.ask("boxes"))


def draw(viewer: Viewer, start: tuple[float, float], end: tuple[float, float]) -> None:
    viewer.page.keyboard.press("Shift+B")
    viewer.drag(start, end)


def places(viewer: Viewer) -> list[tuple[int, ...]]:
    return [tuple(box[side] for side in ("x", "y", "width", "height")) for box in boxes(viewer)]


def test_a_box_is_drawn_in_whole_original_pixels(editing: Viewer) -> None:
    draw(editing, (60.1, 70.2), (20.3, 29.9))
    assert boxes(editing) == [{"x": 20, "y": 30, "width": 40, "height": 40, "finding": "", "confidence": None}]
    assert editing.page.evaluate("[changes, events]") == [[boxes(editing)], 1]
    editing.drag((5, 5), (15, 15))  # drawing ends with one box
    assert len(boxes(editing)) == 1


def test_a_box_stays_inside_the_film(editing: Viewer) -> None:
    draw(editing, (100, 60), (160, 130))
    draw(editing, (30, 25), (-20, -10))
    assert places(editing) == [(100, 60, 21, 30), (0, 0, 30, 25)]


def test_a_click_draws_nothing(editing: Viewer) -> None:
    draw(editing, (50, 50), (50, 50))
    assert boxes(editing) == []


def test_without_editing_nothing_is_drawn(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film())
    draw(viewer, (20, 20), (60, 60))
    assert boxes(viewer) == []


def test_a_turned_and_mirrored_film_yields_the_same_box(editing: Viewer) -> None:
    editing.page.keyboard.press("x")
    editing.page.keyboard.press("t")
    draw(editing, (20, 30), (60, 55))
    assert places(editing) == [(20, 30, 40, 25)]
    editing.page.keyboard.press("ArrowRight")  # to the right of the screen: up the film, mirrored and turned
    (box,) = places(editing)
    before, after = editing.client(20, 30), editing.client(box[0], box[1])
    assert after[0] > before[0]
    assert after[1] == pytest.approx(before[1])


def test_boxes_are_moved_and_resized_with_the_mouse(editing: Viewer) -> None:
    editing.host.evaluate("(host, box) => host.hilumViewer.setBoxes([box])", BOX)
    editing.drag((40, 42), (50, 45))
    assert places(editing) == [(30, 33, 40, 25)]
    editing.drag((70, 58), (80, 70))
    assert places(editing) == [(30, 33, 50, 37)]
    editing.drag((30, 33), (90, 40))  # past the other corner
    assert places(editing) == [(80, 40, 10, 30)]


def test_a_drag_is_one_step_of_undo(editing: Viewer) -> None:
    editing.host.evaluate("(host, box) => host.hilumViewer.setBoxes([box])", BOX)
    editing.drag((40, 42), (50, 45))
    editing.page.keyboard.press("Control+z")
    assert places(editing) == [(20, 30, 40, 25)]
    editing.page.keyboard.press("Control+z")
    assert places(editing) == [(20, 30, 40, 25)]


def test_keys_move_resize_and_delete(editing: Viewer) -> None:
    editing.host.evaluate("(host, box) => host.hilumViewer.setBoxes([box])", BOX)
    view = editing.state["view"]
    editing.host.get_by_role("button", name="Box 1: Effusion 80 %").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Shift+ArrowLeft", "Alt+ArrowRight", "Alt+Shift+ArrowDown"):
        editing.page.keyboard.press(key)
    assert places(editing) == [(12, 31, 41, 35)]
    assert editing.state["view"] == view
    editing.page.keyboard.press("Delete")
    assert boxes(editing) == []
    for _ in range(3):  # delete, size, move
        editing.page.keyboard.press("Control+z")
    assert places(editing) == [(20, 30, 40, 25)]
    editing.page.keyboard.press("Control+y")
    assert places(editing) == [(12, 31, 40, 25)]
    editing.page.keyboard.press("Control+Shift+z")
    assert places(editing) == [(12, 31, 41, 35)]
    assert editing.page.evaluate("events") == 12


def test_a_box_is_made_and_named_by_keyboard_alone(editing: Viewer) -> None:
    editing.page.keyboard.press("Shift+M")
    (box,) = boxes(editing)
    assert box["width"] > 0
    editing.page.keyboard.press("ArrowLeft")
    assert boxes(editing)[0]["x"] == box["x"] - 1
    editing.host.get_by_label("Finding of box 1").select_option("Nodule")
    editing.host.get_by_label("Confidence in box 1").fill("140")
    editing.page.keyboard.press("Tab")
    assert (boxes(editing)[0]["finding"], boxes(editing)[0]["confidence"]) == ("Nodule", 100)
    assert editing.host.locator(".hv-own text").text_content() == "Nodule 100 %"


def test_another_film_starts_without_boxes_and_without_their_history(editing: Viewer) -> None:
    draw(editing, (20, 30), (60, 55))
    editing.host.evaluate("(host) => host.hilumViewer.show({ factsUrl: '/facts', pixelsUrl: '/pixels' })")
    assert boxes(editing) == []
    editing.page.keyboard.press("Control+z")
    assert boxes(editing) == []
    draw(editing, (20, 30), (60, 55))
    assert len(boxes(editing)) == 1


def test_undo_in_a_text_field_leaves_the_boxes(editing: Viewer) -> None:
    draw(editing, (20, 30), (60, 55))
    editing.page.evaluate("document.body.append(document.createElement('textarea'))")
    editing.page.locator("textarea").focus()
    editing.page.keyboard.press("Control+z")
    assert len(boxes(editing)) == 1


def test_a_drag_ends_with_its_film(editing: Viewer) -> None:
    editing.page.keyboard.press("Shift+B")
    editing.page.mouse.move(*editing.client(20, 30))
    editing.page.mouse.down()
    editing.page.mouse.move(*editing.client(40, 50))
    editing.host.evaluate("(host) => host.hilumViewer.show({ factsUrl: '/facts', pixelsUrl: '/pixels' })")
    editing.page.mouse.move(*editing.client(60, 70))
    editing.page.mouse.up()
    assert boxes(editing) == []
    assert editing.page.evaluate("changes") == []
