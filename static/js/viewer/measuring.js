// Rulers: strokes in original pixels, with lengths in millimetres where the spacing is known; the cardiothoracic ratio from
// two strokes.

import { element, tidyNumber } from "./dom.js";
import { pixelAspect, toDevice } from "./geometry.js";
import { set, svg } from "./svg.js";

const LEAST_PX = 3;
const HEART = "Heart";
const THORAX = "Thorax";
const PLANES = { detector: "at the detector", patient: "in the patient" };

export function createMeasuring({ stage, panels, onMode }) {
  const layer = svg("svg", { class: "hv-rulers", role: "img", "aria-label": "No measurements" });
  const list = element("ul", { classes: "hv-rulerlist" });
  const ratio = element("p", { classes: "hv-ratio", role: "status" });
  const clear = element("button", { type: "button", classes: "hv-button", text: "Clear measurements" });
  const hint = element("p", { classes: "hv-hint" });
  const panel = element("section", { classes: "hv-panel", "aria-label": "Measurements" }, [
    element("h2", { text: "Measurements" }),
    hint,
    list,
    ratio,
    clear,
  ]);
  panel.hidden = true;
  panels.append(panel);
  let strokes = []; // {from, to, name}
  let drawn = [];
  let dragging = null; // aborts the stroke in progress
  let mode = ""; // "ruler", "ratio" or ""

  const show = () => {
    while (drawn.length > strokes.length) drawn.pop().group.remove();
    while (drawn.length < strokes.length) drawn.push(drawStroke(layer));
    const words = strokes.map((stroke) => strokeWords(stroke, stage.film));
    words.forEach((text, i) => (drawn[i].label.textContent = text));
    layer.setAttribute("aria-label", words.join("; ") || "No measurements");
    list.replaceChildren(...words.map((text) => element("li", { text })));
    ratio.textContent = ratioWords(strokes, stage.film);
    hint.textContent = hintWords(mode, strokes);
    panel.hidden = !mode && !strokes.length;
    stage.redraw();
  };

  const nextName = () => {
    if (mode !== "ratio") return "";
    return strokes.some(({ name }) => name === HEART) ? THORAX : HEART;
  };

  clear.addEventListener("click", () => {
    strokes = [];
    show();
  });

  stage.addLayer({
    layer,
    place(view, pixelRatio) {
      strokes.forEach((stroke, i) => placeStroke(drawn[i], stroke, view, pixelRatio));
    },
  });

  return {
    get mode() {
      return mode;
    },
    get strokes() {
      return strokes.map(({ from, to, name }) => ({ from: [...from], to: [...to], name, mm: lengthMm({ from, to }, stage.film) }));
    },
    get ratio() {
      return cardiothoracicRatio(strokes, stage.film);
    },
    setMode(next) {
      mode = mode === next ? "" : next;
      if (mode === "ratio") strokes = strokes.filter(({ name }) => !name);
      stage.element.classList.toggle("is-measuring", Boolean(mode));
      show();
    },
    onPointerDown(start) {
      if (!mode) return false;
      const stroke = { from: stage.originalAt(start), to: stage.originalAt(start), name: nextName() };
      const ending = (dragging = new AbortController());
      const mine = (listener) => (event) => event.pointerId === start.pointerId && stage.view && listener(event);
      strokes.push(stroke);
      start.preventDefault();
      const move = (event) => {
        stroke.to = stage.originalAt(event);
        show();
      };
      const end = (event) => {
        ending.abort();
        const short = Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) < LEAST_PX;
        if (short || event.type === "pointercancel") strokes = strokes.filter((other) => other !== stroke);
        else if (stroke.name === THORAX) mode = "";
        stage.element.classList.toggle("is-measuring", Boolean(mode));
        onMode();
        show();
      };
      window.addEventListener("pointermove", mine(move), { signal: ending.signal });
      for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, mine(end), { signal: ending.signal });
      return true;
    },
    clear() {
      dragging?.abort();
      strokes = [];
      mode = "";
      stage.element.classList.remove("is-measuring");
      show();
    },
  };
}

// {width, height} on the film, in millimetres where the spacing is known, otherwise in units of the pixel's width.
function extent({ from, to }, { facts }) {
  const [rowMm, columnMm] = facts.spacing_mm ?? [pixelAspect(facts), 1];
  return { width: (to[0] - from[0]) * columnMm, height: (to[1] - from[1]) * rowMm };
}

export function lengthMm(stroke, film) {
  const { width, height } = extent(stroke, film);
  return film.facts.spacing_mm ? Math.hypot(width, height) : null;
}

// Widths of heart and thorax, each along its own stroke; null until there are both.
export function cardiothoracicRatio(strokes, film) {
  const [heart, thorax] = [HEART, THORAX].map((name) => strokes.find((stroke) => stroke.name === name));
  if (!heart || !thorax) return null;
  const [across, along] = [heart, thorax].map((stroke) => {
    const { width, height } = extent(stroke, film);
    return Math.hypot(width, height);
  });
  return along > 0 ? across / along : null;
}

function strokeWords(stroke, film) {
  const mm = lengthMm(stroke, film);
  const { width, height } = extent(stroke, film);
  const plane = PLANES[film.facts.spacing_plane] ?? "in a plane not stated";
  const size = mm === null ? `${tidyNumber(Math.hypot(width, height))} px (spacing unknown)` : `${mm.toFixed(1)} mm ${plane}`;
  return stroke.name ? `${stroke.name} ${size}` : size;
}

function ratioWords(strokes, film) {
  const ratio = film && cardiothoracicRatio(strokes, film);
  return ratio ? `Cardiothoracic ratio ${ratio.toFixed(2)}` : "";
}

function hintWords(mode, strokes) {
  if (mode === "ruler") return "Drag along what is to be measured.";
  if (mode !== "ratio") return "";
  const heart = strokes.some(({ name }) => name === HEART);
  return heart ? "Drag across the thorax, at its widest inner width." : "Drag across the heart, at its widest.";
}

function drawStroke(layer) {
  const halo = svg("line", { class: "hv-ruler-halo" });
  const line = svg("line", { class: "hv-ruler" });
  const label = svg("text");
  const group = svg("g", {}, [halo, line, label]);
  layer.append(group);
  return { group, halo, line, label };
}

function placeStroke({ halo, line, label }, { from, to }, view, pixelRatio) {
  const [[x1, y1], [x2, y2]] = [from, to].map(([x, y]) => toDevice(view, x, y).map((value) => value / pixelRatio));
  for (const path of [halo, line]) set(path, { x1, y1, x2, y2 });
  set(label, { x: Math.max(x1, x2) + 6, y: (y1 + y2) / 2 - 6 });
}
