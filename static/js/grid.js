// Labels by key, on a grid of films and on a single film's page. Keys never wait for the server: an act goes to the
// outbox, its film is marked until the server has saved it, and only then shows its new label.

import { localTime } from "./hilum.js";
import { Attributes, labelDetails, noteNewCriteria } from "./labelling/attributes.js";
import { MergeDialog } from "./labelling/dialogs.js";
import { listenToKeys } from "./labelling/keys.js";
import { loginDialog } from "./labelling/login.js";
import { Outbox } from "./labelling/outbox.js";
import { SavedLine } from "./labelling/saved.js";
import { post } from "./labelling/server.js";
import { keepPlace, keptPlace, leadBack } from "./place.js";

const bar = document.getElementById("labelbar");
const grid = document.getElementById("grid");
const comment = document.getElementById("comment");

const tiles = grid ? [...grid.querySelectorAll(".hilum-tile")] : [];
let current = -1; // the tile in focus
let anchor = -1; // where a range began

const outbox = bar ? new Outbox({ ...bar.dataset }) : null;
const saved = new SavedLine(outbox);
const attributes = new Attributes();
const acts = []; // of this page, oldest first; undo reverts the latest

// Choosing

function isChosen(tile) {
  return tile.querySelector("input[type=checkbox]")?.checked ?? false;
}

function choose(tile, chosen) {
  const box = tile.querySelector("input[type=checkbox]");
  if (box) box.checked = chosen;
  tile.classList.toggle("is-chosen", chosen);
}

function chosenTiles() {
  const chosen = tiles.filter(isChosen);
  if (chosen.length) return chosen;
  return current >= 0 ? [tiles[current]] : [];
}

function showChosen() {
  if (!grid) return;
  grid.dispatchEvent(new Event("chosen"));
  if (!bar) return;
  const chosen = tiles.filter(isChosen).length;
  const counter = document.getElementById("chosen");
  counter.textContent = chosen ? `${chosen} chosen` : current >= 0 ? "The film in focus" : "No film chosen";
  for (const button of bar.querySelectorAll("[data-value]")) button.disabled = !chosen && current < 0;
}

function chooseAll() {
  const all = tiles.every(isChosen);
  tiles.forEach((tile) => choose(tile, !all));
  showChosen();
}

function focusTile(index) {
  if (index < 0 || index >= tiles.length) return;
  current = index;
  tiles[index].querySelector("a").focus();
  showChosen();
}

function columns() {
  const top = tiles[0].offsetTop;
  const second = tiles.findIndex((tile) => tile.offsetTop > top);
  return second === -1 ? tiles.length : second;
}

// Labels

function films(count) {
  return count === 1 ? "1 film" : `${count} films`;
}

function placesOf(image) {
  return document.querySelectorAll(`[data-image="${image}"]`);
}

function show(labels) {
  for (const [image, { value, findings, attributes: ofNormal, seen }] of Object.entries(labels)) {
    const word = value || "unlabelled";
    for (const place of placesOf(image)) {
      if ("seen" in place.dataset) place.dataset.seen = seen;
      for (const element of place.querySelectorAll("[data-label]")) {
        element.className = `label label-${word}`;
        element.textContent = word;
      }
      for (const element of place.querySelectorAll("[data-findings]")) {
        element.textContent = element.title = labelDetails({ findings, attributes: ofNormal });
      }
    }
    if (bar?.dataset.image === image) attributes.offer({ value, attributes: ofNormal }); // the page of this film
    const link = document.querySelector(`.hilum-tile[data-image="${image}"] > a`);
    if (link) link.ariaLabel = link.ariaLabel.replace(/[^ ]*$/, word);
  }
  document.body.dispatchEvent(new Event("labelled")); // counts and history follow
}

