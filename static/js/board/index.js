// An alignment board: films one after another over the canonical image. Each is saved before the next is shown.

import { withLogIn } from "../labelling/login.js";
import { Trouble, csrf } from "../labelling/server.js";
import { Drawing, grayOf } from "./drawing.js";
import { Handles } from "./handles.js";
import { fillTable, isTyping } from "./keys.js";
import { Landmarks, LEAST } from "./landmarks.js";
import { NEUTRAL, matrixOf } from "./transforms.js";

const data = JSON.parse(document.getElementById("board-data").textContent);
const byId = (id) => document.getElementById(id);
const { films, side, mode } = data;
const isAffine = mode === "outcome";
const STEPS = { 1: { move: 0.25, turn: 0.1, other: 0.25 }, 2: { move: 1, turn: 0.5, other: 1 }, 3: { move: 8, turn: 3, other: 5 } };
const PARAMS = Object.keys(NEUTRAL);

const drawing = new Drawing(byId("board-canvas"), side);
const handles = new Handles(byId("board-handles"), side, { onChange: change, isAffine });
const inputs = new Map(PARAMS.map((name) => [name, byId(`move-${name}`)]).filter(([, input]) => input));
const landmarks = byId("landmarks")
  ? new Landmarks({
      list: byId("landmarks"), summary: byId("landmarks-rms"), svg: byId("board-handles"), side,
      names: data.landmarks, onChange: onLandmarks,
    })
  : null;

let at = Math.max(0, films.findIndex((film) => !film.state && (mode === "canonical" || film.flagged)));
let params = { ...NEUTRAL };
let start = null; // the matrix from which `params` move the film
let undone = []; // earlier {start, params, points}, the last one last
let isBefore = false; // of an outcome: the film without its alignment
let shownFilm = null; // whose pixels are drawn
let lostFilm = null; // that could not be shown
let version = 0;

const current = () => films[at];
const matrix = () => matrixOf(start, params, side);
const isChanged = () => undone.length > 0;

// The film on the board

async function show(index) {
  at = (index + films.length) % films.length;
  const film = current();
  start = film.matrix ?? film.start;
  params = { ...NEUTRAL };
  undone = [];
  isBefore = false;
  landmarks?.load(film.points ?? {}, targetsBeside(film));
  describe();
  shownFilm = lostFilm = null;
  delete byId("board").dataset.shown;
  drawing.film = null;
  drawing.base = film.base;
  refresh();
  const [pixels, mean] = await Promise.allSettled([grayOf(film.picture, side), showMean(film)]);
  if (film !== current()) return;
  if (pixels.status === "rejected") {
    lostFilm = film;
    note(`${film.name} could not be shown. ${pixels.reason.message}`, "unsaved");
    return;
  }
  if (mean.status === "rejected") {
    drawing.mean = drawing.variance = null;
    byId("mean-words").textContent = "";
    note(`The mean could not be shown. ${mean.reason.message}`, "unsaved");
  }
  drawing.film = pixels.value;
  shownFilm = film;
  byId("board").dataset.shown = film.position;
  refresh();
}

// Where the landmarks of the other films lie in the frame: each as the first film that has it says.
function targetsBeside(film) {
  const others = films.filter((other) => other !== film && other.state === "landmarks");
  others.sort((a, b) => b.placed - a.placed);
  return Object.assign({}, ...others.map((other) => other.targets));
}

async function showMean(film) {
  if (mode === "outcome") {
    drawing.mean ??= await grayOf(data.meanUrl, side);
    return;
  }
  const stack = await stackNow();
  const others = stack.films - (film.matrix ? 1 : 0);
  const [mean, variance] = await Promise.all([
    others > 0 ? grayOf(`${data.meanUrl}?without=${film.position}&v=${version}`, side) : startImage(),
    stack.films > 1 ? grayOf(`${data.varianceUrl}?v=${version}`, side) : null,
  ]);
  if (film !== current()) return;
  drawing.mean = mean;
  drawing.variance = variance;
  byId("mean-words").textContent = others > 0
    ? `Over the mean of ${others} other film${others === 1 ? "" : "s"}.`
    : data.startUrl ? "Over the canonical image of the fitted alignment." : "The first film has nothing to be compared with.";
  const [before, after] = [stack.variance_unaligned, stack.variance_aligned];
  byId("variance-words").textContent = after === null ? "" : `Variance ${after.toFixed(5)}, unaligned ${before.toFixed(5)}.`;
}

const startImage = () => (data.startUrl ? grayOf(data.startUrl, side) : null);

async function stackNow() {
  for (;;) {
    const stack = await ask(data.stackUrl, {});
    if (!stack.missing) return stack;
    byId("mean-words").textContent = `The mean is being put together: ${stack.missing} films to go.`;
  }
}

