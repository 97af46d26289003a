// Continuous (x, y), y down; pixel (0, 0) covers [0, 1) × [0, 1). An affine is [[a, b, c], [d, e, f]].
// A view maps original pixels to device pixels: device = scale · original + shift, per axis.

export const MAX_ZOOM = 32;
const KEEP_VISIBLE_PX = 48;

export function invertAffine([[a, b, c], [d, e, f]]) {
  const determinant = a * e - b * d;
  if (!Number.isFinite(determinant) || Math.abs(determinant) < 1e-12) return null;
  const [ia, ib, id, ie] = [e, -b, -d, a].map((value) => value / determinant);
  return [[ia, ib, -(ia * c + ib * f)], [id, ie, -(id * c + ie * f)]];
}

export function applyAffine([[a, b, c], [d, e, f]], x, y) {
  return [a * x + b * y + c, d * x + e * y + f];
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

export function makeView(film, zoom, shiftX, shiftY) {
  const [scaleX, scaleY] = scales(zoom, film.aspect);
  return { zoom, scaleX, scaleY, shiftX, shiftY };
}

export function fitZoom(film, canvas) {
  const [sx, sy] = scales(1, film.aspect);
  return Math.min(canvas.width / (film.columns * sx), canvas.height / (film.rows * sy));
}

// A whole shift puts each film pixel on a whole device pixel at 1:1.
export function centredView(film, canvas, zoom, [x, y] = [film.columns / 2, film.rows / 2]) {
  const [sx, sy] = scales(zoom, film.aspect);
  return makeView(film, zoom, Math.round(canvas.width / 2 - sx * x), Math.round(canvas.height / 2 - sy * y));
}

export function toOriginal(view, deviceX, deviceY) {
  return [(deviceX - view.shiftX) / view.scaleX, (deviceY - view.shiftY) / view.scaleY];
}

export function toDevice(view, x, y) {
  return [x * view.scaleX + view.shiftX, y * view.scaleY + view.shiftY];
}

export function zoomAt(film, canvas, view, factor, deviceX, deviceY) {
  const smallest = Math.min(1, fitZoom(film, canvas)) / 4;
  const zoom = Math.min(MAX_ZOOM, Math.max(smallest, view.zoom * factor));
  const [x, y] = toOriginal(view, deviceX, deviceY);
  const [sx, sy] = scales(zoom, film.aspect);
  return makeView(film, zoom, deviceX - sx * x, deviceY - sy * y);
}

export function pan(film, canvas, view, dx, dy) {
  const shiftX = clampShift(view.shiftX + dx, film.columns * view.scaleX, canvas.width);
  const shiftY = clampShift(view.shiftY + dy, film.rows * view.scaleY, canvas.height);
  return { ...view, shiftX, shiftY };
}

function clampShift(shift, length, space) {
  return Math.min(space - KEEP_VISIBLE_PX, Math.max(KEEP_VISIBLE_PX - length, shift));
}
