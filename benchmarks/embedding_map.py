"""Frame rate of the embedding map with generated points: panning, zooming, and the search under the pointer.

    python benchmarks/embedding_map.py [--points 100000] [--seconds 4]

Serves the map's own modules, and Plotly's scattergl with the same points to compare, to headless Chromium. Without a
graphics card WebGL is emulated; the page then draws on a plain canvas, which is measured as well.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.browser import find_chromium  # noqa: E402

TYPES = {".js": "text/javascript", ".css": "text/css"}
OWN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Map</title>
<div style="position:relative;width:1100px;height:700px">
<canvas id="a" style="position:absolute;width:100%;height:100%"></canvas>
<canvas id="b" style="position:absolute;width:100%;height:100%;pointer-events:none"></canvas></div>
<script type="module">
  import { Stage } from "/static/js/map/stage.js";
  import { paintByNames, legendOf } from "/static/js/map/colours.js";
  const count = COUNT;
  const places = new Float32Array(2 * count), values = [];
  let seed = 1;
  const draw = () => ((seed = (seed * 48271) % 2147483647) / 2147483647);
  const normal = () => Math.sqrt(-2 * Math.log(draw())) * Math.cos(2 * Math.PI * draw());
  for (let k = 0; k < count; k++) {
    const group = Math.floor(draw() * 12);
    places[2 * k] = 8 * Math.cos(group) + normal();
    places[2 * k + 1] = 8 * Math.sin(group * 2) + normal();
    values.push(group % 5);
  }
  window.places = places;
  const none = () => {};
  const handlers = { onPoint: none, onOpen: none, onRegion: none, onToggle: none, onClear: none };
  const start = performance.now();
  const stage = new Stage(document.getElementById("a"), document.getElementById("b"), handlers, "KIND");
  stage.show(places, new Uint8Array(count));
  stage.paint(paintByNames(legendOf("view", ["PA", "AP", "LL", "x", "y"], [1, 1, 1, 1, 1]), values));
  stage.draw();
  stage.renderer.finish();
  window.first = performance.now() - start;
  window.stage = stage;
</script></html>"""
MEASURE_OWN = """async (seconds) => {
  const stage = window.stage;
  const run = async (step) => {
    const times = [];
    let before = performance.now();
    const end = before + seconds * 1000;
    for (let k = 0; before < end; k++) {
      step(k);
      stage.draw();
      stage.renderer.finish();
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      times.push(now - before);
      before = now;
    }
    times.sort((a, b) => a - b);
    const rate = 1000 * times.length / times.reduce((a, b) => a + b, 0);
    return { rate, slowest: times[Math.floor(0.95 * times.length)] };
  };
  const pan = await run((k) => (stage.view.x += Math.sin(k / 9) / 4));
  const zoom = await run((k) => (stage.view.scale *= k % 40 < 20 ? 1.05 : 1 / 1.05));
  const { width, height } = stage.canvas;
  const start = performance.now();
  for (let k = 0; k < 1000; k++) {
    const at = stage.dataOf((k * 37) % width, (k * 91) % height);
    stage.cells.nearest(...at, 12 / stage.view.scale);
  }
  const hover = (performance.now() - start) / 1000;
  const { inside } = await import("/static/js/map/points.js");
  const corners = Array.from({ length: 200 }, (_, k) => [9 * Math.cos(k / 32), 5 * Math.sin(k / 32)]);
  const before = performance.now();
  const chosen = inside(stage.places, stage.shown, corners).length;
  return { pan, zoom, hover, lasso: performance.now() - before, chosen, first: window.first };
}"""
PLOTLY = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Plotly</title>
<div id="plot" style="width:1100px;height:700px"></div><script src="/static/vendor/plotly/PLOTLY"></script></html>"""
MEASURE_PLOTLY = """async ([count, seconds]) => {
  const x = new Float32Array(count), y = new Float32Array(count);
  let seed = 1;
  const draw = () => ((seed = (seed * 48271) % 2147483647) / 2147483647);
  for (let k = 0; k < count; k++) { x[k] = draw() * 16; y[k] = draw() * 16; }
  const start = performance.now();
  const trace = { type: "scattergl", mode: "markers", x, y, marker: { size: 3 } };
  await Plotly.newPlot("plot", [trace], { dragmode: "pan" });
  const first = performance.now() - start;
  const times = [];
  let before = performance.now();
  const end = before + seconds * 1000;
  for (let k = 0; before < end; k++) {
    const shift = Math.sin(k / 9);
    await Plotly.relayout("plot", { "xaxis.range": [shift, 16 + shift] });
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - before);
    before = now;
  }
  return { first, rate: 1000 * times.length / times.reduce((a, b) => a + b, 0) };
}"""


def serve(pages: dict[str, str]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            file = ROOT / path.lstrip("/")
            if path.startswith("/static/") and file.is_file():
                kind, body = TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes()
            elif path in pages:
                kind, body = "text/html", pages[path].encode()
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    plotly = next((ROOT / "static/vendor/plotly").glob("*.js")).name
    own = OWN.replace("COUNT", str(options.points))
    pages = {f"/{kind}": own.replace("KIND", kind) for kind in ("webgl", "plain")}
    pages["/plotly"] = PLOTLY.replace("PLOTLY", plotly)
    server = serve(pages)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    flags = ["--enable-unsafe-swiftshader", "--use-angle=swiftshader", "--disable-dev-shm-usage"]
    flags += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=flags)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(180_000)
        for kind in ("webgl", "plain"):
            page.goto(f"{address}/{kind}")
            page.wait_for_function("window.stage")
            print(kind, json.dumps(page.evaluate(MEASURE_OWN, options.seconds)), flush=True)
        page.goto(f"{address}/plotly")
        page.wait_for_function("window.Plotly")
        made = page.evaluate(MEASURE_PLOTLY, [options.points, options.seconds])
        print("plotly", json.dumps(made), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
