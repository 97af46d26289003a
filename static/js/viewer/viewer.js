// Hilum's film viewer: what the toolbar, keys, pointers and the page around it ask for, done on one stage.

import { createBeside, loadBeside } from "./beside.js";
import { createBoxLayer } from "./boxes.js";
import { createBoxEditor } from "./box_editing.js";
import { createContourLayer } from "./contour.js";
import * as controls from "./controls.js";
import { buildCorners, displayWarning } from "./corners.js";
import { element, tidyNumber } from "./dom.js";
import { ViewerError } from "./fetching.js";
import { createFilmStore } from "./films.js";
import { listenToPointers } from "./gestures.js";
import { listenToKeys } from "./keyboard.js";
import { createMeasuring } from "./measuring.js";
import { createNearest } from "./nearest.js";
import { createOverlaying } from "./overlaying.js";
import { isInverted } from "./pixels.js";
import { chosenAgain, equivalentWindow, ownWindow, relativeWindow } from "./presets.js";
import { FilmStage } from "./stage.js";

const WINDOW_DRAG_PX = 150; // sideways distance that doubles the width
const URLS = ["factsUrl", "pixelsUrl", "boxesUrl", "overlayUrl", "nearestUrl", "besideUrl"];
const CLICK_PX = 3;
const PRESETS = ["lung", "mediastinum", "bone", "percentile"];

export class FilmViewer {
  #host;
  #stage;
  #parts;
  #corners;
  #contours;
  #shownBoxes;
  #editor;
  #overlaying;
  #measuring;
  #nearest;
  #beside;
  #keys;
  #films = createFilmStore();
  #urls;
  #showing = 0; // counts the films asked for: what comes back for an earlier one is dropped
  #wantedVoi = null; // the reader's choice, kept from film to film
  #windowing = { sticky: false, held: false, dragging: false };
  #boxesShown = true;
  #error = null;
  #endings = [];

  constructor(host) {
    this.#host = host;
    const { label = "Film", ...urls } = host.dataset;
    this.#urls = Object.fromEntries(URLS.map((name) => [name, urls[name]]));
    this.#build(label);
    this.#overlaying.setShown(this.#startsShown);
    if (urls.factsUrl) this.load();
  }

