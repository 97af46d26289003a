// Another film of the same patient beside this one (a lateral, an earlier one), at the same scale and window.

import { buildCorners } from "./corners.js";
import { element } from "./dom.js";
import { fetchJson, sentence } from "./fetching.js";
import { loadFilm } from "./films.js";
import { fitZoom, scales } from "./geometry.js";
import { listenToPointers } from "./gestures.js";
import { chosenAgain } from "./presets.js";
import { FilmStage } from "./stage.js";

export async function loadBeside(url, { signal } = {}) {
  const { films } = await fetchJson(url, "The other films of the patient", { signal });
  return films;
}

export function createBeside({ stage, place, wantedVoi }) {
  const select = element("select", { classes: "hv-select", "aria-label": "Film beside" });
  const note = element("p", { classes: "hv-hint", role: "status" });
  const other = new FilmStage({ label: "Film beside", onDraw: () => corners.update(other.film, other.view) });
  const corners = buildCorners(other);
  const column = element("div", { classes: "hv-beside" }, [
    element("div", { classes: "hv-row hv-beside-head" }, [select, note]),
    other.element,
  ]);
  column.hidden = true;
  let films = [];
  let shown = null;
  let ending = null;
  let zoom = 0; // zoom of the main film when this film's zoom was last set

  const open = async (wanted) => {
    ending?.abort();
    ending = new AbortController();
    const { signal } = ending;
    shown = wanted;
    other.clear();
    note.textContent = "Fetching the film";
    try {
      const film = await loadFilm({ factsUrl: wanted.facts_url, pixelsUrl: wanted.pixels_url }, { signal });
      if (shown !== wanted || !stage.view) return;
      other.setLabel(words(wanted));
      other.setFilm(film, { voi: chosenAgain(film.choices, wantedVoi()), inverted: stage.inverted });
      zoom = 0;
      follow();
      other.redrawNow();
    } catch (error) {
      if (shown === wanted && !signal.aborted) note.textContent = sentence(error);
    }
  };

  // The same millimetres per device pixel where both spacings are known, otherwise the same share of the frame.
  const follow = () => {
    if (column.hidden || !other.view || !stage.view || zoom === stage.view.zoom) return;
    zoom = stage.view.zoom;
    const [mine, its] = [stage.film.facts.spacing_mm, other.film.facts.spacing_mm];
    if (mine && its) {
      const scaleX = (stage.view.scaleX * its[1]) / mine[1];
      other.setZoom(scaleX / scales(1, other.film.aspect)[0]);
    } else {
      other.setZoom((zoom / fitZoom(stage.film, stage.canvas, stage.view)) * fitZoom(other.film, other.canvas, other.view));
    }
    const planes = [stage, other].map(({ film }) => film.facts.spacing_plane);
    note.textContent = !mine || !its ? "Spacing unknown: scaled to the frame." : planes[0] === planes[1] ? "Same scale." : "Same scale, in different planes.";
  };

  listenToPointers(other.element, {
    deviceAt: (event) => other.deviceAt(event),
    claims: () => false,
    onDragStart: () => {},
    onDrag: (dx, dy) => other.pan(dx, dy),
    onZoom: (factor) => stage.zoomAt(factor),
    onHover: () => {},
    onLeave: () => {},
  });
  select.addEventListener("change", () => open(films[select.selectedIndex]));

  return {
    get count() {
      return films.length;
    },
    get isOn() {
      return !column.hidden;
    },
    get state() {
      return { view: other.view, image: other.film?.facts.image ?? null, voi: other.voi, inverted: other.inverted };
    },
    follow,
    set(next) {
      films = next;
      select.replaceChildren(...films.map((film) => new Option(words(film), film.image)));
      if (!films.length) column.hidden = true;
      else if (!column.hidden) open(films[0]);
    },
    clear() {
      ending?.abort();
      films = [];
      shown = null;
      other.clear();
    },
    toggle() {
      if (!column.isConnected) place.append(column);
      column.hidden = !column.hidden || !films.length;
      if (!column.hidden && !other.film) open(films[0]);
    },
    setVoi() {
      if (!other.film) return;
      other.setVoi(chosenAgain(other.film.choices, wantedVoi()));
      if (other.inverted !== stage.inverted) other.setInverted(stage.inverted);
    },
    destroy: () => other.destroy(),
  };
}

function words({ name, view_position: view, same_study: sameStudy }) {
  return [view || "View unknown", sameStudy ? "same study" : "another study", name].join(", ");
}
