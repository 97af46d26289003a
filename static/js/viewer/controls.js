// Toolbar, stage, status line and the list of keys. Only builds and updates; index.js decides.

import { element, tidyNumber } from "./dom.js";

export const ACTIONS = [
  { name: "fit", label: "Fit", key: "=", help: "Fit the film to the window" },
  { name: "actual", label: "1:1", key: "1", help: "One film pixel on one screen pixel" },
  { name: "window", label: "Window", key: "W", toggle: true, help: "Drag sets width (sideways) and level (up, down)" },
  { name: "invert", label: "Invert", key: "I", toggle: true, help: "Invert grey" },
  { name: "boxes", label: "Boxes", key: "B", toggle: true, help: "Show or hide the boxes" },
  { name: "heatmap", label: "Heatmap", key: "H", toggle: true, help: "Show or hide the heatmap" },
  { name: "reset", label: "Reset", key: "R", help: "Window, zoom and inversion as at first" },
  { name: "keys", label: "Keys", key: "?", help: "List the keys" },
];

const GESTURES = [
  ["Drag", "Move the film"],
  ["Right drag, or W and drag", "Width (sideways) and level (up, down)"],
  ["Wheel, + and −", "Zoom, at the pointer"],
  ["Shift and arrows", "Move the film"],
  ["Space, held", "Hide the heatmap"],
  ["Esc", "Close this list"],
];

export function buildFrame(host, { label, run, without }) {
  const actions = ACTIONS.filter((action) => !without.includes(action.name));
  const buttons = new Map(actions.map((action) => [action.name, actionButton(action, run)]));
  const choices = element("select", { classes: "hv-select", "aria-label": "Window preset" });
  const toolbar = element("div", { classes: "hv-toolbar", role: "toolbar", "aria-label": "Film" }, [
    ...buttons.values(),
    choices,
  ]);
  const stage = buildStage(label);
  const status = buildStatus();
  const notes = element("div", { classes: "hv-notes" });
  const panel = element("aside", { classes: "hv-panel", "aria-label": "Heatmap" });
  panel.hidden = true;
  const film = element("div", { classes: "hv-film" }, [stage.stage, status.line, notes]);
  const keys = keyDialog(actions);
  host.replaceChildren(toolbar, element("div", { classes: "hv-body" }, [film, panel]), keys);
  return { ...stage, ...status, buttons, choices, notes, panel, keys };
}

function actionButton({ name, label, key, toggle, help }, run) {
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

function buildStage(label) {
  const canvas = buildCanvas(label);
  const corner = element("p", { classes: "hv-corner" });
  const sides = ["left", "right"].map((side) => element("span", { classes: `hv-side hv-side-${side}` }));
  const message = element("div", { classes: "hv-message" });
  const stage = element(
    "div",
    { classes: "hv-stage", tabindex: "0", role: "group", "aria-label": `${label}. Question mark lists the keys.` },
    [canvas, corner, ...sides, message],
  );
  return { stage, canvas, corner, sides, message };
}

export function buildCanvas(label) {
  return element("canvas", { classes: "hv-canvas", role: "img", "aria-label": label });
}

function buildStatus() {
  const viewText = element("span", { role: "status" });
  const pointText = element("span", { classes: "hv-point" });
  return { line: element("p", { classes: "hv-status" }, [viewText, pointText]), viewText, pointText };
}

function keyDialog(actions) {
  const own = keyList([...actions.map(({ key, help }) => [key, help]), ...GESTURES]);
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

// With the keys that the page around the viewer answers: every [data-key] with a <kbd>.
export function openKeys(dialog) {
  const shown = [...document.querySelectorAll("[data-key]:has(kbd)")].filter((one) => one.checkVisibility());
  const rows = shown.map((one) => {
    const key = one.querySelector("kbd").textContent;
    return [key, one.textContent.replace(key, "").trim()];
  });
  const heading = element("h2", { text: "On this page" });
  dialog.querySelector(".hv-page-keys").replaceChildren(...(rows.length ? [heading, keyList(rows)] : []));
  dialog.showModal();
}

export function press(buttons, name, pressed) {
  buttons.get(name)?.setAttribute("aria-pressed", String(pressed));
}

// Without a film only the list of keys is of use.
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

export function cornerSentence(facts) {
  const view = facts.view_position || "View unknown";
  if (facts.laterality === "U") return view; // unpaired: a frontal chest film is of no side (PS3.3 C.8.11.2)
  return `${view} · laterality ${facts.laterality || "unknown"}`;
}

// Sides of the patient at the left and right edge, from PatientOrientation (PS3.3 C.7.6.1.1.1), where known.
export function sideLetters(facts) {
  const towardsRight = [facts.patient_orientation ?? ""].flat().join("\\").split("\\")[0];
  if (towardsRight === "L") return ["R", "L"];
  if (towardsRight === "R") return ["L", "R"];
  return ["", ""];
}
