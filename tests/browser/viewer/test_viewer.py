"""The film viewer compared with NumPy, in a real browser, with both renderers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from portal.imaging.film import Film, Window, pack, shown_values
from tests.browser.viewer.conftest import Overlay, Site, Viewer
from tests.browser.viewer.films import COLUMNS, FILMS, ROWS, WINDOW, flat_film, make_film

pytestmark = pytest.mark.browser

Open = Callable[..., Viewer]
BOTH = pytest.mark.parametrize("renderer", ["webgl2", "2d"])
# A rotation, a scale and a shift, as of an alignment.
TILTED = ((1.3, -0.25, 14.0), (0.2, 1.1, 2.0))


def grey_reference(film: Film) -> NDArray[np.int64]:
    return np.rint(shown_values(film) * 255).astype(np.int64)


# --- grey ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("name", FILMS)
def test_canvas_equals_the_decoder(open_viewer: Open, name: str, renderer: str) -> None:
    viewer = open_viewer(FILMS[name], renderer=renderer)
    viewer.press("actual")
    assert viewer.state["renderer"] == renderer
    assert np.abs(viewer.greys().astype(int) - grey_reference(FILMS[name])).max() <= 1


@BOTH
def test_read_grey_is_the_pixel_under_the_position(open_viewer: Open, renderer: str) -> None:
    film = FILMS["linear"]
    viewer = open_viewer(film, renderer=renderer)
    viewer.press("actual")
    for x, y in [(0, 0), (COLUMNS - 1, 0), (40, 33), (COLUMNS - 1, ROWS - 1)]:
        assert abs(viewer.ask(f"readGrey({x + 0.5}, {y + 0.5})") - grey_reference(film)[y, x]) <= 1


@BOTH
@pytest.mark.parametrize(("spacing", "rows", "columns"), [((0.4, 0.2), 180, 121), ((0.1, 0.2), 90, 242)])
def test_aspect_follows_the_spacing(
    open_viewer: Open, renderer: str, spacing: tuple[float, float], rows: int, columns: int
) -> None:
    viewer = open_viewer(make_film(windows=WINDOW, spacing_mm=spacing), renderer=renderer)
    viewer.press("actual")
    greys = viewer.greys()
    assert greys.shape == (rows, columns)
    assert abs(greys.mean() - grey_reference(viewer.film).mean()) < 2


@BOTH
def test_invert_flips_grey_once(open_viewer: Open, renderer: str) -> None:
    viewer = open_viewer(FILMS["MONOCHROME1"], renderer=renderer)
    viewer.press("actual")
    viewer.page.keyboard.press("i")
    assert np.abs(viewer.greys().astype(int) - (255 - grey_reference(viewer.film))).max() <= 1
    assert "inverted" in viewer.sentence


@BOTH
def test_a_smaller_film_is_averaged_not_sampled(open_viewer: Open, renderer: str) -> None:
    checks = np.indices((2000, 2000)).sum(axis=0) % 2 * 255
    facts = flat_film(rows=2000, columns=2000).facts
    viewer = open_viewer(Film(checks.astype(np.uint16), facts), renderer=renderer)
    greys = viewer.greys()[5:-5, 5:-5].astype(int)
    assert viewer.state["view"]["zoom"] < 0.4
    assert abs(greys.mean() - 127.5) < 8
    assert greys.std() < 40  # every second pixel sampled would give 127


# --- window ----------------------------------------------------------------------------------------


def drag(viewer: Viewer, dx: int, dy: int, *, button: str = "left") -> None:
    mouse = viewer.page.mouse
    x, y = viewer.client(COLUMNS / 2, ROWS / 2)
    mouse.move(x, y)
    mouse.down(button=button)  # type: ignore[arg-type]
    mouse.move(x + dx, y + dy, steps=4)
    mouse.up(button=button)  # type: ignore[arg-type]


@BOTH
def test_right_drag_sets_the_window(open_viewer: Open, renderer: str) -> None:
    viewer = open_viewer(FILMS["linear"], renderer=renderer)
    viewer.press("actual")
    drag(viewer, 60, 30, button="right")
    voi = viewer.state["voi"]
    assert voi["width"] > 1.2 * 1500
    assert voi["center"] > 1900
    moved = replace(viewer.film.facts, windows=(replace(WINDOW[0], center=voi["center"], width=voi["width"]),))
    assert np.abs(viewer.greys().astype(int) - grey_reference(Film(viewer.film.stored, moved))).max() <= 1
    assert viewer.sentence == f"Zoom 100 %, W {voi['width']:.0f} L {voi['center']:.0f}"


@pytest.mark.parametrize("name", ["linear", "MONOCHROME1"])
def test_dragging_up_is_brighter(open_viewer: Open, name: str) -> None:
    viewer = open_viewer(FILMS[name])
    viewer.press("actual")
    before = viewer.greys().mean()
    drag(viewer, 0, -60, button="right")
    assert viewer.greys().mean() > before + 10


def test_w_held_makes_a_left_drag_set_the_window(open_viewer: Open) -> None:
    viewer = open_viewer(FILMS["VOI LUT"])
    before = viewer.state
    viewer.page.keyboard.down("w")
    drag(viewer, 40, 0)
    viewer.page.keyboard.up("w")
    after = viewer.state
    assert after["voi"]["kind"] == "own"
    assert after["view"] == before["view"]
    drag(viewer, 40, 0)
    assert viewer.state["voi"] == after["voi"]
    assert viewer.state["view"] != before["view"]


def test_presets_and_reset(open_viewer: Open) -> None:
    viewer = open_viewer(FILMS["VOI LUT"])
    choices = viewer.host.get_by_label("Window preset")
    names = choices.locator("option").all_inner_texts()
    assert names == ["VOI LUT 1", "Window 1", "0.5–99.5 %", "Lung", "Mediastinum", "Bone", "Full range"]
    choices.select_option("Window 1")
    viewer.press("actual")
    expected = grey_reference(make_film(windows=WINDOW))
    assert np.abs(viewer.greys().astype(int) - expected).max() <= 1
    viewer.page.keyboard.press("i")
    viewer.page.keyboard.press("r")
    state = viewer.state
    assert (state["voi"]["kind"], state["inverted"]) == ("lut", False)
    assert state["view"]["zoom"] > 1


def test_a_window_that_its_maker_calls_normal_has_another_name(open_viewer: Open) -> None:
    """The word would stand on a film that a person has to call normal or abnormal."""
    viewer = open_viewer(make_film(windows=(Window(1800.0, 1500.0, "NORMAL"), Window(1800.0, 900.0, "HARDER"))))
    names = viewer.host.get_by_label("Window preset").locator("option").all_inner_texts()
    assert names[:2] == ["NEUTRAL", "HARDER"]
    assert "NORMAL" not in viewer.page.locator("body").inner_text().upper().replace("ABNORMAL", "")


# --- view ------------------------------------------------------------------------------------------


@BOTH
def test_wheel_keeps_the_point_under_the_cursor(open_viewer: Open, renderer: str) -> None:
    film = flat_film()
    stored = film.stored.copy()
    stored[60:70, 20:30] = 255
    viewer = open_viewer(Film(stored, film.facts), renderer=renderer)
    x, y = viewer.client(25, 65)
    viewer.page.mouse.move(x, y)
    zooms = []
    for step in (-300, -200, 900):
        viewer.page.mouse.wheel(0, step)
        viewer.page.evaluate("() => new Promise(requestAnimationFrame)")
        zooms.append(viewer.state["view"]["zoom"])
        assert viewer.client(25, 65) == pytest.approx((x, y), abs=0.01)
        assert viewer.ask("readGrey(25, 65)") == 255
    assert zooms[1] > zooms[0] > zooms[2]


def test_pan_moves_the_film_with_the_pointer(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film())
    x, y = viewer.client(COLUMNS / 2, ROWS / 2)
    drag(viewer, 55, -20)
    assert viewer.client(COLUMNS / 2, ROWS / 2) == pytest.approx((x + 55, y - 20), abs=0.01)


@BOTH
def test_the_view_is_painted_after_a_pan_and_a_new_window(open_viewer: Open, renderer: str) -> None:
    """A film larger than the canvas on every side."""
    stored = np.random.default_rng(1).integers(0, 256, (1500, 2200)).astype(np.uint16)
    viewer = open_viewer(Film(stored, flat_film(rows=1500, columns=2200).facts), renderer=renderer)
    viewer.press("actual")
    for dx, dy in ((0, 0), (-90, 60), (-250, -150)):
        viewer.page.mouse.move(450, 350)
        viewer.page.mouse.down()
        viewer.page.mouse.move(450 + dx, 350 + dy, steps=3)
        viewer.page.mouse.up()
        viewer.page.keyboard.press("i")
        red = viewer.canvas()[..., 0].astype(int)
        view = viewer.state["view"]
        left, top = -round(view["shiftX"]), -round(view["shiftY"])
        expected = stored[top : top + red.shape[0], left : left + red.shape[1]].astype(int)
        if viewer.state["inverted"]:
            expected = 255 - expected
        assert np.abs(red - expected).max() <= 1


def test_fit_shows_the_whole_film(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(100, rows=900, columns=400))
    box = viewer.host.locator(".hv-stage").bounding_box()
    assert box
    viewer.press("actual")
    viewer.page.keyboard.press("=")
    view = viewer.state["view"]
    assert 900 * view["scaleY"] == pytest.approx(box["height"], abs=1)
    assert view["shiftX"] + 200 * view["scaleX"] == pytest.approx(box["width"] / 2, abs=1)


def test_a_fitted_film_stays_fitted_when_the_page_narrows(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(rows=100, columns=400))
    viewer.page.set_viewport_size({"width": 768, "height": 1024})
    viewer.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    box = viewer.host.locator(".hv-stage").bounding_box()
    assert box
    assert box["width"] < 768
    assert 400 * viewer.state["view"]["scaleX"] == pytest.approx(box["width"], abs=1)


def test_the_status_shows_the_value_under_the_cursor(open_viewer: Open) -> None:
    film = FILMS["rescaled"]
    viewer = open_viewer(film)
    viewer.page.mouse.move(*viewer.client(30.5, 12.5))
    value = film.stored[12, 30] * 0.5 - 300
    status = viewer.host.locator(".hv-point").inner_text()
    assert status.startswith("x 30, y 12, value ")
    assert float(status.split()[-1].replace("−", "-")) == pytest.approx(value, abs=0.51)


# --- heatmap -----------------------------------------------------------------------------------------


def maps_with(*hot: tuple[int, int, int]) -> NDArray[np.float32]:
    """(2, 8, 10): 1 at each `hot` (channel, row, column), 0.05 elsewhere."""
    maps = np.full((2, 8, 10), 0.05, dtype=np.float32)
    for channel, row, column in hot:
        maps[channel, row, column] = 1
    return maps


def place(affine: tuple[tuple[float, ...], ...], row: float, column: float, stride: int = 8) -> NDArray[np.float64]:
    """Original position of a point in patches."""
    matrix = np.array(affine)
    return matrix[:, :2] @ [column * stride, row * stride] + matrix[:, 2]


def hottest(viewer: Viewer) -> NDArray[np.float64]:
    """Original position of the brightest colour; the film must be black at 1:1."""
    brightness = viewer.colours().astype(int).sum(axis=2)
    rows, columns = np.nonzero(brightness >= brightness.max() - 1)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


@BOTH
@pytest.mark.parametrize("affine", [((1.0, 0.0, 5.0), (0.0, 1.0, 10.0)), TILTED])
def test_the_hottest_pixel_lies_where_the_affine_maps_it(open_viewer: Open, renderer: str, affine: Any) -> None:
    overlay = Overlay(maps_with((0, 5, 3), (1, 5, 3)), original_from_canonical=affine)
    viewer = open_viewer(flat_film(rows=110, columns=140), renderer=renderer, overlay=overlay)
    viewer.press("actual")
    viewer.set("opacity", 1)
    assert hottest(viewer) == pytest.approx(place(affine, 5.5, 3.5), abs=1.0)


@BOTH
def test_weight_slider_moves_the_overlay(open_viewer: Open, renderer: str) -> None:
    overlay = Overlay(maps_with((0, 1, 1), (1, 6, 8)))
    viewer = open_viewer(flat_film(), renderer=renderer, overlay=overlay)
    viewer.press("actual")
    viewer.host.evaluate("(host) => host.addEventListener('hilum:weight', (e) => (host.heard = e.detail.weight))")
    viewer.set("weight", 0)
    assert hottest(viewer) == pytest.approx([12, 12], abs=1)
    viewer.set("weight", 1)
    assert hottest(viewer) == pytest.approx([68, 52], abs=1)
    assert viewer.host.evaluate("(host) => host.heard") == 1


def test_a_locked_weight_explains_why(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), overlay=Overlay(maps_with(), more={"weight_locked": True}))
    slider = viewer.host.locator("[data-look=weight]")
    assert slider.is_disabled()
    assert "counts as a look" in (slider.get_attribute("title") or "")
    viewer.ask("setWeight(0.1)")
    assert viewer.state["look"]["weight"] == 0.6


def inside(maps: NDArray[np.float32], row: float, column: float) -> bool:
    _, rows, columns = maps.shape
    r, c = int(np.floor(row)), int(np.floor(column))
    return 0 <= r < rows and 0 <= c < columns and not np.isnan(maps[:, r, c]).any()


def bilinear_reference(fused: NDArray[np.float64], row: float, column: float) -> float:
    """Plain loop over the four nearest patch centres that are in the grid and unmasked."""
    total = weights = 0.0
    top, left = int(np.floor(row - 0.5)), int(np.floor(column - 0.5))
    for r in (top, top + 1):
        for c in (left, left + 1):
            if 0 <= r < fused.shape[0] and 0 <= c < fused.shape[1] and not np.isnan(fused[r, c]):
                weight = (1 - abs(row - 0.5 - r)) * (1 - abs(column - 0.5 - c))
                total, weights = total + weight * fused[r, c], weights + weight
    return total / weights


@pytest.fixture
def random_overlay() -> Overlay:
    """Standardised, a corner and an inner patch masked, tilted."""
    generator = np.random.default_rng(5)
    maps = generator.uniform(2, 9, (2, 8, 10)).astype(np.float32)
    maps[:, 0, :2] = np.nan
    maps[:, 4, 5] = np.nan
    mean, std = generator.uniform(3, 6, (2, 8, 10)), generator.uniform(1, 2, (2, 8, 10))
    listed = [[None if masked else float(v) for v, masked in zip(m.ravel(), np.isnan(maps[0]).ravel(), strict=True)]
              for m in mean]  # fmt: skip
    more = {"mean": listed, "std": std.tolist(), "weight": 0.3, "scale_low": -2.0, "scale_high": 3.0, "threshold": -1.0}
    overlay = Overlay(maps, original_from_canonical=TILTED, more=more)
    overlay.fused = 0.3 * ((maps - mean) / std)[1] + 0.7 * ((maps - mean) / std)[0]  # type: ignore[attr-defined]
    return overlay


def patch_grid(rows: int, columns: int, stride: int = 8) -> NDArray[np.float64]:
    """(H, W, 2): (row, column) in patches of every pixel centre, through the inverse of TILTED."""
    matrix = np.vstack([np.array(TILTED), [0, 0, 1]])
    y, x = np.indices((rows, columns)) + 0.5
    canonical = np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), np.stack([x, y, np.ones_like(x)]))
    return np.stack([canonical[1], canonical[0]], axis=2) / stride


@BOTH
def test_overlay_equals_a_plain_reference(open_viewer: Open, random_overlay: Overlay, renderer: str) -> None:
    viewer = open_viewer(flat_film(90, rows=110, columns=140), renderer=renderer, overlay=random_overlay)
    viewer.press("actual")
    table = viewer.page.evaluate(
        "async () => [...(await import('/static/js/viewer/colormaps.js')).colormapTable('inferno')]"
    )
    expected = overlay_reference(random_overlay, np.array(table).reshape(256, 4)[:, :3], grey=90, opacity=0.6)
    difference = np.abs(viewer.colours() - expected).max(axis=2)
    # Edges of patches and of the threshold fall on one side or the other within a pixel.
    assert np.quantile(difference, 0.9) <= (2 if renderer == "webgl2" else 6)
    assert (difference > 12).mean() < 0.05


def overlay_reference(
    overlay: Overlay, table: NDArray[np.int64], *, grey: float, opacity: float
) -> NDArray[np.float64]:
    grid = patch_grid(110, 140)
    low, high, threshold = (overlay.more[key] for key in ("scale_low", "scale_high", "threshold"))
    out = np.full((110, 140, 3), grey, dtype=np.float64)
    for y, x in np.ndindex(110, 140):
        if not inside(overlay.maps, *grid[y, x]):
            continue
        value = bilinear_reference(overlay.fused, *grid[y, x])  # type: ignore[attr-defined]
        if value >= threshold:
            alpha = opacity * (0.5 + 0.5 * np.clip((value - threshold) / (high - threshold), 0, 1))
            colour = table[int(np.rint(255 * np.clip((value - low) / (high - low), 0, 1)))]
            out[y, x] = (1 - alpha) * grey + alpha * colour
    return out


@BOTH
def test_masked_patches_and_the_outside_are_transparent(
    open_viewer: Open, random_overlay: Overlay, renderer: str
) -> None:
    random_overlay.more["threshold"] = -2.0
    viewer = open_viewer(flat_film(90, rows=110, columns=140), renderer=renderer, overlay=random_overlay)
    viewer.press("actual")
    viewer.set("opacity", 1)
    for row, column in [(0.5, 0.5), (4.5, 5.5), (4.2, 5.8), (-0.5, 4), (8.5, 4), (3, -0.3), (3, 10.5)]:
        x, y = place(TILTED, row, column)
        assert viewer.ask(f"fusedAt({x}, {y})") is None or np.isnan(viewer.ask(f"fusedAt({x}, {y})"))
        assert viewer.ask(f"readColour({x}, {y})") == [90, 90, 90]
    row, column = np.unravel_index(np.nanargmax(random_overlay.fused), (8, 10))  # type: ignore[attr-defined]
    x, y = place(TILTED, row + 0.5, column + 0.5)
    assert viewer.ask(f"readColour({x}, {y})") != [90, 90, 90]


@BOTH
def test_threshold_hides_what_is_below(open_viewer: Open, renderer: str) -> None:
    viewer = open_viewer(flat_film(), renderer=renderer, overlay=Overlay(maps_with((0, 5, 3), (1, 5, 3))))
    viewer.press("actual")
    everywhere = (viewer.colours().sum(axis=2) > 0).sum()
    viewer.set("threshold", 0.5)
    some = (viewer.colours().sum(axis=2) > 0).sum()
    assert 0 < some < 100 < everywhere
    assert viewer.ask("readColour(28, 44)") != [0, 0, 0]


def test_space_hides_the_heatmap_while_held(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), overlay=Overlay(maps_with((0, 5, 3), (1, 5, 3))))
    assert viewer.ask("readColour(28, 44)") != [0, 0, 0]
    viewer.page.keyboard.down(" ")
    assert viewer.ask("readColour(28, 44)") == [0, 0, 0]
    viewer.page.keyboard.up(" ")
    assert viewer.ask("readColour(28, 44)") != [0, 0, 0]
    viewer.page.keyboard.press("h")
    assert viewer.ask("readColour(28, 44)") == [0, 0, 0]


def test_random_weights_are_marked(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), overlay=Overlay(maps_with(), more={"random_weights": True}))
    assert viewer.host.get_by_text("Random weights, not for evaluation").is_visible()


def test_trained_weights_are_not_marked(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), overlay=Overlay(maps_with()))
    assert viewer.host.get_by_text("Random weights").count() == 0


# --- boxes, words, keys ------------------------------------------------------------------------------

BOX = {"x": 20.0, "y": 30.0, "width": 40.0, "height": 25.0, "finding": "Effusion", "source": "truth"}


def test_boxes_lie_in_original_pixels(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), boxes=[BOX])
    viewer.page.mouse.move(*viewer.client(60, 40))
    viewer.page.mouse.wheel(0, -200)
    viewer.page.evaluate("() => new Promise(requestAnimationFrame)")
    scale = viewer.state["view"]["scaleX"]
    outline = viewer.host.locator(".hv-box rect")
    drawn = [float(outline.get_attribute(name) or "") for name in ("x", "y", "width", "height")]
    stage = viewer.host.locator(".hv-stage").bounding_box()
    assert stage
    x, y = viewer.client(20, 30)
    assert drawn == pytest.approx([x - stage["x"], y - stage["y"], 40 * scale, 25 * scale], abs=0.01)
    assert viewer.host.locator(".hv-box text").text_content() == "Effusion"
    assert viewer.host.get_by_label("1 box: Effusion").count() == 1


def test_without_boxes_there_is_no_button_for_them(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), boxes=[])
    assert not viewer.host.locator("button[data-action=boxes]").is_visible()


def test_b_toggles_the_boxes(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), boxes=[BOX])
    button = viewer.host.locator("button[data-action=boxes]")
    assert button.get_attribute("aria-pressed") == "true"
    viewer.page.keyboard.press("b")
    viewer.host.locator(".hv-boxes").wait_for(state="hidden")
    assert button.get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "View unknown · laterality unknown · sides unknown"),
        ({"view_position": "PA", "laterality": "L"}, "PA · laterality L · sides unknown"),
    ],
)
def test_the_corner_shows_view_and_side_or_that_they_are_unknown(
    open_viewer: Open, facts: dict[str, str], words: str
) -> None:
    viewer = open_viewer(flat_film(), facts=facts)
    assert viewer.host.locator(".hv-corner").inner_text() == words


def test_question_mark_lists_every_key_that_a_button_shows(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), boxes=[BOX], overlay=Overlay(maps_with()))
    on_buttons = viewer.host.locator(".hv-toolbar kbd").all_inner_texts()
    viewer.page.keyboard.press("?")
    dialog = viewer.page.get_by_role("dialog")
    assert dialog.is_visible()
    listed = dialog.locator("kbd").all_inner_texts()
    assert len(on_buttons) == 20
    assert set(on_buttons) <= set(listed)
    viewer.page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_typing_in_a_field_presses_no_key(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film())
    viewer.page.evaluate("document.body.append(document.createElement('textarea'))")
    viewer.page.locator("textarea").press_sequentially("i ?")
    assert viewer.page.locator("textarea").input_value() == "i ?"
    assert viewer.state["inverted"] is False


def test_shift_and_arrows_move_the_film_and_arrows_are_left_to_the_page(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film())
    before = viewer.state["view"]
    viewer.host.locator(".hv-stage").focus()
    viewer.page.keyboard.press("ArrowRight")
    assert viewer.state["view"] == before
    viewer.page.keyboard.press("Shift+ArrowRight")
    assert viewer.state["view"]["shiftX"] < before["shiftX"]


def test_question_mark_lists_the_keys_of_the_page_too(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film())
    viewer.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<button data-key=a>Normal <kbd>A</kbd></button>')"
    )
    viewer.press("keys")
    listed = viewer.page.get_by_role("dialog").locator(".hv-page-keys")
    assert listed.locator("dt").all_inner_texts() == ["A"]
    assert listed.locator("dd").all_inner_texts() == ["Normal"]


# --- failures ------------------------------------------------------------------------------------------


def test_a_missing_film_is_explained_and_can_be_tried_again(open_viewer: Open, site: Site) -> None:
    film = FILMS["linear"]
    site.break_off("/pixels")
    viewer = open_viewer(film, until="error")
    assert viewer.host.locator("button[data-action=fit]").is_disabled()
    assert "The film could not be fetched (HTTP 404)." in viewer.page.get_by_role("alert").inner_text()
    del site.answers["/pixels"]
    site.offer_bytes("/pixels", pack(film.stored), gzipped=True)
    viewer.page.get_by_role("button", name="Try again").click()
    viewer.page.locator("[data-state=ready]").wait_for()
    assert viewer.page.get_by_role("alert").count() == 0


def test_pixels_that_do_not_match_the_header_are_refused(open_viewer: Open, site: Site) -> None:
    film = FILMS["linear"]
    site.offer_bytes("/pixels", pack(film.stored[:-1]), gzipped=True)
    viewer = open_viewer(film, until="error")
    message = viewer.page.get_by_role("alert").inner_text()
    assert (
        f"{COLUMNS} × {ROWS} pixels need {COLUMNS * ROWS * 2:,} bytes, {COLUMNS * (ROWS - 1) * 2:,} arrived" in message
    )


@pytest.mark.parametrize(
    ("broken", "words"), [("/maps", "12 arrived"), ("/overlay", "HTTP 404"), ("/boxes", "HTTP 404")]
)
def test_a_broken_extra_leaves_the_film(open_viewer: Open, site: Site, broken: str, words: str) -> None:
    site.break_off(broken)
    if broken == "/maps":
        del site.answers[broken]
        site.offer_bytes("/maps", b"\0" * 12)
    viewer = open_viewer(FILMS["linear"], overlay=Overlay(maps_with()), boxes=[BOX])
    assert words in viewer.host.get_by_role("alert").inner_text()
    viewer.press("actual")
    viewer.page.keyboard.press("h")
    assert np.abs(viewer.greys().astype(int) - grey_reference(FILMS["linear"])).max() <= 1


def test_the_reason_of_the_server_is_shown(open_viewer: Open, site: Site) -> None:
    body = json.dumps({"error": "The results are gone; score the films again."}).encode()
    site.answers["/overlay"] = (410, "application/json", body, False)
    viewer = open_viewer(flat_film(), overlay=Overlay(maps_with()))
    assert viewer.host.get_by_role("alert").inner_text() == (
        "The heatmap could not be fetched (HTTP 410). The results are gone; score the films again."
    )


def test_a_flat_alignment_is_refused_in_words(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), overlay=Overlay(maps_with(), original_from_canonical=((1, 1, 0), (1, 1, 0))))
    assert "cannot be inverted" in viewer.host.locator(".hv-panel [role=alert]").inner_text()


def test_emulated_webgl_is_not_used_by_default(open_viewer: Open) -> None:
    """The tests' browser runs without a graphics card."""
    assert open_viewer(FILMS["linear"], renderer="").state["renderer"] == "2d"


def test_a_lost_context_falls_back_to_canvas(open_viewer: Open) -> None:
    viewer = open_viewer(FILMS["linear"], renderer="webgl2")
    viewer.press("actual")
    viewer.host.evaluate(
        """async (host) => {
          const canvas = host.querySelector("canvas.hv-canvas");
          const lost = new Promise((done) => canvas.addEventListener("webglcontextlost", done));
          canvas.getContext("webgl2").getExtension("WEBGL_lose_context").loseContext();
          await lost;
        }"""
    )
    assert viewer.state["renderer"] == "2d"
    assert np.abs(viewer.greys().astype(int) - grey_reference(viewer.film)).max() <= 1
