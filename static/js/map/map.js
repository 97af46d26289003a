// The embedding map of a dataset: loads its points, colours them, shows what is under the pointer, and acts on what a
// lasso has chosen.

import { newUuid } from "../labelling/outbox.js";
import { withLogIn } from "../labelling/login.js";
import { Trouble, post } from "../labelling/server.js";
import { colourOfNumber, legendOf, paintByNames, paintByNumbers, paintPlain, scaleOf } from "./colours.js";
import { fetchPoints, nameOf } from "./points.js";
import { CHOSEN, HIDDEN } from "./renderer.js";
import { Stage } from "./stage.js";

const root = document.getElementById("map");
const element = (id) => document.getElementById(id);
const [canvas, status, kept, card] = [element("map-canvas"), element("map-status"), element("kept"), element("map-card")];
const PREVIEWS = 12;
const ROWS = 200;
const MOST_LABELLED = 5000;
const OUT = "Your session has ended: log in, then try again.";
const NONE = { kind: "names", names: [], values: [], counts: [], note: "" };
const format = new Intl.NumberFormat("en");
const films = (count) => `${format.format(count)} film${count === 1 ? "" : "s"}`;

let points, states, stage;
let colouring = { by: "", legend: [], ...NONE };
let pairs = null; // for each point, whether it is in a pair of possible duplicates
let act = null; // the last exclusion, to be undone
let hover = 0;

const urlOf = (template, k) => template.replace("00000000-0000-4000-8000-000000000000", nameOf(points, k));
const chosen = () => Array.from(states.keys()).filter((k) => states[k] & CHOSEN);
const shownCount = () => states.reduce((sum, state) => sum + (state & HIDDEN ? 0 : 1), 0);

async function askJson(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" }, redirect: "manual" }).catch(() => null);
  if (response?.type === "opaqueredirect") throw new Trouble("out", OUT);
  const answer = await response?.json().catch(() => null);
  if (!response?.ok || !answer) throw new Error(answer?.error ?? "The server did not answer; try again.");
  return answer;
}

async function colourBy(by, of) {
  const query = new URLSearchParams(of ? { by, of } : { by });
  const answer = await withLogIn(() => askJson(`${root.dataset.coloursUrl}?${query}`));
  if (answer.fingerprint !== points.fingerprint) throw new Error("The films of the map have changed; reload the page.");
  return answer;
}

// What a point is called in words, such as “abnormal” or a score.
function valueOf(k) {
  if (colouring.kind === "names") return colouring.legend[colouring.values[k]]?.name ?? "";
  return colouring.values[k] === null ? "not shown" : colouring.values[k].toPrecision(4);
}

function applyColours() {
  if (colouring.kind === "numbers") stage.paint(paintByNumbers(colouring.values, colouring.scale));
  else if (colouring.legend.length) stage.paint(paintByNames(colouring.legend, colouring.values));
  else stage.paint(paintPlain(points.count));
}

// Hides what the legend or the filter by duplicates leaves out; hidden films are no longer chosen.
function applyFilters() {
  const off = new Set(
    [...document.querySelectorAll("#map-legend input:not(:checked)")].map((input) => Number(input.value)),
  );
  const onlyPairs = element("map-only-pairs")?.checked && pairs;
  for (let k = 0; k < points.count; k++) {
    const isHidden = (colouring.kind === "names" && off.has(colouring.values[k])) || (onlyPairs && !pairs[k]);
    states[k] = isHidden ? HIDDEN : states[k] & CHOSEN;
  }
  stage.restate();
  describe();
}

function describe() {
  const [visible, picked] = [shownCount(), chosen()];
  const hidden = points.count - visible;
  element("map-count").textContent = `${films(visible)} shown${hidden ? `, ${format.format(hidden)} hidden` : ""}`;
  element("map-chosen").textContent = picked.length ? `${films(picked.length)} chosen` : "No film chosen";
  element("map-actions").hidden = !picked.length;
  element("map-previews").replaceChildren(...picked.slice(0, PREVIEWS).map(previewOf));
  element("map-more").textContent = picked.length > PREVIEWS ? `and ${format.format(picked.length - PREVIEWS)} more` : "";
  const isTooMany = picked.length > Number(root.dataset.mostChosen);
  const refusal = isTooMany ? `At most ${format.format(root.dataset.mostChosen)} films at once: choose fewer.` : "";
  element("map-too-many").textContent = refusal;
  for (const button of document.querySelectorAll("[data-of-chosen]")) button.disabled = isTooMany;
  if (element("map-table").open) fillTable();
}

function previewOf(k) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = urlOf(root.dataset.filmUrl, k);
  const image = new Image(72, 72);
  image.src = urlOf(root.dataset.previewUrl, k);
  image.alt = `Chosen film ${nameOf(points, k).slice(0, 8)}${valueOf(k) ? `, ${valueOf(k)}` : ""}`;
  image.loading = "lazy";
  link.append(image);
  item.append(link);
  return item;
}

