// Parts of a page that poll the server: only what has changed is updated, so that focus, scroll position and selection are
// kept. A polled part has data-refresh; children that can appear or disappear need an id.

import { localTimes } from "./hilum.js";

const NEAR_END_PX = 8;

document.body.addEventListener("htmx:beforeSwap", (event) => {
  const old = event.detail.target;
  if (!old.matches?.("[data-refresh]") || !event.detail.shouldSwap) return;
  const holder = document.createElement("template");
  holder.innerHTML = event.detail.serverResponse.trim();
  const fresh = holder.content.firstElementChild;
  if (!fresh?.matches("[data-refresh]")) return;
  event.detail.shouldSwap = false;
  localTimes(fresh);
  const following = logsAtEnd(old);
  update(old, fresh);
  for (const further of [...holder.content.children].slice(1)) updateElsewhere(further);
  following.forEach(scrollToEnd);
  window.htmx.process(old); // polling stops once the new part has no trigger
});

// What follows the polled part in an answer stands elsewhere on the page, under its id.
function updateElsewhere(fresh) {
  const old = document.getElementById(fresh.id);
  if (old) update(old, fresh);
}

// Logs that are scrolled to their end stay at the end; those that the reader scrolled up stay where they are.
function logsAtEnd(root) {
  return [...root.querySelectorAll("[data-follow]")].filter(
    (log) => log.scrollTop + log.clientHeight >= log.scrollHeight - NEAR_END_PX,
  );
}

function scrollToEnd(log) {
  log.scrollTop = log.scrollHeight;
}

function update(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    updateText(old, fresh.data);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) return;
  for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.matches("details"))) old.removeAttribute(name);
  }
  let at = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const kept = child.id ? [...old.children].find((element) => element.id === child.id) : at;
    if (child.id && kept && kept !== at) {
      while (at && at !== kept && !isIn(at, fresh)) at = removeAndGetNext(at);
    }
    if (kept && kept === at && isSame(kept, child)) {
      at = at.nextSibling;
      update(kept, child);
    } else if (kept && child.id) {
      old.insertBefore(kept, at);
      update(kept, child);
    } else {
      old.insertBefore(child, at);
    }
  }
  while (at) at = removeAndGetNext(at);
}

function isSame(old, fresh) {
  return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && (old.id ?? "") === (fresh.id ?? "");
}

function isIn(node, fresh) {
  return Boolean(node.id) && [...fresh.children].some((child) => child.id === node.id);
}

function removeAndGetNext(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// A log grows at its end and is cut at its start; a selection in between is kept.
function updateText(text, wanted) {
  if (text.data === wanted) return;
  const start = wanted.slice(0, 80);
  const cut = start.length === 80 ? text.data.indexOf(start) : 0;
  if (cut >= 0 && wanted.startsWith(text.data.slice(cut))) {
    text.appendData(wanted.slice(text.data.length - cut));
    const log = text.parentElement;
    const { scrollTop, scrollHeight } = log;
    text.deleteData(0, cut);
    log.scrollTop = scrollTop - (scrollHeight - log.scrollHeight); // visible lines stay where they are
  } else {
    text.data = wanted;
  }
}

document.querySelectorAll("[data-follow]").forEach(scrollToEnd);
