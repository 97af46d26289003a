// Two films side by side, moved and zoomed together, and the keys of the buttons below them.

import { listenToKeys } from "./labelling/keys.js";
import { sentence } from "./viewer/fetching.js";
import { loadFilm } from "./viewer/films.js";
import { fitZoom } from "./viewer/geometry.js";
import { listenToPointers } from "./viewer/gestures.js";
import { FilmStage } from "./viewer/stage.js";

const pair = document.getElementById("pair");
const scale = document.getElementById("scale");

if (pair) {
  const hosts = [...pair.querySelectorAll("[data-pair-film]")];
  Promise.all(hosts.map(show)).then(
    (stages) => {
      moveTogether(stages);
      scale.textContent = "· both fitted to the frame";
      pair.dataset.state = "ready";
      prefetch(JSON.parse(pair.dataset.ahead));
    },
    (error) => (scale.textContent = `· ${sentence(error)}`), // the previews stay
  );
  listenToKeys((key, event) => {
    const target = document.querySelector(`.hilum-pair-bar [data-key="${CSS.escape(key)}"]`);
    if (target && !event.repeat) target.click();
    return Boolean(target);
  });
  pair.dataset.keys = "ready"; // the keys are active from here on
}

async function show(host) {
  const film = await loadFilm(host.dataset);
  const stage = new FilmStage({ label: host.dataset.label });
  host.replaceChildren(stage.element);
  stage.setFilm(film, { voi: film.choices[0], inverted: false });
  stage.redrawNow();
  return stage;
}

// A copy may have another size in pixels: both are scaled to the frame, and the same factor is applied to both.
function moveTogether(stages) {
  for (const stage of stages) {
    const relative = () => stage.view.zoom / fitZoom(stage.film, stage.canvas, stage.view);
    listenToPointers(stage.element, {
      deviceAt: (event) => stage.deviceAt(event),
      claims: () => false,
      onDragStart: () => {},
      onDrag: (dx, dy) => stages.forEach((each) => each.pan(dx, dy)),
      onZoom: (factor) => {
        stage.zoomAt(factor);
        pair.dataset.zoom = relative().toFixed(2);
        for (const other of stages.filter((each) => each !== stage)) {
          other.setZoom(relative() * fitZoom(other.film, other.canvas, other.view));
        }
      },
      onHover: () => {},
      onLeave: () => {},
    });
  }
}

function prefetch(films) {
  for (const { factsUrl, pixelsUrl } of films) for (const url of [factsUrl, pixelsUrl]) fetch(url);
}
