// Parts of a page that ask for news: only what has changed is touched, so that focus, scroll and a selection stay.
// A part with data-refresh takes part; children that may come and go carry an id.

import { localTimes } from "./hilum.js";

const NEAR_END_PX = 8;

document.body.addEventListener("htmx:beforeSwap", (event) => {
  const old = event.detail.target;
  if (!old.matches?.("[data-refresh]") || !event.detail.shouldSwap) return;
  const holder = document.createElement("template");
  holder.innerHTML = event.detail.serverResponse.trim();
  const news = holder.content.firstElementChild;
  if (!news?.matches("[data-refresh]")) return;
  event.detail.shouldSwap = false;
  localTimes(news);
  const following = followed(old);
  bringUpToDate(old, news);
  following.forEach(toEnd);
  window.htmx.process(old); // it stops asking once the news say so
});

// Logs that stand at their end follow it; those that the reader scrolled up stay where they are.
function followed(root) {
  return [...root.querySelectorAll("[data-follow]")].filter(
    (log) => log.scrollTop + log.clientHeight >= log.scrollHeight - NEAR_END_PX,
  );
}

function toEnd(log) {
  log.scrollTop = log.scrollHeight;
}

function bringUpToDate(old, news) {
  if (old.nodeType === Node.TEXT_NODE) {
    bringTextUpToDate(old, news.data);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) return;
  for (const { name, value } of [...news.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) {
    if (!news.hasAttribute(name) && !(name === "open" && old.matches("details"))) old.removeAttribute(name);
  }
  let at = old.firstChild;
  for (const child of [...news.childNodes]) {
    const kept = child.id ? [...old.children].find((one) => one.id === child.id) : at;
    if (child.id && kept && kept !== at) {
      while (at && at !== kept && !stillThere(at, news)) at = removed(at);
    }
    if (kept && kept === at && isSame(kept, child)) {
      at = at.nextSibling;
      bringUpToDate(kept, child);
    } else if (kept && child.id) {
      old.insertBefore(kept, at);
      bringUpToDate(kept, child);
    } else {
      old.insertBefore(child, at);
    }
  }
  while (at) at = removed(at);
}

function isSame(old, news) {
  return old.nodeType === news.nodeType && old.nodeName === news.nodeName && (old.id ?? "") === (news.id ?? "");
}

function stillThere(node, news) {
  return Boolean(node.id) && [...news.children].some((child) => child.id === node.id);
}

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// A log grows at its end and is cut at its start; a selection between the two stays.
function bringTextUpToDate(text, wanted) {
  if (text.data === wanted) return;
  const start = wanted.slice(0, 80);
  const cut = start.length === 80 ? text.data.indexOf(start) : 0;
  if (cut >= 0 && wanted.startsWith(text.data.slice(cut))) {
    text.appendData(wanted.slice(text.data.length - cut));
    const log = text.parentElement;
    const { scrollTop, scrollHeight } = log;
    text.deleteData(0, cut);
    log.scrollTop = scrollTop - (scrollHeight - log.scrollHeight); // the lines in sight stay in sight
  } else {
    text.data = wanted;
  }
}

document.querySelectorAll("[data-follow]").forEach(toEnd);
