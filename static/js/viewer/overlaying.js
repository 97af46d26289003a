// The heatmap of a viewer: its maps, their look, whether they are shown, and the panel.

import { colormapTable } from "./colormaps.js";
import { createContourLayer } from "./contour.js";
import { fuse, patchPosition, sample } from "./heatmap.js";
import { buildPanel, showPanelError, showPanelWaiting } from "./panel.js";

const FIRST_OPACITY = 0.6;

export function createOverlaying({ stage, panel, onHidden, onWeight }) {
  const contours = createContourLayer();
  stage.addLayer(contours);
  let overlay = null;
  let fused = null;
  let look = null;
  let built = null;
  let shown = true;
  let held = false; // hidden while a key is down

  const heat = () =>
    overlay && shown && !held ? { overlay, fused, look, colormap: colormapTable(look.colormap) } : null;

  const draw = () => {
    const drawn = heat();
    const asLines = drawn?.look.drawn === "contour";
    stage.setHeat(asLines ? null : drawn);
    contours.set(asLines ? drawn : null);
    if (!drawn) onHidden();
  };

  const applyLook = (change) => {
    look = { ...look, ...change };
    if ("weight" in change) fused = fuse(overlay, change.weight);
    Object.assign(look, scaleOf(overlay, fused, look.relative));
    built.update(look);
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
      overlay = fused = built = null;
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
      fused = fuse(overlay, look.weight);
      built = buildPanel(panel, overlay, look, (change) => {
        applyLook(change);
        if ("weight" in change) onWeight(change.weight);
      });
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
