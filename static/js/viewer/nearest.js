// Nearest normals: the bank patches most like a patch of this film, each shown in its own film. Such a film can be laid over
// this one, aligned, while a key is down.

import { createCanvas2dRenderer } from "./canvas2d.js";
import { actionButton, trouble } from "./controls.js";
import { element, tidyNumber } from "./dom.js";
import { fetchJson, sentence } from "./fetching.js";
import { loadFilm } from "./films.js";
import { applyAffine, compose, invertAffine } from "./geometry.js";
import { patchPosition } from "./heatmap.js";
import { greyTable, isInverted } from "./pixels.js";
import { set, svg } from "./svg.js";

const TILE_PX = 96;
const TILE_PATCHES = 6; // width of a tile in patches: the patch and its surroundings
const BANKS = { global: "Global bank", region: "Region bank", film: "Whole films" };

export function createNearest({ stage, panels, overlaying }) {
  const marker = svg("polygon", { class: "hv-patch" });
  const markers = svg("svg", { class: "hv-markers", "aria-hidden": "true" }, [marker]);
  const blink = createBlink(stage);
  let url = null;
  let on = false;
  let picked = null; // {row, column} of the patch that is searched for
  let searches = 0; // number of searches; answers to earlier ones are dropped
  let ending = null;
  let blinking = false;

  const hottest = actionButton(
    { name: "hottest", label: "Hottest patch", key: "Shift+E", help: "Search for the hottest patch of the map" },
    () => search(null),
  );
  const content = element("div", { classes: "hv-nearest" });
  const panel = element("section", { classes: "hv-panel", "aria-label": "Nearest normals" }, [
    element("h2", { text: "Nearest normals" }),
    element("p", { classes: "hv-hint", text: "Click a hot spot: the patches of the normal set most like it are shown." }),
    element("div", { classes: "hv-row" }, [hottest]),
    content,
  ]);
  panel.hidden = true;
  panels.append(panel);
  stage.addLayer({ layer: blink.canvas, place: () => blink.draw() });
  stage.element.append(blink.caption);
  stage.addLayer({ layer: markers, place: (view, ratio) => placeMarker(view, ratio) });

  const placeMarker = ({ matrix }, ratio) => {
    const { overlay } = overlaying;
    if (!on || !picked || !overlay) return marker.setAttribute("points", "");
    const [c, r] = [picked.column, picked.row];
    const corners = [[c, r], [c + 1, r], [c + 1, r + 1], [c, r + 1]].map(([x, y]) => {
      const original = applyAffine(overlay.original_from_canonical, x * overlay.stride, y * overlay.stride);
      return applyAffine(matrix, ...original).map((value) => (value / ratio).toFixed(1));
    });
    set(marker, { points: corners.join(" ") });
  };

  const search = async (patch) => {
    if (!url || !overlaying.overlay) return;
    const number = ++searches;
    ending?.abort();
    ending = new AbortController();
    const { signal } = ending;
    blink.clear();
    picked = patch;
    stage.redraw();
    content.replaceChildren(element("p", { text: "Searching the normal set. The first search takes longest.", role: "status" }));
    try {
      const query = patch ? `?row=${patch.row}&column=${patch.column}` : "";
      const answer = await fetchJson(url + query, "The nearest normals", { signal });
      if (number !== searches) return;
      picked = answer;
      await showNeighbours(answer, () => number === searches, signal);
    } catch (error) {
      if (number !== searches) return;
      content.replaceChildren(...trouble(sentence(error), () => search(patch)));
    }
    stage.redraw();
  };

  const showNeighbours = async (answer, isCurrent, signal) => {
    const { overlay } = overlaying;
    const own = tile({ film: stage.film, affine: overlay.original_from_canonical, at: answer, stride: overlay.stride });
    const words = `Patch in row ${answer.row + 1}, column ${answer.column + 1} of this film`;
    const groups = Map.groupBy(answer.nearest, ({ bank }) => bank);
    const lists = [...groups].map(([bank, all]) => {
      const items = all.map((neighbour) => ({ neighbour, button: neighbourButton(neighbour) }));
      return { bank, items };
    });
    content.replaceChildren(
      element("figure", { classes: "hv-own-tile" }, [own, element("figcaption", { text: words })]),
      ...lists.flatMap(({ bank, items }) => [
        element("h3", { text: BANKS[bank] ?? bank }),
        element("ol", { classes: "hv-tiles" }, items.map(({ button }) => element("li", {}, [button]))),
      ]),
      ...(answer.hidden ? [element("p", { classes: "hv-hint", text: hiddenWords(answer.hidden) })] : []),
      blink.words,
    );
    // One film at a time is in memory; the browser keeps the files.
    for (const [, all] of Map.groupBy(lists.flatMap(({ items }) => items), ({ neighbour }) => neighbour.film.pixels_url)) {
      const [{ neighbour: first }] = all;
      const affine = first.original_from_canonical;
      if (!affine || !isCurrent()) continue;
      const film = await loadFilm({ factsUrl: first.film.facts_url, pixelsUrl: first.film.pixels_url }, { signal });
      for (const { neighbour, button } of all) {
        if (neighbour.row >= 0) button.prepend(tile({ film, affine, at: neighbour, stride: answer.stride }));
      }
    }
  };

  const neighbourButton = (neighbour) => {
    const words = `${neighbour.rank}. distance ${tidyNumber(neighbour.distance)}`;
    const button = element("button", {
      type: "button",
      classes: "hv-button hv-neighbour",
      "aria-pressed": "false",
      title: `${neighbour.film.name}: lay it over this film with J`,
      "aria-label": `${words}, ${neighbour.film.name}`,
    });
    button.append(element("span", { text: words }));
    button.disabled = !neighbour.original_from_canonical;
    button.addEventListener("click", () => choose(neighbour, button));
    return button;
  };

  const choose = async (neighbour, button) => {
    for (const other of content.querySelectorAll(".hv-neighbour")) other.setAttribute("aria-pressed", String(other === button));
    try {
      const thisFromOther = compose(overlaying.overlay.original_from_canonical, invertAffine(neighbour.original_from_canonical));
      await blink.take(neighbour, thisFromOther);
    } catch (error) {
      blink.words.textContent = sentence(error);
    }
    blink.show(blinking);
  };

  return {
    get isOn() {
      return on;
    },
    get isBlinking() {
      return blink.isShown;
    },
    setUrl(next) {
      url = next;
    },
    toggle() {
      on = !on && Boolean(url);
      panel.hidden = !on;
      if (on) panels.scrollTop = panel.offsetTop - panels.offsetTop;
      stage.element.classList.toggle("is-picking", on);
      if (!on) blink.show(false);
      stage.redraw();
      return on;
    },
    searchHottest() {
      if (!on) return false;
      search(null);
      return true;
    },
    // A click on the film picks the patch under it.
    pick(event) {
      if (!on || !overlaying.overlay) return false;
      const { overlay } = overlaying;
      const [column, row] = patchPosition(overlay, ...stage.originalAt(event)).map(Math.floor);
      if (row < 0 || column < 0 || row >= overlay.rows || column >= overlay.columns) return false;
      search({ row, column });
      return true;
    },
    blink(held) {
      blinking = held;
      blink.show(held);
    },
    clear() {
      searches += 1;
      ending?.abort();
      picked = null;
      blink.clear();
      content.replaceChildren();
    },
  };
}

