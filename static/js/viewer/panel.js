// The heatmap's panel: legend on a fixed scale, opacity, threshold, weight, colour map.

import { trouble } from "./controls.js";
import { COLORMAPS, colormapTable } from "./colormaps.js";
import { element, tidyNumber } from "./dom.js";
import { isStandardised, scalePosition } from "./heatmap.js";

const LOCKED =
  "Fixed at this run's weight. On the test part another weight counts as a look; choose it on the evaluation page.";

const BELOW = "nothing is drawn below the threshold.";

// `cut` is the lowest threshold that the panel offers, if it is below the scale.
export function buildPanel(panel, overlay, look, cut, onChange) {
  const legend = buildLegend(overlay, look);
  const sliders = buildSliders(overlay, look, cut, onChange);
  const mark = element("p", { classes: "hv-random", text: "Random weights, not for evaluation" });
  const below = buildBelow(onChange);
  panel.replaceChildren(
    element("h2", { text: "Heatmap" }),
    ...(overlay.random_weights ? [mark] : []),
    legend.figure,
    below.note,
    ...Object.values(sliders).map(({ field }) => field),
    colormapField(look, onChange),
    drawnAsField(look, onChange),
    scaleField(look, onChange),
  );
  panel.hidden = false;
  return {
    // `lacking`: {highest, cut} where no patch reaches the threshold.
    update(next, lacking) {
      legend.update(next);
      below.update(next, lacking);
      for (const [name, slider] of Object.entries(sliders)) slider.update(next[name]);
    },
  };
}

// Keeps the panel's place while the heatmap is loading.
export function showPanelWaiting(panel) {
  panel.hidden = false;
  panel.replaceChildren(
    element("h2", { text: "Heatmap" }),
    element("p", { classes: "hv-point", text: "Fetching the heatmap", role: "status" }),
  );
}

export function showPanelError(panel, text, retry) {
  panel.hidden = false;
  panel.replaceChildren(element("h2", { text: "Heatmap" }), ...trouble(text, retry));
}

function buildSliders(overlay, look, cut, onChange) {
  const { lowest, highest } = thresholdRange(overlay, cut);
  const share = (value) => `${Math.round(value * 100)} %`;
  const weightLocked = overlay.weight_locked ? overlay.weight_locked_reason || LOCKED : "";
  const slider = (name, label, options) =>
    buildSlider({ label, name, value: look[name], onInput: (value) => onChange({ [name]: value }), ...options });
  return {
    opacity: slider("opacity", "Opacity", { min: 0, max: 1, step: 0.01, format: share }),
    threshold: slider("threshold", "Threshold", {
      min: lowest,
      max: highest,
      step: (highest - lowest) / 200 || "any",
      format: tidyNumber,
    }),
    weight: slider("weight", "Weight of region", {
      min: 0,
      max: 1,
      step: 0.01,
      format: (value) => value.toFixed(2),
      locked: weightLocked,
    }),
  };
}

// What to say of a map of which nothing is drawn: otherwise it looks as if the film had no map.
function buildBelow(onChange) {
  const text = element("p");
  const lower = element("button", { type: "button", classes: "hv-button", text: "Show this film's highest 5 %" });
  const note = element("div", { classes: "hv-below", role: "status" }, [text, lower]);
  let cut = null;
  lower.addEventListener("click", () => onChange({ threshold: cut }));
  return {
    note,
    update({ threshold }, lacking) {
      note.hidden = !lacking;
      if (!lacking) return;
      cut = lacking.cut;
      text.textContent =
        `No patch reaches the threshold ${tidyNumber(threshold)}. The highest has ${tidyNumber(lacking.highest)}; ` +
        "a ring marks it.";
    },
  };
}

function thresholdRange(overlay, cut) {
  return {
    lowest: Math.min(overlay.scale_low, overlay.threshold, cut),
    highest: Math.max(overlay.scale_high, overlay.threshold),
  };
}

function buildSlider({ label, name, value, min, max, step, format, onInput, locked }) {
  // Not an <output>: a label belongs to the first field inside it, which must be the slider.
  const output = element("span", { classes: "hv-field-value", text: format(value) });
  const input = element("input", { type: "range", min, max, step, classes: "hv-range", "data-look": name });
  input.value = value;
  const field = element("label", { classes: "hv-field" }, [
    element("span", { classes: "hv-field-name" }, [label, output]),
    input,
  ]);
  if (locked) lock(field, input, locked);
  input.addEventListener("input", () => onInput(input.valueAsNumber));
  return { field, update: (next) => updateSlider(input, output, next, format) };
}

function updateSlider(input, output, value, format) {
  output.textContent = format(value);
  input.setAttribute("aria-valuetext", format(value));
  if (Math.abs(input.valueAsNumber - value) > Number(input.step || 0)) input.value = value;
}

// A disabled control shows no title of its own in some browsers, so the reason is also text.
function lock(field, input, reason) {
  input.disabled = true;
  input.title = reason;
  field.title = reason;
  field.append(element("small", { text: reason }));
}

function colormapField(look, onChange) {
  const select = element("select", { classes: "hv-select" });
  select.append(...COLORMAPS.map((name) => new Option(name, name)));
  select.value = look.colormap;
  select.addEventListener("change", () => onChange({ colormap: select.value }));
  return element("label", { classes: "hv-field" }, [element("span", { text: "Colours" }), select]);
}

function drawnAsField(look, onChange) {
  const select = element("select", { classes: "hv-select", "data-look": "drawn" });
  select.append(new Option("colours", "colours"), new Option("contour at the threshold", "contour"));
  select.value = look.drawn;
  select.addEventListener("change", () => onChange({ drawn: select.value }));
  return element("label", { classes: "hv-field" }, [element("span", { text: "Drawn as" }), select]);
}

function scaleField(look, onChange) {
  const box = element("input", { type: "checkbox", "data-look": "relative" });
  box.checked = look.relative;
  box.addEventListener("change", () => onChange({ relative: box.checked }));
  return element("label", { classes: "hv-check" }, [box, element("span", { text: "Scale of this film alone" })]);
}

function buildLegend(overlay, look) {
  const bar = element("canvas", { width: 256, height: 1, classes: "hv-legend-bar", "aria-hidden": "true" });
  const tick = element("span", { classes: "hv-legend-tick" });
  const fused = isStandardised(overlay) ? "Fused score, in SD of calibration normals" : "Fused score, raw distance";
  const what = overlay.scale_words ?? fused;
  const ends = [element("span"), element("span")];
  const mark = element("p", { classes: "hv-relative", text: "Relative: colours do not compare between films." });
  const caption = element("figcaption");
  const figure = element("figure", { classes: "hv-legend" }, [
    element("div", { classes: "hv-legend-scale" }, [bar, tick]),
    element("div", { classes: "hv-legend-ends" }, ends),
    mark,
    caption,
  ]);
  const update = (next) => {
    paintBar(bar, next.colormap);
    tick.style.left = `${100 * scalePosition(next.threshold, next.scaleLow, next.scaleHigh)}%`;
    [next.scaleLow, next.scaleHigh].forEach((end, i) => (ends[i].textContent = tidyNumber(end)));
    mark.hidden = !next.relative;
    caption.textContent = `${what}. ${next.relative ? "" : "Fixed scale, the same for every film; "}${BELOW}`;
  };
  update(look);
  return { figure, update };
}

function paintBar(bar, colormap) {
  bar.getContext("2d").putImageData(new ImageData(colormapTable(colormap), 256, 1), 0, 0);
}
