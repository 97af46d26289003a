// The results of a reader study: draws readers on the model's ROC.

import { drawFigure, whenReady } from "./figures.js";

whenReady(() => {
  drawFigure("study-roc", JSON.parse(document.getElementById("figure").textContent), "reader-study");
});
