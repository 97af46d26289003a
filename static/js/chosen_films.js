// What is done with the films of the grid: with those that are ticked, else with all that match the filters. The forms
// work without this script, on all of them. And the size of the films, remembered for the person.

import { withLogIn } from "./labelling/login.js";
import { Trouble, csrf } from "./labelling/server.js";

const grid = document.getElementById("grid");
const bar = document.getElementById("chosen-films");
const report = document.getElementById("tagged");
const undo = document.getElementById("undo-tags");
const pauseMs = 400; // before a size is kept, so that a slider that moves is one request

function films(count, chosen) {
  return `${count}${chosen ? " chosen" : ""} film${count === 1 ? "" : "s"}`;
}

function chosenFilms() {
  return [...grid.querySelectorAll(".hilum-tile > input[type=checkbox]:checked")].map((box) => box.value);
}

function showNumber() {
  const chosen = chosenFilms().length;
  const words = chosen ? films(chosen, true) : films(Number(bar.dataset.total), false);
  for (const place of bar.querySelectorAll("[data-films]")) place.textContent = words;
  for (const form of bar.querySelectorAll("form[data-confirm-chosen]")) {
    form.dataset.confirmAll ??= form.dataset.confirm;
    form.dataset.confirm = chosen ? form.dataset.confirmChosen.replace("{films}", words) : form.dataset.confirmAll;
  }
}

function takeChosen(form) {
  for (const earlier of form.querySelectorAll("input[data-chosen]")) earlier.remove();
  for (const image of chosenFilms()) {
    const field = Object.assign(document.createElement("input"), { type: "hidden", name: "image", value: image });
    field.dataset.chosen = "1";
    form.append(field);
  }
}

// Tags

function showTags(tags) {
  for (const [image, names] of Object.entries(tags)) {
    const place = grid.querySelector(`.hilum-tile[data-image="${image}"] [data-tags]`);
    place?.replaceChildren(
      ...names.map((name) => Object.assign(document.createElement("span"), { className: "hilum-tag", textContent: name })),
    );
  }
}

async function ask(url, fields) {
  const headers = { "X-CSRFToken": csrf(), Accept: "application/json" };
  const response = await fetch(url, { method: "POST", body: fields, headers, redirect: "manual" });
  if (response.type === "opaqueredirect") throw new Trouble("out", "Your session has ended: log in, then repeat it.");
  const answer = await response.json().catch(() => null);
  if (!response.ok || !answer) throw new Error(answer?.error ?? `The server answered ${response.status}.`);
  return answer;
}

async function change(url, fields, { isUndo = false } = {}) {
  report.textContent = "Saving…";
  undo.hidden = true;
  for (const tile of grid.querySelectorAll(".hilum-tile")) fields.append("shown", tile.dataset.image);
  try {
    const answer = await withLogIn(() => ask(url, fields));
    showTags(answer.tags);
    report.textContent = isUndo ? `Undone. ${answer.words}` : answer.words;
    undo.hidden = isUndo || !answer.act;
    undo.dataset.act = answer.act ?? "";
    const known = document.getElementById("known-tags");
    const isKnown = [...known.options].some((option) => option.value === answer.tag);
    if (!isKnown) known.append(Object.assign(document.createElement("option"), { value: answer.tag }));
  } catch (error) {
    const words = error instanceof TypeError ? "The server did not answer; try again." : error.message;
    report.textContent = `No tag was changed. ${words}`;
  }
}

function onSubmit(event) {
  takeChosen(event.target);
  if (event.target.id !== "tag-films") return;
  event.preventDefault();
  change(event.target.action, new FormData(event.target, event.submitter));
}

undo.addEventListener("click", () => {
  const fields = new FormData();
  fields.append("act", undo.dataset.act);
  change(bar.dataset.undo, fields, { isUndo: true });
});

// The size of the films

const zoom = bar.querySelector(".hilum-zoom");
const slider = zoom.querySelector("input");
const widths = slider.dataset.widths.split(" ");
let kept = null; // the timer of the request that keeps the size

function show(width) {
  for (const other of widths) grid.classList.toggle(`is-tile-${other}`, other === width);
}

function keep(width) {
  clearTimeout(kept);
  zoom.dataset.state = "saving";
  kept = setTimeout(() => send(width), pauseMs);
}

async function send(width) {
  kept = null;
  const body = new FormData();
  body.append("width", width);
  const headers = { "X-CSRFToken": csrf(), Accept: "application/json" };
  const asked = { method: "POST", body, headers, redirect: "manual", keepalive: true }; // the page may be left meanwhile
  const response = await fetch(zoom.dataset.url, asked).catch(() => null);
  zoom.dataset.state = response?.ok ? "kept" : "lost";
}

// Who opens a film at once finds the size when they are back.
addEventListener("pagehide", () => {
  if (kept === null) return;
  clearTimeout(kept);
  send(widths[slider.value]);
});

function setStep(step) {
  const bounded = Math.max(0, Math.min(step, widths.length - 1));
  slider.value = bounded;
  show(widths[bounded]);
  keep(widths[bounded]);
}

slider.addEventListener("input", () => setStep(Number(slider.value)));
zoom.addEventListener("click", (event) => {
  const button = event.target.closest("[data-zoom]");
  if (button) setStep(Number(slider.value) + Number(button.dataset.zoom));
});

bar.addEventListener("submit", onSubmit);
grid.addEventListener("chosen", showNumber);
showNumber();
bar.dataset.ready = "1";
