// How a film may be shown: {kind: "lut", name, lut} or {kind, name, center, width, voiFunction}. The first choice is
// the default: the VOI LUT if there is one, then the window, then the percentiles.

import { STORED_VALUES, isInverted } from "./pixels.js";

// Shares of the film's pixels from the dark end of the screen. A radiograph has no Hounsfield units, so a window for
// lung, mediastinum or bone covers the part of the film's own values where that tissue lies.
const SHARES = [
  { kind: "percentile", name: "0.5–99.5 %", low: 0.005, high: 0.995 },
  { kind: "lung", name: "Lung", low: 0.01, high: 0.7 },
  { kind: "mediastinum", name: "Mediastinum", low: 0.35, high: 0.995 },
  { kind: "bone", name: "Bone", low: 0.55, high: 0.999 },
  { kind: "full", name: "Full range", low: 0, high: 1 },
];

export function voiChoices(facts, pixels, modality) {
  const luts = (facts.voi_luts ?? []).map((lut, i) => ({ kind: "lut", name: `VOI LUT ${i + 1}`, lut }));
  const windows = (facts.windows ?? []).map((window, i) => ({
    kind: "window",
    name: nameOfWindow(window.name) || `Window ${i + 1}`,
    center: window.center,
    width: window.width,
    voiFunction: facts.voi_function || "LINEAR",
  }));
  const used = valuesFromDark(countStored(pixels, facts.padding), modality, isInverted(facts, false));
  return [...luts, ...windows, ...SHARES.map((share) => shareChoice(used, share))];
}

// Makers call their middle window NORMAL. On a film that a person has to call normal or abnormal, it says something else.
function nameOfWindow(name) {
  return (name ?? "").replace(/\bNORMAL\b/g, "NEUTRAL");
}

function shareChoice(used, { kind, name, low, high }) {
  const [first, last] = [valueAtShare(used, low), valueAtShare(used, high)];
  const width = Math.abs(last - first) || 1;
  return { kind, name, center: (first + last) / 2, width, voiFunction: "LINEAR_EXACT" };
}

// The window that a drag starts from.
export function equivalentWindow(choice, facts) {
  if (choice.kind !== "lut") return { center: choice.center, width: choice.width, voiFunction: choice.voiFunction };
  const length = choice.lut.values.length;
  return { center: choice.lut.first + length / 2, width: length, voiFunction: facts.voi_function || "LINEAR" };
}

// A window that was dragged, in units of the film's own percentiles, so that it means the same on the next film.
export function relativeWindow(own, choices) {
  const range = choices.find(({ kind }) => kind === "percentile");
  return { center: (own.center - range.center) / range.width, width: own.width / range.width, voiFunction: own.voiFunction };
}

export function ownWindow({ center, width, voiFunction }) {
  return { kind: "own", name: "Own window", center, width: Math.max(voiFunction === "LINEAR" ? 1 : 1e-3, width), voiFunction };
}

// The reader's choice on the previous film, applied to this one; the default if this film has no such choice.
export function chosenAgain(choices, wanted) {
  if (!wanted) return choices[0];
  if (wanted.relative) {
    const { center, width, voiFunction } = wanted.relative;
    const range = choices.find(({ kind }) => kind === "percentile");
    return ownWindow({ center: range.center + center * range.width, width: width * range.width, voiFunction });
  }
  return choices.find(({ kind, name }) => kind === wanted.kind && name === wanted.name) ?? choices[0];
}

// Padding is counted only if the film has no other value.
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
