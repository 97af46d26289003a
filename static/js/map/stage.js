// The canvas of the map: what part of the data it shows, panning and zooming, drawing a region, the pointer. It tells
// the page by callbacks and knows nothing of films.

import { Cells, boundsOf, inside } from "./points.js";
import { CHOSEN, HIDDEN, makeRenderer } from "./renderer.js";

const REACH = 12; // CSS pixels within which a point is under the pointer
const MARGIN = 1.1;
const ZOOM = 1.25;
const LEAST_STEP = 3; // pixels between two corners of a lasso

export class Stage {
  // handlers: onPoint(k or -1, x, y), onOpen(k), onRegion(indices, add), onToggle(k), onClear()
  constructor(canvas, overlay, handlers, kind = "") {
    this.canvas = canvas;
    this.overlay = overlay;
    this.handlers = handlers;
    this.renderer = makeRenderer(canvas, kind);
    this.view = { x: 0, y: 0, scale: 1 };
    this.mode = "pan";
    this.point = -1;
    this.frames = 0;
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  show(places, states) {
    this.places = places;
    this.states = states;
    this.shown = Uint8Array.from(states, (state) => (state & HIDDEN ? 0 : 1));
    this.cells = new Cells(places, this.shown);
    this.renderer.setPlaces(places);
    this.renderer.setStates(states);
    this.fit();
  }

  paint({ colours, shapes }) {
    this.renderer.setColours(colours, shapes);
    this.redraw();
  }

  // After the states have changed: which points are hidden or chosen.
  restate() {
    this.states.forEach((state, k) => (this.shown[k] = state & HIDDEN ? 0 : 1));
    this.dims = this.states.some((state) => state & CHOSEN);
    this.renderer.setStates(this.states);
    this.redraw();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(this.canvas.clientWidth * ratio), Math.round(this.canvas.clientHeight * ratio)];
    if (!width || !height || (width === this.canvas.width && height === this.canvas.height)) return;
    for (const canvas of [this.canvas, this.overlay]) [canvas.width, canvas.height] = [width, height];
    this.ratio = ratio;
    if (this.places && !this.isMoved) this.fit();
    else this.redraw();
  }

  fit() {
    this.resize();
    const { left, right, bottom, top } = boundsOf(this.places);
    const { width, height } = this.canvas;
    const scale = Math.min(width / (right - left || 1), height / (top - bottom || 1)) / MARGIN;
    this.least = scale / 2;
    this.view = { x: (left + right) / 2, y: (bottom + top) / 2, scale };
    this.isMoved = false;
    this.redraw();
  }

  redraw() {
    if (this.waiting || !this.places) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const ratio = this.ratio || 1;
    const closer = Math.sqrt(this.view.scale / (this.least * 2)); // points grow slowly while one zooms in
    const base = this.places.length > 40000 ? 3 : this.places.length > 6000 ? 5 : 8;
    const size = Math.min(16, Math.max(2.5, base * Math.min(2.5, Math.max(1, closer)))) * ratio;
    this.renderer.draw(this.view, { size, dims: this.dims });
    this.drawOverlay(size);
    this.frames += 1;
  }

  drawOverlay(size) {
    const context = this.overlay.getContext("2d");
    context.clearRect(0, 0, this.overlay.width, this.overlay.height);
    const style = getComputedStyle(this.overlay);
    context.strokeStyle = style.color;
    context.lineWidth = 2 * (this.ratio || 1);
    if (this.point >= 0) {
      const [x, y] = this.pixelOf(this.point);
      context.beginPath();
      context.arc(x, y, size / 2 + 3 * (this.ratio || 1), 0, 2 * Math.PI);
      context.stroke();
    }
    if (this.region?.length > 1) {
      context.setLineDash([6, 4]);
      context.beginPath();
      for (const [x, y] of this.cornersInPixels()) context.lineTo(x, y);
      context.closePath();
      context.stroke();
      context.setLineDash([]);
    }
  }

  cornersInPixels() {
    if (this.mode !== "rectangle") return this.region;
    const [[ax, ay], [bx, by]] = [this.region[0], this.region.at(-1)];
    return [[ax, ay], [bx, ay], [bx, by], [ax, by]];
  }

  pixelOf(k) {
    const { x, y, scale } = this.view;
    const { width, height } = this.canvas;
    return [(this.places[2 * k] - x) * scale + width / 2, height / 2 - (this.places[2 * k + 1] - y) * scale];
  }

