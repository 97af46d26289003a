// Plotly figures that the server drew: how each is shown, exported, and leads to its films.

const NO_FILM = "00000000-0000-0000-0000-000000000000";

export function drawFigure(name, { data, layout }, filename = name) {
  Plotly.react(document.getElementById(name), data, layout, {
    responsive: true,
    displaylogo: false,
    modeBarButtons: [["toImage"]],
    toImageButtonOptions: { format: "svg", filename },
  });
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
