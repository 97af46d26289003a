// Two unfused maps on the canonical patch grid, fused here and drawn in original pixels.
// Patch (r, c) covers [s·c, s·(c+1)) × [s·r, s·(r+1)) of the canonical image; NaN marks a masked patch.

import { ViewerError, fetchBytes, fetchJson } from "./fetching.js";
import { applyAffine, invertAffine } from "./geometry.js";

// Opacity at the threshold, as a share of that at the top of the scale: the map fades in as it gets worse.
export const FAINTEST = 0.5;
const RASTER_PX_PER_PATCH = 16;

export async function loadOverlay(url, { signal } = {}) {
  const facts = await fetchJson(url, "The heatmap", { signal });
  const patches = facts.rows * facts.columns;
  const bytes = await fetchBytes(facts.maps_url, "The heatmap", { signal });
  if (bytes.length !== patches * 8) {
    throw new ViewerError(
      `The heatmap does not match its description: ${facts.columns} × ${facts.rows} patches need ` +
        `${patches * 8} bytes, ${bytes.length} arrived. Score the film again.`,
    );
  }
  return makeOverlay(facts, new Float32Array(bytes.buffer));
}

export function makeOverlay(facts, maps) {
  const patches = facts.rows * facts.columns;
  const canonicalFromOriginal = invertAffine(facts.original_from_canonical);
  if (!canonicalFromOriginal) {
    throw new ViewerError("The film's alignment cannot be inverted, so its heatmap cannot be placed on the film.");
  }
  const channels = [0, 1].map((channel) => {
    const raw = maps.subarray(channel * patches, (channel + 1) * patches);
    return standardised(raw, facts.mean, facts.std, channel);
  });
  const threshold = facts.threshold ?? facts.scale_low;
  return { ...facts, threshold, canonicalFromOriginal, globalMap: channels[0], regionMap: channels[1] };
}

export function isStandardised(overlay) {
  return Boolean(overlay.mean && overlay.std);
}

function standardised(raw, mean, std, channel) {
  if (!mean || !std) return raw;
  const means = [mean[channel]].flat(Infinity);
  const stds = [std[channel]].flat(Infinity);
  // A null is a masked patch: JSON has no NaN.
  return raw.map((value, i) => (means[i] == null || stds[i] == null ? NaN : (value - means[i]) / stds[i]));
}

// Float32Array (rows · columns), NaN where masked.
export function fuse(overlay, weight) {
  return overlay.regionMap.map((region, i) => {
    const fused = weight * region + (1 - weight) * overlay.globalMap[i];
    return Number.isFinite(fused) ? fused : NaN;
  });
}

// Position in patches of an original pixel: (0, 0) is the outer corner of patch (0, 0).
export function patchPosition(overlay, x, y) {
  return applyAffine(overlay.canonicalFromOriginal, x, y).map((value) => value / overlay.stride);
}

// Bilinear between the centres of unmasked patches; NaN outside the grid and in masked patches.
export function sample(map, rows, columns, px, py) {
  const valueAt = (c, r) => (c < 0 || r < 0 || c >= columns || r >= rows ? NaN : map[r * columns + c]);
  if (Number.isNaN(valueAt(Math.floor(px), Math.floor(py)))) return NaN;
  const [left, top] = [Math.floor(px - 0.5), Math.floor(py - 0.5)];
  const [fx, fy] = [px - 0.5 - left, py - 0.5 - top];
  let sum = 0;
  let weights = 0;
  for (const [c, r, weight] of [
    [left, top, (1 - fx) * (1 - fy)],
    [left + 1, top, fx * (1 - fy)],
    [left, top + 1, (1 - fx) * fy],
    [left + 1, top + 1, fx * fy],
  ]) {
    const value = valueAt(c, r);
    if (Number.isNaN(value)) continue;
    sum += weight * value;
    weights += weight;
  }
  return sum / weights;
}

// Share of the overlay in the blend, 0 below the threshold.
export function alphaAt(value, { threshold, scaleHigh, opacity }) {
  if (!(value >= threshold)) return 0;
  const rise = scaleHigh > threshold ? Math.min(1, (value - threshold) / (scaleHigh - threshold)) : 1;
  return opacity * (FAINTEST + (1 - FAINTEST) * rise);
}

export function scalePosition(value, low, high) {
  return Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
}

// ImageData in canonical space for renderers without shaders, with the affine from its pixels to original ones.
export function rasterise(overlay, fused, look, colormap) {
  const { rows, columns, stride } = overlay;
  const k = RASTER_PX_PER_PATCH;
  const image = new ImageData(columns * k, rows * k);
  for (let y = 0; y < rows * k; y++) {
    for (let x = 0; x < columns * k; x++) {
      const value = sample(fused, rows, columns, (x + 0.5) / k, (y + 0.5) / k);
      const alpha = alphaAt(value, look);
      if (!alpha) continue;
      const entry = Math.round(255 * scalePosition(value, look.scaleLow, look.scaleHigh)) * 4;
      image.data.set(colormap.subarray(entry, entry + 3), (y * columns * k + x) * 4);
      image.data[(y * columns * k + x) * 4 + 3] = Math.round(255 * alpha);
    }
  }
  const originalFromRaster = overlay.original_from_canonical.map(([a, b, c]) => [(a * stride) / k, (b * stride) / k, c]);
  return { image, originalFromRaster };
}
