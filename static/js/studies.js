// The figures of a study: each drawn where an element has its name.

import { drawFigure, whenReady } from "./figures.js";

whenReady(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  for (const [name, figure] of Object.entries(figures)) drawFigure(name, figure);
});
