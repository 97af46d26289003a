"""The viewer on a page of its own: the real template and modules, films from memory, a strict CSP."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from django.template.loader import render_to_string
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page

from portal.imaging.film import Film, pack
from tests.paths import ROOT

STATIC = ROOT / "static"
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'"
)
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
SIZED = """() => [...document.querySelectorAll("canvas.hv-canvas")].every((canvas) =>
  canvas.width === Math.max(1, Math.round(canvas.parentElement.clientWidth * (window.devicePixelRatio || 1))) &&
  canvas.height === Math.max(1, Math.round(canvas.parentElement.clientHeight * (window.devicePixelRatio || 1))))"""
WATCH_POLICY = """
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""
COLOURS = """(host, film) => {
  const { width, height, data } = host.hilumViewer.readCanvas();
  let [left, top, right, bottom] = [0, 0, width, height];
  if (film) {
    const [[a, b, c], [d, e, f]] = host.hilumViewer.state.view.matrix;
    const [x, y] = [a * film.columns + b * film.rows + c, d * film.columns + e * film.rows + f];
    [left, right] = [c, x].sort((one, other) => one - other).map(Math.round);
    [top, bottom] = [f, y].sort((one, other) => one - other).map(Math.round);
  }
  const out = new Uint8Array((bottom - top) * (right - left) * 3);
  let next = 0;
  for (let y = top; y < bottom; y++)
    for (let from = (y * width + left) * 4; from < (y * width + right) * 4; from += 4)
      for (let channel = 0; channel < 3; channel++) out[next++] = data[from + channel];
  let text = "";
  for (let i = 0; i < out.length; i += 8192) text += String.fromCharCode(...out.subarray(i, i + 8192));
  return { rows: bottom - top, columns: right - left, bytes: btoa(text) };
}"""


@dataclass
class Site:
    """The responses of a web server by path: (status, type, body, gzipped)."""

    answers: dict[str, tuple[int, str, bytes, bool]] = field(default_factory=dict)
    url: str = ""

    def offer_json(self, path: str, data: Any) -> str:
        """Serve `data`, unless the test has set another response."""
        self.answers.setdefault(path, (200, "application/json", json.dumps(data).encode(), False))
        return path

    def offer_bytes(self, path: str, data: bytes, *, gzipped: bool = False) -> str:
        self.answers.setdefault(path, (200, "application/octet-stream", data, gzipped))
        return path

    def break_off(self, path: str) -> None:
        self.answers[path] = (404, "text/plain", b"", False)

    def find(self, path: str) -> tuple[int, str, bytes, bool]:
        file = STATIC / path.removeprefix("/static/")
        if path.startswith("/static/") and file.is_file():
            return 200, TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes(), False
        return self.answers.get(path, (404, "text/plain", b"", False))


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """A smaller window: the time of emulated WebGL grows with the number of pixels."""
    return {**browser_context_args, "viewport": {"width": 1000, "height": 600}}


