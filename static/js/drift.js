// The page on drift of a detector's scores: draws its figure.

import { drawFigure, whenReady } from "./figures.js";

whenReady(() => {
  const drawn = document.getElementById("figures");
  if (!drawn) return; // nothing has been scored yet
  for (const [name, figure] of Object.entries(JSON.parse(drawn.textContent))) drawFigure(name, figure);
});
