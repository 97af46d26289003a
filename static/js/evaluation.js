// An evaluation: draws its figures, and redraws them when the fusion weight changes.

import { drawFigure, openFilmsOf, whenReady } from "./figures.js";
import { withLogIn } from "./labelling/login.js";
import { Trouble, csrf } from "./labelling/server.js";

const root = document.getElementById("evaluation");
const slider = document.getElementById("weight");
const shownWeight = document.getElementById("weight-value");
const trouble = document.getElementById("trouble");
const unlock = document.getElementById("unlock");
const operatingWeight = document.getElementById("operating-weight");
// Figures of the sections that load later, by section.
const LATER = { breakdown: ["forest"], "semi-supervised-section": ["semi-supervised"], precision: ["precision-recall"], recalibration: ["calibration", "decision"], localisation: ["froc"], flow: ["stard"] };

function draw(figures) {
  for (const [name, figure] of Object.entries(figures)) drawFigure(name, figure, `${name}-${root.dataset.part}`);
}

let wanted = null; // the latest weight requested while another request is running, and whether the slider is still moving
let busy = false;

async function requestWeight(weight, moving) {
  wanted = { weight, moving };
  if (busy) return;
  busy = true;
  while (wanted !== null) {
    const now = wanted;
    wanted = null;
    await showWeight(now);
  }
  busy = false;
}

// Moving the weight on test is a POST, since it is counted.
async function fetchFigures(fields) {
  const options = { headers: { Accept: "application/json" }, redirect: "manual" };
  let url = `${root.dataset.figuresUrl}?${fields}`;
  if (root.dataset.part === "test") {
    url = root.dataset.figuresUrl;
    Object.assign(options, { method: "POST", body: fields });
    options.headers["X-CSRFToken"] = csrf();
  }
  const response = await fetch(url, options).catch(() => {
    throw new Error("The server did not answer; move the slider again.");
  });
  if (response.type === "opaqueredirect") {
    throw new Trouble("out", "Your session has ended: log in, then move the slider again.");
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  throw new Error(answer?.error || `The server answered ${response.status}; move the slider again.`);
}

async function showWeight({ weight, moving }) {
  const fields = new URLSearchParams({ part: root.dataset.part, weight });
  if (moving) fields.set("moving", "yes"); // the band takes longest and is computed once the slider rests
  const ask = () => fetchFigures(fields);
  let answer;
  try {
    answer = await (moving ? ask() : withLogIn(ask));
  } catch (error) {
    trouble.textContent = error.message;
    return;
  }
  trouble.textContent = "";
  root.dataset.csvQuery = `weight=${weight}`;
  draw(answer.figures);
  document.getElementById("summary").innerHTML = answer.summary;
  document.getElementById("looks").textContent = answer.looks;
  root.dataset.shownWeight = weight;
  markOperatingPoint();
  if (operatingWeight && !moving) {
    operatingWeight.value = weight;
    operatingWeight.form.dispatchEvent(new Event("weighed"));
  }
}

// The operating point is marked on the ROC and the histogram while both are drawn at its weight.
function markOperatingPoint() {
  const numbers = document.querySelector("#operating [data-threshold]");
  const isDrawn = numbers?.dataset.score === "one-class"; // the figures are of the one-class score
  const shown = isDrawn && Number(numbers.dataset.weight) === Number(root.dataset.shownWeight);
  const place = shown && numbers.dataset.sensitivity !== "None" && numbers.dataset.specificity !== "None";
  const [x, y] = place ? [1 - Number(numbers.dataset.specificity), Number(numbers.dataset.sensitivity)] : [null, null];
  const point = place ? `Operating point ${y.toFixed(3)} at ${x.toFixed(3)}` : "No operating point";
  fillIn("roc", { x: [[x]], y: [[y]], name: point, showlegend: Boolean(place) });
  const threshold = shown ? Number(numbers.dataset.threshold) : null;
  const line = shown ? `Threshold ${threshold.toPrecision(4)}` : "No threshold";
  fillIn("histogram", { x: [[threshold, threshold]], name: line, showlegend: Boolean(shown) });
}

// The server draws the trace of the operating point without its place, so that its line in the legend has room.
function fillIn(name, values) {
  const figure = document.getElementById(name);
  const place = figure.data.findIndex((trace) => trace.meta === "operating");
  if (place !== -1) Plotly.restyle(figure, values, [place]);
}

function drawLater(name) {
  const figure = document.getElementById(`${name}-figure`);
  if (!figure) return;
  drawFigure(name, JSON.parse(figure.textContent), `${name}-${root.dataset.part}`);
  openFilmsOf(name, root.dataset.filmUrl);
}

function start() {
  // A swapped figure is drawn at once. htmx would first give it the class and style of the old figure of its id, and 20 ms
  // later take away those that Plotly has set.
  window.htmx.config.attributesToSettle = [];
  const figures = JSON.parse(document.getElementById("figures").textContent);
  draw(figures);
  for (const name of Object.keys(figures)) openFilmsOf(name, root.dataset.filmUrl);
  root.dataset.shownWeight = slider.value;
  document.body.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id === "operating") markOperatingPoint();
    for (const name of LATER[event.target.id] ?? []) drawLater(name);
  });
  markOperatingPoint();
  slider.addEventListener("input", () => {
    shownWeight.textContent = Number(slider.value).toFixed(2);
    // On test each weight counts as a look, so only the weight at which the slider is released is requested.
    if (root.dataset.part !== "test") requestWeight(slider.value, true);
  });
  slider.addEventListener("change", () => requestWeight(slider.value, false));
  unlock?.addEventListener("click", () => {
    slider.disabled = false;
    unlock.disabled = true;
    slider.focus();
  });
}

whenReady(start);
