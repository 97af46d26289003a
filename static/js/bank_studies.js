// A bank study or a study of blind spots: draws its figures.

import { drawFigure, whenReady } from "./figures.js";

whenReady(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  for (const [name, figure] of Object.entries(figures)) {
    if (document.getElementById(name)) drawFigure(name, figure, `study-${name}`);
  }
  document.getElementById("study").dataset.drawn = "yes";
});
