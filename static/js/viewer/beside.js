// Another film of the same patient beside this one (a lateral, an earlier one), at the same scale and window.

import { buildCorners } from "./corners.js";
import { element } from "./dom.js";
import { fetchJson, sentence } from "./fetching.js";
import { loadFilm } from "./films.js";
import { fitZoom, scales } from "./geometry.js";
import { listenToPointers } from "./gestures.js";
import { chosenAgain } from "./presets.js";
import { FilmStage } from "./stage.js";

// {films, note}: the films in the order that the note names
export function loadBeside(url, { signal } = {}) {
  return fetchJson(url, "The other films of the patient", { signal });
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
  let order = ""; // of the films, in words
  let isWanted = false; // kept from film to film
  let shown = null;
  let ending = null;
  let zoom = 0; // zoom of the main film when this film's zoom was last set

  const open = async (wanted) => {
    ending?.abort();
    ending = new AbortController();
    const { signal } = ending;
    shown = wanted;
    select.selectedIndex = films.indexOf(wanted);
    other.clear();
    note.textContent = "Fetching the film";
    try {
      const film = await loadFilm({ factsUrl: wanted.facts_url, pixelsUrl: wanted.pixels_url }, { signal });
      if (shown !== wanted || !stage.view) return;
      other.setLabel(wordsOf(wanted));
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
    const scale = !mine || !its ? "Spacing unknown: scaled to the frame." : planes[0] === planes[1] ? "Same scale." : "Same scale, in different planes.";
    note.textContent = `${order} ${scale}`.trim();
  };

  const show = () => {
    column.hidden = !isWanted || !films.length;
    if (column.hidden) return;
    if (!column.isConnected) place.append(column);
    if (!other.film || !films.includes(shown)) open(films[startOf(films)]);
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
      films = next.films.map((film, index) => ({ ...film, number: `${index + 1} of ${next.films.length}` }));
      order = next.note ?? "";
      select.replaceChildren(...films.map((film) => new Option(wordsOf(film), film.image)));
      show();
    },
    clear() {
      ending?.abort();
      films = [];
      shown = null;
      other.clear();
    },
    toggle() {
      isWanted = column.hidden;
      show();
    },
    // Opens the column, or the next film in it. Returns whether there is one.
    next() {
      if (!films.length) return false;
      if (!column.hidden) open(films[(films.indexOf(shown) + 1) % films.length]);
      else this.toggle();
      return true;
    },
    setVoi() {
      if (!other.film) return;
      other.setVoi(chosenAgain(other.film.choices, wantedVoi()));
      if (other.inverted !== stage.inverted) other.setInverted(stage.inverted);
    },
    destroy: () => other.destroy(),
  };
}

// The last film before this one; without a known one, another film of the study, or the first.
function startOf(films) {
  const before = films.findLastIndex(({ days }) => days < 0);
  return before >= 0 ? before : Math.max(0, films.findIndex((film) => film.same_study));
}

function wordsOf(film) {
  const { view_position: view, same_study: sameStudy, when, number } = film;
  return [`${number}: ${view || "view unknown"}`, when, sameStudy ? "same study" : ""].filter(Boolean).join(", ");
}
