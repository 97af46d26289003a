// The layer of labelling keys. It hears a key before the viewer does: what it answers, nobody else hears.

export function isTyping(target) {
  return Boolean(
    target.closest?.("input:not([type=checkbox], [type=radio], [type=range], [type=button]), select, textarea, dialog[open]"),
  );
}

const PRESSABLE = "button, a[href], summary, input[type=checkbox], input[type=radio], [tabindex]";

// `answer(key, event)` is told a key as it is written in data-key ("a", "Enter", "ArrowLeft") and says whether the key was
// for it. Enter and Space belong to a control that holds the focus, unless `isFree` says that this control has no use for them.
export function listenToKeys(answer, { isFree = () => false } = {}) {
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const forControl = (key === "Enter" || key === " ") && event.target.closest?.(PRESSABLE) && !isFree(event.target);
      if (forControl || !answer(key, event)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
    },
    { capture: true },
  );
}
