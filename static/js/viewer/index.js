// Every [data-hilum-viewer] on the page becomes a film viewer, at load and after an htmx swap.

import { FilmViewer } from "./viewer.js";

export function startViewers(root = document) {
  const hosts = [...root.querySelectorAll("[data-hilum-viewer]")];
  if (root.matches?.("[data-hilum-viewer]")) hosts.push(root);
  for (const host of hosts.filter((host) => !host.hilumViewer)) start(host);
}

function start(host) {
  const { prefetch } = host.dataset;
  const fetchNext = () => host.hilumViewer.prefetch(JSON.parse(prefetch));
  // For pages that go from film to film by links: the next films are then in the browser's cache.
  if (prefetch) host.addEventListener("hilum:ready", fetchNext, { once: true });
  host.hilumViewer = new FilmViewer(host);
}

startViewers();
document.addEventListener("htmx:load", (event) => startViewers(event.target));
