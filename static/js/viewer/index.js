// Hilum's film viewer: every [data-hilum-viewer] on the page becomes one, at load and after an htmx swap.

import { loadBoxes, createBoxLayer } from "./boxes.js";
import { createCanvas2dRenderer } from "./canvas2d.js";
import { colormapTable } from "./colormaps.js";
import * as controls from "./controls.js";
import { element, tidyNumber } from "./dom.js";
import { ViewerError, fetchJson } from "./fetching.js";
import * as geometry from "./geometry.js";
import { listenToPointers } from "./gestures.js";
import { fuse, loadOverlay, patchPosition, sample } from "./heatmap.js";
import { listenToKeys } from "./keyboard.js";
import { buildPanel, showPanelError, showPanelWaiting } from "./panel.js";
import { checkFacts, equivalentWindow, fetchPixels, greyTable, isInverted, modalityTable, voiChoices } from "./pixels.js";
import { createWebglRenderer } from "./webgl.js";

const BACKGROUND = [10, 10, 11];
const FIRST_OPACITY = 0.6;
const WINDOW_DRAG_PX = 150; // sideways distance that doubles the width

class FilmViewer {
  #host;
  #parts;
  #boxLayer;
  #renderer = null;
  #film = null;
  #facts = null;
  #modality = null;
  #choices = [];
  #voi = null;
  #view = null;
  #fitted = true;
  #invertedByUser = false;
  #windowing = { sticky: false, held: false, dragging: false };
  #overlay = null;
  #fused = null;
  #look = null;
  #panel = null;
  #heatmapShown;
  #heatmapHeld = false;
  #boxesShown = true;
  #frame = 0;
  #error = null;
  #endings = [];

  constructor(host) {
    this.#host = host;
    this.#heatmapShown = host.dataset.overlayShown !== "false";
    this.#build();
    this.load();
  }

