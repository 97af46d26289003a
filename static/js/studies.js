// The figures of a study: each is drawn in the element that has its name as id.

import { drawFigure, whenReady } from "./figures.js";

whenReady(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  for (const [name, figure] of Object.entries(figures)) drawFigure(name, figure);
});
