// The two dialogs of the reading page: a pause, and an escalation.

import { keyOf } from "../labelling/keys.js";

export function createDialogs({ onPause, onResume, onOpen, escalate }) {
  const pausing = document.getElementById("pausing");
  const escalating = document.getElementById("escalating");
  const reason = document.getElementById("escalating-reason");
  const trouble = document.getElementById("escalating-trouble");

  for (const dialog of [pausing, escalating]) dialog.addEventListener("close", () => onOpen(false));
  pausing.addEventListener("close", onResume);
  pausing.addEventListener("keydown", (event) => {
    if (keyOf(event) !== document.getElementById("pause").dataset.key || event.repeat) return;
    event.preventDefault();
    pausing.close();
  });
  document.getElementById("escalating-cancel").addEventListener("click", () => escalating.close());
  escalating.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    trouble.hidden = true;
    try {
      await escalate(reason.value.trim());
    } catch (error) {
      trouble.textContent = `Not escalated: ${error.message} Your words stay here; try again.`;
      trouble.hidden = false;
      return;
    }
    reason.value = "";
    escalating.close();
  });

  return {
    pause() {
      onPause();
      onOpen(true);
      pausing.showModal();
    },
    escalate() {
      onOpen(true);
      trouble.hidden = true;
      escalating.showModal();
      reason.focus();
    },
  };
}
