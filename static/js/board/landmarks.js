// Landmarks of a film, in original pixels: the list beside the film, and their marks on it.

import { fitAffine, invert, project, residualsOf } from "./transforms.js";

export const LEAST = 6;
const SVG = "http://www.w3.org/2000/svg";

export class Landmarks {
  #list; #svg; #names; #targets = {}; #onChange; #points = {}; #marks; #summary; #side;

  constructor({ list, summary, svg, side, names, onChange }) {
    Object.assign(this, { next: names[0] });
    this.#list = list;
    this.#summary = summary;
    this.#svg = svg;
    this.#side = side;
    this.#names = names;
    this.#onChange = onChange;
    this.#marks = svg.appendChild(document.createElementNS(SVG, "g"));
    this.#marks.classList.add("hilum-board-marks");
    for (const name of names) this.#addRow(name);
  }

  #addRow(name) {
    const item = this.#list.appendChild(document.createElement("li"));
    item.dataset.landmark = name;
    const choose = item.appendChild(document.createElement("button"));
    choose.type = "button";
    choose.className = "btn btn-sm hilum-board-landmark";
    choose.textContent = name;
    choose.addEventListener("click", () => this.choose(name));
    const miss = item.appendChild(document.createElement("span"));
    miss.className = "tabular small";
    const remove = item.appendChild(document.createElement("button"));
    remove.type = "button";
    remove.className = "btn btn-sm btn-link p-0";
    remove.textContent = "Remove";
    remove.setAttribute("aria-label", `Remove ${name}`);
    remove.addEventListener("click", () => this.#change({ ...this.#points, [name]: undefined }, name));
  }

  get points() {
    return this.#points;
  }

  get count() {
    return Object.keys(this.#points).length;
  }

  // Those of which another film has said where they lie.
  get shared() {
    return Object.keys(this.#points).filter((name) => name in this.#targets);
  }

  // The landmarks of a film, and where the other films have theirs in the frame.
  load(points, targets) {
    this.#points = { ...points };
    this.#targets = targets;
    this.next = this.#firstMissing();
  }

  choose(name) {
    this.next = name;
    this.show(this.#matrix);
  }

  mark(at) {
    if (!this.next) return;
    this.#change({ ...this.#points, [this.next]: at }, null);
  }

  #change(points, next) {
    const before = this.#points;
    this.#points = Object.fromEntries(Object.entries(points).filter(([, at]) => at));
    this.next = next ?? this.#firstMissing();
    this.#onChange(before);
  }

  #firstMissing() {
    return this.#names.find((name) => !(name in this.#points)) ?? null;
  }

  // The least-squares affine of the landmarks that have a target; null with fewer than six, or on a line.
  fit() {
    const names = this.shared;
    if (names.length < LEAST) return null;
    return fitAffine(names.map((name) => this.#points[name]), names.map((name) => this.#targets[name]));
  }

  #matrix = null;

  show(matrix) {
    this.#matrix = matrix;
    const names = this.shared;
    const misses = names.length
      ? residualsOf(matrix, names.map((name) => this.#points[name]), names.map((name) => this.#targets[name]))
      : [];
    const back = invert(matrix);
    this.#marks.replaceChildren();
    for (const item of this.#list.children) {
      const name = item.dataset.landmark, at = this.#points[name], miss = misses[names.indexOf(name)];
      item.classList.toggle("is-marked", Boolean(at));
      item.children[0].setAttribute("aria-pressed", String(name === this.next));
      item.children[1].textContent = miss === undefined ? (at ? "marked" : "") : `${miss.toFixed(1)} px`;
      item.children[2].hidden = !at;
      if (name in this.#targets) this.#cross(this.#targets[name]);
      if (at) this.#dot(project(back, at), this.#names.indexOf(name) + 1);
    }
    this.#summarise(misses);
  }

  #summarise(misses) {
    const rms = Math.sqrt(misses.reduce((sum, miss) => sum + miss * miss, 0) / Math.max(misses.length, 1));
    const missing = LEAST - this.count;
    if (missing > 0) this.#summary.textContent = `${this.count} marked: at least ${LEAST} are needed.`;
    else if (!Object.keys(this.#targets).length) this.#summary.textContent = "This film says where they lie; its place stays as the handles have it.";
    else if (misses.length < LEAST) this.#summary.textContent = `${misses.length} of these have a place in the frame: mark at least ${LEAST} that have a cross.`;
    else this.#summary.textContent = `RMS ${rms.toFixed(2)} px over ${misses.length} landmarks.`;
  }

  #cross([x, y]) {
    const arm = this.#side / 60;
    const path = this.#marks.appendChild(document.createElementNS(SVG, "path"));
    path.setAttribute("d", `M${x - arm},${y}h${2 * arm}M${x},${y - arm}v${2 * arm}`);
  }

  #dot([x, y], number) {
    const circle = this.#marks.appendChild(document.createElementNS(SVG, "circle"));
    circle.setAttribute("cx", x);
    circle.setAttribute("cy", y);
    circle.setAttribute("r", this.#side / 100);
    const text = this.#marks.appendChild(document.createElementNS(SVG, "text"));
    text.setAttribute("x", x + this.#side / 70);
    text.setAttribute("y", y - this.#side / 100);
    text.setAttribute("font-size", this.#side / 32);
    text.textContent = number;
  }
}