function refresh() {
  const shown = isBefore ? current().base : matrix();
  drawing.draw(shown);
  handles.show(params);
  landmarks?.show(matrix());
  for (const [name, input] of inputs) if (input !== document.activeElement) input.value = round(params[name]);
  byId("undo").disabled = !isChanged();
}

const round = (value) => Number(value.toFixed(2));

function describe() {
  const film = current();
  byId("place").textContent = `${film.name} of ${films.length}`;
  const words = { handles: "placed by handles", landmarks: "placed by landmarks", "left out": "left out",
    accept: "accepted", "by hand": "aligned by hand", exclude: "excluded" };
  byId("film-state").textContent = words[film.state] ?? (film.flagged ? "flagged: failed a check" : "not yet placed");
  if (mode === "outcome" && !film.state && !film.flagged) byId("film-state").textContent = "passed its checks";
  byId("before")?.setAttribute("aria-pressed", "false");
  for (const [index, button] of [...byId("films").querySelectorAll("button")].entries()) {
    button.dataset.state = films[index].state || (films[index].flagged ? "flagged" : "");
    if (index === at) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.title = words[films[index].state] ?? (films[index].flagged ? "flagged" : "");
  }
}

function listFilms() {
  for (const [index, film] of films.entries()) {
    const button = byId("films").appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = film.position;
    button.setAttribute("aria-label", film.name);
    button.addEventListener("click", () => go(index));
  }
}

// Moving

function remember(points = landmarks?.points) {
  undone.push({ start, params, points });
}

// `isFirst` of a drag, which is one step back as a whole.
function change(next, isFirst) {
  if (!isPlace(start, next)) return;
  if (isFirst) remember();
  params = next;
  moved();
}

function step(name, by) {
  change({ ...params, [name]: params[name] + by }, true);
}

// Whether the film has a place by these: it can be shown, and they are numbers of which a transform can be made.
const isPlace = (from, by) => lostFilm !== current() && matrixOf(from, by, side).every(Number.isFinite);

function moved() {
  isBefore = false;
  byId("before")?.setAttribute("aria-pressed", "false");
  note("Not saved yet", "saving");
  refresh();
}

function undo() {
  const earlier = undone.pop();
  if (!earlier) return;
  ({ start, params } = earlier);
  if (earlier.points !== landmarks?.points) landmarks.load(earlier.points, targetsBeside(current()));
  moved();
}

function reset() {
  remember();
  [start, params] = [current().start, { ...NEUTRAL }];
  moved();
}

function onLandmarks(before) {
  const fitted = landmarks.fit();
  remember(before);
  if (fitted) [start, params] = [fitted, { ...NEUTRAL }];
  moved();
}

// Saving

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, { ...options, redirect: "manual" });
  } catch {
    throw new Error("The server did not answer: save again.");
  }
  if (response.type === "opaqueredirect") throw new Trouble("out", "Your session has ended: log in, then save again.");
  const answer = await response.json().catch(() => null);
  if (!response.ok || !answer) throw new Error(answer?.error ?? `The server answered ${response.status}.`);
  return answer;
}

async function save(body) {
  const film = current();
  const isLeftOut = body.left_out || body.verdict === "exclude";
  if (shownFilm !== film && !(lostFilm === film && isLeftOut)) {
    note(`Not saved: ${film.name} is not shown${lostFilm === film ? "" : " yet"}.`, "unsaved"); // nobody has seen its place
    return false;
  }
  note("Saving …", "saving");
  try {
    const answer = await withLogIn(() => {
      const headers = { "Content-Type": "application/json", "X-CSRFToken": csrf(), Accept: "application/json" };
      return ask(film.saveUrl, { method: "POST", headers, body: JSON.stringify(body) });
    });
    film.state = answer.state;
    if (mode === "canonical") {
      [film.matrix, film.points, film.rms] = [answer.matrix ?? null, body.points ?? film.points, answer.rms ?? null];
      [film.targets, film.placed] = [answer.targets ?? {}, answer.placed ?? 0];
    } else film.matrix = body.matrix ?? null;
    version += 1;
    undone = [];
    note(`Saved: ${film.name}`, "saved");
    describe();
    showFinish();
    return true;
  } catch (error) {
    note(`Not saved. ${error.message}`, "unsaved");
    return false;
  }
}

function place() {
  if (mode === "outcome") return save({ verdict: "by hand", matrix: matrix() });
  const marked = landmarks.count;
  if (isMarking() && marked > 0 && marked < LEAST) {
    note(`Not saved. ${marked} landmarks are marked: mark at least ${LEAST}, or stop marking.`, "unsaved");
    return false;
  }
  return save({ matrix: matrix(), points: isMarking() ? landmarks.points : {} });
}

const leaveOut = () => save(mode === "outcome" ? { verdict: "exclude" } : { left_out: true });
const accept = () => save({ verdict: "accept" });

