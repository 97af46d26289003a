// The points of an embedding map as the server sends them, and what is asked of their places: the nearest to the
// pointer, those inside a drawn region, the next one in a direction.

const BYTES_OF_NAME = 16;

export async function fetchPoints(url) {
  const response = await fetch(url, { redirect: "manual" });
  if (!response.ok) throw new Error("The points of the map could not be loaded; reload the page.");
  return readPoints(await response.arrayBuffer(), response.headers.get("X-Fingerprint"));
}

export function readPoints(bytes, fingerprint) {
  const view = new DataView(bytes);
  const count = view.getUint32(0, true);
  const layouts = view.getUint32(4, true);
  const names = new Uint8Array(bytes, 8, count * BYTES_OF_NAME);
  const all = new Float32Array(bytes.slice(8 + count * BYTES_OF_NAME));
  const places = Array.from({ length: layouts }, (_, layout) => {
    const of = new Float32Array(2 * count);
    for (let k = 0; k < count; k++) {
      of[2 * k] = all[2 * (k * layouts + layout)];
      of[2 * k + 1] = all[2 * (k * layouts + layout) + 1];
    }
    return of;
  });
  return { count, names, places, fingerprint };
}

export function nameOf(points, k) {
  const hex = Array.from(points.names.subarray(k * BYTES_OF_NAME, (k + 1) * BYTES_OF_NAME), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export function boundsOf(places) {
  const bounds = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
  for (let k = 0; k < places.length; k += 2) {
    bounds.left = Math.min(bounds.left, places[k]);
    bounds.right = Math.max(bounds.right, places[k]);
    bounds.bottom = Math.min(bounds.bottom, places[k + 1]);
    bounds.top = Math.max(bounds.top, places[k + 1]);
  }
  return bounds;
}

// Points by square cells, so that the nearest one is looked for among a few.
export class Cells {
  constructor(places, shown) {
    this.places = places;
    this.shown = shown;
    this.bounds = boundsOf(places);
    const { left, right, bottom, top } = this.bounds;
    this.side = Math.max(right - left, top - bottom, 1e-9) / Math.max(1, Math.sqrt(places.length / 8));
    this.columns = Math.floor((right - left) / this.side) + 1;
    this.rows = Math.floor((top - bottom) / this.side) + 1;
    this.members = new Map();
    for (let k = 0; k < places.length / 2; k++) {
      const cell = this.cellOf(places[2 * k], places[2 * k + 1]);
      if (!this.members.has(cell)) this.members.set(cell, []);
      this.members.get(cell).push(k);
    }
  }

  cellOf(x, y) {
    return Math.floor((y - this.bounds.bottom) / this.side) * this.columns + Math.floor((x - this.bounds.left) / this.side);
  }

  // The index of the shown point nearest to (x, y) within `reach`, or -1.
  nearest(x, y, reach) {
    let best = -1;
    let least = reach * reach;
    const first = (value, low) => Math.max(0, Math.floor((value - reach - low) / this.side));
    const last = (value, low, count) => Math.min(count - 1, Math.floor((value + reach - low) / this.side));
    const { left, bottom } = this.bounds;
    for (let row = first(y, bottom); row <= last(y, bottom, this.rows); row++) {
      for (let column = first(x, left); column <= last(x, left, this.columns); column++) {
        for (const k of this.members.get(row * this.columns + column) ?? []) {
          const squared = (this.places[2 * k] - x) ** 2 + (this.places[2 * k + 1] - y) ** 2;
          if (squared < least && this.shown[k]) {
            least = squared;
            best = k;
          }
        }
      }
    }
    return best;
  }

  // The nearest shown point in a direction (dx, dy): within 45 degrees of it; -1 where there is none.
  next(from, dx, dy) {
    let best = -1;
    let least = Infinity;
    for (let k = 0; k < this.places.length / 2; k++) {
      if (k === from || !this.shown[k]) continue;
      const x = this.places[2 * k] - this.places[2 * from];
      const y = this.places[2 * k + 1] - this.places[2 * from + 1];
      const along = x * dx + y * dy;
      if (along <= 0 || Math.abs(x * dy - y * dx) > along) continue;
      const squared = x * x + y * y;
      if (squared < least) {
        least = squared;
        best = k;
      }
    }
    return best;
  }
}

// The shown points inside a closed polygon of [x, y] corners, by the even-odd rule.
export function inside(places, shown, corners) {
  const chosen = [];
  const xs = corners.map(([x]) => x);
  const ys = corners.map(([, y]) => y);
  const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  for (let k = 0; k < places.length / 2; k++) {
    const [x, y] = [places[2 * k], places[2 * k + 1]];
    if (!shown[k] || x < left || x > right || y < bottom || y > top) continue;
    let isInside = false;
    for (let at = 0, before = corners.length - 1; at < corners.length; before = at++) {
      const [ax, ay] = corners[at];
      const [bx, by] = corners[before];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) isInside = !isInside;
    }
    if (isInside) chosen.push(k);
  }
  return chosen;
}