function hiddenWords(count) {
  return count === 1 ? "1 film is hidden from you and left out." : `${count} films are hidden from you and left out.`;
}

// A film laid over the stage's own by `thisFromOther`, while it is shown.
function createBlink(stage) {
  const canvas = element("canvas", { classes: "hv-blink", role: "img", "aria-label": "" });
  const words = element("p", { classes: "hv-hint", role: "status", text: "Choose one, then hold J to lay its film over this one." });
  const caption = element("p", { classes: "hv-blink-name", "aria-hidden": "true" });
  let other = null; // {renderer, thisFromOther}
  let takes = 0;
  canvas.hidden = caption.hidden = true;

  const draw = () => {
    if (canvas.hidden || !other || !stage.view) return;
    if (canvas.width !== stage.canvas.width) canvas.width = stage.canvas.width;
    if (canvas.height !== stage.canvas.height) canvas.height = stage.canvas.height;
    const matrix = compose(stage.view.matrix, other.thisFromOther);
    other.renderer.draw({ matrix, zoom: stage.view.zoom }, [10, 10, 11]);
  };

  return {
    canvas,
    caption,
    words,
    draw,
    get isShown() {
      return !canvas.hidden;
    },
    async take({ film: { name, facts_url: factsUrl, pixels_url: pixelsUrl } }, thisFromOther) {
      const take = ++takes;
      words.textContent = `Fetching ${name}`;
      const film = await loadFilm({ factsUrl, pixelsUrl });
      if (take !== takes) return;
      const renderer = createCanvas2dRenderer(canvas);
      renderer.setFilm(film.pixels, film.columns, film.rows);
      renderer.setGreys(greyTable(film.modality, film.choices[0], isInverted(film.facts, stage.inverted)));
      other = { renderer, thisFromOther };
      caption.textContent = `${name}, of the normal set`;
      canvas.setAttribute("aria-label", `${name}, laid over this film`);
      words.textContent = `Hold J: ${name} in place of this film, aligned.`;
    },
    show(shown) {
      canvas.hidden = caption.hidden = !(shown && other);
      draw();
    },
    clear() {
      takes += 1;
      other = null;
      canvas.hidden = caption.hidden = true;
    },
  };
}

// A patch and its surroundings, upright in the canonical frame, so that tiles of different films can be compared.
function tile({ film, affine, at, stride }) {
  const canvas = element("canvas", { classes: "hv-tile", width: TILE_PX, height: TILE_PX, "aria-hidden": "true" });
  const greys = greyTable(film.modality, film.choices[0], isInverted(film.facts, false));
  const image = new ImageData(TILE_PX, TILE_PX);
  const perPixel = (TILE_PATCHES * stride) / TILE_PX;
  const [left, top] = [at.column + 0.5, at.row + 0.5].map((centre) => (centre - TILE_PATCHES / 2) * stride);
  for (let y = 0; y < TILE_PX; y++) {
    for (let x = 0; x < TILE_PX; x++) {
      const [column, row] = applyAffine(affine, left + (x + 0.5) * perPixel, top + (y + 0.5) * perPixel).map(Math.floor);
      const inside = row >= 0 && column >= 0 && row < film.rows && column < film.columns;
      const grey = inside ? greys[film.pixels[row * film.columns + column]] : 0;
      image.data.set([grey, grey, grey, 255], (y * TILE_PX + x) * 4);
    }
  }
  const context = canvas.getContext("2d");
  context.putImageData(image, 0, 0);
  context.strokeStyle = "#e69f00";
  const side = TILE_PX / TILE_PATCHES;
  context.strokeRect((TILE_PX - side) / 2, (TILE_PX - side) / 2, side, side);
  return canvas;
}
