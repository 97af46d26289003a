// The renderer for machines without WebGL2: grey table on the CPU, scaling by the browser. Only the part in view is
// painted: single pixels where the film is enlarged, means of blocks of pixels where it is shrunk.

import { invertAffine, applyAffine } from "./geometry.js";
import { rasterise } from "./heatmap.js";

const MARGIN = 0.25; // of what is in view, painted around it so that a small pan needs no new painting

export function createCanvas2dRenderer(canvas) {
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  let film = null; // {pixels, columns, rows}
  let greys = null;
  let painted = null; // {canvas, block, left, top, right, bottom}
  let heat = null;

  return {
    kind: "2d",
    setFilm(pixels, columns, rows) {
      film = { pixels, columns, rows };
      painted = null;
    },
    // `ahead` is what `paintAhead` returned for the same film and table.
    setGreys(table, ahead = null) {
      greys = table;
      painted = ahead;
    },
    paintAhead: (other, table, view) => paint(other, table, widened(other, inView(other, view, canvas))),
    setHeat(next) {
      heat = next ? heatCanvas(next) : null;
    },
    draw(view, background) {
      const wanted = inView(film, view, canvas);
      if (!covers(painted, wanted)) painted = paint(film, greys, widened(film, wanted));
      drawFilm(context, film, view, background, painted);
      if (heat) drawHeat(context, film, view, heat);
    },
    read: (x, y, width, height) => context.getImageData(x, y, width, height).data,
    destroy() {},
  };
}

// The part of the film in view, in original pixels at multiples of `block`, and `block`, the side of a block in pixels.
function inView({ columns, rows }, { matrix, zoom }, { width, height }) {
  const block = 2 ** Math.max(0, Math.floor(Math.log2(1 / zoom)));
  const originalFromDevice = invertAffine(matrix);
  const corners = [[0, 0], [width, 0], [0, height], [width, height]].map(([x, y]) => applyAffine(originalFromDevice, x, y));
  const [xs, ys] = [0, 1].map((axis) => corners.map((corner) => corner[axis]));
  // One block more on each side, since the browser blends neighbours.
  const low = (values, size) => Math.max(0, Math.min(size, (Math.floor(Math.min(...values) / block) - 1) * block));
  const high = (values, size) => Math.max(0, Math.min(size, (Math.ceil(Math.max(...values) / block) + 1) * block));
  return { block, left: low(xs, columns), top: low(ys, rows), right: high(xs, columns), bottom: high(ys, rows) };
}

function covers(painted, wanted) {
  return (
    painted?.block === wanted.block &&
    painted.left <= wanted.left &&
    painted.top <= wanted.top &&
    painted.right >= wanted.right &&
    painted.bottom >= wanted.bottom
  );
}

function widened({ columns, rows }, { block, left, top, right, bottom }) {
  const more = [right - left, bottom - top].map((side) => Math.ceil((side * MARGIN) / block) * block);
  return {
    block,
    left: Math.max(0, left - more[0]),
    top: Math.max(0, top - more[1]),
    right: Math.min(columns, right + more[0]),
    bottom: Math.min(rows, bottom + more[1]),
  };
}

function makeCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

function paint(film, greys, part) {
  const { block, left, top, right, bottom } = part;
  const size = [right - left, bottom - top].map((side) => Math.max(1, Math.ceil(side / block)));
  const canvas = makeCanvas(...size);
  const image = new ImageData(...size);
  const out = new Uint32Array(image.data.buffer);
  if (block === 1) paintPixels(film, greys, part, out);
  else paintMeans(film, greys, part, out, size[0]);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return { canvas, ...part };
}

function paintPixels({ pixels, columns }, greys, { left, top, right, bottom }, out) {
  const colours = new Uint32Array(greys.length);
  greys.forEach((grey, stored) => (colours[stored] = 0xff000000 | (grey * 0x010101)));
  let next = 0;
  for (let y = top; y < bottom; y++) {
    for (let i = y * columns + left, end = y * columns + right; i < end; i++) out[next++] = colours[pixels[i]];
  }
}

// The side of a block is a power of two, so whole blocks are summed in steps of 2 × 2 pixels, in half the time of single
// pixels.
function paintMeans({ pixels, columns }, greys, { block, left, top, right, bottom }, out, width) {
  const whole = [Math.floor((right - left) / block), Math.floor((bottom - top) / block)];
  const share = 1 / (block * block);
  for (let row = 0; row < whole[1]; row++) {
    for (let column = 0; column < whole[0]; column++) {
      let sum = 0;
      const first = (top + row * block) * columns + left + column * block;
      for (let y = 0, i = first; y < block; y += 2, i += 2 * columns) {
        for (let j = i, end = i + block; j < end; j += 2) {
          const below = j + columns;
          sum += greys[pixels[j]] + greys[pixels[j + 1]] + greys[pixels[below]] + greys[pixels[below + 1]];
        }
      }
      out[row * width + column] = 0xff000000 | (Math.round(sum * share) * 0x010101);
    }
  }
  const edge = (row, column) => {
    let [sum, count] = [0, 0];
    for (let y = top + row * block; y < Math.min(bottom, top + (row + 1) * block); y++) {
      for (let x = left + column * block; x < Math.min(right, left + (column + 1) * block); x++, count++) {
        sum += greys[pixels[y * columns + x]];
      }
    }
    out[row * width + column] = 0xff000000 | (Math.round(sum / count) * 0x010101);
  };
  const height = Math.ceil((bottom - top) / block);
  if (width > whole[0]) for (let row = 0; row < whole[1]; row++) edge(row, whole[0]);
  if (height > whole[1]) for (let column = 0; column < width; column++) edge(whole[1], column);
}

function heatCanvas({ overlay, fused, look, colormap }) {
  const { image, originalFromRaster } = rasterise(overlay, fused, look, colormap);
  const canvas = makeCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return { canvas, originalFromRaster };
}

function drawFilm(context, film, view, background, { canvas, block, left, top }) {
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = `rgb(${background.join(" ")})`;
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  const [[a, b, c], [d, e, f]] = view.matrix;
  context.setTransform(a, d, b, e, c, f);
  context.save();
  if (block > 1) clipTo(context, film); // the last block may extend beyond the film
  context.transform(block, 0, 0, block, left, top);
  context.imageSmoothingQuality = view.zoom < 1 ? "high" : "low";
  context.drawImage(canvas, 0, 0);
  context.restore();
}

function drawHeat(context, film, view, { canvas, originalFromRaster }) {
  context.save();
  clipTo(context, film);
  const [[a, b, c], [d, e, f]] = originalFromRaster;
  context.transform(a, d, b, e, c, f);
  context.imageSmoothingQuality = "low";
  context.drawImage(canvas, 0, 0);
  context.restore();
}

function clipTo(context, { columns, rows }) {
  context.beginPath();
  context.rect(0, 0, columns, rows);
  context.clip();
}
