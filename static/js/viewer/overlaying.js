// The heatmap of a viewer: its maps, their look, whether they are shown, and the panel.

import { colormapTable } from "./colormaps.js";
import { createContourLayer } from "./contour.js";
import { fuse, patchPosition, sample } from "./heatmap.js";
import { createPeakLayer, lowerCut, peakOf } from "./peak.js";
import { buildPanel, showPanelError, showPanelWaiting } from "./panel.js";

const FIRST_OPACITY = 0.6;

export function createOverlaying({ stage, panel, onHidden, onWeight }) {
  const contours = createContourLayer();
  stage.addLayer(contours);
  const ring = createPeakLayer();
  stage.addLayer(ring);
  let overlay = null;
  let fused = null;
  let peak = null; // the highest patch
  let look = null;
  let built = null;
  let shown = true;
  let held = false; // hidden while a key is down

  const heat = () =>
    overlay && shown && !held ? { overlay, fused, look, colormap: colormapTable(look.colormap) } : null;

  const isBelow = () => peak !== null && peak.value < look.threshold;

  const fuseAt = (weight) => {
    fused = fuse(overlay, weight);
    peak = peakOf(fused, overlay.columns);
  };

  const updatePanel = () => built.update(look, isBelow() ? { highest: peak.value, cut: lowerCut(fused) } : null);

  const draw = () => {
    const drawn = heat();
    const asLines = drawn?.look.drawn === "contour";
    stage.setHeat(asLines ? null : drawn);
    contours.set(asLines ? drawn : null);
    ring.set(overlay, drawn && isBelow() ? peak : null);
    if (!drawn) onHidden();
  };

  const applyLook = (change) => {
    look = { ...look, ...change };
    if ("weight" in change) fuseAt(change.weight);
    Object.assign(look, scaleOf(overlay, fused, look.relative));
    updatePanel();
    draw();
  };

  return {
    get isShown() {
      return shown;
    },
    get isVisible() {
      return shown && !held;
    },
    get overlay() {
      return overlay;
    },
    get fused() {
      return fused;
    },
    get look() {
      return overlay && { ...look };
    },
    heat,
    draw,
    wait: () => showPanelWaiting(panel),
    fail: (text, retry) => showPanelError(panel, text, retry),
    clear() {
      overlay = fused = peak = built = null;
      panel.hidden = true;
      draw();
    },
    set(next) {
      overlay = next;
      look = {
        opacity: look?.opacity ?? FIRST_OPACITY,
        colormap: look?.colormap ?? "inferno",
        drawn: look?.drawn ?? "colours",
        relative: false, // the scale of a single film is not kept for the next one
        threshold: next.threshold,
        weight: next.weight,
        scaleLow: next.scale_low,
        scaleHigh: next.scale_high,
      };
      fuseAt(look.weight);
      built = buildPanel(panel, overlay, look, lowerCut(fused) ?? look.threshold, (change) => {
        applyLook(change);
        if ("weight" in change) onWeight(change.weight);
      });
      updatePanel();
      draw();
    },
    setShown(next) {
      shown = next;
      draw();
    },
    setHeld(next) {
      if (held === next) return;
      held = next;
      draw();
    },
    // Sends no event, so that two sliders can follow each other; a locked weight stays.
    setWeight(weight) {
      if (overlay && !overlay.weight_locked) applyLook({ weight });
    },
    // Fused score at an original position; NaN where there is none.
    fusedAt(x, y) {
      return sample(fused, overlay.rows, overlay.columns, ...patchPosition(overlay, x, y));
    },
  };
}

// Where colours begin and end: the same for every film of the run, or what this film's own map spans.
function scaleOf(overlay, fused, relative) {
  if (!relative) return { scaleLow: overlay.scale_low, scaleHigh: overlay.scale_high };
  const values = fused.filter((value) => !Number.isNaN(value));
  if (!values.length) return { scaleLow: overlay.scale_low, scaleHigh: overlay.scale_high };
  return { scaleLow: values.reduce((a, b) => Math.min(a, b)), scaleHigh: values.reduce((a, b) => Math.max(a, b)) };
}
