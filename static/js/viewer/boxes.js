// Boxes in original pixels, as an SVG layer over the film.

import { fetchJson } from "./fetching.js";
import { toDevice } from "./geometry.js";

const SVG = "http://www.w3.org/2000/svg";

export async function loadBoxes(url) {
  const { boxes } = await fetchJson(url, "The boxes");
  return boxes;
}

export function createBoxLayer() {
  const layer = svg("svg", { class: "hv-boxes", role: "img", "aria-label": "No boxes" });
  let drawn = [];
  return {
    layer,
    setBoxes(boxes) {
      drawn = boxes.map(drawBox);
      layer.replaceChildren(...drawn.map(({ group }) => group));
      layer.setAttribute("aria-label", describe(boxes));
    },
    place(view, pixelRatio) {
      for (const box of drawn) placeBox(box, view, pixelRatio);
    },
  };
}

function drawBox(box) {
  const group = svg("g", { class: "hv-box", "data-source": box.source ?? "" });
  const outline = svg("rect");
  const label = svg("text");
  label.textContent = box.finding || "Finding not named";
  const title = svg("title");
  title.textContent = [label.textContent, box.source].filter(Boolean).join(", ");
  group.append(title, outline, label);
  return { box, group, outline, label };
}

function placeBox({ box, outline, label }, view, pixelRatio) {
  const [left, top] = toDevice(view, box.x, box.y).map((value) => value / pixelRatio);
  const [right, bottom] = toDevice(view, box.x + box.width, box.y + box.height).map((value) => value / pixelRatio);
  set(outline, { x: left, y: top, width: right - left, height: bottom - top });
  set(label, { x: left, y: top > 18 ? top - 5 : bottom + 15 });
}

function describe(boxes) {
  if (!boxes.length) return "No boxes";
  const names = boxes.map((box) => box.finding || "finding not named").join(", ");
  return `${boxes.length} ${boxes.length === 1 ? "box" : "boxes"}: ${names}`;
}

function svg(name, attributes = {}) {
  return set(document.createElementNS(SVG, name), attributes);
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