  #build() {
    const { label = "Film", boxesUrl, overlayUrl } = this.#host.dataset;
    const without = [boxesUrl ? "" : "boxes", overlayUrl ? "" : "heatmap"];
    this.#parts = controls.buildFrame(this.#host, { label, run: (name) => this.#run(name), without });
    this.#boxLayer = createBoxLayer();
    this.#parts.canvas.after(this.#boxLayer.layer);
    this.#parts.choices.addEventListener("change", (event) => this.#choose(event.target.value));
    this.#listen();
    this.#showButtons();
  }

  #listen() {
    const { stage } = this.#parts;
    listenToPointers(stage, {
      deviceAt: (event) => this.#deviceAt(event),
      onDragStart: ({ windowing }) => (this.#windowing.dragging = windowing),
      onDrag: (dx, dy) => this.#drag(dx, dy),
      onZoom: (factor, [x, y]) => this.#zoomAt(factor, x, y),
      onHover: ([x, y]) => this.#hover(x, y),
      onLeave: () => (this.#parts.pointText.textContent = ""),
    });
    const stopKeys = listenToKeys(this.#host, {
      run: (name) => this.#run(name),
      hold: (what) => this.#hold(what),
      release: () => this.#release(),
      zoom: (factor) => this.#zoomAt(factor, this.#canvas.width / 2, this.#canvas.height / 2),
      pan: (dx, dy) => this.#pan(dx, dy),
    });
    const sizes = new ResizeObserver(() => this.#resize());
    sizes.observe(stage);
    this.#endings.push(stopKeys, () => sizes.disconnect());
  }

  // Loading

  async load() {
    this.#error = null;
    this.#setState("loading");
    if (this.#host.dataset.overlayUrl) showPanelWaiting(this.#parts.panel);
    this.#tell("Fetching the film", { progress: 0 });
    try {
      await this.#loadFilm();
    } catch (error) {
      return this.#fail(error);
    }
    this.#tell("");
    await Promise.all([this.loadOverlay(), this.#loadBoxes()]);
    this.#redrawNow();
    this.#setState("ready");
    this.#emit("hilum:ready", { renderer: this.#renderer.kind });
  }

  async #loadFilm() {
    const { factsUrl, pixelsUrl } = this.#host.dataset;
    const facts = await fetchJson(factsUrl, "The film's header");
    checkFacts(facts);
    const pixels = await fetchPixels(pixelsUrl, facts, (progress) => this.#tell("Fetching the film", { progress }));
    this.#facts = facts;
    this.#film = { pixels, rows: facts.rows, columns: facts.columns, aspect: geometry.pixelAspect(facts) };
    this.#modality = modalityTable(facts);
    this.#choices = voiChoices(facts, pixels, this.#modality);
    this.#voi = this.#choices[0];
    this.#startRenderer();
    this.#describe();
    this.#resize();
    this.#fit();
  }

  #describe() {
    const { corner, sides, choices } = this.#parts;
    corner.textContent = controls.cornerSentence(this.#facts);
    controls.sideLetters(this.#facts).forEach((letter, i) => (sides[i].textContent = letter));
    controls.fillChoices(choices, this.#choices, this.#voi);
  }

  // Takes data-overlay-url as it is now, so that a page may set it later (a reveal) and call this.
  async loadOverlay() {
    const url = this.#host.dataset.overlayUrl;
    if (!url) return;
    try {
      this.#setOverlay(await loadOverlay(url));
    } catch (error) {
      showPanelError(this.#parts.panel, sentence(error), () => this.loadOverlay());
    }
  }

  #setOverlay(overlay) {
    this.#overlay = overlay;
    this.#look = {
      opacity: FIRST_OPACITY,
      threshold: overlay.threshold,
      weight: overlay.weight,
      colormap: "inferno",
      scaleLow: overlay.scale_low,
      scaleHigh: overlay.scale_high,
    };
    this.#panel = buildPanel(this.#parts.panel, overlay, this.#look, (change) => this.#changeLook(change));
    this.#fused = fuse(overlay, overlay.weight);
    this.#applyHeat();
  }

  async #loadBoxes() {
    const { notes } = this.#parts;
    const url = this.#host.dataset.boxesUrl;
    if (!url) return;
    try {
      const boxes = await loadBoxes(url);
      this.#boxLayer.setBoxes(boxes);
      this.#parts.buttons.get("boxes").hidden = !boxes.length;
      notes.replaceChildren();
      this.#redraw();
    } catch (error) {
      const text = element("p", { classes: "hv-trouble", text: sentence(error), role: "alert" });
      notes.replaceChildren(text, controls.retryButton(() => this.#loadBoxes()));
    }
  }

  #fail(error) {
    this.#error = sentence(error);
    if (!(error instanceof ViewerError)) console.error(error);
    this.#parts.panel.hidden = true;
    this.#tell(this.#error, { retry: () => this.load() });
    this.#setState("error");
  }

  #tell(text, options) {
    controls.showMessage(this.#parts.message, text, options);
  }

  #setState(state) {
    this.#host.dataset.state = state;
    controls.enable(this.#parts, state === "ready");
  }

  #emit(name, detail) {
    this.#host.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
  }

  // Rendering

  get #canvas() {
    return this.#parts.canvas;
  }

  #startRenderer() {
    const forced = new URLSearchParams(location.search).get("renderer");
    if (forced === "2d" || !this.#tryWebgl({ evenEmulated: forced === "webgl2" })) this.#useCanvas2d();
  }

  #tryWebgl({ evenEmulated }) {
    try {
      this.#freshCanvas();
      const onLost = (event) => this.#onContextLost(event);
      this.#renderer = createWebglRenderer(this.#canvas, { onLost, evenEmulated });
      this.#giveFilm();
      return true;
    } catch (error) {
      console.info(`Film viewer: canvas 2D, because ${error.message}`);
      return false;
    }
  }

  #useCanvas2d() {
    this.#freshCanvas();
    this.#renderer = createCanvas2dRenderer(this.#canvas);
    this.#giveFilm();
  }

  #onContextLost(event) {
    event.preventDefault();
    if (!this.#host.isConnected) return;
    this.#useCanvas2d();
    this.#applyHeat();
    this.#redrawNow();
  }

  // A canvas keeps the kind of its first context for life.
  #freshCanvas() {
    const fresh = controls.buildCanvas(this.#canvas.getAttribute("aria-label"));
    [fresh.width, fresh.height] = [this.#canvas.width, this.#canvas.height];
    this.#canvas.replaceWith(fresh);
    this.#parts.canvas = fresh;
  }

  #giveFilm() {
    const { pixels, columns, rows } = this.#film;
    this.#renderer.setFilm(pixels, columns, rows);
    this.#applyGreys();
  }

  #applyGreys() {
    const inverted = isInverted(this.#facts, this.#invertedByUser);
    this.#renderer.setGreys(greyTable(this.#modality, this.#voi, inverted));
    this.#redraw();
  }

  #applyHeat() {
    this.#renderer?.setHeat(this.#heat());
    this.#redraw();
  }

  #heat() {
    if (!this.#overlay || !this.#heatmapShown || this.#heatmapHeld) return null;
    return {
      overlay: this.#overlay,
      fused: this.#fused,
      look: this.#look,
      colormap: colormapTable(this.#look.colormap),
    };
  }

  #redraw() {
    this.#frame ||= requestAnimationFrame(() => this.#redrawNow());
  }

  #redrawNow() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.#view || !this.#renderer) return;
    this.#renderer.draw(this.#view, BACKGROUND);
    this.#boxLayer.place(this.#view, this.#pixelRatio);
    this.#boxLayer.layer.classList.toggle("hv-hidden", !this.#boxesShown);
    this.#parts.viewText.textContent = controls.viewSentence({
      zoom: this.#view.zoom,
      voi: this.#voi,
      inverted: this.#invertedByUser,
    });
  }

  // View

  get #pixelRatio() {
    return window.devicePixelRatio || 1;
  }

  #deviceAt({ clientX, clientY }) {
    const box = this.#canvas.getBoundingClientRect();
    return [(clientX - box.left) * this.#pixelRatio, (clientY - box.top) * this.#pixelRatio];
  }

  #resize() {
    const { stage } = this.#parts;
    const canvas = this.#canvas;
    const [width, height] = [stage.clientWidth, stage.clientHeight].map((n) => Math.max(1, Math.round(n * this.#pixelRatio)));
    if (canvas.width === width && canvas.height === height) return;
    const middle = this.#view && geometry.toOriginal(this.#view, canvas.width / 2, canvas.height / 2);
    [canvas.width, canvas.height] = [width, height];
    if (!this.#view) return;
    if (this.#fitted) this.#fit();
    else this.#view = geometry.centredView(this.#film, canvas, this.#view.zoom, middle);
    this.#redrawNow();
  }

  #fit() {
    this.#fitted = true;
    this.#show(geometry.centredView(this.#film, this.#canvas, geometry.fitZoom(this.#film, this.#canvas)));
  }

  #actualSize() {
    this.#fitted = false;
    const middle = geometry.toOriginal(this.#view, this.#canvas.width / 2, this.#canvas.height / 2);
    this.#show(geometry.centredView(this.#film, this.#canvas, 1, middle));
  }

  #zoomAt(factor, x, y) {
    if (!this.#view) return;
    this.#fitted = false;
    this.#show(geometry.zoomAt(this.#film, this.#canvas, this.#view, factor, x, y));
  }

  #pan(dx, dy) {
    if (!this.#view) return;
    this.#fitted = false;
    const [deviceX, deviceY] = [dx, dy].map((distance) => distance * this.#pixelRatio);
    this.#show(geometry.pan(this.#film, this.#canvas, this.#view, deviceX, deviceY));
  }

  #show(view) {
    this.#view = view;
    this.#redraw();
  }

  #drag(dx, dy) {
    const { sticky, held, dragging } = this.#windowing;
    if (sticky || held || dragging) this.#dragWindow(dx, dy);
    else this.#pan(dx, dy);
  }

  // Sideways widens; up is brighter on screen, whichever way the film is inverted.
  #dragWindow(dx, dy) {
    if (!this.#view) return;
    const { center, width, voiFunction } = equivalentWindow(this.#voi, this.#facts);
    const darker = isInverted(this.#facts, this.#invertedByUser) ? -1 : 1;
    this.#setVoi({
      kind: "own",
      name: "Own window",
      center: center + (darker * dy * width) / (2 * WINDOW_DRAG_PX),
      width: Math.max(voiFunction === "LINEAR" ? 1 : 1e-3, width * 2 ** (dx / WINDOW_DRAG_PX)),
      voiFunction,
    });
  }

  #setVoi(voi) {
    this.#voi = voi;
    controls.fillChoices(this.#parts.choices, this.#choices, voi);
    this.#applyGreys();
  }

  #choose(name) {
    this.#setVoi(this.#choices.find((choice) => choice.name === name) ?? this.#voi);
  }

  #hover(deviceX, deviceY) {
    if (!this.#view) return;
    const [x, y] = geometry.toOriginal(this.#view, deviceX, deviceY).map(Math.floor);
    const { rows, columns, pixels } = this.#film;
    const inside = x >= 0 && y >= 0 && x < columns && y < rows;
    this.#parts.pointText.textContent = inside ? this.#pointSentence(x, y, pixels[y * columns + x]) : "";
  }

  #pointSentence(x, y, stored) {
    const value = `x ${x}, y ${y}, value ${tidyNumber(this.#modality[stored])}`;
    const heat = this.#overlay ? this.fusedAt(x + 0.5, y + 0.5) : NaN;
    return Number.isNaN(heat) ? value : `${value}, fused ${tidyNumber(heat)}`;
  }

  // Actions

  #run(name) {
    if (name === "keys") return controls.openKeys(this.#parts.keys);
    if (!this.#view) return;
    if (name === "fit") this.#fit();
    if (name === "actual") this.#actualSize();
    if (name === "reset") this.#reset();
    if (name === "window") this.#windowing.sticky = !this.#windowing.sticky;
    if (name === "invert") this.#invert(!this.#invertedByUser);
    if (name === "boxes") this.#toggleBoxes();
    if (name === "heatmap") this.#toggleHeatmap();
    this.#showButtons();
  }

  #reset() {
    this.#invertedByUser = false;
    this.#setVoi(this.#choices[0]);
    this.#fit();
  }

  #invert(inverted) {
    this.#invertedByUser = inverted;
    this.#applyGreys();
  }

  #toggleBoxes() {
    this.#boxesShown = !this.#boxesShown;
    this.#redraw();
  }

  #toggleHeatmap() {
    this.#heatmapShown = !this.#heatmapShown;
    this.#applyHeat();
  }

  #hold(what) {
    if (what === "window") this.#windowing.held = true;
    else if (!this.#heatmapHeld) {
      this.#heatmapHeld = true;
      this.#applyHeat();
    }
    this.#showButtons();
  }

  #release() {
    this.#windowing.held = false;
    if (this.#heatmapHeld) {
      this.#heatmapHeld = false;
      this.#applyHeat();
    }
    this.#showButtons();
  }

  #showButtons() {
    const { buttons } = this.#parts;
    controls.press(buttons, "window", this.#windowing.sticky || this.#windowing.held);
    controls.press(buttons, "invert", this.#invertedByUser);
    controls.press(buttons, "boxes", this.#boxesShown);
    controls.press(buttons, "heatmap", this.#heatmapShown && !this.#heatmapHeld);
  }

  #changeLook(change) {
    this.#applyLook(change);
    if ("weight" in change) this.#emit("hilum:weight", { weight: change.weight });
  }

  #applyLook(change) {
    this.#look = { ...this.#look, ...change };
    if ("weight" in change) this.#fused = fuse(this.#overlay, change.weight);
    this.#panel.update(this.#look);
    this.#applyHeat();
  }

  // For other modules of the page and for tests

  // Sets the weight without an event, so that two sliders can follow each other; a locked one stays.
  setWeight(weight) {
    if (this.#overlay && !this.#overlay.weight_locked) this.#applyLook({ weight });
  }

  // Fused score at an original position; NaN where there is none.
  fusedAt(x, y) {
    const { rows, columns } = this.#overlay;
    return sample(this.#fused, rows, columns, ...patchPosition(this.#overlay, x, y));
  }

  // Grey on screen under an original position, without the heatmap; null where that is off the canvas.
  readGrey(x, y) {
    this.#renderer.setHeat(null);
    const colour = this.readColour(x, y);
    this.#renderer.setHeat(this.#heat());
    this.#redrawNow();
    return colour && colour[0];
  }

  readColour(x, y) {
    const [deviceX, deviceY] = geometry.toDevice(this.#view, x, y).map(Math.floor);
    const { width, height } = this.#canvas;
    if (deviceX < 0 || deviceY < 0 || deviceX >= width || deviceY >= height) return null;
    this.#redrawNow();
    return [...this.#renderer.read(deviceX, deviceY, 1, 1).slice(0, 3)];
  }

  // The whole canvas, RGBA, top row first.
  readCanvas() {
    this.#redrawNow();
    const { width, height } = this.#canvas;
    return { width, height, data: this.#renderer.read(0, 0, width, height) };
  }

  get state() {
    return {
      status: this.#host.dataset.state,
      error: this.#error,
      renderer: this.#renderer?.kind ?? null,
      view: this.#view && { ...this.#view },
      voi: this.#voi && { ...this.#voi },
      inverted: this.#invertedByUser,
      boxesShown: this.#boxesShown,
      heatmapShown: this.#heatmapShown && !this.#heatmapHeld,
      look: this.#look && { ...this.#look },
    };
  }

  destroy() {
    for (const end of this.#endings) end();
    this.#renderer?.destroy();
    cancelAnimationFrame(this.#frame);
  }
}

function sentence(error) {
  if (error instanceof ViewerError) return error.message;
  console.error(error);
  return "The viewer met an internal error. Reload the page; if it stays, tell an administrator.";
}

export function startViewers(root = document) {
  const hosts = [...root.querySelectorAll("[data-hilum-viewer]")];
  if (root.matches?.("[data-hilum-viewer]")) hosts.push(root);
  for (const host of hosts) host.hilumViewer ??= new FilmViewer(host);
}

startViewers();
document.addEventListener("htmx:load", (event) => startViewers(event.target));