function markUnsaved() {
  for (const mark of document.querySelectorAll(".hilum-unsaved, .hilum-saving")) mark.remove();
  const isUnsaved = outbox.state === "unsaved";
  for (const [image, act] of outbox.unsaved) {
    for (const label of document.querySelectorAll(`[data-image="${image}"] [data-label]`)) {
      const mark = Object.assign(document.createElement("span"), { className: isUnsaved ? "hilum-unsaved" : "hilum-saving" });
      mark.textContent = isUnsaved ? `${act.value} not saved` : `→ ${act.value}`;
      label.after(mark);
    }
  }
}

function picks() {
  return [...document.querySelectorAll("#findings input")];
}

function label({ value, finding }) {
  const chosen = bar.dataset.image ? [bar] : chosenTiles();
  if (!chosen.length) return;
  const findings = picks().filter((box) => box.checked).map((box) => box.value);
  if (finding) findings.push(finding);
  const stated = findings.length ? findings : null; // nothing ticked: the films keep what they have
  const images = chosen.map((place) => ({ image: place.dataset.image, seen: Number(place.dataset.seen) }));
  const reason = comment?.value.trim() ?? "";
  acts.push(outbox.label({ images, value, findings: stated, attributes: attributes.stated(value), reason }));
  for (const box of picks()) box.checked = false;
  if (grid) attributes.offer();
  if (comment) comment.value = "";
  if (!grid) return;
  const single = !tiles.some(isChosen);
  tiles.forEach((tile) => choose(tile, false));
  if (single) focusTile(Math.min(current + 1, tiles.length - 1));
  showChosen();
}

// Reverts the latest act of this page. If there is none, for example after a reload, asks before it reverts an earlier one.
function undo() {
  const act = acts.pop();
  if (!act) return undoAfterAsking();
  const [{ image }] = act.images;
  if (act.images.length === 1 && grid) focusTile(tiles.findIndex((tile) => tile.dataset.image === image));
  if (!outbox.undo(act.id)) saved.note(`Taken back: ${act.value} of ${films(act.images.length)}, which was not saved`);
}

async function undoAfterAsking() {
  await outbox.idle();
  const film = bar.dataset.image ? [["image", bar.dataset.image]] : [];
  try {
    const { last } = await post(bar.dataset.undoUrl, [["site", bar.dataset.site], ...film], bar.dataset);
    const more = last.films - last.names.length;
    const which = last.names.join(", ") + (more > 0 ? ` and ${more} more` : "");
    const when = localTime(new Date(last.made_at));
    if (window.confirm(`Undo “${last.value}” of ${films(last.films)} (${which}), given on ${when}?`)) outbox.undo(last.uuid);
    else saved.note("Nothing was undone");
  } catch (error) {
    saved.note(`Not undone. ${error.message}`);
  }
}

function onSaved({ detail: { act, answer } }) {
  const changed = Object.keys(answer.changed ?? {});
  show({ ...answer.labels, ...answer.changed });
  const done = Object.keys(answer.labels);
  if (act.kind === "undo") return saved.note(`Undone: the label of ${films(done.length)} taken back`);
  const sentences = [answer.note, answer.omitted].filter(Boolean).map((words) => words.replace(/\.$/, ""));
  const words = [`Saved: ${films(done.length)} ${act.value}`, ...sentences].join(". ");
  if (!changed.length) return saved.note(words), noteNewCriteria(saved, answer);
  for (const tile of tiles) choose(tile, changed.includes(tile.dataset.image));
  showChosen();
  const were = changed.length === 1 ? "was" : "were";
  saved.note(`${words}. ${films(changed.length)} ${were} labelled by somebody else in the meantime and not changed: chosen for you to check`);
}

// Keys

const moves = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -columns(), ArrowDown: () => columns() };

function onGridKey(event) {
  if (event.key in moves) {
    focusTile(current < 0 ? 0 : Math.max(0, Math.min(tiles.length - 1, current + moves[event.key]())));
    return true;
  }
  if (event.key === " " && current >= 0) {
    choose(tiles[current], !isChosen(tiles[current]));
    anchor = current;
    showChosen();
    return true;
  }
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    tiles.forEach((tile) => choose(tile, false));
    showChosen();
    return true;
  }
  return false;
}

