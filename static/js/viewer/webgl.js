// The film as an R16UI texture (integers cannot be filtered by the card: the shader interpolates), its grey table
// as 256 × 256 R8, the fused map as RG32F (value, unmasked).

import { invertAffine } from "./geometry.js";
import { FAINTEST } from "./heatmap.js";

export const MOST_TAPS = 6;

const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  gl_Position = vec4(corner * 4.0 - 1.0, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
precision highp sampler2D;
uniform usampler2D film;
uniform sampler2D greys;
uniform sampler2D heat;
uniform sampler2D colours;
uniform vec2 filmSize, scale;
uniform mat3 originalFromDevice;
uniform float canvasHeight;
uniform vec3 background;
uniform bool heatShown;
uniform mat3 patchesFromOriginal;
uniform vec2 heatSize;
uniform float scaleLow, scaleHigh, threshold, opacity;
out vec4 colour;

float greyAt(ivec2 pixel) {
  ivec2 inside = clamp(pixel, ivec2(0), ivec2(filmSize) - 1);
  uint stored = texelFetch(film, inside, 0).r;
  return texelFetch(greys, ivec2(int(stored & 255u), int(stored >> 8u)), 0).r;
}

float bilinear(vec2 position) {
  vec2 corner = floor(position - 0.5);
  vec2 f = position - 0.5 - corner;
  ivec2 p = ivec2(corner);
  return mix(mix(greyAt(p), greyAt(p + ivec2(1, 0)), f.x),
             mix(greyAt(p + ivec2(0, 1)), greyAt(p + ivec2(1, 1)), f.x), f.y);
}

float averaged(vec2 position) {
  ivec2 taps = clamp(ivec2(ceil(1.0 / scale)), ivec2(1), ivec2(${MOST_TAPS}));
  float sum = 0.0;
  for (int j = 0; j < taps.y; j++)
    for (int i = 0; i < taps.x; i++)
      sum += greyAt(ivec2(floor(position + ((vec2(i, j) + 0.5) / vec2(taps) - 0.5) / scale)));
  return sum / float(taps.x * taps.y);
}

vec2 heatAt(ivec2 place) {
  if (any(lessThan(place, ivec2(0))) || any(greaterThanEqual(place, ivec2(heatSize)))) return vec2(0.0);
  return texelFetch(heat, place, 0).rg;
}

// (value, unmasked), bilinear between the centres of unmasked patches.
vec2 heatSample(vec2 position) {
  if (heatAt(ivec2(floor(position))).g == 0.0) return vec2(0.0);
  vec2 corner = floor(position - 0.5);
  vec2 f = position - 0.5 - corner;
  float sum = 0.0, weights = 0.0;
  for (int j = 0; j < 2; j++)
    for (int i = 0; i < 2; i++) {
      vec2 patchValue = heatAt(ivec2(corner) + ivec2(i, j));
      float weight = (i == 1 ? f.x : 1.0 - f.x) * (j == 1 ? f.y : 1.0 - f.y) * patchValue.g;
      sum += weight * patchValue.r;
      weights += weight;
    }
  return vec2(sum / max(weights, 1e-12), 1.0);
}

vec3 withHeat(vec3 grey, vec2 position) {
  vec2 heatHere = heatSample((patchesFromOriginal * vec3(position, 1.0)).xy);
  float value = heatHere.r;
  if (heatHere.g == 0.0 || value < threshold) return grey;
  float rise = scaleHigh > threshold ? clamp((value - threshold) / (scaleHigh - threshold), 0.0, 1.0) : 1.0;
  float entry = clamp((value - scaleLow) / max(scaleHigh - scaleLow, 1e-12), 0.0, 1.0);
  vec3 hot = texelFetch(colours, ivec2(int(floor(entry * 255.0 + 0.5)), 0), 0).rgb;
  return mix(grey, hot, opacity * mix(${FAINTEST.toFixed(2)}, 1.0, rise));
}

void main() {
  vec2 device = vec2(gl_FragCoord.x, canvasHeight - gl_FragCoord.y);
  vec2 position = (originalFromDevice * vec3(device, 1.0)).xy;
  if (any(lessThan(position, vec2(0.0))) || any(greaterThanEqual(position, filmSize))) {
    colour = vec4(background, 1.0);
    return;
  }
  vec3 grey = vec3(any(lessThan(scale, vec2(1.0))) ? averaged(position) : bilinear(position));
  colour = vec4(heatShown ? withHeat(grey, position) : grey, 1.0);
}`;

const UNITS = { film: 0, greys: 1, heat: 2, colours: 3 };

// Throws if WebGL2 cannot show this film; the caller then uses the 2-D renderer. Emulated WebGL is ten times slower than the
// 2-D renderer, so it is used only on request.
export function createWebglRenderer(canvas, { onLost, evenEmulated }) {
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false });
  if (!gl || (!evenEmulated && isEmulated(gl))) throw new Error("no graphics card offers WebGL2");
  canvas.addEventListener("webglcontextlost", onLost, { once: true });
  const program = linkProgram(gl);
  const uniforms = uniformSetter(gl, program);
  for (const unit of Object.values(UNITS)) bindTexture(gl, unit);
  gl.useProgram(program);
  for (const [name, unit] of Object.entries(UNITS)) uniforms.integer(name, unit);
  setMap(gl, { values: new Float32Array([NaN]), columns: 1, rows: 1 });

  return {
    kind: "webgl2",
    setFilm: (pixels, columns, rows) => setFilm(gl, uniforms, pixels, columns, rows),
    setGreys: (table) => upload(gl, UNITS.greys, gl.R8, 256, 256, gl.RED, gl.UNSIGNED_BYTE, table),
    setHeat: (heat) => setHeat(gl, uniforms, heat),
    draw: (view, background) => draw(gl, uniforms, view, background),
    // Reads what draw() has just drawn: the buffer does not survive the frame.
    read: (x, y, width, height) => readTopDown(gl, x, y, width, height),
    destroy: () => gl.getExtension("WEBGL_lose_context")?.loseContext(),
  };
}

// Chromium's failIfMajorPerformanceCaveat lets SwiftShader pass.
export function isEmulated(gl) {
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  const card = gl.getParameter(names?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER);
  return /swiftshader|llvmpipe|softpipe|basic render/i.test(card);
}

function setFilm(gl, uniforms, pixels, columns, rows) {
  const most = gl.getParameter(gl.MAX_TEXTURE_SIZE);
  if (Math.max(columns, rows) > most) throw new Error(`the film exceeds the card's ${most} pixels a side`);
  upload(gl, UNITS.film, gl.R16UI, columns, rows, gl.RED_INTEGER, gl.UNSIGNED_SHORT, pixels);
  if (gl.getError() !== gl.NO_ERROR) throw new Error("the card has no room for the film");
  uniforms.float("filmSize", columns, rows);
}

