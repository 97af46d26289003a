// Acts (labels, undos, merges) to be sent to the server. Each is stored in this browser before it is sent and removed once
// the server has saved it, so that a lost connection, an expired session or a closed page loses nothing. They are sent one
// by one, in the order in which they were made, so that an undo never overtakes the act that it reverts. Each act has its
// own UUID, so that the server recognises one that it was sent twice.

import { Trouble, post } from "./server.js";

const PREFIX = "hilum-act";
const PAUSES = [2, 5, 15, 30, 60]; // seconds until the next try

export function newUuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // a page without TLS has no randomUUID
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// Events: "change" (count and state), "saved", "conflict", "refused", "out" (the session has ended), "other" (somebody else
// is logged in).
export class Outbox extends EventTarget {
  #urls;
  #person;
  #site;
  #acts = []; // waiting, in order; the first may be on its way
  #sending = null;
  #paused = "";
  #tries = 0;
  #timer = 0;

  constructor({ labelUrl, undoUrl, mergeUrl, sessionUrl, person, site }) {
    super();
    this.#urls = { label: labelUrl, undo: undoUrl, merge: mergeUrl, session: sessionUrl };
    this.#person = person;
    this.#site = site;
    window.addEventListener("online", () => this.tryAgain());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.tryAgain());
    window.addEventListener("beforeunload", (event) => {
      if (this.#acts.some((act) => act.isOnlyHere)) event.preventDefault(); // the browser asks
    });
  }

