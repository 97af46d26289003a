// A comparison of runs: draws its figures.

import { drawFigure, openFilmsOf, whenReady } from "./figures.js";

whenReady(() => {
  const root = document.getElementById("comparison");
  const figures = JSON.parse(document.getElementById("figures").textContent);
  for (const [name, figure] of Object.entries(figures)) drawFigure(name, figure, `comparison-${name}`);
  if (figures.scatter) openFilmsOf("scatter", root.dataset.filmUrl);
});
