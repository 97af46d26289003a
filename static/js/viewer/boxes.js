// Boxes in original pixels, as an SVG layer over the film.

import { fetchJson } from "./fetching.js";
import { boxOnScreen } from "./geometry.js";
import { set, svg } from "./svg.js";

export async function loadBoxes(url, { signal } = {}) {
  const { boxes } = await fetchJson(url, "The boxes", { signal });
  return boxes;
}

export function createBoxLayer() {
  const layer = svg("svg", { class: "hv-boxes", role: "img", "aria-label": "No boxes" });
  let drawn = [];
  let shown = true;
  return {
    layer,
    get count() {
      return drawn.length;
    },
    get isShown() {
      return shown;
    },
    toggle() {
      shown = !shown;
      layer.classList.toggle("hv-hidden", !shown);
    },
    setBoxes(boxes) {
      drawn = boxes.map(drawBox);
      layer.replaceChildren(...drawn.map(({ group }) => group));
      layer.setAttribute("aria-label", describe(boxes));
    },
    place(view, pixelRatio) {
      for (const shapes of drawn) placeBox(shapes, shapes.box, view, pixelRatio);
    },
  };
}

export function boxWords({ finding, confidence }) {
  const name = finding || "Finding not named";
  return confidence == null ? name : `${name} ${Math.round(confidence)} %`;
}

function drawBox(box) {
  const group = svg("g", { class: "hv-box", "data-source": box.source ?? "" });
  const outline = svg("rect");
  const label = svg("text");
  label.textContent = boxWords(box);
  const title = svg("title");
  title.textContent = [label.textContent, box.source].filter(Boolean).join(", ");
  group.append(title, outline, label);
  return { box, group, outline, label };
}

// The label is placed above its box, or below if there is no room.
export function placeBox({ outline, label }, box, view, pixelRatio) {
  const { x, y, width, height } = boxOnScreen(view, box, pixelRatio);
  set(outline, { x, y, width, height });
  set(label, { x, y: y > 18 ? y - 5 : y + height + 15 });
}

function describe(boxes) {
  if (!boxes.length) return "No boxes";
  const names = boxes.map((box) => box.finding || "finding not named").join(", ");
  return `${boxes.length} ${boxes.length === 1 ? "box" : "boxes"}: ${names}`;
}
