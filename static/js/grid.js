// Labels by key, on a grid of films and on a single film's page. A label shows only once the server has kept it. Keys
// never wait for the server: what is asked for goes there one by one, in the order of the keys, and what could not be
// saved stays marked on its film.

import { localTime } from "./hilum.js";

const bar = document.getElementById("labelbar");
const grid = document.getElementById("grid");
const saved = document.getElementById("saved");
const csrf = () => JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];

const tiles = grid ? [...grid.querySelectorAll(".hilum-tile")] : [];
let current = -1; // the tile in focus
let anchor = -1; // where a range began

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
  if (!grid || !bar) return;
  const chosen = tiles.filter(isChosen).length;
  const films = chosen || (current >= 0 ? 1 : 0);
  const counter = document.getElementById("chosen");
  counter.textContent = chosen ? `${chosen} chosen` : current >= 0 ? "The film in focus" : "No film chosen";
  for (const button of bar.querySelectorAll("[data-value]")) button.disabled = films === 0;
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

let waiting = 0; // acts on their way to the server
let line = Promise.resolve(); // they stand in line: an undo never overtakes the label it takes back
const unsaved = new Map(); // film -> the label that the server has not kept
const acts = []; // made on this page, oldest first: what Z takes back
let made = 0;

function inLine(act) {
  waiting += 1;
  line = line.then(act).finally(() => {
    waiting -= 1;
  });
  return line;
}

async function post(url, fields) {
  const body = new FormData();
  for (const [name, value] of fields) body.append(name, value);
  const headers = { "X-CSRFToken": csrf(), Accept: "application/json" };
  const response = await fetch(url, { method: "POST", body, headers, redirect: "manual" }).catch(() => {
    throw new Error("The server did not answer; try again.");
  });
  if (response.type === "opaqueredirect") throw new Error("You were logged out. Log in in another tab, then try again.");
  const answer = await response.json().catch(() => ({ error: `The server answered ${response.status}.` }));
  if (!response.ok) {
    const error = new Error(answer.error || `The server answered ${response.status}.`);
    throw Object.assign(error, { isRefusal: response.status === 400 }); // it would be refused again
  }
  return answer;
}

function say(sentence, bad = false) {
  if (!saved) return;
  const rest = unsaved.size ? ` ${films(unsaved.size)} not saved and marked.` : "";
  saved.textContent = bad || !rest ? sentence : `${sentence}.${rest}`;
  saved.classList.toggle("text-warning", bad || Boolean(rest));
  const again = bar?.querySelector("[data-again]");
  if (again) again.hidden = !unsaved.size;
}

function films(count) {
  return count === 1 ? "1 film" : `${count} films`;
}

function show(labels) {
  for (const [image, { value, findings }] of Object.entries(labels)) {
    const word = value || "unlabelled";
    for (const element of document.querySelectorAll(`[data-image="${image}"] [data-label]`)) {
      element.className = `label label-${word}`;
      element.textContent = word;
    }
    for (const element of document.querySelectorAll(`[data-image="${image}"] [data-findings]`)) {
      element.textContent = element.title = findings.join(", ");
    }
    const link = document.querySelector(`.hilum-tile[data-image="${image}"] > a`);
    if (link) link.ariaLabel = link.ariaLabel.replace(/[^ ]*$/, word);
  }
  document.body.dispatchEvent(new Event("labelled")); // counts and history follow
}

function mark(images, value) {
  for (const image of images) {
    if (value) unsaved.set(image, value);
    else unsaved.delete(image);
    for (const label of document.querySelectorAll(`[data-image="${image}"] [data-label]`)) {
      const next = label.nextElementSibling;
      if (next?.matches(".hilum-unsaved")) next.remove();
      if (!value) continue;
      const words = Object.assign(document.createElement("span"), { className: "hilum-unsaved" });
      words.textContent = `${value} not saved`;
      label.after(words);
    }
  }
}

function label(value) {
  const images = bar.dataset.image ? [bar.dataset.image] : chosenTiles().map((tile) => tile.dataset.image);
  if (!images.length) return;
  send(images, value);
  if (!grid) return;
  const single = !tiles.some(isChosen);
  tiles.forEach((tile) => choose(tile, false));
  if (single) focusTile(Math.min(current + 1, tiles.length - 1));
  showChosen();
}

function send(images, value) {
  const act = { number: made++, images, value, uuid: null }; // the uuid is the server's, once it has kept the act
  acts.push(act);
  say("Saving");
  inLine(async () => {
    mark(images, "");
    try {
      const answer = await post(bar.dataset.labelUrl, [["value", value], ...images.map((image) => ["image", image])]);
      act.uuid = answer.act;
      show(answer.labels);
      say(`Saved: ${films(images.length)} ${value}`);
    } catch (error) {
      mark(images, value);
      say(`Not saved. ${error.message}`, true);
    }
  });
}

