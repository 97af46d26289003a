// The handles around a film: drag the film to shift it, a handle for everything else. They are a second way to the
// numbers beside the film, which keyboard and screen readers use.

import { moved, project } from "./transforms.js";

const SVG = "http://www.w3.org/2000/svg";
const AT = { rotate: [0.5, 0.06], scale: [0.9, 0.1], aspect: [0.9, 0.5], shear: [0.5, 0.9], across: [0.1, 0.5], down: [0.3, 0.1] };
const SIGNS = { rotate: "↻", scale: "⤢", aspect: "↔", shear: "▱", across: "◁", down: "△" };

export class Handles {
  #svg; #side; #dots = new Map(); #line; #drag = null; #onChange; #params = null; #allowed;

  // `onChange(params, isFirst)` while a handle is dragged; `isAffine` leaves out the handles of perspective.
  constructor(svg, side, { onChange, isAffine }) {
    this.#svg = svg;
    this.#side = side;
    this.#onChange = onChange;
    svg.setAttribute("viewBox", `0 0 ${side} ${side}`);
    this.#line = svg.appendChild(document.createElementNS(SVG, "polygon"));
    this.#line.classList.add("hilum-board-frame");
    this.#allowed = Object.keys(AT).filter((name) => !isAffine || !["across", "down"].includes(name));
    for (const name of this.#allowed) this.#addDot(name);
    svg.addEventListener("pointerdown", (event) => this.#begin(event));
    svg.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) svg.addEventListener(name, () => (this.#drag = null));
  }

  #addDot(name) {
    const group = this.#svg.appendChild(document.createElementNS(SVG, "g"));
    group.classList.add("hilum-board-handle");
    group.dataset.handle = name;
    const circle = group.appendChild(document.createElementNS(SVG, "circle"));
    circle.setAttribute("r", this.#side / 45);
    const sign = group.appendChild(document.createElementNS(SVG, "text"));
    sign.textContent = SIGNS[name];
    sign.setAttribute("font-size", this.#side / 32);
    this.#dots.set(name, group);
  }

  show(params) {
    this.#params = params;
    const film = moved(params, this.#side);
    const at = ([x, y]) => project(film, [x * this.#side, y * this.#side]);
    const corners = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]].map(at);
    this.#line.setAttribute("points", corners.map((corner) => corner.join(",")).join(" "));
    for (const [name, group] of this.#dots) group.setAttribute("transform", `translate(${at(AT[name]).join(" ")})`);
  }

  // The pixel of the canonical frame under the pointer.
  place(event) {
    const box = this.#svg.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.#side, ((event.clientY - box.top) / box.height) * this.#side];
  }

  #begin(event) {
    if (event.button !== 0 || this.#svg.dataset.marking === "yes") return;
    const name = event.target.closest("[data-handle]")?.dataset.handle ?? "shift";
    this.#drag = { name, from: this.place(event), params: { ...this.#params }, isFirst: true };
    this.#svg.setPointerCapture(event.pointerId);
    event.preventDefault();
  }

  #move(event) {
    if (!this.#drag) return;
    const { name, from, params, isFirst } = this.#drag;
    this.#drag.isFirst = false;
    const at = this.place(event), half = this.#side / 2;
    const centre = [half + params.x, half + params.y];
    const [dx, dy] = [at[0] - from[0], at[1] - from[1]];
    const radius = (point) => Math.hypot(point[0] - centre[0], point[1] - centre[1]);
    const angle = (point) => (Math.atan2(point[1] - centre[1], point[0] - centre[0]) * 180) / Math.PI;
    const percent = (pixels) => (pixels / half) * 100;
    const changes = {
      shift: () => ({ x: params.x + dx, y: params.y + dy }),
      rotate: () => ({ angle: params.angle + (((angle(at) - angle(from) + 540) % 360) - 180) }),
      scale: () => ({ scale: params.scale + 100 * Math.log(Math.max(radius(at), 1) / Math.max(radius(from), 1)) }),
      aspect: () => ({ aspect: params.aspect + percent(dx) }),
      shear: () => ({ shear: params.shear + percent(dx) }),
      across: () => ({ across: params.across + percent(dx) / 2 }),
      down: () => ({ down: params.down + percent(dy) / 2 }),
    };
    this.#onChange({ ...params, ...changes[name]() }, isFirst);
  }
}
