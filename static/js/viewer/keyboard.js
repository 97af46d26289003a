// Keys of the viewer that was last pointed at or focused, so that two viewers on one page do not both respond. They are
// handled last: the viewer ignores a key that a field, a control or the page itself has handled (by preventDefault).

import { ACTIONS, keyOf } from "./controls.js";

const RUN = new Map(ACTIONS.map(({ key, name }) => [key.toLowerCase(), name]));
const PAN_STEP = 48;
const [BLINK, WINDOW] = ["blink", "window"].map((name) => keyOf(name).toLowerCase());
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

let active = null;

export function listenToKeys(host, handlers) {
  const ending = new AbortController();
  let silent = false;
  const activate = () => (active = host);
  active ??= host;
  for (const name of ["pointerenter", "focusin"]) host.addEventListener(name, activate);
  const guarded = (listener) => (event) => {
    if (!host.isConnected) return stop();
    if (active && !active.isConnected) active = host;
    if (active === host) listener(event);
  };
  const stop = () => {
    if (active === host) active = null;
    ending.abort();
  };
  const { signal } = ending;
  // On the window, so that the page's listeners on the document run first.
  window.addEventListener("keydown", guarded((event) => silent || onKeyDown(event, handlers)), { signal });
  window.addEventListener("keyup", guarded((event) => onKeyUp(event, handlers)), { signal });
  window.addEventListener("blur", () => handlers.release(), { signal });
  return {
    stop,
    setSilent(next) {
      silent = next;
      if (silent) handlers.release();
    },
  };
}

function onKeyDown(event, handlers) {
  if (event.defaultPrevented || event.altKey || isTyping(event.target)) return;
  if (event.ctrlKey || event.metaKey) {
    if (handlers.edit?.(editOf(event))) event.preventDefault();
    return;
  }
  if (event.key === " " && isPressable(event.target)) return;
  if (answer(event, handlers)) event.preventDefault();
}

function editOf({ key, shiftKey }) {
  const letter = key.toLowerCase();
  if (letter === "z") return shiftKey ? "redo" : "undo";
  return letter === "y" ? "redo" : null;
}

function answer(event, handlers) {
  if (event.key === " ") return handlers.hold("heatmap"), true;
  if (event.key === BLINK) return handlers.hold("blink"), true;
  if (event.key === "+") return handlers.zoom(1.25), true;
  if (event.key === "-") return handlers.zoom(0.8), true;
  // Without Shift the arrows belong to the page: previous and next film.
  const arrow = event.shiftKey && ARROWS[event.key];
  if (arrow) return handlers.pan(arrow[0] * PAN_STEP, arrow[1] * PAN_STEP), true;
  const key = event.key.toLowerCase();
  if (handlers.other(key, event)) return true;
  const name = RUN.get(key);
  if (!name || (event.shiftKey && /^[a-z]$/.test(key))) return false;
  if (name === "window") handlers.hold("window");
  else if (!event.repeat) handlers.run(name);
  return true;
}

function onKeyUp(event, handlers) {
  if ([" ", WINDOW, BLINK].includes(event.key.toLowerCase())) handlers.release();
}

export function isTyping(target) {
  const typed = "input:not([type=range], [type=checkbox], [type=radio], [type=button]), textarea, select";
  return target.isContentEditable || Boolean(target.closest?.(`${typed}, dialog[open]`));
}

function isPressable(target) {
  return Boolean(target.closest?.("button, a, summary, input[type=checkbox], input[type=radio]"));
}
