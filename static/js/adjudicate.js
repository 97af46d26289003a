// The form of an adjudicator's verdict: a key presses its button, a digit ticks a finding, Shift and a digit an attribute.

import { listenToKeys } from "./labelling/keys.js";

const form = document.getElementById("verdict");

if (form) {
  listenToKeys(
    (key, event) => {
      const button = form.querySelector(`button[data-key="${CSS.escape(key)}"]`);
      if (button) return !event.repeat && button.click(), true;
      const digit = /^Digit([1-9])$/.exec(event.code)?.[1];
      const box = digit && form.querySelector(event.shiftKey ? `[data-attribute="${digit}"]` : `[data-pick="${digit}"]`);
      if (box) return (box.checked = !box.checked), true;
      return Boolean(digit);
    },
    { isFree: (target) => target.closest("#film-view") },
  );
  form.elements.comment.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" && event.key !== "Enter") return;
    event.preventDefault(); // Enter would press the first button
    event.target.blur();
  });
  document.getElementById("adjudication").dataset.keys = "ready"; // the keys are active from here on
}