@pytest.fixture
def site() -> Generator[Site]:
    served = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # one connection for a page's twenty files

        def do_GET(self) -> None:
            status, kind, body, gzipped = served.find(urlsplit(self.path).path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", STRICT)
            if gzipped:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Overlay:
    """Maps (2, h, w) float32, global then region, NaN where masked; further keys of the overlay's JSON."""

    maps: NDArray[np.float32]
    stride: int = 8
    original_from_canonical: tuple[tuple[float, ...], ...] = ((1, 0, 0), (0, 1, 0))
    more: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        _, rows, columns = self.maps.shape
        plain = {
            "maps_url": "/maps",
            "rows": rows,
            "columns": columns,
            "stride": self.stride,
            "size": self.stride * columns,
            "original_from_canonical": self.original_from_canonical,
            "weight": 0.6,
            "mean": None,
            "std": None,
            "scale_low": 0.0,
            "scale_high": 1.0,
            "threshold": 0.0,
            "weight_locked": False,
            "random_weights": False,
        }
        return {**plain, **self.more}


@dataclass
class Viewer:
    """The viewer in the page, with helpers to control and query it."""

    page: Page
    site: Site
    film: Film
    host: Locator

    def ask(self, expression: str) -> Any:
        return self.host.evaluate(f"(host) => host.hilumViewer.{expression}")

    @property
    def state(self) -> dict[str, Any]:
        return self.ask("state")

    @property
    def sentence(self) -> str:
        return self.host.locator(".hv-status [role=status]").inner_text()

    def press(self, name: str) -> None:
        self.host.locator(f"button[data-action={name}]").click()

    def set(self, look: str, value: float) -> None:
        self.host.locator(f"[data-look={look}]").fill(str(value))

    def canvas(self) -> NDArray[np.uint8]:
        """(H, W, 3): the whole canvas in device pixels."""
        return self._colours(None)

    def colours(self) -> NDArray[np.uint8]:
        """(H, W, 3): the part of the canvas that shows the film, in any pose; the film must lie inside."""
        return self._colours({"columns": self.film.facts.columns, "rows": self.film.facts.rows})

    def _colours(self, film: dict[str, int] | None) -> NDArray[np.uint8]:
        pixels = self.host.evaluate(COLOURS, film)
        colours = np.frombuffer(base64.b64decode(pixels["bytes"]), dtype=np.uint8)
        return colours.reshape(pixels["rows"], pixels["columns"], 3)

    def greys(self) -> NDArray[np.uint8]:
        """(H, W): as `colours`, for a canvas without colour."""
        colours = self.colours()
        assert (colours == colours[..., :1]).all()
        return colours[..., 0]

    def client(self, x: float, y: float) -> tuple[float, float]:
        """Page coordinates of an original position, once the canvas has the size of its place: a panel that opens
        resizes it with the next frame."""
        self.page.wait_for_function(SIZED)
        view, box = self.state["view"], self.host.locator("canvas.hv-canvas").first.bounding_box()
        assert box
        (a, b, c), (d, e, f) = view["matrix"]
        return box["x"] + a * x + b * y + c, box["y"] + d * x + e * y + f

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the left button, from and to original positions."""
        self.page.mouse.move(*self.client(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.client(*end), steps=4)
        self.page.mouse.up()


@pytest.fixture
def open_viewer(page: Page, site: Site) -> Generator[Callable[..., Viewer]]:
    """Open a film: `open_viewer(film, renderer=..., facts=..., boxes=..., overlay=..., nearest=..., until=...)`."""
    page.add_init_script(WATCH_POLICY)

    def open_film(
        film: Film,
        *,
        renderer: str = "2d",
        facts: dict[str, Any] | None = None,
        boxes: list[dict[str, Any]] | None = None,
        overlay: Overlay | None = None,
        nearest: dict[str, Any] | None = None,
        beside: list[dict[str, Any]] | None = None,
        until: str = "ready",
    ) -> Viewer:
        context = {"image_label": "Film 7", "facts_url": "/facts", "pixels_url": "/pixels"}
        site.offer_json("/facts", {"image": "7", **film.facts.to_json(), **(facts or {})})
        site.offer_bytes("/pixels", pack(film.stored), gzipped=True)
        if boxes is not None:
            context["boxes_url"] = site.offer_json("/boxes", {"boxes": boxes})
        if overlay is not None:
            site.offer_bytes("/maps", overlay.maps.tobytes())
            context["overlay_url"] = site.offer_json("/overlay", overlay.to_json())
        if nearest is not None:
            context["nearest_url"] = site.offer_json("/nearest", nearest)
        if beside is not None:
            context["beside_url"] = site.offer_json("/beside", {"films": beside, "note": "Oldest to newest."})
        body = render_to_string("portal/_viewer.html", context)
        harness = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Viewer</title>{body}</html>'
        site.answers["/"] = (200, "text/html", harness.encode(), False)
        page.goto(f"{site.url}/?renderer={renderer}")
        page.locator(f"[data-hilum-viewer][data-state={until}]").wait_for()
        if beside and site.answers["/beside"][0] == 200:  # the list of the other films comes after the film
            page.locator("button[data-action=beside]").wait_for()
        return Viewer(page, site, film, page.locator("[data-hilum-viewer]"))

    yield open_film
    assert page.evaluate("window.violations") == []
