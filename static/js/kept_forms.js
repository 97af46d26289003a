// A form that is sent as a page, after the page lay open for a while, asks first whether the person is still logged in. If not,
// the dialog comes, and what was typed is sent once they have logged in again; otherwise the log-in page would replace it.

import { hasLoginDialog, loginDialog } from "./labelling/login.js";

const FRESH_MS = 60_000; // for so long after the page came nothing is asked
const came = Date.now();

document.addEventListener("submit", async (event) => {
  const { target: form, submitter } = event;
  const isPost = (submitter?.getAttribute("formmethod") ?? form.method) === "post";
  if (event.defaultPrevented || !isPost || form.matches("[data-needs-no-session]") || Date.now() - came < FRESH_MS) return;
  if (!hasLoginDialog()) return;
  event.preventDefault();
  if (await isLoggedIn()) send(form, submitter);
});

async function isLoggedIn() {
  try {
    await loginDialog().renew();
  } catch (trouble) {
    if (trouble.kind === "out" || trouble.kind === "other") return loginDialog().again();
  }
  return true; // without an answer the page of the form says what is wrong
}

// As a click on the button does, but without asking again what other scripts asked for this event.
function send(form, submitter) {
  if (submitter?.hasAttribute("formaction")) form.setAttribute("action", submitter.formAction);
  if (submitter?.name) {
    const pressed = Object.assign(document.createElement("input"), { type: "hidden", name: submitter.name, value: submitter.value });
    form.append(pressed);
  }
  HTMLFormElement.prototype.submit.call(form); // a field may be called "submit"
}