// The films as a table: the chosen ones, otherwise those that are shown.
function fillTable() {
  const picked = chosen();
  const listed = picked.length ? picked : Array.from(states.keys()).filter((k) => !(states[k] & HIDDEN));
  const rows = listed.slice(0, ROWS).map((k) => {
    const row = document.createElement("tr");
    const [name, value] = [document.createElement("td"), document.createElement("td")];
    const link = document.createElement("a");
    link.href = urlOf(root.dataset.filmUrl, k);
    link.textContent = `film ${nameOf(points, k).slice(0, 8)}`;
    name.append(link);
    value.textContent = valueOf(k);
    row.append(name, value);
    return row;
  });
  element("map-rows").replaceChildren(...rows);
  const which = picked.length ? "chosen" : "shown";
  element("map-table-words").textContent =
    listed.length > ROWS ? `The first ${ROWS} of ${films(listed.length)} ${which}.` : `${films(listed.length)} ${which}.`;
}

function fillLegend() {
  const legend = element("map-legend");
  legend.replaceChildren();
  element("map-note").textContent = colouring.note;
  element("map-scale").hidden = colouring.kind !== "numbers" || !colouring.scale.count;
  if (colouring.kind === "numbers") return fillScale();
  for (const [place, entry] of colouring.legend.entries()) {
    const item = document.createElement("li");
    const label = document.createElement("label");
    const box = document.createElement("input");
    [box.type, box.value, box.checked, box.className] = ["checkbox", place, true, "form-check-input"];
    const sign = document.createElement("span");
    sign.textContent = entry.sign;
    sign.style.color = entry.colour;
    sign.ariaHidden = "true";
    const count = document.createElement("span");
    count.className = "tabular text-secondary ms-auto";
    count.textContent = format.format(entry.count);
    label.append(box, sign, document.createTextNode(entry.name), count);
    item.append(label);
    legend.append(item);
  }
}

function fillScale() {
  const { low, high, count } = colouring.scale;
  const steps = Array.from({ length: 12 }, (_, at) => colourOfNumber(low + ((high - low) * at) / 11, colouring.scale));
  element("map-ramp").style.background = `linear-gradient(to right, ${steps.join(", ")})`;
  element("map-low").textContent = low.toPrecision(3);
  element("map-high").textContent = high.toPrecision(3);
  const left = points.count - count;
  if (left) element("map-note").textContent = `${colouring.note} ${films(left)} without a score shown in grey.`.trim();
}

async function recolour() {
  const [by, of] = element("map-colour").value.split(":");
  try {
    const answer = await colourBy(by, of);
    const legend = answer.kind === "names" ? legendOf(by, answer.names, answer.counts) : [];
    const scale = answer.kind === "numbers" ? scaleOf(answer.values) : null;
    colouring = { ...answer, by, legend, scale };
    status.textContent = "";
  } catch (error) {
    status.textContent = error.message;
    element("map-colour").value = root.dataset.coloured ?? element("map-colour").value; // what is still shown
    return;
  }
  applyColours();
  fillLegend();
  applyFilters();
  root.dataset.coloured = element("map-colour").value;
}

// What is under the pointer, or in focus: at once its place in the legend, then its facts.
function showCard(k) {
  clearTimeout(hover);
  card.hidden = k < 0;
  if (k < 0) return;
  element("map-card-image").src = urlOf(root.dataset.previewUrl, k);
  element("map-card-words").textContent = valueOf(k);
  placeCard(k);
  hover = setTimeout(() => fillCard(k), 120);
}

function placeCard(k) {
  const [x, y] = stage.pixelOf(k).map((value) => value / (stage.ratio || 1));
  const box = canvas.getBoundingClientRect();
  card.style.left = `${x > box.width / 2 ? Math.max(4, x - card.offsetWidth - 16) : x + 16}px`;
  card.style.top = `${Math.min(Math.max(4, y - 40), Math.max(4, box.height - card.offsetHeight - 4))}px`;
}

async function fillCard(k) {
  const facts = await askJson(urlOf(root.dataset.factsUrl, k)).catch((error) => ({ name: error.message }));
  if (stage.point !== k) return;
  const score = colouring.kind === "numbers" ? `score ${valueOf(k)}` : "";
  const own = ["label", "view", "scanner", "dataset"].includes(colouring.by) ? "" : valueOf(k);
  const words = [facts.label, ...(facts.findings ?? []), facts.view, facts.scanner, facts.dataset, score || own];
  const pair = pairs?.[k] ? "in a pair of possible duplicates" : "";
  const text = [...words.filter(Boolean), pair].filter(Boolean).join(" · ");
  element("map-card-words").textContent = `${facts.name}: ${text}`;
  element("map-spoken").textContent = `${facts.name}: ${text}`;
  placeCard(k);
}

