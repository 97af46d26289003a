// Readings to be sent: kept in this browser, by reader and worklist, until the server has saved them.

import { Trouble } from "../labelling/server.js";

const RETRY_MS = 10_000;

export function newUuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // a page without TLS has no randomUUID
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export function createStore(key) {
  let memory = null; // used where the browser has no storage: lost when the page is closed
  const read = () => {
    if (memory) return memory;
    try {
      return JSON.parse(localStorage.getItem(key)) ?? {};
    } catch {
      return {}; // damaged
    }
  };
  const change = (fields) => {
    const next = { ...read(), ...fields };
    try {
      localStorage.setItem(key, JSON.stringify(next));
    } catch {
      memory = next;
    }
  };
  return {
    get queue() {
      return read().queue ?? [];
    },
    setQueue: (queue) => change({ queue }),
    // The unfinished reading of a film, and the film of the latest one.
    draftOf: (item) => read().drafts?.[item] ?? null,
    get lastDrafted() {
      const { last, drafts } = read();
      return drafts?.[last] ? last : null;
    },
    setDraft(item, draft) {
      const drafts = { ...read().drafts, [item]: draft };
      if (!draft) delete drafts[item];
      change({ drafts, last: item });
    },
  };
}

// The server will never accept this request; any other error may be temporary.
export class Refusal extends Error {}

export async function request(url, { method = "GET", body, csrf } = {}) {
  const headers = { Accept: "application/json", ...(body ? { "Content-Type": "application/json" } : {}) };
  if (csrf) headers["X-CSRFToken"] = csrf;
  const response = await fetch(url, { method, headers, redirect: "manual", body: body && JSON.stringify(body) }).catch(() => {
    throw new Error("The server does not answer.");
  });
  if (response.type === "opaqueredirect" || response.status === 401) throw new Trouble("out", "Your session has ended.");
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  const words = sentence(answer) ?? `The server answered ${response.status}.`;
  if (response.status === 400 || response.status === 404) throw new Refusal(words);
  throw Object.assign(new Error(words), { isForbidden: response.status === 403 });
}

function sentence(answer) {
  if (!answer || typeof answer !== "object") return null;
  const first = answer.detail ?? answer.error ?? Object.entries(answer).map(([name, words]) => `${name}: ${[words].flat(3)[0]}`)[0];
  return typeof first === "string" ? first : null;
}

export function createSender({ store, url, renewed, onKept, onRefused, onTrouble }) {
  let busy = false;
  let timer = 0;
  let csrf = "";

  // A 403 means a stale token after a log-in elsewhere, or the end of the session: `renewed`, which resolves to the new token,
  // throws where nobody or somebody else is logged in.
  async function post(to, body) {
    try {
      return await request(to, { method: "POST", body, csrf });
    } catch (error) {
      if (!error.isForbidden) throw error;
      csrf = await renewed();
      return request(to, { method: "POST", body, csrf });
    }
  }

  async function flush() {
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    try {
      while (store.queue.length) {
        const [reading] = store.queue;
        try {
          await post(url, reading);
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          drop(reading);
          onRefused(reading, error.message);
          continue;
        }
        drop(reading);
        onKept(reading);
      }
    } catch (error) {
      if (error.kind !== "out") timer = setTimeout(flush, RETRY_MS);
      onTrouble(error, store.queue.length);
    } finally {
      busy = false;
    }
  }

  // Another tab may have added to the queue in the meantime: only this reading is removed.
  const drop = ({ uuid }) => store.setQueue(store.queue.filter((reading) => reading.uuid !== uuid));

  window.addEventListener("online", flush);
  window.addEventListener("focus", flush);
  return {
    setCsrf: (token) => (csrf = token),
    flush,
    post,
    add(reading) {
      store.setQueue([...store.queue, reading]);
      flush();
    },
  };
}