function setHeat(gl, uniforms, heat) {
  uniforms.integer("heatShown", heat ? 1 : 0);
  if (!heat) return;
  const { overlay, fused, look, colormap } = heat;
  const { rows, columns, stride, canonicalFromOriginal } = overlay;
  setMap(gl, { values: fused, columns, rows });
  upload(gl, UNITS.colours, gl.RGBA8, 256, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(colormap.buffer));
  uniforms.matrix("patchesFromOriginal", columnMajor(canonicalFromOriginal.map((row) => row.map((value) => value / stride))));
  uniforms.float("heatSize", columns, rows);
  for (const name of ["scaleLow", "scaleHigh", "threshold", "opacity"]) uniforms.float(name, look[name]);
}

function columnMajor([[a, b, c], [d, e, f]]) {
  return [a, d, 0, b, e, 0, c, f, 1];
}

// NaN is not reliable in shaders, so masked patches travel as a second channel.
function setMap(gl, { values, columns, rows }) {
  const pairs = new Float32Array(values.length * 2);
  values.forEach((value, i) => pairs.set(Number.isNaN(value) ? [0, 0] : [value, 1], i * 2));
  upload(gl, UNITS.heat, gl.RG32F, columns, rows, gl.RG, gl.FLOAT, pairs);
}

function draw(gl, uniforms, view, background) {
  const { width, height } = gl.canvas;
  gl.viewport(0, 0, width, height);
  uniforms.float("canvasHeight", height);
  uniforms.float("scale", view.scaleX, view.scaleY);
  uniforms.matrix("originalFromDevice", columnMajor(invertAffine(view.matrix)));
  uniforms.float("background", ...background.map((value) => value / 255));
  gl.drawArrays(gl.TRIANGLES, 0, 3);
}

function readTopDown(gl, x, y, width, height) {
  const flipped = new Uint8Array(width * height * 4);
  gl.readPixels(x, gl.canvas.height - y - height, width, height, gl.RGBA, gl.UNSIGNED_BYTE, flipped);
  const rows = new Uint8ClampedArray(flipped.length);
  for (let row = 0; row < height; row++) {
    rows.set(flipped.subarray(row * width * 4, (row + 1) * width * 4), (height - 1 - row) * width * 4);
  }
  return rows;
}

function bindTexture(gl, unit) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
  for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
}

function upload(gl, unit, internal, width, height, format, type, data) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  gl.texImage2D(gl.TEXTURE_2D, 0, internal, width, height, 0, format, type, data);
}

function uniformSetter(gl, program) {
  const known = new Map();
  const at = (name) => {
    if (!known.has(name)) known.set(name, gl.getUniformLocation(program, name));
    return known.get(name);
  };
  return {
    integer: (name, value) => gl.uniform1i(at(name), value),
    float: (name, ...values) => gl[`uniform${values.length}f`](at(name), ...values),
    matrix: (name, values) => gl.uniformMatrix3fv(at(name), false, values),
  };
}

function linkProgram(gl) {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    const logs = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader));
    throw new Error(`the shaders did not compile: ${gl.getProgramInfoLog(program)} ${logs.join(" ")}`);
  }
  return program;
}
