"""Speed of the film viewer on this machine: preview, first paint, next film after prefetch, and one step of the window.

    python benchmarks/viewer.py [--side 3000] [--repeats 5] [--mbit 50]

Serves films of SIDE x SIDE 12-bit pixels from memory on localhost to headless Chromium and prints a line for each
renderer. Without a graphics card WebGL is emulated; the viewer itself does not use it then.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from portal.imaging.film import Film, PixelFacts, pack, preview  # noqa: E402
from tools.browser import find_chromium  # noqa: E402

FILMS = 3
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Viewer</title>
<link rel="stylesheet" href="/static/css/viewer.css">
<script type="module">
  document.addEventListener("hilum:preview", () => requestAnimationFrame(() => (window.previewed = performance.now())));
  document.addEventListener("hilum:ready", () => requestAnimationFrame(() => (window.painted = performance.now())));
</script>
<section class="hilum-viewer" data-hilum-viewer data-label="Film" data-facts-url="/0/facts" data-pixels-url="/0/pixels">
</section><script type="module" src="/static/js/viewer/index.js"></script></html>"""
TYPES = {".js": "text/javascript", ".css": "text/css"}
NEXT = """async (urls) => {
  const viewer = document.querySelector("[data-hilum-viewer]").hilumViewer;
  await viewer.prefetch([urls]);
  const start = performance.now();
  await viewer.show(urls);
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""
DRAG = """async (steps) => {
  const stage = document.querySelector(".hv-stage");
  const { left, top } = stage.getBoundingClientRect();
  const send = (name, x, buttons) => stage.dispatchEvent(new PointerEvent(name, {
    pointerId: 1, bubbles: true, button: name === "pointermove" ? -1 : 2, buttons,
    clientX: left + x, clientY: top + 200,
  }));
  send("pointerdown", 300, 2);
  const start = performance.now();
  for (let i = 0; i < steps; i++) {
    send("pointermove", 300 + i, 2);
    await new Promise(requestAnimationFrame);
  }
  const each = (performance.now() - start) / steps;
  send("pointerup", 300, 0);
  return each;
}"""


def responses(side: int) -> dict[str, tuple[str, bytes, bool]]:
    """The responses of the server by path: content type, body, whether gzipped."""
    facts = PixelFacts(rows=side, columns=side, bits_stored=12, offset=0, photometric="MONOCHROME2")
    y, x = np.mgrid[0:side, 0:side] / side
    by_path = {"/": ("text/html", PAGE.encode(), False)}
    for number in range(FILMS):
        generator = np.random.default_rng(number)
        smooth = 1500 + 1200 * np.sin(5 * x + number) * np.cos(4 * y)
        stored = np.clip(smooth + generator.normal(0, 20, (side, side)), 0, 4095).astype(np.uint16)
        shown = json.dumps({**facts.to_json(), "preview_url": f"/{number}/preview"})
        by_path[f"/{number}/facts"] = ("application/json", shown.encode(), False)
        by_path[f"/{number}/preview"] = ("image/jpeg", preview(Film(stored, facts)), False)
        by_path[f"/{number}/pixels"] = ("application/octet-stream", pack(stored), True)
    return by_path


def serve(by_path: dict[str, tuple[str, bytes, bool]]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            file = ROOT / path.lstrip("/")
            if path.startswith("/static/") and file.is_file():
                kind, body, gzipped = TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes(), False
            elif path in by_path:
                kind, body, gzipped = by_path[path]
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if gzipped:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def measure(page: Page, address: str, repeats: int) -> dict[str, list[float]]:
    """The times of all repeats in milliseconds; none of a preview where the film came before it."""
    times: dict[str, list[float]] = {"preview": [], "first paint": [], "next film": [], "window step": []}
    for _ in range(repeats):
        page.goto(address)
        page.wait_for_function("window.painted")
        times["first paint"].append(page.evaluate("window.painted"))
        if previewed := page.evaluate("window.previewed"):
            times["preview"].append(previewed)
        for number in (1, 2):
            urls = {"factsUrl": f"/{number}/facts", "pixelsUrl": f"/{number}/pixels"}
            times["next film"].append(page.evaluate(NEXT, urls))
        times["window step"].append(page.evaluate(DRAG, 20))
    return times


def slow_down(page: Page, mbit: float) -> None:
    line = {"offline": False, "latency": 10, "downloadThroughput": mbit * 1e6 / 8, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--mbit", type=float, help="a line of so many Mbit/s, 10 ms away, instead of this machine's")
    parser.add_argument("--renderers", nargs="+", default=["2d", "webgl2"], choices=["2d", "webgl2"])
    options = parser.parse_args()
    by_path = responses(options.side)
    server = serve(by_path)
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--disable-gpu", *sandbox])
        side = options.side
        packed = len(by_path["/0/pixels"][1]) / 1e6
        program = f"{browser.browser_type.name} {browser.version}"
        print(f"{side} x {side} px, {packed:.1f} MB, {program}, {os.cpu_count()} cores")
        for renderer in options.renderers:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            if options.mbit:
                slow_down(page, options.mbit)
            address = f"http://127.0.0.1:{server.server_port}/?renderer={renderer}"
            times = measure(page, address, options.repeats)
            for what, each in [(what, each) for what, each in times.items() if each]:
                middle, worst = statistics.median(each), max(each)
                print(f"{renderer:7} {what:12} median {middle:7.0f} ms   slowest {worst:7.0f} ms   n {len(each)}")
            page.close()
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