  dataOf(px, py) {
    const { x, y, scale } = this.view;
    return [x + (px - this.canvas.width / 2) / scale, y - (py - this.canvas.height / 2) / scale];
  }

  pixelsOf(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.ratio || 1;
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  }

  zoom(factor, px = this.canvas.width / 2, py = this.canvas.height / 2) {
    const [x, y] = this.dataOf(px, py);
    const scale = Math.min(this.least * 2000, Math.max(this.least, this.view.scale * factor));
    this.view = {
      x: x - (px - this.canvas.width / 2) / scale,
      y: y + (py - this.canvas.height / 2) / scale,
      scale,
    };
    this.isMoved = true;
    this.redraw();
  }

  setMode(mode) {
    this.mode = mode;
    this.region = null;
    this.canvas.style.cursor = mode === "pan" ? "grab" : "crosshair";
    this.redraw();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(ZOOM ** (-Math.sign(event.deltaY) * Math.min(2, Math.abs(event.deltaY) / 50)), ...this.pixelsOf(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.end(event));
    canvas.addEventListener("pointercancel", () => this.drop());
    canvas.addEventListener("pointerleave", () => !this.held && this.focusOn(-1));
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  begin(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.pixelsOf(event);
    this.held = { first: at, last: at, far: 0 };
    if (this.mode !== "pan") this.region = [at];
  }

  move(event) {
    const at = this.pixelsOf(event);
    if (!this.held) {
      const reach = (REACH * (this.ratio || 1)) / this.view.scale;
      this.focusOn(this.cells ? this.cells.nearest(...this.dataOf(...at), reach) : -1);
      return;
    }
    const [dx, dy] = [at[0] - this.held.last[0], at[1] - this.held.last[1]];
    if (this.region) {
      if (Math.hypot(dx, dy) < LEAST_STEP && this.mode === "lasso") return;
      this.region.push(at);
    } else {
      this.view = { ...this.view, x: this.view.x - dx / this.view.scale, y: this.view.y + dy / this.view.scale };
      this.isMoved = true;
    }
    this.held.far = Math.max(this.held.far, Math.hypot(at[0] - this.held.first[0], at[1] - this.held.first[1]));
    this.held.last = at;
    this.redraw();
  }

  end(event) {
    if (!this.held) return;
    const wasClick = this.held.far < 4;
    this.held = null;
    if (wasClick) {
      this.region = null;
      if (this.point >= 0) this.handlers.onOpen(this.point, event);
      this.redraw();
      return;
    }
    if (this.region?.length > 1) {
      const corners = this.cornersInPixels().map(([x, y]) => this.dataOf(x, y));
      this.region = null;
      this.handlers.onRegion(inside(this.places, this.shown, corners), event.shiftKey);
    }
    this.redraw();
  }

  drop() {
    this.held = null;
    this.region = null;
    this.redraw();
  }

  focusOn(k) {
    if (k === this.point) return;
    this.point = k;
    this.handlers.onPoint(k);
    this.redraw();
  }

  // Brings a point into view if it is outside.
  reveal(k) {
    const [px, py] = this.pixelOf(k);
    if (px < 0 || py < 0 || px > this.canvas.width || py > this.canvas.height) {
      this.view = { ...this.view, x: this.places[2 * k], y: this.places[2 * k + 1] };
    }
    this.focusOn(k);
    this.redraw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const done = () => {
      event.preventDefault();
      event.stopPropagation();
    };
    if (event.key in arrows) {
      const from = this.point >= 0 ? this.point : this.cells.nearest(this.view.x, this.view.y, Infinity);
      const next = this.point >= 0 ? this.cells.next(from, ...arrows[event.key]) : from;
      if (next >= 0) this.reveal(next);
      done();
    } else if (event.key === "Enter" && this.point >= 0) {
      this.handlers.onOpen(this.point, event);
      done();
    } else if (event.key === " " && this.point >= 0) {
      this.handlers.onToggle(this.point);
      done();
    } else if (event.key === "+" || event.key === "-") {
      this.zoom(event.key === "+" ? ZOOM : 1 / ZOOM);
      done();
    } else if (event.key === "0") {
      this.fit();
      done();
    } else if (event.key === "Escape") {
      if (this.region) this.drop();
      else this.handlers.onClear();
      done();
    }
  }
}
