"""The viewer's interface to pages: show another film, prefetch films, boxes, heatmap, stopped keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from portal.imaging.film import Film, pack, preview
from tests.browser.viewer.conftest import Overlay, Site, Viewer
from tests.browser.viewer.films import FILMS, WINDOW, flat_film, make_film
from tests.browser.viewer.test_viewer import grey_reference, maps_with

pytestmark = pytest.mark.browser

Open = Callable[..., Viewer]
BOTH = pytest.mark.parametrize("renderer", ["webgl2", "2d"])
BOX = {"x": 20, "y": 30, "width": 40, "height": 25, "finding": "Effusion", "confidence": 80}


def offer(site: Site, name: str, film: Film, **more: Any) -> dict[str, str]:
    """Serve another film; the URLs that `show` takes."""
    facts = site.offer_json(f"/{name}/facts", {"image": name, **film.facts.to_json(), **more})
    return {
        "factsUrl": facts,
        "pixelsUrl": site.offer_bytes(f"/{name}/pixels", pack(film.stored), gzipped=True),
        "label": f"Film {name}",
    }


def show(viewer: Viewer, urls: dict[str, str]) -> bool:
    is_shown = viewer.host.evaluate("(host, urls) => host.hilumViewer.show(urls)", urls)
    assert isinstance(is_shown, bool)
    return is_shown


def record_events(viewer: Viewer, name: str) -> None:
    viewer.page.evaluate(
        "(name) => document.addEventListener(name, (e) => ((window.heard ??= []).push([name, e.detail])))", name
    )


@BOTH
def test_another_film_is_shown_in_place(open_viewer: Open, site: Site, renderer: str) -> None:
    viewer = open_viewer(FILMS["linear"], renderer=renderer, boxes=[BOX])
    record_events(viewer, "hilum:ready")
    other = make_film(seed=9, windows=WINDOW, photometric="MONOCHROME1")
    assert show(viewer, offer(site, "b", other))
    viewer.press("actual")
    assert np.abs(viewer.greys().astype(int) - grey_reference(other)).max() <= 1
    assert viewer.host.locator("canvas.hv-canvas").get_attribute("aria-label") == "Film b"
    assert viewer.host.locator(".hv-box").count() == 0
    assert viewer.page.evaluate("heard")[0][1]["image"] == "b"


def test_a_viewer_without_a_film_waits_for_one(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"])
    viewer.page.evaluate(
        """async () => {
          const { startViewers } = await import("/static/js/viewer/index.js");
          document.querySelector("[data-hilum-viewer]").remove();
          document.body.insertAdjacentHTML("beforeend", "<section class=hilum-viewer data-hilum-viewer></section>");
          startViewers();
        }"""
    )
    assert viewer.host.get_attribute("data-state") == "empty"
    assert viewer.host.locator("button[data-action=fit]").is_disabled()
    assert show(viewer, offer(site, "b", FILMS["sigmoid"]))
    viewer.press("actual")
    assert np.abs(viewer.greys().astype(int) - grey_reference(FILMS["sigmoid"])).max() <= 1


def test_a_window_that_was_chosen_stays_and_a_dragged_one_follows_the_values(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"])
    viewer.page.keyboard.press("l")
    twice = Film((make_film(bits=12).stored * 2).astype(np.uint16), make_film(bits=13).facts)
    show(viewer, offer(site, "b", twice))
    assert viewer.state["voi"]["name"] == "Lung"
    viewer.host.get_by_label("Window preset").select_option("0.5–99.5 %")
    whole = viewer.state["voi"]
    viewer.page.mouse.move(*viewer.client(50, 50))
    viewer.page.mouse.down(button="right")
    viewer.page.mouse.move(viewer.client(50, 50)[0] - 150, viewer.client(50, 50)[1])
    viewer.page.mouse.up(button="right")
    assert viewer.state["voi"]["width"] == pytest.approx(whole["width"] / 2)
    show(viewer, offer(site, "a", FILMS["linear"]))
    assert viewer.state["voi"]["width"] == pytest.approx(whole["width"] / 4, rel=0.01)


def test_zoom_and_pose_do_not_stay(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"])
    first = viewer.state["view"]
    for key in "xto":
        viewer.page.keyboard.press(key)
    assert viewer.state["view"] != first
    show(viewer, offer(site, "b", FILMS["linear"]))
    assert viewer.state["view"] == first


def test_the_last_requested_film_is_shown(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"])
    urls = [offer(site, name, make_film(seed=seed)) for name, seed in (("b", 5), ("c", 6))]
    answers = viewer.host.evaluate(
        "(host, [b, c]) => Promise.all([host.hilumViewer.show(b), host.hilumViewer.show(c)])", urls
    )
    assert answers == [False, True]
    viewer.press("actual")
    assert np.abs(viewer.greys().astype(int) - grey_reference(make_film(seed=6))).max() <= 1


@pytest.mark.usefixtures("routed_from_the_start")
def test_a_film_that_takes_long_shows_its_preview_meanwhile(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"])
    film = Film(make_film(seed=5).stored[:, :64], replace(make_film(seed=5).facts, columns=64, spacing_mm=(0.2, 0.1)))
    site.answers["/b/preview"] = (200, "image/jpeg", preview(film), False)
    urls = offer(site, "b", film, preview_url="/b/preview")
    held: list[Any] = []
    viewer.page.route("**/b/pixels", lambda route: held.append(route))
    record_events(viewer, "hilum:preview")
    viewer.host.evaluate("(host, urls) => void (window.late = host.hilumViewer.show(urls))", urls)
    picture = viewer.host.locator(".hv-preview")
    expect(picture).to_be_visible()
    expect(viewer.host.locator(".hv-message")).to_contain_text("This is its preview, not for reading.")
    assert viewer.host.get_attribute("data-state") == "loading"
    assert viewer.host.locator("button[data-action=fit]").is_disabled()
    stage, shown = viewer.host.locator(".hv-stage").bounding_box(), picture.bounding_box()
    assert stage is not None
    assert shown is not None
    assert shown["height"] == pytest.approx(stage["height"], abs=1)
    assert shown["height"] / shown["width"] == pytest.approx(2 * film.facts.rows / 64, rel=0.01)
    assert len(viewer.page.evaluate("heard")) == 1
    held[0].continue_()
    assert viewer.page.evaluate("late") is True
    expect(picture).to_be_hidden()
    assert viewer.host.get_attribute("data-state") == "ready"


@pytest.mark.usefixtures("routed_from_the_start")
def test_a_preview_goes_with_its_film_and_none_comes_for_a_film_that_is_there(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"])
    first, second = make_film(seed=5), make_film(seed=6)
    site.answers["/b/preview"] = (200, "image/jpeg", preview(first), False)
    slow, ready = offer(site, "b", first, preview_url="/b/preview"), offer(site, "c", second, preview_url="/c/preview")
    viewer.page.route("**/b/pixels", lambda route: None)
    asked: list[str] = []
    viewer.page.on("request", lambda request: asked.append(request.url))
    viewer.host.evaluate("(host, urls) => host.hilumViewer.prefetch([urls])", ready)
    viewer.host.evaluate("(host, urls) => void host.hilumViewer.show(urls)", slow)
    expect(viewer.host.locator(".hv-preview")).to_be_visible()
    assert show(viewer, ready)
    expect(viewer.host.locator(".hv-preview")).to_be_hidden()
    viewer.page.wait_for_timeout(400)  # longer than a film is waited for without its preview
    assert not [url for url in asked if url.endswith("/c/preview")]
    assert viewer.host.get_attribute("data-state") == "ready"


@pytest.mark.usefixtures("routed_from_the_start")
def test_a_film_without_its_preview_is_waited_for(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"])
    urls = offer(site, "b", make_film(seed=5), preview_url="/nowhere")
    held: list[Any] = []
    viewer.page.route("**/b/pixels", lambda route: held.append(route))
    with viewer.page.expect_response("**/nowhere"):
        viewer.host.evaluate("(host, urls) => void (window.late = host.hilumViewer.show(urls))", urls)
    expect(viewer.host.locator(".hv-preview")).to_be_hidden()
    held[0].continue_()
    assert viewer.page.evaluate("late") is True


@pytest.mark.usefixtures("routed_from_the_start")
def test_a_film_that_arrives_late_is_dropped(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"])
    late, last = (offer(site, name, make_film(seed=seed)) for name, seed in (("b", 5), ("c", 6)))
    held: list[Any] = []
    viewer.page.route("**/b/pixels", lambda route: held.append(route))
    with viewer.page.expect_request("**/b/pixels"):
        viewer.host.evaluate("(host, urls) => void (window.late = host.hilumViewer.show(urls))", late)
    assert show(viewer, last)
    held[0].continue_()
    assert viewer.page.evaluate("late") is False
    viewer.press("actual")
    assert np.abs(viewer.greys().astype(int) - grey_reference(make_film(seed=6))).max() <= 1


def test_a_film_that_fails_is_reported_and_hides_the_one_before(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"])
    record_events(viewer, "hilum:error")
    urls = offer(site, "b", FILMS["linear"])
    site.break_off("/b/pixels")
    assert not show(viewer, urls)
    assert "HTTP 404" in viewer.page.evaluate("heard")[0][1]["message"]
    assert "HTTP 404" in viewer.page.get_by_role("alert").inner_text()
    assert viewer.ask("state.view") is None


def test_a_prefetched_film_needs_no_request(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"])
    requested: list[str] = []
    urls = offer(site, "b", FILMS["sigmoid"])
    overlay = Overlay(maps_with((0, 5, 3)))
    site.offer_bytes("/maps", overlay.maps.tobytes())
    urls |= {"overlayUrl": site.offer_json("/b/overlay", overlay.to_json()), "boxesUrl": site.offer_json("/b/boxes", {"boxes": [BOX]})}  # fmt: skip  # noqa: E501
    viewer.host.evaluate("(host, urls) => host.hilumViewer.prefetch([urls])", urls)
    viewer.page.on("request", lambda request: requested.append(request.url))
    assert show(viewer, urls)
    assert requested == []
    assert viewer.host.locator(".hv-box text").text_content() == "Effusion 80 %"
    assert viewer.state["look"]["weight"] == 0.6
    show(viewer, {**urls, "label": "Again"})
    assert any(url.endswith("/b/boxes") for url in requested)  # boxes may have changed since
    assert not any(url.endswith("/b/pixels") for url in requested)


def test_three_films_are_kept_at_most(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"])
    all_urls = [offer(site, f"f{i}", make_film(seed=i)) for i in range(6)]
    viewer.host.evaluate("(host, urls) => host.hilumViewer.prefetch(urls)", all_urls)
    assert viewer.state["kept"] == 3
    for urls in all_urls:
        assert show(viewer, urls)
        assert viewer.state["kept"] <= 3
    viewer.host.evaluate("(host, urls) => host.hilumViewer.prefetch(urls)", all_urls[:1])
    assert viewer.state["kept"] == 2


def test_a_film_whose_prefetch_failed_is_requested_again(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(FILMS["linear"])
    urls = offer(site, "b", FILMS["sigmoid"])
    whole = site.answers["/b/pixels"]
    site.break_off("/b/pixels")
    viewer.host.evaluate("(host, urls) => host.hilumViewer.prefetch([urls])", urls)
    site.answers["/b/pixels"] = whole
    assert show(viewer, urls)


# --- heatmap and keys ------------------------------------------------------------------------------


def test_the_page_sets_the_heatmap_and_gets_events(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(flat_film(), overlay=Overlay(maps_with((0, 5, 3), (1, 5, 3))))
    record_events(viewer, "hilum:heatmap")
    viewer.ask("setHeatmap(false)")
    assert viewer.ask("heatmapShown") is False
    assert viewer.ask("readColour(28, 44)") == [0, 0, 0]
    viewer.ask("setHeatmap(false)")
    viewer.page.keyboard.press("h")
    assert [detail for _, detail in viewer.page.evaluate("heard")] == [{"shown": False}, {"shown": True}]


def test_a_hidden_heatmap_gives_no_score_under_the_cursor(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film(), overlay=Overlay(maps_with((0, 5, 3), (1, 5, 3))))
    viewer.page.mouse.move(*viewer.client(28.5, 44.5))
    assert "fused" in viewer.host.locator(".hv-point").inner_text()
    viewer.ask("setHeatmap(false)")
    viewer.page.mouse.move(*viewer.client(29.5, 44.5))
    assert viewer.host.locator(".hv-point").inner_text().startswith("x 29, y 44, value")
    assert "fused" not in viewer.host.locator(".hv-point").inner_text()


def test_a_heatmap_that_starts_hidden_starts_hidden_on_each_film(open_viewer: Open, site: Site) -> None:
    viewer = open_viewer(flat_film(), overlay=Overlay(maps_with((0, 5, 3))))
    viewer.host.evaluate("(host) => (host.dataset.overlayShown = 'false')")
    assert viewer.ask("heatmapShown")
    show(viewer, {**offer(site, "b", flat_film()), "overlayUrl": "/overlay"})
    assert viewer.ask("heatmapShown") is False


def test_stopped_keys_do_nothing_until_resumed(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film())
    viewer.ask("stopKeys()")
    viewer.page.keyboard.press("i")
    assert viewer.state["inverted"] is False
    viewer.ask("resumeKeys()")
    viewer.page.keyboard.press("i")
    assert viewer.state["inverted"] is True


def test_a_key_that_the_page_claims_is_not_the_viewers(open_viewer: Open) -> None:
    viewer = open_viewer(flat_film())
    viewer.page.evaluate("document.addEventListener('keydown', (event) => event.key === 'i' && event.preventDefault())")
    viewer.page.keyboard.press("i")
    viewer.page.keyboard.press("x")
    assert (viewer.state["inverted"], viewer.state["view"]["flipped"]) == (False, True)
