// Toolbar, status line, messages and the list of keys. Builds and updates elements only; viewer.js decides what they do.

import { displayWarning } from "./corners.js";
import { element, tidyNumber } from "./dom.js";

export const ACTIONS = [
  { name: "fit", label: "Fit", key: "=", help: "Fit the film to the window" },
  { name: "actual", label: "1:1", key: "O", help: "One film pixel on one screen pixel" },
  { name: "window", label: "Window", key: "W", toggle: true, help: "Drag sets width (sideways) and level (up, down)" },
  { name: "lung", label: "Lung", key: "L", help: "Window over the darkest part of the film, where the lungs lie" },
  { name: "mediastinum", label: "Mediastinum", key: "M", help: "Window over the middle and bright part of the film" },
  { name: "bone", label: "Bone", key: "N", help: "Window over the brightest part of the film" },
  { name: "percentile", label: "0.5–99.5 %", key: "P", help: "Window over all but the outermost values" },
  { name: "invert", label: "Invert", key: "I", toggle: true, help: "Invert grey" },
  { name: "flip", label: "Flip", key: "X", toggle: true, help: "Mirror left to right; the side letters follow" },
  { name: "turn", label: "Turn", key: "T", help: "Turn by a quarter, clockwise" },
  { name: "ruler", label: "Ruler", key: "Q", toggle: true, help: "Measure: drag along what is to be measured" },
  { name: "ratio", label: "CTR", key: "V", toggle: true, help: "Cardiothoracic ratio: drag across the heart, then the thorax" },
  { name: "beside", label: "Beside", key: "Y", toggle: true, help: "Another film of the patient beside this one" },
  { name: "boxes", label: "Boxes", key: "B", toggle: true, help: "Show or hide the boxes" },
  { name: "heatmap", label: "Heatmap", key: "H", toggle: true, help: "Show or hide the heatmap" },
  { name: "nearest", label: "Nearest normals", key: "E", toggle: true, help: "Patches of the normal set most like a hot spot" },
  { name: "reset", label: "Reset", key: "R", help: "Window, zoom, inversion and pose as at first" },
  { name: "keys", label: "Keys", key: "?", help: "List the keys" },
];

const GESTURES = [
  ["Drag", "Move the film"],
  ["Right drag, or W and drag", "Width (sideways) and level (up, down)"],
  ["Wheel, + and −", "Zoom, at the pointer"],
  ["Shift and arrows", "Move the film"],
  ["Space, held", "Hide the heatmap"],
  ["Shift+E", "Nearest normals of the hottest patch"],
  ["J, held", "The chosen nearest normal in place of this film"],
  ["C", "Draw a box, where boxes may be drawn; Shift+C adds one in the middle"],
  ["Ctrl+Z, Ctrl+Y", "Undo and redo of drawn boxes"],
  ["Esc", "Close this list"],
];

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
  button.append(label, element("kbd", { text: key, "aria-hidden": "true" }));
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
  const own = keyList([...ACTIONS.map(({ key, help }) => [key, help]), ...GESTURES]);
  const pages = element("div", { classes: "hv-page-keys" });
  const close = element("button", { type: "button", classes: "hv-button", text: "Close" });
  const dialog = element("dialog", { classes: "hv-keys", "aria-label": "Keys of the film viewer" }, [
    element("h2", { text: "Keys" }),
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
  const rows = shown.map((button) => {
    const key = button.querySelector("kbd").textContent;
    return [key, button.textContent.replace(key, "").trim()];
  });
  const heading = element("h2", { text: "On this page" });
  dialog.querySelector(".hv-page-keys").replaceChildren(...(rows.length ? [heading, keyList(rows)] : []));
  dialog.showModal();
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