function choose(indices, add) {
  if (!add) states.forEach((state, k) => (states[k] = state & HIDDEN));
  for (const k of indices) states[k] |= CHOSEN;
  stage.restate();
  describe();
  status.textContent = "";
}

const labelling = () => ({ sessionUrl: root.dataset.sessionUrl, person: root.dataset.person });

async function exclude(event) {
  event.preventDefault();
  const picked = chosen();
  const reason = element("exclude-reason").value.trim();
  if (!reason) return (kept.textContent = "Say why these films are excluded.");
  if (picked.length > MOST_LABELLED) {
    return (kept.textContent = `${films(picked.length)} are chosen: exclude at most ${format.format(MOST_LABELLED)} at once.`);
  }
  const id = newUuid();
  const fields = [["value", "exclude"], ["reason", reason], ["act", id]];
  await save(async () => {
    const answer = await post(root.dataset.labelUrl, [...fields, ...picked.map((k) => ["image", nameOf(points, k)])], labelling());
    act = id;
    element("undo-exclude").hidden = false;
    const notes = [answer.note, answer.omitted].filter(Boolean).join(" ");
    return `Saved: ${films(Object.keys(answer.labels).length)} excluded. ${notes}`.trim();
  });
}

async function undo() {
  await save(async () => {
    const fields = [["act", act], ["site", root.dataset.site]];
    const answer = await post(root.dataset.undoUrl, fields, labelling());
    element("undo-exclude").hidden = true;
    return `Saved: the exclusion of ${films(Object.keys(answer.labels).length)} is undone.`;
  });
}

async function save(send) {
  kept.textContent = "Saving …";
  try {
    const sentence = await withLogIn(send);
    if (colouring.by === "label") await recolour();
    kept.textContent = sentence;
  } catch (error) {
    kept.textContent = error.kind === "out" ? OUT : error.message;
  }
}

// Forms that make a queue or a cohort: the server is sent the films' UUIDs.
function fillForm(form) {
  form.elements.films.value = chosen()
    .map((k) => nameOf(points, k))
    .join(",");
}

function setMode(mode) {
  stage.setMode(mode);
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  }
}

async function markPairs() {
  const box = element("map-only-pairs");
  if (!box) return;
  const answer = await colourBy("duplicates").catch(() => null);
  if (!answer) return;
  const place = answer.names.findIndex((name) => name === "in a pair to judge");
  pairs = answer.values.map((value) => value === place);
  box.disabled = place < 0;
}

function listen() {
  element("map-colour").addEventListener("change", recolour);
  element("map-layout").addEventListener("change", () => {
    stage.focusOn(-1);
    stage.show(points.places[Number(element("map-layout").value)], states);
    applyColours();
  });
  element("map-legend").addEventListener("change", applyFilters);
  element("map-only-pairs")?.addEventListener("change", applyFilters);
  element("map-table").addEventListener("toggle", () => element("map-table").open && fillTable());
  element("map-clear").addEventListener("click", () => choose([], false));
  element("map-fit").addEventListener("click", () => stage.fit());
  element("map-in").addEventListener("click", () => stage.zoom(1.5));
  element("map-out").addEventListener("click", () => stage.zoom(1 / 1.5));
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.addEventListener("click", () => setMode(button.dataset.mode));
  }
  for (const form of document.querySelectorAll("form[data-chosen]")) {
    form.addEventListener("submit", () => fillForm(form));
  }
  element("exclude")?.addEventListener("submit", exclude);
  element("undo-exclude")?.addEventListener("click", undo);
}

async function begin() {
  status.textContent = "Loading the map …";
  try {
    points = await fetchPoints(root.dataset.pointsUrl);
  } catch (error) {
    status.textContent = error.message;
    return;
  }
  states = new Uint8Array(points.count);
  stage = new Stage(canvas, element("map-overlay"), {
    onPoint: showCard,
    onOpen: (k, event) => {
      const url = urlOf(root.dataset.filmUrl, k);
      if (event.ctrlKey || event.metaKey) window.open(url, "_blank", "noopener");
      else location.assign(url);
    },
    onToggle: (k) => {
      states[k] ^= CHOSEN;
      stage.restate();
      describe();
    },
    onRegion: choose,
    onClear: () => choose([], false),
  });
  window.hilumMap = { stage, points }; // for benchmarks
  stage.show(points.places[0], states);
  applyColours();
  setMode("pan");
  listen();
  describe();
  status.textContent = "";
  await markPairs();
  await recolour();
  root.dataset.ready = "yes";
}

begin();
