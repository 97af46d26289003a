// Draws a film over the canonical image. Films and images are gray, in the square frame.

import { invert, multiply } from "./transforms.js";

export const VIEWS = ["blend", "difference", "colours", "flicker", "variance"];
const FLICKER_MS = 500; // a film and the image a second: below three flashes a second, which WCAG 2.3.1 allows

// Uint8 (side * side) of a picture at an address, scaled to the side of the frame.
export async function grayOf(url, side) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(await sentenceOf(response));
  const picture = await createImageBitmap(await response.blob());
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0, side, side);
  const { data } = context.getImageData(0, 0, side, side);
  return Uint8ClampedArray.from({ length: side * side }, (_, k) => data[4 * k]);
}

async function sentenceOf(response) {
  const text = await response.text();
  if (response.headers.get("Content-Type")?.startsWith("application/json")) return JSON.parse(text).error;
  const page = new DOMParser().parseFromString(text, "text/html");
  return page.querySelector("main p")?.textContent.trim() || `The server answered ${response.status}.`;
}

export class Drawing {
  constructor(canvas, side) {
    this.canvas = canvas;
    this.side = side;
    canvas.width = canvas.height = side;
    this.context = canvas.getContext("2d");
    this.picture = this.context.createImageData(side, side);
    this.film = this.mean = this.variance = null;
    this.base = null;
    this.view = "blend";
    this.opacity = 0.5;
    this.showsFilm = true; // of the two that flicker
    this.aligned = new Uint8ClampedArray(side * side);
    this.covered = new Uint8Array(side * side);
    this.waiting = false;
    setInterval(() => this.#flicker(), FLICKER_MS);
  }

  #flicker() {
    if (this.view !== "flicker" || !this.canvas.isConnected) return;
    this.showsFilm = !this.showsFilm;
    this.#compose();
  }

  // Draws at the next frame, once for all changes until then.
  draw(matrix) {
    this.matrix = matrix;
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#warp();
      this.#compose();
    });
  }

  // The film sampled bilinearly at each pixel of the frame.
  #warp() {
    const { side, film, aligned, covered } = this;
    covered.fill(0);
    if (!film || !this.matrix) return;
    const m = multiply(invert(this.base), this.matrix);
    for (let row = 0, at = 0; row < side; row++) {
      for (let column = 0; column < side; column++, at++) {
        const x = column + 0.5, y = row + 0.5;
        const depth = m[6] * x + m[7] * y + m[8];
        if (depth <= 0) continue;
        const u = (m[0] * x + m[1] * y + m[2]) / depth - 0.5, v = (m[3] * x + m[4] * y + m[5]) / depth - 0.5;
        const left = Math.floor(u), top = Math.floor(v);
        if (left < 0 || top < 0 || left >= side - 1 || top >= side - 1) continue;
        const a = u - left, b = v - top, first = top * side + left;
        const above = film[first] * (1 - a) + film[first + 1] * a;
        const below = film[first + side] * (1 - a) + film[first + side + 1] * a;
        aligned[at] = above * (1 - b) + below * b;
        covered[at] = 1;
      }
    }
  }

  #compose() {
    const { data } = this.picture;
    const { aligned, covered, mean, variance, opacity } = this;
    const view = mean || this.view === "variance" ? this.view : "alone";
    const seen = view === "flicker" && !this.showsFilm ? 0 : 1;
    for (let k = 0, at = 0; k < aligned.length; k++, at += 4) {
      const film = covered[k] ? aligned[k] : 0, under = mean ? mean[k] : 0;
      let [red, green, blue] = [film, film, film];
      if (view === "blend") red = green = blue = covered[k] ? film * opacity + under * (1 - opacity) : under * (1 - opacity);
      else if (view === "difference") red = green = blue = covered[k] ? 128 + (film - under) / 2 : 128;
      else if (view === "colours") green = blue = under;
      else if (view === "flicker") red = green = blue = seen ? film : under;
      else if (view === "variance") red = green = blue = variance ? variance[k] : 0;
      data[at] = red;
      data[at + 1] = green;
      data[at + 2] = blue;
      data[at + 3] = 255;
    }
    this.context.putImageData(this.picture, 0, 0);
  }
}
