// The learning curve on the page of a semi-supervised head, drawn when its section has come.

import { drawFigure } from "./figures.js";

document.body.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "head-curve") return;
  drawFigure("learning-curve", JSON.parse(document.getElementById("learning-curve-figure").textContent));
  event.target.dataset.drawn = "yes";
});
