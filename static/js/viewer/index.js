// Every [data-hilum-viewer] on the page becomes a film viewer, at load and after an htmx swap.

import { FilmViewer } from "./viewer.js";

export function startViewers(root = document) {
  const hosts = [...root.querySelectorAll("[data-hilum-viewer]")];
  if (root.matches?.("[data-hilum-viewer]")) hosts.push(root);
  for (const host of hosts) host.hilumViewer ??= new FilmViewer(host);
}

startViewers();
document.addEventListener("htmx:load", (event) => startViewers(event.target));
