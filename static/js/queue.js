// Shows the films of a queue one after another, in place. A label goes to the outbox and the next film is shown at once; a
// key labels only a film that is on the screen.

import { Attributes, labelDetails, noteNewCriteria } from "./labelling/attributes.js";
import { MergeDialog } from "./labelling/dialogs.js";
import { listenToKeys } from "./labelling/keys.js";
import { loginDialog } from "./labelling/login.js";
import { Outbox } from "./labelling/outbox.js";
import { SavedLine } from "./labelling/saved.js";
import { post } from "./labelling/server.js";
import { startViewers } from "./viewer/index.js";

const AHEAD = 8; // films loaded beyond the shown one before more are requested
const AT_ONCE = 16;
const PLACE_DELAY = 800; // ms without a move before the place is saved

const root = document.getElementById("queue");
const bar = document.getElementById("labelbar");
const byId = (id) => document.getElementById(id);
const host = root.querySelector("[data-hilum-viewer]");
const total = Number(root.dataset.total);

const films = new Map(); // position -> film
let nextToLoad = 0; // the first position that has not been requested yet
let loading = null;
let current = null; // the film on the screen
let wanted = Number(root.dataset.place); // the position that is shown, or about to be
const acts = []; // {act, position} of this page, oldest first
const paces = []; // times of the last labels

const session = bar ? { sessionUrl: bar.dataset.sessionUrl, person: bar.dataset.person } : null;
const outbox = bar ? new Outbox({ ...bar.dataset }) : null;
const attributes = new Attributes();

// Films

async function load(from) {
  const response = await fetch(`${root.dataset.filmsUrl}?from=${from}&count=${AT_ONCE}`, { redirect: "manual" });
  if (!response.ok) throw new Error(response.type === "opaqueredirect" ? "out" : `The server answered ${response.status}.`);
  const answer = await response.json();
  for (const film of answer.films) if (!films.has(film.position)) films.set(film.position, film);
  nextToLoad = Math.max(nextToLoad, answer.next ?? total + 1);
  return answer;
}

// The film at a position; films that the server withholds are skipped.
async function filmAt(position, step = 1) {
  for (let at = position; at >= 1 && at <= total; at += step) {
    if (!films.has(at)) await load(step > 0 ? at : Math.max(1, at - AT_ONCE + 1));
    if (films.has(at)) return films.get(at);
  }
  return null;
}

function loadAhead() {
  if (loading || nextToLoad > total || nextToLoad > wanted + AHEAD) return;
  loading = load(Math.max(nextToLoad, wanted + 1))
    .catch(() => {}) // the step that needs the films reports the error
    .finally(() => (loading = null));
}

// Shows the film at a position, or the next one in the direction of `step`. `isNoted`: the server already knows the place.
async function go(position, { step = 1, isNoted = false } = {}) {
  keepDraft();
  wanted = Math.max(1, Math.min(position, total + 1));
  const mine = wanted;
  current = null;
  if (!isNoted) notePlace(wanted);
  let film;
  try {
    film = await filmAt(wanted, step);
  } catch (error) {
    return error.message === "out" ? login.open() : saved.note(`The next film could not be loaded. ${error.message}`);
  }
  if (mine !== wanted) return; // another key was faster
  if (!film) return step > 0 ? end() : go(1);
  wanted = film.position;
  await show(film);
}

async function show(film) {
  byId("queue-end").hidden = true;
  root.hidden = false;
  describe(film);
  const isThere = await host.hilumViewer.show({ ...urlsOf(film), label: `${film.name}, ${film.view || "view unknown"}` });
  if (!isThere || wanted !== film.position) return; // the viewer shows the error and a button to try again
  onShown(film);
}

function onShown(film) {
  current = film;
  offerBoxes(film);
  root.dataset.shown = film.position;
  loadAhead();
  const next = [1, 2].map((n) => films.get(film.position + n)).filter(Boolean);
  host.hilumViewer.prefetch(next.map(urlsOf));
}

function urlsOf({ facts, pixels, boxes }) {
  return { factsUrl: facts, pixelsUrl: pixels, boxesUrl: boxes ?? undefined };
}

function end() {
  root.hidden = true;
  byId("queue-end").hidden = false;
  byId("end-words").textContent = `You have been through all ${total} films${acts.length ? `, and labelled ${acts.length} just now` : ""}.`;
}

// Details of the film