async function thenNext(saving) {
  if (await saving) await show(nextOpen());
}

// The next film that nobody has decided on; the next one where all are.
function nextOpen() {
  for (let ahead = 1; ahead < films.length; ahead++) {
    const index = (at + ahead) % films.length;
    if (!films[index].state && (mode === "canonical" || films[index].flagged)) return index;
  }
  return (at + 1) % films.length;
}

// Another film; what was changed is saved first.
async function go(index) {
  if (isChanged() && !(await place())) return;
  await show(index);
}

function note(words, state) {
  byId("kept").textContent = words;
  byId("kept").dataset.state = state;
}

function showFinish() {
  if (mode !== "canonical") return;
  const placed = films.filter((film) => film.matrix).length;
  const left = films.filter((film) => !film.state).length;
  byId("finish-words").textContent = `${placed} of ${films.length} films are placed${left ? `, ${left} ${left === 1 ? "is" : "are"} open` : ""}.`;
  byId("make").disabled = placed < 2;
}

// Views, landmarks, keys

function setView(view) {
  drawing.view = view;
  for (const button of document.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === view));
  refresh();
}

const isMarking = () => byId("board-handles").dataset.marking === "yes";

function setMarking(marking) {
  byId("board-handles").dataset.marking = marking ? "yes" : "no";
  byId("mark").setAttribute("aria-pressed", String(marking));
  byId("landmark-panel").hidden = !marking;
  byId("numbers").hidden = marking;
  refresh();
}

function showBefore() {
  isBefore = !isBefore;
  byId("before").setAttribute("aria-pressed", String(isBefore));
  refresh();
}

const size = () => STEPS[document.querySelector("[name=step]:checked").value];

function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.target.type === "range" && event.key.startsWith("Arrow")) return;
  if (event.key === "Enter" && event.target.closest("button, a, summary")) return;
  const { move, turn, other } = size();
  const run = {
    ArrowLeft: () => step("x", -move), ArrowRight: () => step("x", move), ArrowUp: () => step("y", -move), ArrowDown: () => step("y", move),
    "[": () => step("angle", -turn), "]": () => step("angle", turn), "-": () => step("scale", -other), "+": () => step("scale", other),
    "=": () => step("scale", other), "<": () => step("aspect", -other), ">": () => step("aspect", other),
    ",": () => step("shear", -other), ".": () => step("shear", other),
    1: () => (byId("step-1").checked = true), 2: () => (byId("step-2").checked = true), 3: () => (byId("step-3").checked = true),
    z: undo, r: reset, b: () => setView("blend"), d: () => setView("difference"), c: () => setView("colours"), f: () => setView("flicker"),
    Enter: () => thenNext(place()), x: () => thenNext(leaveOut()), n: () => go(at + 1), p: () => go(at - 1), "?": () => byId("keys").showModal(),
    ...(isAffine
      ? { o: showBefore, a: () => thenNext(accept()) }
      : {
          j: () => step("across", -other), l: () => step("across", other), i: () => step("down", -other), k: () => step("down", other),
          v: () => setView("variance"), m: () => setMarking(!isMarking()),
        }),
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!run) return;
  event.preventDefault();
  run();
}

function listen() {
  document.addEventListener("keydown", onKey);
  const on = (id, act) => byId(id)?.addEventListener("click", act);
  on("save", () => thenNext(place()));
  on("leave-out", () => thenNext(leaveOut()));
  on("accept", () => thenNext(accept()));
  on("before", showBefore);
  on("undo", undo);
  on("reset", reset);
  on("mark", () => setMarking(!isMarking()));
  on("show-keys", () => byId("keys").showModal());
  for (const button of document.querySelectorAll("[data-view]")) button.addEventListener("click", () => setView(button.dataset.view));
  byId("opacity").addEventListener("input", ({ target }) => {
    drawing.opacity = target.value / 100;
    refresh();
  });
  for (const [name, input] of inputs) {
    input.addEventListener("change", () => {
      if (Number.isFinite(input.valueAsNumber)) step(name, input.valueAsNumber - params[name]);
      input.value = round(params[name]);
    });
  }
  byId("board-handles").addEventListener("click", (event) => isMarking() && markAt(event));
  window.addEventListener("beforeunload", (event) => isChanged() && event.preventDefault());
}

// The landmark lies where the pointer is on the film as it is drawn now.
function markAt(event) {
  const [x, y] = handles.place(event), m = matrix(), depth = m[6] * x + m[7] * y + m[8];
  landmarks.mark([(m[0] * x + m[1] * y + m[2]) / depth, (m[3] * x + m[4] * y + m[5]) / depth]);
}

if (films.length) {
  listFilms();
  listen();
  fillTable(byId("keys-table"), mode);
  showFinish();
  show(at);
}
