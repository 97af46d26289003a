// Lines of equal fused score, as an SVG layer: the anatomy under them stays visible.

import { applyAffine } from "./geometry.js";
import { sample } from "./heatmap.js";
import { set, svg } from "./svg.js";

const STEPS_PER_PATCH = 4;

// Segments [x0, y0, x1, y1] in patches where the bilinear map crosses `level`, by marching squares on a finer grid.
// A square with a masked corner has no line.
export function contourSegments(map, rows, columns, level) {
  const k = STEPS_PER_PATCH;
  const [width, height] = [columns * k, rows * k];
  const values = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) values[y * width + x] = sample(map, rows, columns, (x + 0.5) / k, (y + 0.5) / k) - level;
  }
  const segments = [];
  for (let y = 0; y + 1 < height; y++) {
    for (let x = 0; x + 1 < width; x++) {
      const at = y * width + x;
      const corners = [values[at], values[at + 1], values[at + width + 1], values[at + width]];
      if (corners.some(Number.isNaN)) continue;
      for (const [a, b] of crossings(corners)) {
        segments.push([...place(x, y, a, corners), ...place(x, y, b, corners)].map((n) => (n + 0.5) / k));
      }
    }
  }
  return segments;
}

// Edges 0 top, 1 right, 2 bottom, 3 left that a line joins; at a saddle the middle decides.
function crossings(corners) {
  const above = corners.map((value) => value >= 0);
  const edges = [0, 1, 2, 3].filter((i) => above[i] !== above[(i + 1) % 4]);
  if (edges.length === 2) return [edges];
  if (edges.length < 4) return [];
  const middle = corners.reduce((sum, value) => sum + value) >= 0;
  return middle === above[0] ? [[0, 1], [2, 3]] : [[3, 0], [1, 2]];
}

const FROM = [[0, 0], [1, 0], [1, 1], [0, 1]];

function place(x, y, edge, corners) {
  const [from, to] = [edge, (edge + 1) % 4];
  const share = corners[from] / (corners[from] - corners[to]);
  return [0, 1].map((axis) => (axis ? y : x) + FROM[from][axis] + share * (FROM[to][axis] - FROM[from][axis]));
}

export function createContourLayer() {
  const halo = svg("path", { class: "hv-contour-halo" });
  const line = svg("path", { class: "hv-contour" });
  const group = svg("g", {}, [halo, line]);
  const layer = svg("svg", { class: "hv-contours", "aria-hidden": "true" }, [group]);
  return {
    layer,
    // `heat` is what the renderer draws, or null.
    set(heat) {
      layer.dataset.segments = "0";
      for (const path of [halo, line]) path.setAttribute("d", "");
      if (!heat) return;
      const { overlay, fused, look, colormap } = heat;
      const segments = contourSegments(fused, overlay.rows, overlay.columns, look.threshold);
      const placed = segments.map(([x0, y0, x1, y1]) => [[x0, y0], [x1, y1]].map((point) => original(overlay, point)));
      const text = placed.map(([from, to]) => `M${from.map(short)}L${to.map(short)}`).join("");
      for (const path of [halo, line]) path.setAttribute("d", text);
      line.style.stroke = `rgb(${[...colormap.subarray(4 * 200, 4 * 200 + 3)].join(" ")})`;
      layer.dataset.segments = String(segments.length);
    },
    place({ matrix }, pixelRatio) {
      const [[a, b, c], [d, e, f]] = matrix.map((row) => row.map((value) => value / pixelRatio));
      set(group, { transform: `matrix(${a} ${d} ${b} ${e} ${c} ${f})` });
    },
  };
}

function original({ original_from_canonical: affine, stride }, [x, y]) {
  return applyAffine(affine, x * stride, y * stride);
}

function short(value) {
  return value.toFixed(2);
}