function describe(film) {
  byId("place").textContent = `${film.position} of ${total}`;
  byId("progress").value = film.position;
  byId("film-name").textContent = film.name;
  byId("film-name").href = film.page;
  byId("film-view").textContent = film.view || "view unknown";
  byId("film-warning").textContent = film.warning;
  describeLabel(film);
  offer(film.label.findings);
  attributes.offer(film.label);
  if (byId("comment")) byId("comment").value = "";
}

function describeLabel(film) {
  const word = film.label.value || "unlabelled";
  byId("film-label").className = `label label-${word}`;
  byId("film-label").textContent = word;
  byId("film-findings").textContent = labelDetails(film.label);
}

let placeTimer = 0;
let placeToNote = 0;
function notePlace(position) {
  placeToNote = position;
  clearTimeout(placeTimer);
  placeTimer = setTimeout(sendPlace, PLACE_DELAY);
}

function sendPlace() {
  const position = placeToNote;
  placeToNote = 0;
  if (position && session) post(root.dataset.placeUrl, [["position", String(position)]], session).catch(() => {}); // it is saved with the next film
}
window.addEventListener("pagehide", sendPlace);

// Labels

const listed = [...root.querySelectorAll("#findings label")];
let areBoxesEdited = false;
let isEdited = false; // whether the findings were changed by hand; if not, a confirmed label keeps those that it has

function picked() {
  return [...root.querySelectorAll("#findings input:checked")].map((box) => box.value);
}

// The film's findings are ticked; one that is not in the site's list gets a line of its own.
function offer(findings) {
  isEdited = false;
  const list = byId("findings");
  if (!list) return;
  const names = listed.map((line) => line.querySelector("input").value);
  const others = findings.filter((finding) => !names.includes(finding)).map(lineOf);
  for (const line of list.querySelectorAll("label")) if (!listed.includes(line)) line.remove();
  list.append(...others);
  for (const box of list.querySelectorAll("input")) box.checked = findings.includes(box.value);
}

function lineOf(finding) {
  const line = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", className: "form-check-input", value: finding });
  line.append(box, ` ${finding}`);
  return line;
}

// Boxes of the film's label can be edited, and others drawn; they are saved with the next label of the film.
function offerBoxes(film) {
  areBoxesEdited = Boolean(film.draft);
  host.hilumViewer.setBoxes(film.draft ?? film.own_boxes);
}

function boxesOf() {
  return host.hilumViewer.boxes.map(({ x, y, width, height, finding }) => ({ x, y, width, height, finding: finding ?? "" }));
}

// Boxes that were drawn on a film that is left without a label wait there for one.
function keepDraft() {
  if (!current || !areBoxesEdited) return;
  current.draft = boxesOf();
  saved.note(`The boxes of film ${current.position} are not saved yet: go back and label it`);
}

window.addEventListener("beforeunload", (event) => {
  keepDraft();
  if ([...films.values()].some(({ draft }) => draft)) event.preventDefault(); // the browser asks
});

byId("findings")?.addEventListener("change", () => (isEdited = true));

function label({ value, finding }) {
  if (!current) return saved.note("Not labelled: the film is not on the screen yet");
  const film = current;
  const kept = isEdited ? picked() : value === film.label.value ? film.label.findings : [];
  const findings = finding ? [...new Set([...kept, finding])] : kept;
  const stated = isEdited || finding ? findings : null;
  const reason = byId("comment").value.trim();
  const images = [{ image: film.image, seen: film.label.seen }];
  placeToNote = 0;
  const at = { queue: root.dataset.queue, position: film.position + 1 };
  const ofNormal = attributes.stated(value);
  const boxes = areBoxesEdited ? boxesOf() : null;
  const before = { label: film.label, own_boxes: film.own_boxes, draft: boxes };
  const change = { images, value, findings: stated, attributes: ofNormal, boxes, reason, ...at };
  acts.push({ act: outbox.label(change), film, before });
  if (boxes || value !== film.label.value) film.own_boxes = boxes ?? [];
  if (value !== "normal" && attributes.isEdited) saved.note(`Saved as ${value} without attributes: only normal films have any`);
  film.label = { ...film.label, value, findings, attributes: value === "normal" ? attributes.ticked : [] };
  film.draft = null;
  areBoxesEdited = false;
  pace();
  go(film.position + 1, { isNoted: true });
}

function pace() {
  paces.push(Date.now());
  if (paces.length > 21) paces.shift();
  const hours = (paces.at(-1) - paces[0]) / 3.6e6;
  if (paces.length > 5) byId("pace").textContent = `${Math.round((paces.length - 1) / hours)} films an hour`;
}

