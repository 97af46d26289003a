// What is shown at the film's edges: view and laterality, the letters of the patient's sides, the scale bar.

import { element, tidyNumber } from "./dom.js";
import { mmPerDevicePixel } from "./geometry.js";

const BAR_MM = [1, 2, 5, 10, 20, 50, 100, 200];
const BAR_SHARE = 0.25; // of the stage's width, at most
const PLANES = { detector: "at the detector", patient: "in the patient" };

export function buildCorners(stage) {
  const corner = element("p", { classes: "hv-corner" });
  const sides = ["left", "right", "top", "bottom"].map((side) => element("span", { classes: `hv-side hv-side-${side}` }));
  const bar = element("span", { classes: "hv-scale-line" });
  const length = element("span", { classes: "hv-scale-words" });
  const scale = element("p", { classes: "hv-scale" }, [bar, length]);
  stage.element.append(corner, ...sides, scale);
  return {
    update({ facts }, view) {
      corner.textContent = cornerSentence(facts, view);
      sideLetters(facts, view).forEach((letter, i) => (sides[i].textContent = letter));
      updateScale({ scale, bar, length }, facts, view, stage);
    },
  };
}

function updateScale({ scale, bar, length }, facts, view, stage) {
  const mm = mmPerDevicePixel(facts, view);
  if (!mm) {
    bar.style.width = "0";
    length.textContent = "No scale: spacing unknown";
    scale.dataset.mm = "";
    return;
  }
  const most = stage.canvas.width * BAR_SHARE * mm;
  const shown = BAR_MM.findLast((size) => size <= most) ?? BAR_MM[0];
  bar.style.width = `${shown / mm / stage.pixelRatio}px`;
  scale.dataset.mm = shown;
  length.textContent = `${shown} mm ${PLANES[facts.spacing_plane] ?? "in a plane not stated"}`;
}

export function cornerSentence(facts, { turn, flipped } = {}) {
  const view = facts.view_position || "View unknown";
  // Unpaired: a frontal chest film has no laterality (PS3.3 C.8.11.2).
  const side = facts.laterality === "U" ? "" : `laterality ${facts.laterality || "unknown"}`;
  const pose = [flipped ? "mirrored" : "", turn ? `turned ${turn * 90}°` : ""].filter(Boolean).join(", ");
  const sides = directions(facts).some(Boolean) ? "" : "sides unknown";
  return [view, side, sides, pose].filter(Boolean).join(" · ");
}

const OPPOSITE = { L: "R", R: "L", A: "P", P: "A" };

// Patient directions towards the film's right and downwards, from PatientOrientation (PS3.3 C.7.6.1.1.1): the first
// letter of each, "" where unknown. Head and feet need no letter on a chest film.
function directions(facts) {
  const values = [facts.patient_orientation ?? ""].flat().join("\\").split("\\");
  return [0, 1].map((i) => (OPPOSITE[values[i]?.[0]] ? values[i][0] : ""));
}

// Letters at the left, right, top and bottom edge of the screen; they follow a mirrored or turned film.
export function sideLetters(facts, { turn = 0, flipped = false } = {}) {
  let [e, s] = directions(facts);
  let [w, n] = [OPPOSITE[e] ?? "", OPPOSITE[s] ?? ""];
  if (flipped) [w, e] = [e, w];
  for (let i = 0; i < turn; i++) [n, e, s, w] = [w, n, e, s];
  return [w, e, n, s];
}

// Why fine detail should not be judged on this display; "" if the display is good enough.
export function displayWarning() {
  const [width, height] = [screen.width, screen.height].map((side) => Math.round(side * (window.devicePixelRatio || 1)));
  const reasons = [];
  if (Math.min(width, height) < 720 || Math.max(width, height) < 1280) {
    reasons.push(`it has ${width} × ${height} pixels, fewer than 1280 × 720`);
  }
  if (screen.colorDepth < 24 || !matchMedia("(min-color: 8)").matches) {
    reasons.push(`it shows ${tidyNumber(screen.colorDepth)} bits a pixel, fewer than 24`);
  }
  return reasons.length ? `This display is too poor to judge fine detail: ${reasons.join(", and ")}.` : "";
}
