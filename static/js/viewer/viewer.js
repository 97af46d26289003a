// Hilum's film viewer: carries out the commands of toolbar, keys, pointer and page on one stage.

import { createBeside, loadBeside } from "./beside.js";
import { createBoxLayer } from "./boxes.js";
import { createBoxEditor } from "./box_editing.js";
import * as controls from "./controls.js";
import { buildCorners } from "./corners.js";
import { element } from "./dom.js";
import { SessionEnded, sentence } from "./fetching.js";
import { createFilmStore } from "./films.js";
import { listenToKeys } from "./keyboard.js";
import { createMeasuring } from "./measuring.js";
import { createNearest } from "./nearest.js";
import { createOverlaying } from "./overlaying.js";
import { listenToFilm } from "./pointing.js";
import { createPreview } from "./preview.js";
import { FilmStage } from "./stage.js";
import { createWindowing } from "./windowing.js";

const URLS = ["factsUrl", "pixelsUrl", "boxesUrl", "overlayUrl", "nearestUrl", "besideUrl"];
const NONE_BESIDE = { films: [], note: "" };
const FOLDED = "hilum-panels-folded"; // kept for the tab, so that the next film has as much room
const FETCHING = "Fetching the film";
const PREVIEWED = "Fetching the film. This is its preview, not for reading.";
const PRESETS = ["lung", "mediastinum", "bone", "percentile"];

export class FilmViewer {
  #host;
  #stage;
  #parts;
  #preview;
  #corners;
  #shownBoxes;
  #editor;
  #overlaying;
  #measuring;
  #nearest;
  #beside;
  #keys;
  #films = createFilmStore();
  #urls;
  #showing = 0; // number of films requested so far; answers for earlier ones are dropped
  #windowing;
  #progress = 0; // of fetching the film, 0 to 1
  #error = null;

  constructor(host) {
    this.#host = host;
    const { label = "Film", ...urls } = host.dataset;
    this.#urls = urlsOf(urls);
    this.#build(label);
    this.#overlaying.setShown(this.#startsShown);
    this.#host.classList.toggle("is-folded", sessionStorage.getItem(FOLDED) === "yes");
    this.#showButtons();
    if (urls.factsUrl) this.load();
    else this.#setState("empty");
  }