  #build(label) {
    this.#stage = new FilmStage({
      label,
      stageLabel: stageLabel(label),
      onDraw: () => this.#describeView(),
      onLost: () => this.#applyHeat(),
    });
    this.#parts = controls.buildFrame(this.#host, {
      stage: this.#stage.element,
      run: (name) => this.#run(name),
    });
    this.#contours = createContourLayer();
    this.#stage.addLayer(this.#contours);
    this.#shownBoxes = createBoxLayer();
    this.#stage.addLayer(this.#shownBoxes);
    this.#corners = buildCorners(this.#stage);
    this.#overlaying = createOverlaying(this.#parts.panel, {
      onChange: () => this.#applyHeat(),
      onWeight: (weight) => this.#emit("hilum:weight", { weight }),
    });
    this.#editor = createBoxEditor({
      stage: this.#stage,
      panels: this.#parts.panels,
      onChange: (boxes) => this.#emit("hilum:boxes", { boxes }),
    });
    const { stages, panels } = this.#parts;
    this.#measuring = createMeasuring({ stage: this.#stage, panels, onMode: () => this.#showButtons() });
    this.#nearest = createNearest({ stage: this.#stage, panels, overlaying: this.#overlaying, sentence });
    this.#beside = createBeside({ stage: this.#stage, place: stages, sentence, wantedVoi: () => this.#wantedVoi });
    this.#parts.choices.addEventListener("change", (event) => this.#choose(event.target.value));
    this.#listen();
    this.#showButtons();
    const warning = displayWarning();
    if (warning) this.#parts.line.after(element("p", { classes: "hv-display", text: warning, role: "note" }));
  }

  #listen() {
    const stage = this.#stage;
    listenToPointers(stage.element, {
      deviceAt: (event) => stage.deviceAt(event),
      claims: (event) => Boolean(stage.view) && this.#claims(event),
      onDragStart: ({ windowing }) => (this.#windowing.dragging = windowing),
      onDrag: (dx, dy) => this.#drag(dx, dy),
      onZoom: (factor, [x, y]) => stage.zoomAt(factor, x, y),
      onHover: (event) => this.#hover(event),
      onLeave: () => (this.#parts.pointText.textContent = ""),
    });
    this.#keys = listenToKeys(this.#host, {
      run: (name) => this.#run(name),
      other: (key, event) => this.#otherKey(key, event),
      edit: (what) => this.#editor.edit(what),
      hold: (what) => this.#hold(what),
      release: () => this.#release(),
      zoom: (factor) => stage.zoomAt(factor),
      pan: (dx, dy) => stage.pan(dx, dy),
    });
    this.#endings.push(this.#keys.stop);
  }

  // Showing a film

  // Replaces the film in place. Resolves to true once film, boxes and heatmap are there, to false where the film could
  // not be shown (`hilum:error` says why) or another was asked for meanwhile.
  show({ label = "Film", ...urls }) {
    this.#urls = Object.fromEntries(URLS.map((name) => [name, urls[name]]));
    const { dataset } = this.#host;
    for (const [name, url] of Object.entries(this.#urls)) {
      if (url) dataset[name] = url;
      else delete dataset[name];
    }
    dataset.label = label;
    this.#stage.setLabel(label, stageLabel(label));
    if (!this.#startsShown) this.#overlaying.setShown(false);
    return this.load();
  }

  // Fetches and decodes ahead, in this order; what an earlier call asked for and this one does not is let go.
  prefetch(films) {
    return this.#films.prefetch(films, this.#urls);
  }

  get #startsShown() {
    return this.#host.dataset.overlayShown !== "false";
  }

  async load() {
    const showing = ++this.#showing;
    const isLate = () => showing !== this.#showing;
    this.#clear();
    try {
      const film = await this.#films.film(this.#urls, (progress) => {
        if (!isLate()) this.#tell("Fetching the film", { progress });
      });
      if (isLate()) return false;
      this.#takeFilm(film);
    } catch (error) {
      if (!isLate()) this.#fail(error);
      return false;
    }
    this.#loadBeside();
    await Promise.all([this.loadOverlay(), this.#loadBoxes()]);
    if (isLate()) return false;
    this.#stage.redrawNow();
    this.#setState("ready");
    this.#emit("hilum:ready", { renderer: this.#stage.kind, image: this.#stage.film.facts.image ?? null });
    return true;
  }

  #clear() {
    this.#error = null;
    this.#setState("loading");
    this.#stage.clear();
    this.#overlaying.clear();
    this.#editor.clear();
    this.#measuring.clear();
    this.#nearest.clear();
    this.#nearest.setUrl(this.#urls.nearestUrl);
    this.#beside.clear();
    this.#shownBoxes.setBoxes([]);
    this.#parts.notes.replaceChildren();
    this.#parts.pointText.textContent = "";
    if (this.#host.dataset.overlayUrl) this.#overlaying.wait();
  }

  #takeFilm(film) {
    this.#tell("");
    this.#stage.setFilm(film, { voi: chosenAgain(film.choices, this.#wantedVoi), inverted: this.#stage.inverted });
    controls.fillChoices(this.#parts.choices, film.choices, this.#stage.voi);
    this.#stage.redrawNow();
    this.#showButtons();
  }

  // Takes data-overlay-url as it is now, so that a page may set it later (a reveal) and call this.
  async loadOverlay() {
    const url = this.#host.dataset.overlayUrl;
    const showing = this.#showing;
    if (!url) return;
    try {
      const overlay = await this.#films.overlay(this.#urls, url);
      if (showing === this.#showing) this.#overlaying.set(overlay);
    } catch (error) {
      if (showing === this.#showing) this.#overlaying.fail(sentence(error), () => this.loadOverlay());
    }
    this.#showButtons();
  }

  // Of no use to the film itself, so nothing waits for it; without an answer there is no button.
  async #loadBeside() {
    const showing = this.#showing;
    const { besideUrl } = this.#urls;
    const films = besideUrl ? await loadBeside(besideUrl).catch(() => []) : [];
    if (showing !== this.#showing) return;
    this.#beside.set(films);
    this.#parts.buttons.get("beside").hidden = !films.length;
    this.#showButtons();
  }

  async #loadBoxes() {
    const { boxesUrl } = this.#urls;
    const showing = this.#showing;
    if (!boxesUrl) return;
    try {
      const boxes = await this.#films.boxes(this.#urls, boxesUrl);
      if (showing !== this.#showing) return;
      this.#shownBoxes.setBoxes(boxes);
      this.#parts.buttons.get("boxes").hidden = !boxes.length;
      this.#parts.notes.replaceChildren();
      this.#stage.redraw();
    } catch (error) {
      if (showing !== this.#showing) return;
      const text = element("p", { classes: "hv-trouble", text: sentence(error), role: "alert" });
      this.#parts.notes.replaceChildren(text, controls.retryButton(() => this.#loadBoxes()));
    }
  }

  #fail(error) {
    this.#error = sentence(error);
    this.#parts.panel.hidden = true;
    this.#tell(this.#error, { retry: () => this.load() });
    this.#setState("error");
    this.#emit("hilum:error", { message: this.#error });
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

  #applyHeat() {
    const heat = this.#overlaying.heat();
    const asLines = heat?.look.drawn === "contour";
    this.#stage.setHeat(asLines ? null : heat);
    this.#contours.set(asLines ? heat : null);
    if (!heat) this.#parts.pointText.textContent = ""; // it may hold a score
  }

  #describeView() {
    const { film, view, voi, inverted } = this.#stage;
    this.#parts.viewText.textContent = controls.viewSentence({ zoom: view.zoom, voi, inverted });
    this.#shownBoxes.layer.classList.toggle("hv-hidden", !this.#boxesShown);
    this.#corners.update(film, view);
    this.#beside.follow();
  }

  // Pointer

  #claims(event) {
    const claimed = this.#measuring.onPointerDown(event) || this.#editor.onPointerDown(event);
    if (!claimed && this.#nearest.isOn) this.#pickOnClick(event);
    return claimed;
  }

  // A click without a drag; a drag still moves the film.
  #pickOnClick(start) {
    const click = (end) => {
      const moved = Math.hypot(end.clientX - start.clientX, end.clientY - start.clientY);
      if (moved < CLICK_PX && this.#stage.view && end.pointerId === start.pointerId) this.#nearest.pick(end);
    };
    window.addEventListener("pointerup", click, { once: true });
  }

  #drag(dx, dy) {
    const { sticky, held, dragging } = this.#windowing;
    if (sticky || held || dragging) this.#dragWindow(dx, dy);
    else this.#stage.pan(dx, dy);
  }

  // Sideways widens; up is brighter on screen, whichever way the film is inverted.
  #dragWindow(dx, dy) {
    const { film, view, voi, inverted } = this.#stage;
    if (!view) return;
    const { center, width, voiFunction } = equivalentWindow(voi, film.facts);
    const darker = isInverted(film.facts, inverted) ? -1 : 1;
    this.#setVoi(
      ownWindow({
        center: center + (darker * dy * width) / (2 * WINDOW_DRAG_PX),
        width: width * 2 ** (dx / WINDOW_DRAG_PX),
        voiFunction,
      }),
    );
  }

  #setVoi(voi) {
    const { choices } = this.#stage.film;
    this.#wantedVoi = voi.kind === "own" ? { relative: relativeWindow(voi, choices) } : { kind: voi.kind, name: voi.name };
    this.#stage.setVoi(voi);
    this.#beside.setVoi();
    controls.fillChoices(this.#parts.choices, choices, voi);
  }

  #choose(name) {
    this.#setVoi(this.#stage.film.choices.find((choice) => choice.name === name) ?? this.#stage.voi);
  }

  #hover(event) {
    if (!this.#stage.view) return;
    const [x, y] = this.#stage.originalAt(event).map(Math.floor);
    const { rows, columns, pixels } = this.#stage.film;
    const inside = x >= 0 && y >= 0 && x < columns && y < rows;
    this.#parts.pointText.textContent = inside ? this.#pointSentence(x, y, pixels[y * columns + x]) : "";
  }

  // A hidden heatmap stays hidden here too.
  #pointSentence(x, y, stored) {
    const value = `x ${x}, y ${y}, value ${tidyNumber(this.#stage.film.modality[stored])}`;
    const heat = this.#overlaying.heat() ? this.fusedAt(x + 0.5, y + 0.5) : NaN;
    return Number.isNaN(heat) ? value : `${value}, fused ${tidyNumber(heat)}`;
  }

  // Actions

  #run(name) {
    if (name === "keys") return controls.openKeys(this.#parts.keys);
    if (!this.#stage.view || this.#parts.buttons.get(name).hidden) return;
    if (PRESETS.includes(name)) this.#setVoi(this.#stage.film.choices.find(({ kind }) => kind === name));
    else this.#actions[name]();
    this.#showButtons();
  }

  #actions = {
    fit: () => this.#stage.fit(),
    actual: () => this.#stage.setZoom(1),
    flip: () => this.#stage.flip(),
    turn: () => this.#stage.turn(1),
    reset: () => this.#reset(),
    window: () => (this.#windowing.sticky = !this.#windowing.sticky),
    invert: () => this.#invert(!this.#stage.inverted),
    ruler: () => this.#measuring.setMode("ruler"),
    ratio: () => this.#measuring.setMode("ratio"),
    beside: () => this.#beside.toggle(),
    boxes: () => this.#toggleBoxes(),
    heatmap: () => this.setHeatmap(!this.#overlaying.isShown),
    nearest: () => this.#nearest.toggle(),
  };

  // Keys that act only in some states of the viewer.
  #otherKey(key, { shiftKey, repeat }) {
    if (!this.#stage.view || repeat) return false;
    if (key === "c" && this.#editor.isOn) return shiftKey ? this.#editor.addInMiddle() : this.#editor.toggleDrawing();
    if (key === "e" && shiftKey) return this.#nearest.searchHottest();
    return false;
  }

  #invert(inverted) {
    this.#stage.setInverted(inverted);
    this.#beside.setVoi();
  }

  #reset() {
    this.#wantedVoi = null;
    this.#invert(false);
    this.#stage.setVoi(this.#stage.film.choices[0]);
    controls.fillChoices(this.#parts.choices, this.#stage.film.choices, this.#stage.voi);
    this.#stage.upright();
    this.#stage.fit();
  }

  #toggleBoxes() {
    this.#boxesShown = !this.#boxesShown;
    this.#stage.redraw();
  }

  #hold(what) {
    if (what === "window") this.#windowing.held = true;
    else if (what === "blink") this.#nearest.blink(true);
    else this.#overlaying.setHeld(true);
    this.#showButtons();
  }

  #release() {
    this.#windowing.held = false;
    this.#nearest.blink(false);
    this.#overlaying.setHeld(false);
    this.#showButtons();
  }

  #showButtons() {
    const { buttons } = this.#parts;
    const { view, inverted } = this.#stage;
    controls.press(buttons, "window", this.#windowing.sticky || this.#windowing.held);
    controls.press(buttons, "invert", inverted);
    controls.press(buttons, "flip", Boolean(view?.flipped));
    controls.press(buttons, "boxes", this.#boxesShown);
    controls.press(buttons, "heatmap", this.#overlaying.isVisible);
    controls.press(buttons, "ruler", this.#measuring.mode === "ruler");
    controls.press(buttons, "ratio", this.#measuring.mode === "ratio");
    controls.press(buttons, "nearest", this.#nearest.isOn);
    controls.press(buttons, "beside", this.#beside.isOn);
    buttons.get("heatmap").hidden = !this.#host.dataset.overlayUrl;
    buttons.get("nearest").hidden = !this.#host.dataset.overlayUrl || !this.#urls.nearestUrl;
    if (!this.#urls.boxesUrl) buttons.get("boxes").hidden = true;
    if (!this.#urls.besideUrl) buttons.get("beside").hidden = true;
  }

  // For other modules of the page and for tests

  get heatmapShown() {
    return this.#overlaying.isShown;
  }

  setHeatmap(shown) {
    if (shown === this.#overlaying.isShown) return;
    this.#overlaying.setShown(shown);
    this.#showButtons();
    this.#emit("hilum:heatmap", { shown });
  }

  // Turns on drawing and editing; `findings` are offered by name. `onChange(boxes)` is called as `hilum:boxes` is sent.
  editBoxes({ findings = [], onChange } = {}) {
    this.#editor.start({ findings, onChange });
  }

  get boxes() {
    return this.#editor.boxes;
  }

  // Without an event: the page knows what it sets.
  setBoxes(boxes) {
    this.#editor.set(boxes);
  }

  stopKeys() {
    this.#keys.setSilent(true);
  }

  resumeKeys() {
    this.#keys.setSilent(false);
  }

  setWeight(weight) {
    this.#overlaying.setWeight(weight);
  }

  fusedAt(x, y) {
    return this.#overlaying.fusedAt(x, y);
  }

  // Grey on screen under an original position, without the heatmap; null where that is off the canvas.
  readGrey(x, y) {
    return this.#stage.readColour(x, y, { withHeat: false })?.[0] ?? null;
  }

  readColour(x, y) {
    return this.#stage.readColour(x, y);
  }

  readCanvas() {
    return this.#stage.readCanvas();
  }

  get state() {
    const { kind, view, voi, inverted } = this.#stage;
    return {
      status: this.#host.dataset.state,
      error: this.#error,
      renderer: kind,
      view: view && { ...view },
      voi: voi && { ...voi },
      inverted,
      boxesShown: this.#boxesShown,
      heatmapShown: this.#overlaying.isVisible,
      look: this.#overlaying.look,
      kept: this.#films.size,
      measured: this.#measuring.strokes,
      ratio: this.#measuring.ratio,
      beside: this.#beside.isOn ? this.#beside.state : null,
      blinking: this.#nearest.isBlinking,
    };
  }

  destroy() {
    for (const end of this.#endings) end();
    this.#films.clear();
    this.#beside.destroy();
    this.#stage.destroy();
  }
}

function stageLabel(label) {
  return `${label}. Question mark lists the keys.`;
}

function sentence(error) {
  if (error instanceof ViewerError) return error.message;
  console.error(error);
  return "The viewer met an internal error. Reload the page; if it stays, tell an administrator.";
}
