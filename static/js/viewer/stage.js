// One film on one canvas: its position (view) and its grey values. Anything drawn over the film is added as a layer.

import { createCanvas2dRenderer } from "./canvas2d.js";
import { element } from "./dom.js";
import * as geometry from "./geometry.js";
import { greyTable, isInverted } from "./pixels.js";
import { createWebglRenderer } from "./webgl.js";

const BACKGROUND = [10, 10, 11];

export class FilmStage {
  element;
  film = null;
  view = null;
  voi = null;
  inverted = false; // by the reader, in addition to the inversion that the header requests
  #canvas;
  #label;
  #renderer = null;
  #pose = geometry.UPRIGHT;
  #fitted = true;
  #heat = null;
  #layers = []; // {layer, place(view, pixelRatio)}
  #frame = 0;
  #onDraw;
  #onLost;
  #sizes;

  constructor({ label, stageLabel, onDraw = () => {}, onLost = () => {} }) {
    this.#label = label;
    this.#onDraw = onDraw;
    this.#onLost = onLost;
    this.#canvas = this.#makeCanvas();
    const attributes = { classes: "hv-stage", tabindex: "0", role: "group", "aria-label": stageLabel ?? label };
    this.element = element("div", attributes, [this.#canvas]);
    this.#sizes = new ResizeObserver(() => this.resize());
    this.#sizes.observe(this.element);
  }

  get canvas() {
    return this.#canvas;
  }

  get kind() {
    return this.#renderer?.kind ?? null;
  }

  get pixelRatio() {
    return window.devicePixelRatio || 1;
  }

  setLabel(label, stageLabel) {
    this.#label = label;
    this.#canvas.setAttribute("aria-label", label);
    this.element.setAttribute("aria-label", stageLabel ?? label);
  }

  addLayer(entry) {
    this.#layers.push(entry);
    this.element.append(entry.layer);
  }

  // Film and grey

  setFilm(film, { voi, inverted }) {
    this.film = film;
    this.voi = voi;
    this.inverted = inverted;
    this.#pose = geometry.UPRIGHT;
    this.#fitted = true;
    this.#heat = null;
    this.#giveFilm();
    this.#sizeCanvas();
    this.fit();
    this.element.classList.remove("is-blank");
  }

  // Hides the film at once: the next one may be of another patient.
  clear() {
    this.film = this.view = null;
    this.element.classList.add("is-blank");
  }

  setVoi(voi) {
    this.voi = voi;
    this.#applyGreys();
  }

  setInverted(inverted) {
    this.inverted = inverted;
    this.#applyGreys();
  }

  setHeat(heat) {
    this.#heat = heat;
    this.#renderer?.setHeat(heat);
    this.redraw();
  }

  #applyGreys() {
    const ready = this.film.prepared;
    if (ready?.for === preparedFor(this)) this.#renderer.setGreys(ready.greys, ready.painted);
    else this.#renderer.setGreys(greysOf(this.film, this));
    this.redraw();
  }

  // Computes ahead what setFilm needs from the CPU, for a film that is likely to be next.
  prepare(film, shown) {
    if (this.#renderer?.kind !== "2d") return;
    const greys = greysOf(film, shown);
    const zoom = geometry.fitZoom(film, this.#canvas, geometry.UPRIGHT);
    const view = geometry.centredView(film, this.#canvas, geometry.UPRIGHT, zoom);
    film.prepared = { for: preparedFor(shown), greys, painted: this.#renderer.paintAhead(film, greys, view) };
  }

  // Renderer

  #giveFilm() {
    if (this.#renderer && this.#tryFilm()) return;
    const forced = new URLSearchParams(location.search).get("renderer");
    if (forced === "2d" || this.#renderer || !this.#tryWebgl({ evenEmulated: forced === "webgl2" })) this.#useCanvas2d();
  }

  #tryFilm() {
    try {
      const { pixels, columns, rows } = this.film;
      this.#renderer.setFilm(pixels, columns, rows);
      this.#renderer.setHeat(this.#heat);
      this.#applyGreys();
      return true;
    } catch (error) {
      console.info(`Film viewer: canvas 2D, because ${error.message}`);
      return false;
    }
  }

  #tryWebgl({ evenEmulated }) {
    try {
      this.#freshCanvas();
      const onLost = (event) => this.#onContextLost(event);
      this.#renderer = createWebglRenderer(this.#canvas, { onLost, evenEmulated });
    } catch (error) {
      console.info(`Film viewer: canvas 2D, because ${error.message}`);
      return false;
    }
    return this.#tryFilm();
  }

  #useCanvas2d() {
    this.#freshCanvas();
    this.#renderer = createCanvas2dRenderer(this.#canvas);
    this.#tryFilm();
  }

  #onContextLost(event) {
    event.preventDefault();
    if (!this.element.isConnected || !this.film) return;
    this.#useCanvas2d();
    this.#onLost();
    this.redrawNow();
  }

  #makeCanvas() {
    return element("canvas", { classes: "hv-canvas", role: "img", "aria-label": this.#label });
  }

  // A canvas keeps the kind of its first context for life.
  #freshCanvas() {
    const fresh = this.#makeCanvas();
    [fresh.width, fresh.height] = [this.#canvas.width, this.#canvas.height];
    this.#canvas.replaceWith(fresh);
    this.#canvas = fresh;
  }

  redraw() {
    this.#frame ||= requestAnimationFrame(() => this.redrawNow());
  }

  redrawNow() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.view || !this.#renderer) return;
    this.#renderer.draw(this.view, BACKGROUND);
    for (const { place } of this.#layers) place(this.view, this.pixelRatio);
    this.#onDraw();
  }

  // View

  deviceAt({ clientX, clientY }) {
    const box = this.#canvas.getBoundingClientRect();
    return [(clientX - box.left) * this.pixelRatio, (clientY - box.top) * this.pixelRatio];
  }

  originalOf(deviceX, deviceY) {
    return geometry.toOriginal(this.view, deviceX, deviceY);
  }

  originalAt(event) {
    return this.originalOf(...this.deviceAt(event));
  }

  #sizeCanvas() {
    const sizes = [this.element.clientWidth, this.element.clientHeight];
    const [width, height] = sizes.map((n) => Math.max(1, Math.round(n * this.pixelRatio)));
    const same = this.#canvas.width === width && this.#canvas.height === height;
    if (!same) [this.#canvas.width, this.#canvas.height] = [width, height];
    return !same;
  }

  resize() {
    const middle = this.view && this.#middle();
    if (!this.#sizeCanvas() || !this.view) return;
    if (this.#fitted) this.fit();
    else this.#show(geometry.centredView(this.film, this.#canvas, this.#pose, this.view.zoom, middle));
    this.redrawNow();
  }

  #middle() {
    return geometry.toOriginal(this.view, this.#canvas.width / 2, this.#canvas.height / 2);
  }

  fit() {
    this.#fitted = true;
    const zoom = geometry.fitZoom(this.film, this.#canvas, this.#pose);
    this.#show(geometry.centredView(this.film, this.#canvas, this.#pose, zoom));
  }

  // Zoom 1 shows one film pixel on one device pixel.
  setZoom(zoom) {
    this.#fitted = false;
    this.#show(geometry.centredView(this.film, this.#canvas, this.#pose, zoom, this.#middle()));
  }

  centreOn(x, y, zoom = this.view.zoom) {
    this.#fitted = false;
    this.#show(geometry.centredView(this.film, this.#canvas, this.#pose, zoom, [x, y]));
  }

  zoomAt(factor, x = this.#canvas.width / 2, y = this.#canvas.height / 2) {
    if (!this.view) return;
    this.#fitted = false;
    this.#show(geometry.zoomAt(this.film, this.#canvas, this.view, factor, x, y));
  }

  // dx and dy are in CSS pixels.
  pan(dx, dy) {
    if (!this.view) return;
    this.#fitted = false;
    this.#show(geometry.pan(this.film, this.#canvas, this.view, dx * this.pixelRatio, dy * this.pixelRatio));
  }

  turn(quarters) {
    this.#repose(geometry.turned(this.#pose, quarters));
  }

  flip() {
    this.#repose(geometry.mirrored(this.#pose));
  }

  upright() {
    this.#repose(geometry.UPRIGHT);
  }

  #repose(pose) {
    const middle = this.#middle();
    this.#pose = pose;
    if (this.#fitted) this.fit();
    else this.#show(geometry.centredView(this.film, this.#canvas, pose, this.view.zoom, middle));
  }

  #show(view) {
    this.view = view;
    this.redraw();
  }

  // Reading back

  isOnCanvas(x, y) {
    const [deviceX, deviceY] = geometry.toDevice(this.view, x, y).map(Math.floor);
    const { width, height } = this.#canvas;
    return deviceX >= 0 && deviceY >= 0 && deviceX < width && deviceY < height;
  }

  // [r, g, b] under an original position; null where that is off the canvas.
  readColour(x, y, { withHeat = true } = {}) {
    if (!this.isOnCanvas(x, y)) return null;
    if (!withHeat) this.#renderer.setHeat(null);
    this.redrawNow();
    const [deviceX, deviceY] = geometry.toDevice(this.view, x, y).map(Math.floor);
    const colour = [...this.#renderer.read(deviceX, deviceY, 1, 1).slice(0, 3)];
    if (!withHeat) {
      this.#renderer.setHeat(this.#heat);
      this.redrawNow();
    }
    return colour;
  }

  // The whole canvas, RGBA, top row first.
  readCanvas() {
    this.redrawNow();
    const { width, height } = this.#canvas;
    return { width, height, data: this.#renderer.read(0, 0, width, height) };
  }

  destroy() {
    this.#sizes.disconnect();
    this.#renderer?.destroy();
    cancelAnimationFrame(this.#frame);
  }
}

function greysOf({ facts, modality }, { voi, inverted }) {
  return greyTable(modality, voi, isInverted(facts, inverted));
}

function preparedFor({ voi, inverted }) {
  return JSON.stringify([voi, inverted]);
}