function sendAgain() {
  const rest = [...unsaved];
  for (const value of new Set(unsaved.values())) {
    send(rest.filter(([, wanted]) => wanted === value).map(([image]) => image), value);
  }
}

// Takes back the latest act of this page. Where there is none, say after a reload, it asks before it does anything.
function undo() {
  const act = acts.pop();
  if (act && act.images.length === 1 && grid) focusTile(tiles.findIndex((tile) => tile.dataset.image === act.images[0]));
  say("Undoing");
  inLine(act ? () => takeBack(act) : askFirst);
}

async function takeBack(act) {
  if (!act.uuid) {
    mark(act.images, "");
    say(`Taken back: ${act.value} of ${films(act.images.length)}, which was not saved`);
    return;
  }
  try {
    const { labels } = await post(bar.dataset.undoUrl, [["site", bar.dataset.site], ["act", act.uuid]]);
    show(labels);
    say(`Undone: the label of ${films(Object.keys(labels).length)} taken back`);
  } catch (error) {
    if (!error.isRefusal && act.images) acts.splice(acts.findLastIndex((one) => one.number < act.number) + 1, 0, act);
    say(`Not undone. ${error.message}`, true);
  }
}

async function askFirst() {
  const film = bar.dataset.image ? [["image", bar.dataset.image]] : [];
  try {
    const { last } = await post(bar.dataset.undoUrl, [["site", bar.dataset.site], ...film]);
    const more = last.films - last.names.length;
    const which = last.names.join(", ") + (more > 0 ? ` and ${more} more` : "");
    const when = localTime(new Date(last.made_at));
    if (window.confirm(`Undo “${last.value}” of ${films(last.films)} (${which}), given on ${when}?`)) await takeBack(last);
    else say("Nothing was undone");
  } catch (error) {
    say(`Not undone. ${error.message}`, true);
  }
}

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
  if (event.key === "A" && event.shiftKey) {
    chooseAll();
    return true;
  }
  return false;
}

function chooseAll() {
  const all = tiles.every(isChosen);
  tiles.forEach((tile) => choose(tile, !all));
  showChosen();
}

function isTyping(target) {
  return target.closest("input:not([type=checkbox]):not([type=radio]), select, textarea, dialog[open]");
}

// Arrows and space belong to the control in focus, unless that is a film.
function isElsewhere(target) {
  return target.closest("button, summary, input, a, [tabindex]") && !target.closest(".hilum-tile");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const isForControl = isElsewhere(event.target) && (event.key === " " || event.key in moves);
  if (grid && tiles.length && !isForControl && onGridKey(event)) {
    event.preventDefault();
    return;
  }
  if (event.shiftKey && event.key !== "?") return;
  if (isForControl) return;
  const pressed = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!pressed || pressed.closest(".hilum-viewer")) return;
  event.preventDefault();
  if (event.repeat && !pressed.href) return; // a key held down is one act
  pressed.click();
});

// To the next film once this one's label is saved; where it could not be, the page stays and says so.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || !waiting || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  line.then(() => {
    if (!unsaved.size) link.click();
  });
});

window.addEventListener("beforeunload", (event) => {
  if (waiting || unsaved.size) event.preventDefault(); // the browser asks
});

if (bar) {
  bar.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.value) label(button.dataset.value);
    else if ("undo" in button.dataset) undo();
    else if ("again" in button.dataset) sendAgain();
    else if ("all" in button.dataset) chooseAll();
    else if ("help" in button.dataset) document.getElementById("keys").showModal();
  });
}

if (grid) {
  grid.addEventListener("focusin", (event) => {
    const tile = event.target.closest(".hilum-tile");
    if (tile) current = tiles.indexOf(tile);
    showChosen();
  });
  grid.addEventListener("click", (event) => {
    const tile = event.target.closest(".hilum-tile");
    if (!tile || !tile.querySelector("input[type=checkbox]")) return;
    const index = tiles.indexOf(tile);
    if (event.shiftKey && anchor >= 0) {
      event.preventDefault();
      const [from, to] = [Math.min(anchor, index), Math.max(anchor, index)];
      tiles.slice(from, to + 1).forEach((one) => choose(one, true));
    } else if (event.target.matches("input")) {
      choose(tile, event.target.checked);
      anchor = index;
    }
    showChosen();
  });
  showChosen();
}

for (const place of [grid, bar]) if (place) place.dataset.keys = "ready"; // from here on the keys answer
