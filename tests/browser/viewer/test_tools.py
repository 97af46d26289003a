"""Pose and sides, presets, rulers, scale bar, contours and scale of the heatmap, other films, nearest normals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from portal.imaging.film import Film, Window, pack
from tests.browser.viewer.conftest import Overlay, Site, Viewer
from tests.browser.viewer.films import FILMS, WINDOW, flat_film, make_film
from tests.browser.viewer.test_viewer import BOX, grey_reference, maps_with

pytestmark = pytest.mark.browser

Open = Callable[..., Viewer]
BOTH = pytest.mark.parametrize("renderer", ["webgl2", "2d"])


# --- pose and sides --------------------------------------------------------------------------------


@BOTH
def test_flip_and_turn_move_the_pixels(open_viewer: Open, renderer: str) -> None:
    viewer = open_viewer(FILMS["linear"], renderer=renderer)
    expected = grey_reference(viewer.film)
    viewer.press("actual")
    for key, moved in (("x", np.fliplr), ("t", lambda grey: np.rot90(grey, -1)), ("x", np.fliplr)):
        viewer.page.keyboard.press(key)
        expected = moved(expected)
        assert np.abs(viewer.greys().astype(int) - expected).max() <= 1
    viewer.page.keyboard.press("r")
    viewer.press("actual")
    assert np.abs(viewer.greys().astype(int) - grey_reference(viewer.film)).max() <= 1


def sides(viewer: Viewer) -> list[str]:
    """Left, right, top, bottom."""
    return viewer.host.locator(".hv-side").all_inner_texts()


def test_side_letters_follow_flip_and_turn(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), facts={"patient_orientation": "L\\F", "view_position": "PA", "laterality": "U"})
    assert sides(viewer) == ["R", "L", "", ""]
    assert viewer.host.locator(".hv-corner").inner_text() == "PA"
    for key, letters, words in (
        ("x", ["L", "R", "", ""], "PA · mirrored"),
        ("t", ["", "", "L", "R"], "PA · mirrored, turned 90°"),
        ("x", ["", "", "L", "R"], "PA · turned 270°"),
        ("t", ["R", "L", "", ""], "PA"),
    ):
        viewer.page.keyboard.press(key)
        viewer.page.evaluate("() => new Promise(requestAnimationFrame)")
        assert sides(viewer) == letters
        assert viewer.host.locator(".hv-corner").inner_text() == words


def test_a_lateral_film_is_lettered_back_and_front(open_viewer: Open) -> None:
    assert sides(open_viewer(flat_film(), facts={"patient_orientation": "P\\F"})) == ["A", "P", "", ""]


# --- presets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize(("key", "low", "high"), [("l", 0.01, 0.7), ("m", 0.35, 0.995), ("n", 0.55, 0.999)])
def test_presets_cover_their_share_of_the_pixels(
    open_viewer: Open, photometric: str, key: str, low: float, high: float
) -> None:
    film = make_film(photometric=photometric)
    viewer = open_viewer(film)
    viewer.page.keyboard.press(key)
    voi = viewer.state["voi"]
    dark_first = film.stored if photometric == "MONOCHROME2" else 4095 - film.stored
    ends = np.quantile(dark_first, [low, high], method="inverted_cdf").astype(int)
    if photometric == "MONOCHROME1":
        ends = 4095 - ends[::-1]
    assert (voi["center"] - voi["width"] / 2, voi["center"] + voi["width"] / 2) == pytest.approx(tuple(ends))


# --- rulers and scale -------------------------------------------------------------------------------


def test_a_ruler_gives_millimetres_of_both_spacings(open_viewer: Open) -> None:
    viewer = open_viewer(make_film(windows=WINDOW, spacing_mm=(0.4, 0.2), spacing_plane="detector"))
    viewer.page.keyboard.press("q")
    viewer.drag((20, 20), (50, 40))
    (stroke,) = viewer.state["measured"]
    assert stroke["mm"] == pytest.approx(np.hypot(30 * 0.2, 20 * 0.4), abs=0.2)
    assert viewer.host.locator(".hv-rulerlist li").inner_text() == f"{stroke['mm']:.1f} mm at the detector"
    before = viewer.state["view"]
    viewer.page.keyboard.press("q")
    viewer.drag((20, 20), (30, 30))
    assert viewer.state["view"] != before  # a drag moves the film again


def test_without_spacing_a_ruler_measures_pixels(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film())
    viewer.page.keyboard.press("q")
    viewer.drag((20, 20), (50, 60))
    assert viewer.host.locator(".hv-rulerlist li").inner_text() == "50.0 px (spacing unknown)"
    assert viewer.host.locator(".hv-scale").inner_text() == "No scale: spacing unknown"


def test_the_cardiothoracic_ratio_needs_two_strokes(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film())
    viewer.page.keyboard.press("v")
    viewer.drag((40, 60), (80, 60))
    assert viewer.state["ratio"] is None
    viewer.drag((20, 70), (100, 70))
    assert viewer.state["ratio"] == pytest.approx(0.5, abs=0.01)
    assert viewer.host.locator(".hv-ratio").inner_text() == "Cardiothoracic ratio 0.50"
    assert viewer.host.locator("button[data-action=ratio]").get_attribute("aria-pressed") == "false"
    viewer.page.get_by_role("button", name="Clear measurements").click()
    assert viewer.state["measured"] == []


def test_the_scale_bar_has_the_length_that_it_shows(open_viewer: Open) -> None:
    viewer = open_viewer(make_film(windows=WINDOW, spacing_mm=(0.4, 0.2), spacing_plane="patient"))
    for _ in range(2):
        mm = float(viewer.host.locator(".hv-scale").get_attribute("data-mm") or "")
        bar = viewer.host.locator(".hv-scale-line").bounding_box()
        assert bar
        assert bar["width"] == pytest.approx(mm / 0.2 * viewer.state["view"]["scaleX"], abs=0.6)
        assert viewer.host.locator(".hv-scale").inner_text() == f"{mm:.0f} mm in the patient"
        for _ in range(4):
            viewer.page.keyboard.press("+")
        viewer.page.evaluate("() => new Promise(requestAnimationFrame)")


def test_a_small_display_gets_a_warning_and_a_large_one_none(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film())
    warning = viewer.host.get_by_text("This display is too poor to judge fine detail")
    assert "1000 × 600 pixels" in warning.inner_text()
    viewer.page.set_viewport_size({"width": 1440, "height": 900})
    assert not open_viewer(flat_film()).host.locator(".hv-display").is_visible()


def test_a_display_with_few_bits_gets_a_warning(open_viewer: Open) -> None:
    def warning_of(page: Any) -> str:
        page.set_viewport_size({"width": 1440, "height": 900})
        page.add_init_script("Object.defineProperty(screen, 'colorDepth', { get: () => 16 })")
        return str(open_viewer(flat_film()).host.locator(".hv-display").inner_text())

    assert "16 bits a pixel" in warning_of(open_viewer(flat_film()).page)


# --- heatmap ------------------------------------------------------------------------------------------


def test_a_contour_runs_where_the_map_crosses_the_threshold(open_viewer: Open) -> None:
    maps = np.tile(np.linspace(0, 0.9, 10, dtype=np.float32), (2, 8, 1))  # 0.1 a patch, from left to right
    overlay = Overlay(maps, original_from_canonical=((1.5, 0, 5), (0, 1.0, 2)))
    viewer = open_viewer(flat_film(), overlay=overlay)
    viewer.set("threshold", 0.47)
    viewer.host.locator("[data-look=drawn]").select_option("contour")
    assert not viewer.colours().any()  # no colour over the film
    path = viewer.host.locator(".hv-contour").get_attribute("d") or ""
    points = np.array([[float(n) for n in p.split(",")] for p in path.replace("L", "M").split("M")[1:]])
    assert points[:, 0] == pytest.approx(1.5 * 8 * 5.2 + 5, abs=0.05)  # 0.47 lies at 0.7 of the way from patch 4 to 5
    assert (points[:, 1].min(), points[:, 1].max()) == pytest.approx((3, 65), abs=0.05)
    viewer.page.keyboard.press("h")
    assert viewer.host.locator(".hv-contours").get_attribute("data-segments") == "0"


def test_no_contour_stays_on_the_next_film(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), overlay=Overlay(maps_with((0, 5, 3), (1, 5, 3))))
    viewer.set("threshold", 0.5)
    viewer.host.locator("[data-look=drawn]").select_option("contour")
    assert viewer.host.locator(".hv-contours").get_attribute("data-segments") != "0"
    viewer.host.evaluate("(host) => host.hilumViewer.show({ factsUrl: '/facts', pixelsUrl: '/pixels' })")
    assert viewer.host.locator(".hv-contours").get_attribute("data-segments") == "0"


def test_masked_patches_have_no_contour(open_viewer: Open) -> None:
    maps = np.full((2, 8, 10), np.nan, dtype=np.float32)
    maps[:, 2:6, 2:8] = 1
    viewer = open_viewer(flat_film(), overlay=Overlay(maps))
    viewer.host.locator("[data-look=drawn]").select_option("contour")
    assert viewer.host.locator(".hv-contours").get_attribute("data-segments") == "0"


def test_a_map_below_the_threshold_says_so_rings_its_highest_patch_and_offers_a_lower_cut(open_viewer: Open) -> None:
    overlay = Overlay(maps_with((0, 5, 3), (1, 5, 3)), more={"threshold": 1.7, "scale_high": 2.0})
    viewer = open_viewer(flat_film(), overlay=overlay)
    note, ring = viewer.host.locator(".hv-below"), viewer.host.locator(".hv-peaks")
    assert not viewer.colours().any()
    assert "No patch reaches the threshold 1.70. The highest has 1; a ring marks it." in note.inner_text()
    assert ring.get_attribute("data-ringed") == "5,3"
    circle = viewer.host.locator(".hv-peak")
    assert [float(circle.get_attribute(name) or 0) for name in ("cx", "cy", "r")] == [3.5 * 8, 5.5 * 8, 12]

    note.get_by_role("button", name="Show this film's highest 5 %").click()
    assert viewer.colours().any()
    assert not note.is_visible()
    assert ring.get_attribute("data-ringed") == ""

    viewer.set("threshold", 1.7)
    assert ring.get_attribute("data-ringed") == "5,3"
    viewer.page.keyboard.press("h")
    assert ring.get_attribute("data-ringed") == ""
    viewer.host.evaluate("(host) => host.hilumViewer.show({ factsUrl: '/facts', pixelsUrl: '/pixels' })")
    assert not note.is_visible()


def test_a_map_of_masked_patches_alone_has_no_highest(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), overlay=Overlay(np.full((2, 8, 10), np.nan, dtype=np.float32)))
    assert not viewer.host.locator(".hv-below").is_visible()
    assert viewer.host.locator(".hv-peaks").get_attribute("data-ringed") == ""


def test_the_scale_of_one_film_is_marked_and_not_kept(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), overlay=Overlay(maps_with((0, 5, 3), (1, 5, 3)), more={"scale_high": 4.0}))
    fixed = viewer.ask("readColour(28, 44)")
    mark = viewer.host.get_by_text("Relative: colours do not compare between films.")
    assert not mark.is_visible()
    assert viewer.host.locator(".hv-legend-ends").inner_text().split() == ["0", "4"]
    viewer.host.get_by_label("Scale of this film alone").check()
    assert mark.is_visible()
    assert viewer.host.locator(".hv-legend-ends").inner_text().split() == ["0.050", "1"]
    assert viewer.ask("readColour(28, 44)") != fixed
    viewer.host.evaluate("(host) => host.hilumViewer.show({ ...host.dataset })")
    assert not mark.is_visible()
    assert viewer.ask("readColour(28, 44)") == fixed


# --- other films of the patient -----------------------------------------------------------------


def another(site: Site, name: str, film: Film, **more: Any) -> dict[str, Any]:
    return {
        "image": name,
        "view_position": "LAT",
        "laterality": "",
        "same_study": True,
        "days": None,
        "when": "",
        "facts_url": site.offer_json(f"/{name}/facts", {"image": name, **film.facts.to_json()}),
        "pixels_url": site.offer_bytes(f"/{name}/pixels", pack(film.stored), gzipped=True),
        **more,
    }


def test_another_film_of_the_patient_is_shown_beside_at_the_same_scale(open_viewer: Open, site: Site) -> None:
    fine = make_film(windows=WINDOW, spacing_mm=(0.1, 0.1))
    others = [another(site, "lateral", fine), another(site, "prior", FILMS["linear"], same_study=False)]
    viewer = open_viewer(make_film(windows=WINDOW, spacing_mm=(0.4, 0.2)), beside=others)
    viewer.page.keyboard.press("l")
    viewer.press("beside")
    viewer.host.get_by_text("Same scale").wait_for()
    for _ in range(2):
        state = viewer.state
        assert state["beside"]["view"]["scaleX"] / 0.1 == pytest.approx(state["view"]["scaleX"] / 0.2)
        viewer.page.keyboard.press("+")
        viewer.page.evaluate("() => new Promise(requestAnimationFrame)")
    assert viewer.state["beside"]["voi"]["name"] == "Lung"
    choice = viewer.host.get_by_label("Film beside").first
    assert choice.locator("option").all_inner_texts() == ["1 of 2: LAT, same study", "2 of 2: LAT"]
    choice.select_option("prior")
    viewer.host.get_by_text("Spacing unknown: scaled to the frame.").wait_for()
    assert viewer.state["beside"]["image"] == "prior"
    viewer.page.keyboard.press("y")
    assert viewer.state["beside"] is None


def test_prior_films_are_stepped_through_from_the_last_one_before(open_viewer: Open, site: Site) -> None:
    days = {"oldest": -800, "prior": -412, "lateral": 0, "later": 1}
    when = {-800: "800 days before", -412: "412 days before", 0: "same date", 1: "1 day after"}
    others = [another(site, name, FILMS["linear"], days=n, when=when[n], same_study=n == 0) for name, n in days.items()]
    viewer = open_viewer(FILMS["linear"], beside=others)
    choice = viewer.host.get_by_label("Film beside").first
    canvas = viewer.host.locator(".hv-beside canvas").first
    for name in ("prior", "lateral", "later", "oldest"):
        viewer.page.keyboard.press("Shift+Y")
        expect(choice).to_have_value(name)
        expect(canvas).to_have_attribute("aria-label", re.compile(when[days[name]]))
        assert viewer.state["beside"]["image"] == name
    assert choice.locator("option").all_inner_texts() == [
        "1 of 4: LAT, 800 days before",
        "2 of 4: LAT, 412 days before",
        "3 of 4: LAT, same date, same study",
        "4 of 4: LAT, 1 day after",
    ]
    assert viewer.host.locator("button[data-action=beside]").get_attribute("aria-pressed") == "true"
    viewer.host.get_by_text("Oldest to newest. Spacing unknown").wait_for()
    # the next film of another patient has none; with the one after it the column is there again
    for urls, shown in (("", False), (", besideUrl: '/beside'", True)):
        viewer.host.evaluate(f"(host) => host.hilumViewer.show({{ factsUrl: '/facts', pixelsUrl: '/pixels'{urls} }})")
        expect(viewer.host.locator(".hv-beside")).to_be_visible(visible=shown)


def test_a_list_of_other_films_that_did_not_come_is_no_empty_list(open_viewer: Open, site: Site) -> None:
    site.break_off("/beside")
    site.break_off("/boxes")
    viewer = open_viewer(FILMS["linear"], beside=[another(site, "lateral", FILMS["linear"])], boxes=[])
    alerts = viewer.host.get_by_role("alert")
    expect(alerts).to_have_count(2)  # neither removes the other
    missing = alerts.filter(has_text="The other films of the patient could not be fetched (HTTP 404).")
    expect(missing).to_be_visible()
    others = {"films": [another(site, "prior", FILMS["linear"], days=-3, when="3 days before")], "note": ""}
    site.answers["/beside"] = (200, "application/json", json.dumps(others).encode(), False)
    viewer.host.locator("[data-trouble=beside]").get_by_role("button", name="Try again").click()
    expect(viewer.host.locator("button[data-action=beside]")).to_be_visible()
    expect(missing).to_have_count(0)


def test_the_film_beside_disappears_with_the_patient(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"], beside=[another(site, "lateral", FILMS["linear"])])
    viewer.press("beside")
    viewer.host.get_by_text("Spacing unknown: scaled to the frame.").wait_for()
    beside = viewer.host.locator(".hv-beside canvas").first
    assert beside.is_visible()
    viewer.host.evaluate(
        """(host) => {
          host.hilumViewer.show({ factsUrl: "/facts", pixelsUrl: "/pixels" });
          window.seen = getComputedStyle(host.querySelector(".hv-beside canvas")).visibility;
        }"""
    )
    assert viewer.page.evaluate("seen") == "hidden"  # at once, before anything is fetched
    viewer.page.locator("[data-state=ready]").wait_for()
    assert not beside.is_visible()


def test_a_patient_of_one_film_has_no_button_for_others(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), beside=[])
    assert not viewer.host.locator("button[data-action=beside]").is_visible()


# --- nearest normals --------------------------------------------------------------------------------


@pytest.fixture
def explained(open_viewer: Open, site: Site) -> Viewer:
    """A film shown with an unaligned map; its nearest normal patch lies 20 pixels to the right in its own film."""
    stored = np.zeros((90, 121), dtype=np.uint16)
    stored[40:48, 44:52] = 255
    neighbour = Film(stored, flat_film().facts)
    nearest_patch = {
        "bank": "region", "rank": 1, "distance": 1.25, "row": 5, "column": 3,
        "original_from_canonical": [[1, 0, 20], [0, 1, 0]], "centre_original_px": [48, 44],
        "film": {**another(site, "n", neighbour), "name": "n", "url": "/"},
    }  # fmt: skip
    lost = {**nearest_patch, "rank": 2, "original_from_canonical": None, "centre_original_px": None}
    nearest = {"row": 5, "column": 3, "stride": 8, "nearest": [nearest_patch, lost], "hidden": 1}
    return open_viewer(flat_film(90), overlay=Overlay(maps_with((0, 5, 3), (1, 5, 3))), nearest=nearest)


def test_a_click_on_a_hot_spot_shows_the_nearest_normals(explained: Viewer) -> None:
    requested: list[str] = []
    explained.page.on("request", lambda request: requested.append(request.url))
    explained.page.keyboard.press("e")
    explained.page.mouse.click(*explained.client(28, 44))
    first = explained.host.get_by_role("button", name="1. distance 1.25, n")
    first.locator("canvas").wait_for()
    assert any(url.endswith("/nearest?row=5&column=3") for url in requested)
    assert explained.host.get_by_text("1 film is hidden from you and left out.").is_visible()
    assert explained.host.get_by_role("button", name="2. distance 1.25, n").is_disabled()
    middle = first.locator("canvas").evaluate("(tile) => [...tile.getContext('2d').getImageData(48, 48, 1, 1).data]")
    assert middle == [255, 255, 255, 255]  # the patch itself is in the middle of its tile
    edge = first.locator("canvas").evaluate("(tile) => [...tile.getContext('2d').getImageData(30, 48, 1, 1).data]")
    assert edge == [0, 0, 0, 255]


def test_j_lays_the_neighbour_over_the_film_aligned(explained: Viewer) -> None:
    explained.press("actual")
    explained.page.keyboard.press("e")
    explained.page.keyboard.press("Shift+E")
    explained.host.get_by_role("button", name="1. distance 1.25, n").click()
    explained.host.get_by_text("Hold J: n in place of this film").wait_for()
    assert explained.state["blinking"] is False
    explained.page.keyboard.down("j")
    assert explained.state["blinking"] is True
    assert explained.host.get_by_text("n, of the normal set").is_visible()
    grey = """(host, [x, y]) => {
      const canvas = host.querySelector(".hv-blink");
      return canvas.getContext("2d").getImageData(x, y, 1, 1).data[0];
    }"""
    view = explained.state["view"]
    for x, y, wanted in ((28, 44, 255), (20, 44, 0), (36, 44, 0), (28, 52, 0)):
        at = [int(x + view["shiftX"]), int(y + view["shiftY"])]
        assert explained.host.evaluate(grey, at) == wanted
    explained.page.keyboard.up("j")
    assert explained.state["blinking"] is False
    assert not explained.host.get_by_text("n, of the normal set").is_visible()


def test_a_failed_search_is_explained(open_viewer: Open, site: Site) -> None:
    site.answers["/nearest"] = (410, "application/json", b'{"error": "The detector is gone; fit it again."}', False)
    viewer = open_viewer(flat_film(), overlay=Overlay(maps_with((0, 5, 3))), nearest={})
    viewer.page.keyboard.press("e")
    viewer.page.keyboard.press("Shift+E")
    assert "The detector is gone; fit it again." in viewer.page.get_by_role("alert").inner_text()


def test_a_drag_while_picking_moves_the_film_and_searches_nothing(explained: Viewer) -> None:
    before = explained.state["view"]
    explained.page.keyboard.press("e")
    explained.drag((28, 44), (40, 50))
    assert explained.state["view"] != before
    assert explained.host.locator(".hv-nearest > *").count() == 0


# --- room for the film ------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1078, 1360, 1510, 1900, 2100])
def test_the_toolbar_has_one_row_and_the_status_is_in_view(open_viewer: Open, site: Site, width: int) -> None:
    """With every button that a film can have, at the widths that pages leave at 1440 × 900, 1920 × 1080 and around."""
    film = make_film(windows=(Window(1800.0, 1500.0, "Thorax, harder than usual"),))
    others = [another(site, "lateral", FILMS["linear"])]
    overlay = Overlay(maps_with((0, 5, 3), (1, 5, 3)))
    viewer = open_viewer(film, overlay=overlay, nearest={}, boxes=[BOX], beside=others)
    viewer.page.set_viewport_size({"width": width, "height": 860})
    shown = boxes_of(viewer, ".hv-toolbar > :not([hidden])")
    heights = {round(box["y"]) for box in shown if box["height"]}
    assert len(heights) <= 2, heights  # the select is a pixel lower than buttons at most
    assert max(heights) - min(heights) < 10
    assert len([box for box in shown if box["height"]]) >= 16
    status = viewer.host.locator(".hv-status").bounding_box()
    assert status is not None
    assert status["y"] + status["height"] <= 860


def boxes_of(viewer: Viewer, selector: str) -> list[Any]:
    script = "(nodes) => nodes.map((node) => node.getBoundingClientRect().toJSON())"
    return list(viewer.host.locator(selector).evaluate_all(script))


def test_panels_fold_for_this_film_and_the_next(open_viewer: Open) -> None:
    overlay = Overlay(maps_with((0, 5, 3), (1, 5, 3)))
    viewer = open_viewer(flat_film(), overlay=overlay)
    panels, button = viewer.host.locator(".hv-panels"), viewer.host.locator("[data-action=fold]")
    wide = viewer.host.locator(".hv-stage").first.bounding_box()
    assert panels.is_visible()
    viewer.page.keyboard.press("Shift+P")
    assert not panels.is_visible()
    assert button.get_attribute("aria-pressed") == "true"
    wider = viewer.host.locator(".hv-stage").first.bounding_box()
    assert wide is not None and wider is not None
    assert wider["width"] - wide["width"] > 200
    assert not open_viewer(flat_film(), overlay=overlay).host.locator(".hv-panels").is_visible()
    viewer.page.keyboard.press("Shift+P")
    assert viewer.host.locator(".hv-panels").is_visible()


def test_without_a_panel_there_is_none_to_fold(open_viewer: Open) -> None:
    assert not open_viewer(flat_film()).host.locator("[data-action=fold]").is_visible()


def test_the_page_covers_the_screen_and_comes_back(open_viewer: Open) -> None:
    page = open_viewer(flat_film()).page
    page.keyboard.press("Shift+O")
    page.wait_for_function("document.fullscreenElement === document.documentElement")
    page.keyboard.press("Shift+O")
    page.wait_for_function("document.fullscreenElement === null")
