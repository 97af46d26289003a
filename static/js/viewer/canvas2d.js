// The renderer for machines without WebGL2: grey table on the processor, scaling by the browser.

import { rasterise } from "./heatmap.js";

export function createCanvas2dRenderer(canvas) {
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  const film = { canvas: null, pixels: null };
  let heat = null;

  return {
    kind: "2d",
    setFilm(pixels, columns, rows) {
      film.pixels = pixels;
      film.canvas = makeCanvas(columns, rows);
    },
    setGreys: (table) => paintFilm(film, table),
    setHeat(next) {
      heat = next ? heatCanvas(next) : null;
    },
    draw(view, background) {
      drawFilm(context, film.canvas, view, background);
      if (heat) drawHeat(context, film.canvas, view, heat);
    },
    read: (x, y, width, height) => context.getImageData(x, y, width, height).data,
    destroy() {},
  };
}

function makeCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

function paintFilm({ canvas, pixels }, table) {
  const colours = new Uint32Array(table.length);
  table.forEach((grey, stored) => (colours[stored] = 0xff000000 | (grey * 0x010101)));
  const image = new ImageData(canvas.width, canvas.height);
  const out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) out[i] = colours[pixels[i]];
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function heatCanvas({ overlay, fused, look, colormap }) {
  const { image, originalFromRaster } = rasterise(overlay, fused, look, colormap);
  const canvas = makeCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return { canvas, originalFromRaster };
}

function drawFilm(context, film, view, background) {
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = `rgb(${background.join(" ")})`;
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  const [[a, b, c], [d, e, f]] = view.matrix;
  context.setTransform(a, d, b, e, c, f);
  context.imageSmoothingQuality = view.zoom < 1 ? "high" : "low";
  context.drawImage(film, 0, 0);
}

function drawHeat(context, film, view, { canvas, originalFromRaster }) {
  context.save();
  context.beginPath();
  context.rect(0, 0, film.width, film.height);
  context.clip();
  const [[a, b, c], [d, e, f]] = originalFromRaster;
  context.transform(a, d, b, e, c, f);
  context.imageSmoothingQuality = "low";
  context.drawImage(canvas, 0, 0);
  context.restore();
}
