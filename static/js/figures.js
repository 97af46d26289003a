// Plotly figures that the server drew: shows and exports them, and opens a film when its point is clicked.

import { addExports } from "./figure_export.js";

const NO_FILM = "00000000-0000-0000-0000-000000000000";

export function drawFigure(name, { data, layout }, filename = name) {
  const figure = document.getElementById(name);
  addExports(figure, layout, `hilum-${filename}`);
  if (layout.height) figure.style.height = `${layout.height}px`; // otherwise Plotly drops it when the window is resized
  Plotly.react(figure, data, layout, { responsive: true, displayModeBar: false });
}

export function openFilmsOf(name, filmUrl) {
  document.getElementById(name).on("plotly_click", (event) => {
    const film = event.points.map((point) => point.customdata).find((id) => typeof id === "string");
    if (film) window.location.assign(filmUrl.replace(NO_FILM, film));
  });
}

export function whenReady(start) {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
}