function undo() {
  const last = acts.pop();
  if (!last) return saved.note("Nothing was labelled on this page yet, so there is nothing to undo");
  outbox.undo(last.act.id);
  Object.assign(last.film, last.before);
  saved.note(`Taken back: ${last.act.value} of film ${last.film.position}`);
  go(last.film.position);
}

// Enter goes to the next film; if findings were picked or boxes drawn, it labels this film abnormal first, and normal if
// attributes were picked.
function next() {
  const abnormal = root.querySelector("[data-command=abnormal]");
  const normal = root.querySelector("[data-command=normal]");
  if (bar && current && (isEdited || areBoxesEdited) && abnormal) return label(abnormal.dataset);
  if (bar && current && attributes.isEdited && normal) return label(normal.dataset);
  go(wanted + 1);
}

const commands = {
  next,
  previous: () => go(wanted - 1, { step: -1 }),
  undo,
  comment: () => byId("comment")?.focus(),
  keys: () => byId("keys").showModal(),
  "viewer-keys": () => {
    byId("keys").close();
    host.querySelector("[data-action=keys]").click();
  },
};

function run(button) {
  if (button.disabled || button.hidden) return;
  if (button.dataset.value) label(button.dataset);
  else commands[button.dataset.command]?.();
}

const moves = { ArrowRight: () => go(wanted + 1), ArrowLeft: () => go(wanted - 1, { step: -1 }) };

listenToKeys(
  (key, event) => {
    if (event.target.closest?.(".hv-own") && /Arrow|Delete|Escape/.test(key)) return false; // for the box in focus
    if (key in moves) return moves[key](), true;
    if (attributes.onKey(key, event)) return true;
    const summary = root.querySelector(`summary[data-key="${CSS.escape(key)}"]`);
    if (summary) return summary.click(), true;
    const box = root.querySelector(`[data-pick="${CSS.escape(key)}"]`);
    if (box) return (box.checked = !box.checked), (isEdited = true), true;
    if (/^[1-9]$/.test(key) && bar) return true; // no finding has this number; the viewer must not get the key either
    const button = document.querySelector(`[data-command][data-key="${CSS.escape(key)}"]`);
    if (!button) return false;
    if (!event.repeat || button.dataset.command === "next") run(button); // a key held down is one act
    return true;
  },
  { isFree: (target) => target.closest("#queue-view") },
);
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-command]");
  if (button) run(button);
});
host.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target.matches("select, input")) event.target.blur(); // the keys are the page's again
});
byId("comment")?.addEventListener("keydown", (event) => {
  if (event.key === "Escape" || event.key === "Enter") {
    event.preventDefault();
    event.target.blur();
  }
});

// Saving

const saved = new SavedLine(outbox);
const login = loginDialog();
if (outbox) {
  new MergeDialog(outbox, bar.dataset.previewUrl);
  outbox.addEventListener("saved", ({ detail: { act, answer } }) => {
    if (answer.note) saved.note(`Saved as ${act.value}. ${answer.note}`);
    noteNewCriteria(saved, answer);
    for (const film of films.values()) {
      const now = answer.labels?.[film.image];
      if (!now) continue;
      const later = [...outbox.unsaved.keys()].includes(film.image);
      film.label = later ? { ...film.label, seen: now.seen } : now;
      if (current !== film && wanted !== film.position) continue;
      describeLabel(film);
      if (!isEdited) offer(film.label.findings);
      if (!attributes.isEdited) attributes.offer(film.label);
    }
  });
  outbox.addEventListener("out", () => login.open());
  login.addEventListener("renewed", () => outbox.tryAgain());
  outbox.start();
}
login.addEventListener("renewed", () => {
  if (current) return;
  host.hilumViewer.forget(); // requests from before the log-in were refused
  go(wanted, { isNoted: true });
});

// A film that was loaded by the viewer's own “Try again” button.
host.addEventListener("hilum:ready", () => {
  const film = films.get(wanted);
  if (film && !current && host.dataset.factsUrl === film.facts) onShown(film);
});
startViewers(root);
if (bar) {
  const findings = listed.map((line) => line.querySelector("input").value);
  host.hilumViewer.editBoxes({ findings, confidence: false, onChange: () => (areBoxesEdited = true) });
}
go(wanted, { isNoted: true });
root.dataset.keys = "ready"; // the keys are active from here on