  #build(label) {
    const stage = (this.#stage = new FilmStage({
      label,
      stageLabel: stageLabel(label),
      onDraw: () => this.#describeView(),
      onLost: () => this.#overlaying.draw(),
    }));
    this.#preview = createPreview({ stage, onShown: () => (this.#showFetching(), this.#emit("hilum:preview")) });
    this.#parts = controls.buildFrame(this.#host, { stage: stage.element, run: (name) => this.#run(name) });
    const { stages, panel, panels, choices, pointText: text } = this.#parts;
    const overlaying = (this.#overlaying = createOverlaying({
      stage,
      panel,
      onHidden: () => (text.textContent = ""), // it may hold a score
      onWeight: (weight) => this.#emit("hilum:weight", { weight }),
    }));
    this.#shownBoxes = createBoxLayer();
    stage.addLayer(this.#shownBoxes);
    this.#corners = buildCorners(stage);
    const editor = createBoxEditor({ stage, panels, onChange: (boxes) => this.#emit("hilum:boxes", { boxes }) });
    const measuring = createMeasuring({ stage, panels, onMode: () => this.#showButtons() });
    const nearest = createNearest({ stage, panels, overlaying });
    const windowing = createWindowing({ stage, select: choices, onChange: () => this.#beside.setVoi() });
    this.#beside = createBeside({ stage, place: stages, wantedVoi: () => windowing.wanted });
    [this.#editor, this.#measuring, this.#nearest, this.#windowing] = [editor, measuring, nearest, windowing];
    listenToFilm({ stage, text, windowing, measuring, editor, nearest, overlaying });
    this.#keys = listenToKeys(this.#host, {
      run: (name) => this.#run(name),
      other: (key, event) => this.#otherKey(key, event),
      edit: (what) => editor.edit(what),
      hold: (what) => this.#hold(what),
      release: () => this.#release(),
      zoom: (factor) => stage.zoomAt(factor),
      pan: (dx, dy) => stage.pan(dx, dy),
    });
    this.#showButtons();
  }

  // Showing a film

  // Replaces the film in place. Resolves to true once film, boxes and heatmap are shown, to false if the film could not
  // be shown (`hilum:error` has the reason) or another one was requested in the meantime.
  show({ label = "Film", ...urls }) {
    this.#urls = urlsOf(urls);
    for (const name of URLS) delete this.#host.dataset[name];
    Object.assign(this.#host.dataset, this.#urls, { label });
    this.#stage.setLabel(label, stageLabel(label));
    if (!this.#startsShown) this.#overlaying.setShown(false);
    return this.load();
  }

  // Fetches and decodes films ahead, in this order; earlier prefetches that are not in `films` are cancelled.
  prefetch(films) {
    const prepare = (film) => this.#stage.prepare(film, this.#windowing.shownAs(film));
    return this.#films.prefetch(films, this.#urls, prepare);
  }

  // Cancels pending fetches, which may fail for a reason that no longer holds: the next `show` fetches again.
  forget() {
    this.#films.clear();
  }

  get #startsShown() {
    return this.#host.dataset.overlayShown !== "false";
  }

  async load() {
    const showing = ++this.#showing;
    const isLate = () => showing !== this.#showing;
    this.#clear();
    try {
      const film = await this.#films.film(this.#urls, {
        onFacts: (facts) => !isLate() && this.#preview.begin(facts),
        onProgress: (progress) => !isLate() && this.#showFetching(progress),
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

  #showFetching(progress = this.#progress) {
    this.#progress = progress;
    this.#showMessage(this.#preview.isShown ? PREVIEWED : FETCHING, { progress });
  }

  #clear() {
    this.#error = null;
    this.#setState("loading");
    this.#preview.end();
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
    this.#preview.end();
    this.#showMessage("");
    this.#stage.setFilm(film, this.#windowing.shownAs(film));
    controls.fillChoices(this.#parts.choices, film.choices, this.#stage.voi);
    this.#stage.redrawNow();
    this.#showButtons();
  }

  // Uses the current data-overlay-url, so that a page can set it later (to reveal the heatmap) and call this.
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

  // The film itself does not need them, so nothing waits for them. A list that did not come is said to be missing: a
  // reader would take its absence for "no earlier films".
  async #loadBeside() {
    const showing = this.#showing;
    const { besideUrl } = this.#urls;
    try {
      const others = besideUrl ? await loadBeside(besideUrl) : NONE_BESIDE;
      if (showing !== this.#showing) return;
      this.#beside.set(others);
      this.#showTrouble("beside", []);
    } catch (error) {
      if (showing !== this.#showing) return;
      this.#showTrouble("beside", controls.trouble(sentence(error), () => this.#loadBeside()));
    }
    this.#showButtons();
  }

  // What did not load, in a place of its own for each kind, so that one message does not remove another.
  #showTrouble(kind, parts) {
    this.#parts.notes.querySelector(`[data-trouble=${kind}]`)?.remove();
    if (!parts.length) return;
    const place = element("div", {}, parts);
    place.dataset.trouble = kind;
    this.#parts.notes.append(place);
  }

  async #loadBoxes() {
    const { boxesUrl } = this.#urls;
    const showing = this.#showing;
    if (!boxesUrl) return;
    try {
      const boxes = await this.#films.boxes(this.#urls, boxesUrl);
      if (showing !== this.#showing) return;
      this.#shownBoxes.setBoxes(boxes);
      this.#showTrouble("boxes", []);
      this.#showButtons();
      this.#stage.redraw();
    } catch (error) {
      if (showing !== this.#showing) return;
      this.#showTrouble("boxes", controls.trouble(sentence(error), () => this.#loadBoxes()));
    }
  }

  #fail(error) {
    this.#error = sentence(error);
    this.#parts.panel.hidden = true;
    this.#preview.end();
    this.#showMessage(this.#error, { retry: () => this.load() });
    this.#setState("error");
    this.#emit("hilum:error", { message: this.#error, isOut: error instanceof SessionEnded });
  }

  #showMessage(text, options) {
    controls.showMessage(this.#parts.message, text, options);
  }

  #setState(state) {
    this.#host.dataset.state = state;
    controls.enable(this.#parts, state === "ready");
  }

  #emit(name, detail) {
    this.#host.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
  }

  #describeView() {
    const { film, view, voi, inverted } = this.#stage;
    this.#parts.viewText.textContent = controls.viewSentence({ zoom: view.zoom, voi, inverted });
    this.#corners.update(film, view);
    this.#beside.follow();
  }

  // Actions

  #run(name) {
    if (name === "keys") return controls.openKeys(this.#parts.keys);
    if (!this.#stage.view || this.#parts.buttons.get(name).hidden) return;
    if (PRESETS.includes(name)) this.#windowing.preset(name);
    else this.#actions[name]();
    this.#showButtons();
  }

  #actions = {
    fit: () => this.#stage.fit(),
    actual: () => this.#stage.setZoom(1),
    flip: () => this.#stage.flip(),
    turn: () => this.#stage.turn(1),
    reset: () => this.#reset(),
    window: () => this.#windowing.toggle(),
    invert: () => this.#windowing.invert(),
    ruler: () => this.#measuring.setMode("ruler"),
    ratio: () => this.#measuring.setMode("ratio"),
    beside: () => this.#beside.toggle(),
    boxes: () => this.#shownBoxes.toggle(),
    heatmap: () => this.setHeatmap(!this.#overlaying.isShown),
    nearest: () => this.#nearest.toggle(),
    fold: () => this.#fold(),
    full: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
  };

  // Keys that work only in some states of the viewer.
  #otherKey(key, { shiftKey, repeat }) {
    if (!this.#stage.view || repeat) return false;
    const pressed = shiftKey ? `Shift+${key.toUpperCase()}` : key;
    if (pressed === controls.keyOf("draw") && this.#editor.isOn) return this.#editor.toggleDrawing();
    if (pressed === controls.keyOf("draw_in_middle") && this.#editor.isOn) return this.#editor.addInMiddle();
    for (const name of ["fold", "full"]) {
      if (pressed === controls.keyOf(name)) return this.#run(name), true;
    }
    if (pressed === controls.keyOf("next_beside")) return this.#nextBeside();
    if (pressed === controls.keyOf("nearest_hottest")) return this.#nearest.searchHottest();
    return false;
  }

  #nextBeside() {
    const moved = this.#beside.next();
    this.#showButtons();
    return moved;
  }

  #fold() {
    const folded = this.#host.classList.toggle("is-folded");
    sessionStorage.setItem(FOLDED, folded ? "yes" : "no");
  }

  #reset() {
    this.#windowing.reset();
    this.#stage.upright();
    this.#stage.fit();
  }

  #hold(what) {
    if (what === "window") this.#windowing.setHeld(true);
    else if (what === "blink") this.#nearest.blink(true);
    else this.#overlaying.setHeld(true);
    this.#showButtons();
  }

  #release() {
    this.#windowing.setHeld(false);
    this.#nearest.blink(false);
    this.#overlaying.setHeld(false);
    this.#showButtons();
  }

  #showButtons() {
    const { buttons } = this.#parts;
    const pressed = {
      window: this.#windowing.isOn,
      invert: this.#stage.inverted,
      flip: Boolean(this.#stage.view?.flipped),
      boxes: this.#shownBoxes.isShown,
      heatmap: this.#overlaying.isVisible,
      ruler: this.#measuring.mode === "ruler",
      ratio: this.#measuring.mode === "ratio",
      nearest: this.#nearest.isOn,
      beside: this.#beside.isOn,
      fold: this.#host.classList.contains("is-folded"),
    };
    for (const [name, is] of Object.entries(pressed)) controls.press(buttons, name, is);
    const { overlayUrl } = this.#host.dataset;
    buttons.get("heatmap").hidden = !overlayUrl;
    buttons.get("nearest").hidden = !overlayUrl || !this.#urls.nearestUrl;
    buttons.get("boxes").hidden = !this.#shownBoxes.count;
    buttons.get("beside").hidden = !this.#beside.count;
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
  // `confidence`: whether it is asked for each box.
  editBoxes({ findings = [], onChange, confidence = true } = {}) {
    this.#editor.start({ findings, onChange, confidence });
  }

  get boxes() {
    return this.#editor.boxes;
  }

  // Sends no event: the page knows what it sets.
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
      boxesShown: this.#shownBoxes.isShown,
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
    this.#keys.stop();
    this.#films.clear();
    this.#beside.destroy();
    this.#stage.destroy();
  }
}

// The URLs that are set.
function urlsOf(all) {
  return Object.fromEntries(URLS.filter((name) => all[name]).map((name) => [name, all[name]]));
}

function stageLabel(label) {
  return `${label}. Question mark lists the keys.`;
}
