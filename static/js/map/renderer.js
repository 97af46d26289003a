// Draws the points: by WebGL on a graphics card, otherwise on a plain canvas. Both take the same data.
//
// colours: Uint8Array RGB of each point. shapes: Uint8Array, an index into SHAPES. states: Uint8Array of bits, HIDDEN,
// CHOSEN. view: { x, y, scale }: the data at the canvas's centre, and device pixels per unit.

import { isEmulated } from "../viewer/webgl.js";

export const SHAPES = ["circle", "triangle", "diamond", "square", "cross"];
export const HIDDEN = 1;
export const CHOSEN = 2;

const VERTEX = `
attribute vec2 place;
attribute vec3 colour;
attribute float shape;
attribute float state;
uniform vec2 middle;
uniform vec2 scale;
uniform float size;
uniform float dims;
varying vec3 paint;
varying float form;
varying float alpha;
void main() {
  bool hidden = mod(state, 2.0) > 0.5;
  bool chosen = state > 1.5;
  vec2 at = (place - middle) * scale;
  gl_Position = hidden ? vec4(2.0, 2.0, 0.0, 1.0) : vec4(at, 0.0, 1.0);
  gl_PointSize = chosen ? size + 2.0 : size;
  paint = colour;
  form = shape;
  alpha = dims > 0.5 && !chosen ? 0.25 : 0.85;
}`;

const FRAGMENT = `
precision mediump float;
varying vec3 paint;
varying float form;
varying float alpha;
void main() {
  vec2 at = gl_PointCoord * 2.0 - 1.0;
  float outside;
  if (form < 0.5) outside = dot(at, at) - 1.0;
  else if (form < 1.5) outside = max(abs(at.x) * 2.0 - (at.y + 1.0), at.y - 0.9);
  else if (form < 2.5) outside = abs(at.x) + abs(at.y) - 1.0;
  else if (form < 3.5) outside = max(abs(at.x), abs(at.y)) - 0.85;
  else outside = min(abs(at.x - at.y), abs(at.x + at.y)) - 0.5;
  if (outside > 0.0) discard;
  gl_FragColor = vec4(paint * alpha, alpha);
}`;

// `kind` is for measuring: "webgl" also where it is emulated, "plain" for the other.
export function makeRenderer(canvas, kind = "") {
  const options = { antialias: false, preserveDrawingBuffer: true };
  const gl = kind === "webgl" || (!kind && hasCard()) ? canvas.getContext("webgl", options) : null;
  return gl ? new WebGlRenderer(gl) : new PlainRenderer(canvas.getContext("2d"));
}

// Asked of another canvas: one that has a context for WebGL never gets one for 2-D.
function hasCard() {
  const gl = document.createElement("canvas").getContext("webgl");
  const has = Boolean(gl) && !isEmulated(gl);
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return has;
}

function compiled(gl, kind, source) {
  const shader = gl.createShader(kind);
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
  return shader;
}

class WebGlRenderer {
  constructor(gl) {
    this.gl = gl;
    const program = gl.createProgram();
    gl.attachShader(program, compiled(gl, gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, compiled(gl, gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    gl.useProgram(program);
    this.uniforms = Object.fromEntries(
      ["middle", "scale", "size", "dims"].map((name) => [name, gl.getUniformLocation(program, name)]),
    );
    this.attributes = {
      place: this.attribute(program, "place", 2, gl.FLOAT, false),
      colour: this.attribute(program, "colour", 3, gl.UNSIGNED_BYTE, true),
      shape: this.attribute(program, "shape", 1, gl.UNSIGNED_BYTE, false),
      state: this.attribute(program, "state", 1, gl.UNSIGNED_BYTE, false),
    };
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.count = 0;
  }

  attribute(program, name, width, kind, isNormalised) {
    const gl = this.gl;
    const buffer = gl.createBuffer();
    const place = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, width, kind, isNormalised, 0, 0);
    return buffer;
  }

  upload(name, data) {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.attributes[name]);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, data, this.gl.STATIC_DRAW);
  }

  setPlaces(places) {
    this.count = places.length / 2;
    this.upload("place", places);
  }

  setColours(colours, shapes) {
    this.upload("colour", colours);
    this.upload("shape", shapes);
  }

  setStates(states) {
    this.upload("state", states);
  }

  draw(view, { size, dims }) {
    const gl = this.gl;
    const { width, height } = gl.canvas;
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(this.uniforms.middle, view.x, view.y);
    gl.uniform2f(this.uniforms.scale, (2 * view.scale) / width, (2 * view.scale) / height);
    gl.uniform1f(this.uniforms.size, size);
    gl.uniform1f(this.uniforms.dims, dims ? 1 : 0);
    gl.drawArrays(gl.POINTS, 0, this.count);
  }

  finish() {
    this.gl.finish();
  }
}

// Writes the pixels itself: stamps of each shape, without blending. Where WebGL is emulated this is several times faster.
class PlainRenderer {
  constructor(context) {
    this.context = context;
  }

  setPlaces(places) {
    this.places = places;
  }

  setColours(colours, shapes) {
    this.shapes = shapes;
    this.colours = colours;
  }

  setStates(states) {
    this.states = states;
  }

  draw(view, { size, dims }) {
    const { width, height } = this.context.canvas;
    if (this.image?.width !== width || this.image?.height !== height) {
      this.image = this.context.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    this.pixels.fill(0);
    if (dims) this.stampAll(view, Math.round(size), 0, 64);
    this.stampAll(view, Math.round(size) + (dims ? 2 : 0), dims ? CHOSEN : 0, 217);
    this.context.putImageData(this.image, 0, 0);
  }

  // The points whose state is `wanted`, where dimmed ones are drawn below the chosen.
  stampAll(view, size, wanted, alpha) {
    const { places, colours, shapes, states, pixels } = this;
    const { width, height } = this.context.canvas;
    const stamps = SHAPES.map((_, shape) => stampOf(shape, size));
    const half = size >> 1;
    for (let k = 0; k < states.length; k++) {
      if (states[k] !== wanted) continue;
      const left = Math.round((places[2 * k] - view.x) * view.scale + width / 2) - half;
      const top = Math.round(height / 2 - (places[2 * k + 1] - view.y) * view.scale) - half;
      if (left < 0 || top < 0 || left + size > width || top + size > height) continue;
      const paint =
        ((alpha << 24) | (colours[3 * k + 2] << 16) | (colours[3 * k + 1] << 8) | colours[3 * k]) >>> 0;
      for (const [dx, dy] of stamps[shapes[k]]) pixels[(top + dy) * width + left + dx] = paint;
    }
  }

  finish() {}
}

// The pixels [x, y] of a shape in a square of `size`, by the rules of the shader.
function stampOf(shape, size) {
  const stamp = [];
  for (let dy = 0; dy < size; dy++) {
    for (let dx = 0; dx < size; dx++) {
      const [x, y] = [((dx + 0.5) / size) * 2 - 1, ((dy + 0.5) / size) * 2 - 1];
      const outside = [
        x * x + y * y - 1,
        Math.max(Math.abs(x) * 2 - (y + 1), y - 0.9),
        Math.abs(x) + Math.abs(y) - 1,
        Math.max(Math.abs(x), Math.abs(y)) - 0.85,
        Math.min(Math.abs(x - y), Math.abs(x + y)) - 0.5,
      ][shape];
      if (outside <= 0) stamp.push([dx, dy]);
    }
  }
  return stamp;
}