  // Resumes the acts that an earlier page could not save.
  start() {
    const mine = `${PREFIX}:${this.#person}:`;
    const drafts = [];
    for (let i = 0; i < storage().length; i++) {
      const name = storage().key(i);
      const act = name.startsWith(mine) ? parsed(storage().getItem(name)) : null;
      if (act && act.site === this.#site) drafts.push(act);
    }
    this.#acts = drafts.sort((a, b) => a.at - b.at || a.order - b.order);
    for (const act of this.#acts) act.isDraft = true;
    this.#emit("change");
    this.#next();
    return this.#acts.length;
  }

  get waiting() {
    return this.#acts.length;
  }

  // Film -> its latest label act that the server has not saved.
  get unsaved() {
    const films = new Map();
    for (const act of this.#acts) if (act.kind === "label") for (const { image } of act.images) films.set(image, act);
    return films;
  }

  get state() {
    if (!this.#acts.length) return "saved";
    return this.#paused || this.#tries || this.#acts.some((act) => act.fault || act.conflict) ? "unsaved" : "saving";
  }

  get trouble() {
    return this.#paused || this.#acts.find((act) => act.fault)?.fault || this.#acts.find((act) => act.trouble)?.trouble || "";
  }

  // images: [{image, seen}]; `findings` and `attributes`: null where none are stated, so that a film keeps those it has if its
  // value stays; an empty list states that there are none; `boxes` of a single film likewise; `position`: the person's next
  // place in the queue
  label({ images, value, findings = null, attributes = null, boxes = null, reason = "", queue = "", position = 0 }) {
    const statesNone = findings?.length === 0;
    const stated = { findings: findings ?? [], statesNone, attributes, boxes };
    return this.#add({ kind: "label", images, value, ...stated, reason, queue, position });
  }

  // Undoes an act; one that the server cannot have saved is dropped. The answer to an act that was sent may have been lost.
  undo(id) {
    const act = this.#acts.find((waiting) => waiting.id === id);
    const isUnknown = act && !act.isSent && !act.isDraft;
    if (!act || !(isUnknown || act.fault || act.conflict)) return this.#add({ kind: "undo", undoes: id });
    this.#remove(act);
    this.#emit("change");
    return null;
  }

  merge(act, { choice, seen }) {
    this.#remove(act);
    const images = [{ image: act.images[0].image, seen }];
    return this.#add({ ...act, kind: "merge", id: newUuid(), choice, images, fault: "", conflict: null, isSent: false });
  }

  discard(act) {
    this.#remove(act);
    this.#emit("change");
    this.#next();
  }

  // Resolves once nothing is being sent.
  async idle() {
    while (this.state === "saving") {
      await new Promise((done) => this.addEventListener("change", done, { once: true }));
    }
  }

  tryAgain() {
    clearTimeout(this.#timer);
    this.#paused = "";
    for (const act of this.#acts) if (!act.conflict) act.fault = "";
    this.#emit("change");
    this.#next();
  }

  #add(fields) {
    const act = { id: newUuid(), at: Date.now(), order: performance.now(), site: this.#site, ...fields };
    this.#acts.push(act);
    this.#write(act);
    this.#emit("change");
    this.#next();
    return act;
  }

  #write(act) {
    try {
      storage().setItem(`${PREFIX}:${this.#person}:${act.id}`, JSON.stringify(act));
    } catch {
      act.isOnlyHere = true; // the browser's local storage is full or blocked
    }
  }

  #remove(act) {
    this.#acts = this.#acts.filter((waiting) => waiting !== act);
    try {
      storage().removeItem(`${PREFIX}:${this.#person}:${act.id}`);
    } catch {
      // nothing was written
    }
  }

  async #next() {
    const act = this.#acts.find((waiting) => !waiting.fault && !waiting.conflict);
    if (!act || this.#sending || this.#paused) return;
    this.#sending = act;
    act.isSent = true;
    try {
      const answer = await post(this.#urls[act.kind], fieldsOf(act), { sessionUrl: this.#urls.session, person: this.#person });
      this.#tries = 0;
      this.#remove(act);
      this.#sending = null;
      this.#emit("saved", { act, answer });
    } catch (trouble) {
      this.#sending = null;
      this.#onTrouble(act, trouble);
    }
    this.#emit("change");
    this.#next();
  }

  #onTrouble(act, trouble) {
    if (!(trouble instanceof Trouble)) throw trouble;
    act.trouble = trouble.message;
    if (trouble.kind === "offline") {
      this.#paused = `${trouble.message} Trying again.`;
      this.#timer = setTimeout(() => this.tryAgain(), 1000 * PAUSES[Math.min(this.#tries, PAUSES.length - 1)]);
      this.#tries += 1;
    } else if (trouble.kind === "conflict") {
      act.conflict = trouble.answer.changed;
      this.#emit("conflict", { act, changed: trouble.answer.changed });
    } else if (trouble.kind === "refused") {
      if (act.kind === "undo") this.#remove(act); // it is undone already, or was never saved
      else act.fault = trouble.message;
      this.#emit("refused", { act, sentence: trouble.message });
    } else {
      this.#paused = trouble.message;
      this.#emit(trouble.kind === "out" ? "out" : "other", { sentence: trouble.message });
    }
  }

  #emit(name, detail = {}) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function storage() {
  return window.localStorage;
}

function parsed(text) {
  try {
    const act = JSON.parse(text);
    return act && typeof act.id === "string" && typeof act.kind === "string" ? { ...act, conflict: null, fault: "" } : null;
  } catch {
    return null;
  }
}

function fieldsOf(act) {
  if (act.kind === "undo") return [["site", act.site], ["act", act.undoes]];
  return [
    ["act", act.id],
    ["value", act.value],
    ["reason", act.reason],
    ...(act.boxes ? [["boxes", JSON.stringify(act.boxes)]] : []),
    ...(act.choice ? [["choice", act.choice]] : []),
    ...(act.queue ? [["queue", act.queue]] : []),
    ...(act.position && !act.isDraft ? [["position", String(act.position)]] : []), // a draft is sent late: the person has moved on
    ...(act.statesNone ? [""] : act.findings).map((finding) => ["finding", finding]),
    ...(act.attributes?.length === 0 ? [""] : (act.attributes ?? [])).map((attribute) => ["attribute", attribute]),
    ...act.images.flatMap(({ image, seen }) => [["image", image], ["seen", String(seen)]]),
  ];
}
