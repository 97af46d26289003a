// From stored values to 8-bit grey, in one fixed order (DICOM PS3.3 C.7.6.3.1.2 puts inversion last):
// stored value − offset → modality LUT or rescale → VOI → inversion, once → 8 bit.
// A film has 65,536 possible stored values, so each step is a table.

import { ViewerError, fetchBytes } from "./fetching.js";

export const STORED_VALUES = 65536;

export async function fetchPixels(url, facts, { onProgress, signal } = {}) {
  const { rows, columns } = facts;
  const expected = rows * columns * 2;
  const bytes = await fetchBytes(url, "The film", { expected, onProgress, signal });
  if (bytes.length !== expected) {
    throw new ViewerError(
      `The film's pixels do not match its header: ${columns} × ${rows} pixels need ${count(expected)} bytes, ` +
        `${count(bytes.length)} arrived. Try again; if it stays, the film must be imported anew.`,
    );
  }
  return new Uint16Array(bytes.buffer);
}

export function checkFacts(facts) {
  const whole = (n) => Number.isInteger(n) && n > 0 && n <= 65535;
  if (!whole(facts.rows) || !whole(facts.columns)) {
    throw new ViewerError(`The film's header gives an impossible size (${facts.columns} × ${facts.rows}).`);
  }
}

// Float64Array over stored values. A modality LUT counts stored values, the signed offset included.
export function modalityTable(facts) {
  const { offset = 0, slope = 1, intercept = 0, modality_lut: lut } = facts;
  const table = new Float64Array(STORED_VALUES);
  for (let stored = 0; stored < STORED_VALUES; stored++) {
    table[stored] = lut ? lookUp(lut, stored) : (stored - offset) * slope + intercept;
  }
  return table;
}

function lookUp(lut, value) {
  const index = roundHalfEven(value - lut.first);
  return lut.values[Math.min(lut.values.length - 1, Math.max(0, index))];
}

// Like numpy.rint, so that browser and server look up the same entry.
function roundHalfEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

// PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.2 (LINEAR_EXACT), C.11.2.1.3.1 (SIGMOID), scaled to [0, 1].
export function windowed(value, { center, width, voiFunction }) {
  if (voiFunction === "SIGMOID") return 1 / (1 + Math.exp((-4 * (value - center)) / width));
  if (voiFunction === "LINEAR_EXACT") return ramp(value, center, width);
  return ramp(value, center - 0.5, width - 1);
}

function ramp(value, center, width) {
  if (width <= 0) return value > center ? 1 : 0;
  return Math.min(1, Math.max(0, (value - center) / width + 0.5));
}

export function isInverted(facts, invertedByUser) {
  return (facts.photometric === "MONOCHROME1") !== Boolean(facts.presentation_inverse) !== Boolean(invertedByUser);
}

// Uint8Array over stored values: the grey on screen.
export function greyTable(modality, choice, inverted) {
  const table = new Uint8Array(STORED_VALUES);
  const shown = choice.kind === "lut" ? voiLutFunction(choice.lut) : (value) => windowed(value, choice);
  for (let stored = 0; stored < STORED_VALUES; stored++) {
    const brightness = shown(modality[stored]);
    table[stored] = Math.round(255 * (inverted ? 1 - brightness : brightness));
  }
  return table;
}

function voiLutFunction(lut) {
  const most = 2 ** lut.bits - 1;
  return (value) => Math.min(1, lookUp(lut, value) / most);
}

function count(n) {
  return n.toLocaleString("en");
}
