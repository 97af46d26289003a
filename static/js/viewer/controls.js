// Toolbar, status line, messages and the list of keys. Builds and updates elements only; viewer.js decides what they do.

import { displayWarning } from "./corners.js";
import { element, tidyNumber } from "./dom.js";
import { KEYS } from "../keys.js";

const TOGGLES = new Set(["window", "invert", "flip", "ruler", "ratio", "beside", "boxes", "heatmap", "nearest", "fold"]);

// The toolbar, in the order of the table of keys.
export const ACTIONS = KEYS.filter(({ words }) => words).map(({ name, words, key, help }) => ({
  name,
  label: words,
  key,
  help,
  toggle: TOGGLES.has(name),
}));

const GESTURES = [
  ["Drag", "Move the film"],
  ["Right drag, or W and drag", "Width (sideways) and level (up, down)"],
  ["Wheel", "Zoom, at the pointer"],
];

export function keyOf(name) {
  return KEYS.find((command) => command.name === name).key;
}

export function buildFrame(host, { stage, run }) {
  const buttons = new Map(ACTIONS.map((action) => [action.name, actionButton(action, run)]));
  const choices = element("select", { classes: "hv-select", "aria-label": "Window preset" });
  const toolbar = element("div", { classes: "hv-toolbar", role: "toolbar", "aria-label": "Film" }, [
    ...buttons.values(),
    choices,
  ]);
  const message = element("div", { classes: "hv-message" });
  stage.append(message);
  const status = buildStatus();
  const notes = element("div", { classes: "hv-notes" });
  const panel = element("section", { classes: "hv-panel", "aria-label": "Heatmap" });
  panel.hidden = true;
  const panels = element("div", { classes: "hv-panels" }, [panel]);
  const stages = element("div", { classes: "hv-stages" }, [stage]);
  const warning = element("p", { classes: "hv-display", text: displayWarning(), role: "note" });
  warning.hidden = !warning.textContent;
  const film = element("div", { classes: "hv-film" }, [stages, status.line, warning, notes]);
  const keys = keyDialog();
  const body = element("div", { classes: "hv-body" }, [film, panels]);
  host.replaceChildren(toolbar, body, keys);
  return { ...status, stages, message, buttons, choices, notes, panel, panels, keys };
}

export function actionButton({ name, label, key, toggle, help }, run) {
  const button = element("button", {
    type: "button",
    classes: "hv-button",
    title: `${help} (${key})`,
    "aria-keyshortcuts": key,
    "data-action": name,
  });
  button.append(label, element("kbd", { text: key, classes: key.length > 2 ? "hv-long" : "", "aria-hidden": "true" }));
  if (toggle) button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => run(name));
  return button;
}

function buildStatus() {
  const viewText = element("span", { role: "status" });
  const pointText = element("span", { classes: "hv-point" });
  return { line: element("p", { classes: "hv-status" }, [viewText, pointText]), viewText, pointText };
}

function keyDialog() {
  const own = keyList([...KEYS.map(({ key, help }) => [key, help]), ...GESTURES]);
  const pages = element("div", { classes: "hv-page-keys" });
  const close = element("button", { type: "button", classes: "hv-button", text: "Close" });
  const heading = element("h2", { text: "Keys", tabindex: "-1", autofocus: "" }); // so that the list opens at its top
  const dialog = element("dialog", { classes: "hv-keys", "aria-label": "Keys of the film viewer" }, [
    heading,
    own,
    pages,
    close,
  ]);
  close.addEventListener("click", () => dialog.close());
  return dialog;
}

function keyList(rows) {
  const pairs = rows.flatMap(([key, help]) => [
    element("dt", {}, [element("kbd", { text: key })]),
    element("dd", { text: help }),
  ]);
  return element("dl", {}, pairs);
}

// Includes the keys of the page around the viewer: every [data-key] with a <kbd>.
export function openKeys(dialog) {
  const shown = [...document.querySelectorAll("[data-key]:has(kbd)")].filter((button) => button.checkVisibility());
  const rows = shown.filter((button) => button.dataset.key).map((button) => [button.querySelector("kbd").textContent, wordsOf(button)]);
  const heading = element("h2", { text: "On this page" });
  dialog.querySelector(".hv-page-keys").replaceChildren(...(rows.length ? [heading, keyList(rows)] : []));
  dialog.showModal();
  dialog.scrollTop = 0;
}

// The text without its keys.
function wordsOf(button) {
  const copy = button.cloneNode(true);
  for (const key of copy.querySelectorAll("kbd")) key.remove();
  return copy.textContent.replace(/\s+/g, " ").trim();
}

export function press(buttons, name, pressed) {
  buttons.get(name)?.setAttribute("aria-pressed", String(pressed));
}

// Without a film only the list of keys is enabled.
export function enable({ buttons, choices }, enabled) {
  for (const [name, button] of buttons) button.disabled = !enabled && name !== "keys";
  choices.disabled = !enabled;
  choices.hidden = !choices.options.length;
}

export function fillChoices(select, choices, chosen) {
  const own = chosen.kind === "own" ? [chosen] : [];
  select.replaceChildren(...[...choices, ...own].map((choice) => new Option(choice.name, choice.name)));
  select.value = chosen.name;
}

export function showMessage(message, text, { retry, progress } = {}) {
  message.replaceChildren();
  message.hidden = !text;
  if (!text) return;
  message.append(element("p", { text, role: retry ? "alert" : "status" }));
  if (progress !== undefined) message.append(progressBar(text, progress));
  if (retry) message.append(retryButton(retry));
}

function progressBar(label, progress) {
  const bar = element("progress", { max: "1", "aria-label": label });
  bar.value = progress;
  return bar;
}

export function trouble(text, retry) {
  return [element("p", { classes: "hv-trouble", text, role: "alert" }), retryButton(retry)];
}

export function retryButton(retry) {
  const button = element("button", { type: "button", classes: "hv-button", text: "Try again" });
  button.addEventListener("click", retry);
  return button;
}

export function viewSentence({ zoom, voi, inverted }) {
  const percent = zoom * 100;
  const size = `Zoom ${percent.toFixed(percent < 10 ? 1 : 0)} %`;
  const window = voi.kind === "lut" ? voi.name : `W ${tidyNumber(voi.width)} L ${tidyNumber(voi.center)}`;
  return [size, window, inverted ? "inverted" : ""].filter(Boolean).join(", ");
}
