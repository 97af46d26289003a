// Fetched and decoded films. At most three are kept: the one on screen and the next two.

import { loadBoxes } from "./boxes.js";
import { fetchJson } from "./fetching.js";
import { pixelAspect } from "./geometry.js";
import { loadOverlay } from "./heatmap.js";
import { checkFacts, fetchPixels, modalityTable } from "./pixels.js";
import { voiChoices } from "./presets.js";

export const MOST_KEPT = 3;

// {facts, pixels, rows, columns, aspect, modality, choices}
export async function loadFilm({ factsUrl, pixelsUrl }, { onFacts, onProgress, signal } = {}) {
  const facts = await fetchJson(factsUrl, "The film's header", { signal });
  checkFacts(facts);
  onFacts?.(facts);
  const pixels = await fetchPixels(pixelsUrl, facts, { onProgress, signal });
  const modality = modalityTable(facts);
  const { rows, columns } = facts;
  return { facts, pixels, rows, columns, aspect: pixelAspect(facts), modality, choices: voiChoices(facts, pixels, modality) };
}

export function createFilmStore() {
  const kept = new Map(); // key -> entry, the most recently used last
  let ahead = new Set(); // keys of the films that the last prefetch requested
  let line = Promise.resolve(); // films are prefetched one after the other, so that the next one is not delayed

  const start = (urls) => {
    const ending = new AbortController();
    const entry = { ending, facts: null, progress: 0, onFacts: null, onProgress: null };
    const onFacts = (facts) => {
      entry.facts = facts;
      entry.onFacts?.(facts);
    };
    const onProgress = (progress) => {
      entry.progress = progress;
      entry.onProgress?.(progress);
    };
    entry.film = loadFilm(urls, { onFacts, onProgress, signal: ending.signal });
    for (const [name, url, load] of [["overlay", urls.overlayUrl, loadOverlay], ["boxes", urls.boxesUrl, loadBoxes]]) {
      if (url) entry[name] = { url, content: load(url, { signal: ending.signal }) };
      entry[name]?.content.catch(() => drop(entry, name));
    }
    entry.film.catch(() => forget(urls, entry));
    return entry;
  };

  const drop = (entry, name) => (entry[name] = null);
  const forget = (urls, entry) => kept.get(keyOf(urls)) === entry && kept.delete(keyOf(urls));

  const use = (urls) => {
    const key = keyOf(urls);
    const entry = kept.get(key) ?? start(urls);
    kept.delete(key);
    kept.set(key, entry);
    while (kept.size > MOST_KEPT) {
      const [oldest, { ending }] = kept.entries().next().value;
      kept.delete(oldest);
      ending.abort();
    }
    return entry;
  };

  // A prefetched overlay or list of boxes is used once: boxes may change while a reader works.
  const take = (urls, name, url, load) => {
    const entry = kept.get(keyOf(urls));
    const fetched = entry?.[name];
    if (fetched?.url !== url) return load(url);
    drop(entry, name);
    return fetched.content;
  };

  return {
    get size() {
      return kept.size;
    },
    has: (urls) => kept.has(keyOf(urls)),
    // `onFacts` is called once, with the film's header, which comes before its pixels.
    film(urls, { onFacts, onProgress }) {
      const entry = use(urls);
      onProgress(entry.progress);
      if (entry.facts) onFacts(entry.facts);
      Object.assign(entry, { onFacts, onProgress });
      return entry.film;
    },
    overlay: (urls, url) => take(urls, "overlay", url, loadOverlay),
    boxes: (urls, url) => take(urls, "boxes", url, loadBoxes),
    // `onFilm` is called with each film once it is decoded.
    prefetch(wanted, shown, onFilm) {
      const next = wanted.filter((urls) => keyOf(urls) !== keyOf(shown)).slice(0, MOST_KEPT - 1);
      ahead = new Set(next.map(keyOf));
      for (const [key, { ending }] of [...kept]) {
        if (ahead.has(key) || key === keyOf(shown)) continue;
        kept.delete(key);
        ending.abort();
      }
      for (const urls of next) line = line.then(() => (ahead.has(keyOf(urls)) ? settled(use(urls), onFilm) : null));
      return line;
    },
    clear() {
      for (const { ending } of kept.values()) ending.abort();
      kept.clear();
    },
  };
}

// A film whose prefetch failed is fetched again when it is shown; only then is an error reported.
function settled({ film, overlay, boxes }, onFilm) {
  return Promise.allSettled([film.then(onFilm), overlay?.content, boxes?.content]);
}

function keyOf({ factsUrl, pixelsUrl }) {
  return `${factsUrl} ${pixelsUrl}`;
}
