// The labelling keys. They are handled before the viewer's keys; a handled key goes no further.

export function isTyping(target) {
  return Boolean(
    target.closest?.("input:not([type=checkbox], [type=radio], [type=range], [type=button]), select, textarea, dialog[open]"),
  );
}

const PRESSABLE = "button, a[href], summary, input[type=checkbox], input[type=radio], [tabindex]";

// A key as it is written in data-key: "a", "Enter", "ArrowLeft", "Shift+A". A sign stands for itself, with Shift or not.
export function keyOf({ key, shiftKey }) {
  if (key.length > 1) return shiftKey ? `Shift+${key}` : key;
  return shiftKey && key.toLowerCase() !== key.toUpperCase() ? `Shift+${key.toUpperCase()}` : key.toLowerCase();
}

// `answer(key, event)` gets a key in this form and returns whether it handled
// the key. Enter and Space belong to the focused control, unless `isFree` returns true for it.
export function listenToKeys(answer, { isFree = () => false } = {}) {
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const key = keyOf(event);
      const forControl = (key === "Enter" || key === " ") && event.target.closest?.(PRESSABLE) && !isFree(event.target);
      if (forControl || !answer(key, event)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
    },
    { capture: true },
  );
}
