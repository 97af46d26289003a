// The keys of the alignment boards, as the table that `?` shows.

import { KEYS } from "./key_list.js";

export function isTyping(target) {
  return Boolean(target.closest?.("input:not([type=radio]):not([type=range]), textarea, select, dialog"));
}

export function fillTable(body, mode) {
  for (const { shown, help, only } of KEYS) {
    if (only && only !== mode) continue;
    const row = body.insertRow();
    const key = row.insertCell();
    for (const part of shown.split(" ")) {
      const box = key.appendChild(document.createElement("kbd"));
      box.textContent = part;
      key.append(" ");
    }
    row.insertCell().textContent = help;
  }
}