comment?.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" && event.key !== "Enter") return;
  event.preventDefault();
  event.target.blur();
});

// Arrows and space belong to the control in focus, unless that is a film.
function isElsewhere(target) {
  return target.closest?.("button, summary, input, a, [tabindex]") && !target.closest(".hilum-tile");
}

function onKey(key, event) {
  const isForControl = isElsewhere(event.target) && (key === " " || key in moves);
  if (grid && tiles.length && !isForControl && onGridKey(event)) return true;
  if (attributes.onKey(key, event)) return true;
  if (isForControl) return false;
  const box = document.querySelector(`[data-pick="${CSS.escape(key)}"]`);
  if (box) {
    box.checked = !box.checked;
    box.closest("details")?.setAttribute("open", "");
    return true;
  }
  const pressed = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!pressed || pressed.closest(".hilum-viewer")) return false;
  if (!pressed.matches("summary")) pressed.closest("details")?.setAttribute("open", "");
  if (!event.repeat || pressed.href) pressed.click(); // a key held down is one act
  return true;
}

listenToKeys(onKey, { isFree: (target) => target.closest(".hilum-tile") });

if (bar) {
  bar.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.value) label(button.dataset);
    else if ("undo" in button.dataset) undo();
    else if ("all" in button.dataset) chooseAll();
    else if ("help" in button.dataset) document.getElementById("keys").showModal();
  });
  const login = loginDialog();
  outbox.addEventListener("out", () => login.open());
  login.addEventListener("renewed", () => outbox.tryAgain());
  new MergeDialog(outbox, bar.dataset.previewUrl);
  outbox.addEventListener("change", markUnsaved);
  outbox.addEventListener("saved", onSaved);
  outbox.start();
}

if (grid) {
  grid.addEventListener("focusin", (event) => {
    const tile = event.target.closest(".hilum-tile");
    if (tile) current = tiles.indexOf(tile);
    showChosen();
  });
  grid.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("input")) event.preventDefault(); // it would send the form
  });
  grid.addEventListener("click", (event) => {
    const tile = event.target.closest(".hilum-tile");
    if (!tile || !tile.querySelector("input[type=checkbox]")) return;
    const index = tiles.indexOf(tile);
    if (event.shiftKey && anchor >= 0) {
      if (!event.target.matches("input")) event.preventDefault(); // which would take the tick of a box back
      const [from, to] = [Math.min(anchor, index), Math.max(anchor, index)];
      tiles.slice(from, to + 1).forEach((inRange) => choose(inRange, true));
    } else if (event.target.matches("input")) {
      choose(tile, event.target.checked);
      anchor = index;
    }
    showChosen();
  });
  showChosen();
}

// Place

function takeUpPlace() {
  const place = keptPlace();
  if (!place) return;
  for (const tile of tiles) choose(tile, place.chosen.includes(tile.dataset.image));
  showChosen(); // before the page is scrolled: its height may change
  scrollTo({ top: place.scroll, behavior: "instant" });
  const left = tiles.findIndex((tile) => tile.dataset.image === place.film);
  if (left >= 0) {
    tiles[left].querySelector("a").focus({ preventScroll: true });
    const { top, bottom } = tiles[left].getBoundingClientRect();
    if (bottom <= 0 || top >= innerHeight) tiles[left].scrollIntoView({ block: "nearest", behavior: "instant" });
  }
}

if (grid) {
  keepPlace(() => ({
    films: tiles.map((tile) => tile.dataset.image),
    chosen: tiles.filter(isChosen).map((tile) => tile.dataset.image),
  }));
  takeUpPlace();
} else {
  leadBack();
}

for (const place of [grid, bar]) if (place) place.dataset.keys = "ready"; // the keys are active from here on
