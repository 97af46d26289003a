// 3 x 3 matrices, row by row, and how a film is moved in the canonical frame. Points are (x, y) in continuous pixels, y
// down, centres at 0.5.

export const NEUTRAL = { x: 0, y: 0, angle: 0, scale: 0, aspect: 0, shear: 0, across: 0, down: 0 };

export function multiply(a, b) {
  const product = new Array(9).fill(0);
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) {
      for (let k = 0; k < 3; k++) product[3 * i + j] += a[3 * i + k] * b[3 * k + j];
    }
  }
  return product;
}

export function invert(m) {
  const [a, b, c, d, e, f, g, h, i] = m;
  const rows = [e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f,
    d * h - e * g, b * g - a * h, a * e - b * d];
  const determinant = a * rows[0] + b * rows[3] + c * rows[6];
  return rows.map((value) => value / determinant);
}

export function project(m, [x, y]) {
  const depth = m[6] * x + m[7] * y + m[8];
  return [(m[0] * x + m[1] * y + m[2]) / depth, (m[3] * x + m[4] * y + m[5]) / depth];
}

const shift = (x, y) => [1, 0, x, 0, 1, y, 0, 0, 1];

// How the film moves on the canonical frame. Shift in pixels, angle in degrees (clockwise, as y points down), the rest in
// percent: scale and aspect of the natural logarithm, shear of the height, perspective of the depth across half the frame.
export function moved({ x, y, angle, scale, aspect, shear, across, down }, side) {
  const half = side / 2, turn = (angle * Math.PI) / 180;
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
  const wide = Math.exp((scale + aspect / 2) / 100), high = Math.exp((scale - aspect / 2) / 100);
  const steps = [
    shift(half + x, half + y),
    [cos, -sin, 0, sin, cos, 0, 0, 0, 1],
    [1, shear / 100, 0, 0, 1, 0, 0, 0, 1],
    [wide, 0, 0, 0, high, 0, 0, 0, 1],
    [1, 0, 0, 0, 1, 0, across / 100 / half, down / 100 / half, 1],
    shift(-half, -half),
  ];
  return steps.reduce(multiply);
}

// original_from_canonical of a film that was at `start` and is moved since.
export function matrixOf(start, params, side) {
  const matrix = multiply(start, invert(moved(params, side)));
  return matrix.map((value) => value / matrix[8]);
}

// The affine from targets to points with the least squared distances, by the normal equations about the targets' mean.
export function fitAffine(points, targets) {
  const count = points.length;
  const mean = (values, axis) => values.reduce((sum, at) => sum + at[axis], 0) / count;
  const [mx, my] = [mean(targets, 0), mean(targets, 1)], [px, py] = [mean(points, 0), mean(points, 1)];
  let [xx, xy, yy] = [0, 0, 0];
  const right = [[0, 0], [0, 0]];
  for (let k = 0; k < count; k++) {
    const [x, y] = [targets[k][0] - mx, targets[k][1] - my];
    xx += x * x;
    xy += x * y;
    yy += y * y;
    for (const axis of [0, 1]) {
      const value = points[k][axis] - [px, py][axis];
      right[axis][0] += x * value;
      right[axis][1] += y * value;
    }
  }
  const determinant = xx * yy - xy * xy;
  if (count < 3 || determinant < 1e-6 * (xx + yy) ** 2) return null; // on a line
  const rows = right.map(([rx, ry]) => [(yy * rx - xy * ry) / determinant, (xx * ry - xy * rx) / determinant]);
  const [[a, b], [c, d]] = rows;
  return [a, b, px - a * mx - b * my, c, d, py - c * mx - d * my, 0, 0, 1];
}

// The distances of landmarks from their targets in canonical pixels.
export function residualsOf(matrix, points, targets) {
  const back = invert(matrix);
  return points.map((point, k) => {
    const [x, y] = project(back, point);
    return Math.hypot(x - targets[k][0], y - targets[k][1]);
  });
}
