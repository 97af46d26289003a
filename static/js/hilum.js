// Loaded by every page. Pages that need more load their own module.

import "./kept_forms.js";

// A choice made with the pointer submits the form at once. With the keyboard, Enter or the form's button submits it, since
// arrow keys step through the choices in between; the focus is restored on the new page.
const FOCUS = "hilum-focus";
for (const form of document.querySelectorAll("form[data-submit-on-change]")) {
  let byPointer = false;
  form.addEventListener("pointerdown", () => {
    byPointer = true;
  });
  form.addEventListener("keydown", (event) => {
    byPointer = false;
    if (event.key === "Enter" && event.target.matches("select")) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  form.addEventListener("change", () => {
    if (byPointer) form.requestSubmit();
  });
  form.addEventListener("submit", () => {
    const name = document.activeElement?.name || "";
    if (!byPointer && form.contains(document.activeElement)) sessionStorage.setItem(FOCUS, `${form.id} ${name}`);
  });
}

const [formId, name] = (sessionStorage.getItem(FOCUS) ?? "").split(" ");
sessionStorage.removeItem(FOCUS);
const filters = formId ? document.getElementById(formId) : null;
const choices = filters && name ? [...filters.querySelectorAll(`[name="${CSS.escape(name)}"]`)] : [];
(choices.find((choice) => choice.checked) ?? choices[0] ?? filters?.querySelector("[data-apply]"))?.focus();

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!window.confirm(form.dataset.confirm)) event.preventDefault();
  });
}

// "/" goes to the search in the bar, from everywhere but a field; a key that a person has chosen has priority.
const search = document.getElementById("bar-search");
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input:not([type=checkbox], [type=radio], [type=range]), select, textarea, dialog[open]");
  if (!search || event.key !== "/" || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
  event.preventDefault();
  search.closest(".collapse")?.classList.add("show"); // the folded bar of a narrow window
  search.focus();
  search.select();
});

export function localTime(moment) {
  const pad = (n) => String(n).padStart(2, "0");
  return (
    `${moment.getFullYear()}-${pad(moment.getMonth() + 1)}-${pad(moment.getDate())} ` +
    `${pad(moment.getHours())}:${pad(moment.getMinutes())}`
  );
}

// The server sends times as ISO with zone; the page shows local time, and the zone on hover. A choice of a list cannot
// hold an element: its text begins with the time, as the lines of a log do.
export function localTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.valueOf())) continue;
    element.textContent = localTime(moment).slice(0, "day" in element.dataset ? 10 : 16);
    element.title = `${element.dateTime} (${Intl.DateTimeFormat().resolvedOptions().timeZone})`;
    element.dataset.local = "1";
  }
  for (const option of root.querySelectorAll("option[data-moment]")) {
    option.text = localTime(new Date(option.dataset.moment)) + option.text.trim().slice(16);
    delete option.dataset.moment;
  }
  for (const log of root.querySelectorAll("[data-utc-lines]")) {
    const seconds = (line, day, time) => `${localTime(new Date(`${day}T${time}Z`))}${time.slice(5)}`;
    const lines = log.textContent.replace(/^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)Z/gm, seconds);
    if (lines !== log.textContent) log.textContent = lines;
  }
}
localTimes();
document.body.addEventListener("htmx:afterSwap", (event) => localTimes(event.target));

// A newer request replaces one that is on its way (hx-sync), and a page that is left ends its own: no fault, but htmx
// writes both to the console as errors. The logger sees an event before htmx writes it.
if (window.htmx) {
  const replaced = new WeakSet();
  document.body.addEventListener("htmx:beforeSend", ({ detail: { xhr } }) => {
    const tell = xhr.onabort;
    xhr.onabort = () => {
      replaced.add(xhr);
      tell();
    };
  });
  window.htmx.logger = (element, name, detail) => {
    if (detail.xhr && replaced.has(detail.xhr)) delete detail.error;
  };
}

// Parts of a page that ask the server again and again say so while it does not answer, and go on by themselves.
function sayAway(why) {
  if (document.getElementById("away")) return;
  const notice = document.createElement("p");
  notice.id = "away";
  notice.className = "alert alert-warning py-2";
  notice.setAttribute("role", "status");
  const since = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  notice.textContent = `${why} This page shows what was known at ${since}, and goes on by itself; nothing is lost.`;
  document.getElementById("main")?.prepend(notice);
}
document.body.addEventListener("htmx:sendError", () => sayAway("The server does not answer."));
document.body.addEventListener("htmx:responseError", (event) => {
  if (event.detail.xhr.status >= 500) sayAway(`The server cannot answer now (${event.detail.xhr.status}).`);
});
document.body.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) document.getElementById("away")?.remove();
});
