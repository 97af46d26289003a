// The highest patch of a map that nowhere reaches the threshold: the map draws nothing there, so a ring shows the place.

import { applyAffine } from "./geometry.js";
import { set, svg } from "./svg.js";

const RADIUS = 1.5; // in patches
const LOWER_SHARE = 0.95; // the lower cut shows the highest twentieth of the film's own patches

// {value, column, row} of the highest patch; null where all are masked.
export function peakOf(fused, columns) {
  let best = -1;
  fused.forEach((value, i) => {
    if (!Number.isNaN(value) && (best < 0 || value > fused[best])) best = i;
  });
  return best < 0 ? null : { value: fused[best], column: best % columns, row: Math.floor(best / columns) };
}

export function lowerCut(fused) {
  const values = fused.filter((value) => !Number.isNaN(value)).sort();
  return values[Math.floor(LOWER_SHARE * (values.length - 1))];
}

export function createPeakLayer() {
  const rings = ["hv-peak-halo", "hv-peak"].map((name) => svg("circle", { class: name }));
  const group = svg("g", {}, rings);
  const layer = svg("svg", { class: "hv-peaks", "aria-hidden": "true" }, [group]);
  return {
    layer,
    // null removes the ring.
    set(overlay, peak) {
      group.style.display = peak ? "" : "none";
      layer.dataset.ringed = peak ? `${peak.row},${peak.column}` : "";
      if (!peak) return;
      const { original_from_canonical: affine, stride } = overlay;
      const [x, y] = applyAffine(affine, (peak.column + 0.5) * stride, (peak.row + 0.5) * stride);
      const [edgeX, edgeY] = applyAffine(affine, (peak.column + 0.5 + RADIUS) * stride, (peak.row + 0.5) * stride);
      for (const ring of rings) set(ring, { cx: x, cy: y, r: Math.hypot(edgeX - x, edgeY - y) });
    },
    place({ matrix }, pixelRatio) {
      const [[a, b, c], [d, e, f]] = matrix.map((row) => row.map((value) => value / pixelRatio));
      set(group, { transform: `matrix(${a} ${d} ${b} ${e} ${c} ${f})` });
    },
  };
}
