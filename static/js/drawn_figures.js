// A page of figures that the server drew, and nothing more: draws them.

import { drawFigure, whenReady } from "./figures.js";

whenReady(() => {
  const drawn = document.getElementById("figures");
  if (!drawn) return; // nothing has been scored yet
  for (const [name, figure] of Object.entries(JSON.parse(drawn.textContent))) drawFigure(name, figure);
});
