// From stored values to 8-bit grey, in one fixed order (DICOM PS3.3 C.7.6.3.1.2 puts inversion last):
// stored value − offset → modality LUT or rescale → VOI → inversion, once → 8 bit.
// A film has 65,536 possible stored values, so each step is a table.

import { ViewerError, fetchBytes } from "./fetching.js";

export const STORED_VALUES = 65536;

export async function fetchPixels(url, facts, onProgress) {
  const { rows, columns } = facts;
  const expected = rows * columns * 2;
  const bytes = await fetchBytes(url, "The film", { expected, onProgress });
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

// As numpy.rint, so that browser and server read the same entry.
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

// How a film may be shown: {kind: "lut", name, lut} or {kind: "window" | "percentile" | "full", name, center, width,
// voiFunction}. The first is the default: VOI LUT, else window, else percentiles.
export function voiChoices(facts, pixels, modality) {
  const luts = (facts.voi_luts ?? []).map((lut, i) => ({ kind: "lut", name: `VOI LUT ${i + 1}`, lut }));
  const windows = (facts.windows ?? []).map((window, i) => ({
    kind: "window",
    name: window.name || `Window ${i + 1}`,
    center: window.center,
    width: window.width,
    voiFunction: facts.voi_function || "LINEAR",
  }));
  const used = valuesFromDark(countStored(pixels, facts.padding), modality, isInverted(facts, false));
  return [
    ...luts,
    ...windows,
    rangeChoice("percentile", "0.5–99.5 %", valueAtShare(used, 0.005), valueAtShare(used, 0.995)),
    rangeChoice("full", "Full range", used.at(0).value, used.at(-1).value),
  ];
}

function rangeChoice(kind, name, one, other) {
  const width = Math.abs(other - one) || 1;
  return { kind, name, center: (one + other) / 2, width, voiFunction: "LINEAR_EXACT" };
}

// The window that a drag starts from.
export function equivalentWindow(choice, facts) {
  if (choice.kind !== "lut") return { center: choice.center, width: choice.width, voiFunction: choice.voiFunction };
  const length = choice.lut.values.length;
  return { center: choice.lut.first + length / 2, width: length, voiFunction: facts.voi_function || "LINEAR" };
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

// Padding counts only where there is nothing else.
function countStored(pixels, padding) {
  const counts = new Uint32Array(STORED_VALUES);
  for (let i = 0; i < pixels.length; i++) counts[pixels[i]]++;
  const unpadded = counts.slice();
  if (padding) unpadded.fill(0, padding[0], padding[1] + 1);
  return unpadded.some((n) => n > 0) ? unpadded : counts;
}

function valuesFromDark(counts, modality, inverted) {
  const used = [];
  for (let stored = 0; stored < STORED_VALUES; stored++) {
    if (counts[stored]) used.push({ value: modality[stored], count: counts[stored] });
  }
  return used.sort((a, b) => (inverted ? b.value - a.value : a.value - b.value));
}

// The first value, from the dark end, that has at least this share of the pixels at or below it.
function valueAtShare(used, share) {
  const total = used.reduce((sum, entry) => sum + entry.count, 0);
  let left = Math.ceil(share * total);
  return used.find((entry) => (left -= entry.count) <= 0).value;
}

function count(n) {
  return n.toLocaleString("en");
}
