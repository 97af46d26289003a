// Continuous (x, y), y down; pixel (0, 0) covers [0, 1) × [0, 1). An affine is [[a, b, c], [d, e, f]].
// A view maps original pixels to device pixels through its matrix: scaled per axis, mirrored, turned, shifted.

export const MAX_ZOOM = 32;
export const UPRIGHT = { turn: 0, flipped: false };
const KEEP_VISIBLE_PX = 48;
// Linear parts of clockwise turns by 0 to 3 quarters, y down.
const TURNS = [[1, 0, 0, 1], [0, -1, 1, 0], [-1, 0, 0, -1], [0, 1, -1, 0]];

export function invertAffine([[a, b, c], [d, e, f]]) {
  const determinant = a * e - b * d;
  if (!Number.isFinite(determinant) || Math.abs(determinant) < 1e-12) return null;
  const [ia, ib, id, ie] = [e, -b, -d, a].map((value) => value / determinant);
  return [[ia, ib, -(ia * c + ib * f)], [id, ie, -(id * c + ie * f)]];
}

export function applyAffine([[a, b, c], [d, e, f]], x, y) {
  return [a * x + b * y + c, d * x + e * y + f];
}

// first ∘ second: applies `second`, then `first`.
export function compose([[a, b, c], [d, e, f]], [[g, h, i], [j, k, l]]) {
  return [
    [a * g + b * j, a * h + b * k, a * i + b * l + c],
    [d * g + e * j, d * h + e * k, d * i + e * l + f],
  ];
}

// Height of a pixel over its width on the patient, so that the film is never stretched.
export function pixelAspect(facts) {
  const spacing = facts.spacing_mm;
  const ratio = spacing ? spacing[0] / spacing[1] : facts.pixel_aspect;
  return Number.isFinite(ratio) && ratio > 0 ? ratio : 1;
}

// At zoom 1 the shorter side of a pixel takes one device pixel, so that none is lost.
export function scales(zoom, aspect) {
  return aspect >= 1 ? [zoom, zoom * aspect] : [zoom / aspect, zoom];
}

// A pose is {turn, flipped}: mirrored left to right first, then turned clockwise by `turn` quarters.
export function turned({ turn, flipped }, quarters) {
  return { turn: (turn + quarters + 4) % 4, flipped };
}

// Mirrors what is on the screen, whichever way it is turned.
export function mirrored({ turn, flipped }) {
  return { turn: (4 - turn) % 4, flipped: !flipped };
}

function linear(zoom, aspect, { turn, flipped }) {
  const [sx, sy] = scales(zoom, aspect);
  const [a, b, d, e] = TURNS[turn];
  const mirror = flipped ? -1 : 1;
  return [a * mirror * sx, b * sy, d * mirror * sx, e * sy];
}

function makeView(film, pose, zoom, shiftX, shiftY) {
  const [scaleX, scaleY] = scales(zoom, film.aspect);
  const [a, b, d, e] = linear(zoom, film.aspect, pose);
  const matrix = [[a, b, shiftX], [d, e, shiftY]];
  return { zoom, scaleX, scaleY, turn: pose.turn, flipped: pose.flipped, shiftX, shiftY, matrix };
}

function throughPoint(film, pose, zoom, [x, y], deviceX, deviceY) {
  const [a, b, d, e] = linear(zoom, film.aspect, pose);
  return makeView(film, pose, zoom, deviceX - a * x - b * y, deviceY - d * x - e * y);
}

export function fitZoom(film, canvas, pose) {
  const [sx, sy] = scales(1, film.aspect);
  const sizes = [film.columns * sx, film.rows * sy];
  const [width, height] = pose.turn % 2 ? [sizes[1], sizes[0]] : sizes;
  return Math.min(canvas.width / width, canvas.height / height);
}

// A whole shift puts each film pixel on a whole device pixel at 1:1.
export function centredView(film, canvas, pose, zoom, middle = [film.columns / 2, film.rows / 2]) {
  const { shiftX, shiftY } = throughPoint(film, pose, zoom, middle, canvas.width / 2, canvas.height / 2);
  return makeView(film, pose, zoom, Math.round(shiftX), Math.round(shiftY));
}

export function toOriginal(view, deviceX, deviceY) {
  return applyAffine(invertAffine(view.matrix), deviceX, deviceY);
}

export function toDevice(view, x, y) {
  return applyAffine(view.matrix, x, y);
}

export function zoomAt(film, canvas, view, factor, deviceX, deviceY) {
  const smallest = Math.min(1, fitZoom(film, canvas, view)) / 4;
  const zoom = Math.min(MAX_ZOOM, Math.max(smallest, view.zoom * factor));
  return throughPoint(film, view, zoom, toOriginal(view, deviceX, deviceY), deviceX, deviceY);
}

export function pan(film, canvas, view, dx, dy) {
  const corners = [toDevice(view, 0, 0), toDevice(view, film.columns, film.rows)];
  const [moveX, moveY] = [0, 1].map((axis) => {
    const ends = corners.map((corner) => corner[axis]);
    const space = axis ? canvas.height : canvas.width;
    return clampMove(axis ? dy : dx, Math.min(...ends), Math.max(...ends), space);
  });
  return makeView(film, view, view.zoom, view.shiftX + moveX, view.shiftY + moveY);
}

function clampMove(move, low, high, space) {
  return Math.min(space - KEEP_VISIBLE_PX - low, Math.max(KEEP_VISIBLE_PX - high, move));
}

// {x, y, width, height} in CSS pixels of a box in original pixels; a turned box is still upright.
export function boxOnScreen(view, box, pixelRatio) {
  const corners = [toDevice(view, box.x, box.y), toDevice(view, box.x + box.width, box.y + box.height)];
  const [xs, ys] = [0, 1].map((axis) => corners.map((corner) => corner[axis] / pixelRatio).sort((p, q) => p - q));
  return { x: xs[0], y: ys[0], width: xs[1] - xs[0], height: ys[1] - ys[0] };
}

// Millimetres that one device pixel shows, the same along both axes; null where the spacing is unknown.
export function mmPerDevicePixel(facts, view) {
  return facts.spacing_mm ? facts.spacing_mm[1] / view.scaleX : null;
}
