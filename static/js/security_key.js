// Security keys: the button asks the browser for the key, and sends its answer with the form.

import { answerOfKey, hasKeys } from "./webauthn.js";

for (const form of document.querySelectorAll("form[data-security-key]")) {
  const button = form.querySelector("button");
  const state = form.querySelector("[data-state]");
  if (!hasKeys()) continue;
  button.disabled = false;
  state.textContent = "";
  form.addEventListener("submit", async (event) => {
    if (form.elements.credential.value) return;
    event.preventDefault();
    button.disabled = true;
    state.textContent = "Touch your key.";
    try {
      form.elements.credential.value = await answerOfKey(form.dataset.securityKey, form.querySelector("script").textContent);
      form.submit();
    } catch (error) {
      state.textContent = error.message;
      button.disabled = false;
    }
  });
}
