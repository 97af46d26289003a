// Acts on their way to the server. Each is written down in this browser before it is sent, and struck out once the
// server has kept it: a lost connection, an ended session or a closed page lose nothing. They go one by one, in the
// order of the keys, so that an undo never overtakes what it takes back. An act has an address of its own, so that the
// server knows one that it was sent twice.

import { Trouble, post, renewSession } from "./server.js";

const PREFIX = "hilum-act";
const PAUSES = [2, 5, 15, 30, 60]; // seconds until the next try

export function newAddress() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // where the page does not come by https
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// Events: "change" (count and state), "saved", "conflict", "refused", "out" (the session has ended), "other" (somebody else
// is logged in), "renewed" (its person is logged in again).
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

  // Takes up what an earlier page could not save.
  start() {
    const mine = `${PREFIX}:${this.#person}:`;
    const found = [];
    for (let i = 0; i < storage().length; i++) {
      const name = storage().key(i);
      const act = name.startsWith(mine) ? parsed(storage().getItem(name)) : null;
      if (act && act.site === this.#site) found.push(act);
    }
    this.#acts = found.sort((a, b) => a.at - b.at || a.order - b.order);
    for (const act of this.#acts) act.isDraft = true;
    this.#tell("change");
    this.#next();
    return this.#acts.length;
  }

  get waiting() {
    return this.#acts.length;
  }

  // Film -> what it is to be labelled, of what the server has not kept.
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

  // images: [{image, seen}]; `position`: where the person goes on in the queue
  label({ images, value, findings = [], reason = "", queue = "", position = 0 }) {
    return this.#add({ kind: "label", images, value, findings, reason, queue, position });
  }

  // Takes back an act: one that has not left yet never does.
  undo(id) {
    const act = this.#acts.find((one) => one.id === id && one !== this.#sending);
    if (!act) return this.#add({ kind: "undo", undoes: id });
    this.#strike(act);
    this.#tell("change");
    return null;
  }

  merge(act, { choice, seen }) {
    this.#strike(act);
    const images = [{ image: act.images[0].image, seen }];
    return this.#add({ ...act, kind: "merge", id: newAddress(), choice, images, fault: "", conflict: null });
  }

  discard(act) {
    this.#strike(act);
    this.#tell("change");
    this.#next();
  }

  // Once nothing is on its way any more.
  async idle() {
    while (this.state === "saving") {
      await new Promise((done) => this.addEventListener("change", done, { once: true }));
    }
  }

  tryAgain() {
    clearTimeout(this.#timer);
    this.#paused = "";
    for (const act of this.#acts) if (!act.conflict) act.fault = "";
    this.#tell("change");
    this.#next();
  }

  async renew() {
    await renewSession(this.#urls.session, this.#person);
    this.#tell("renewed");
    this.tryAgain();
  }

  #add(fields) {
    const act = { id: newAddress(), at: Date.now(), order: performance.now(), site: this.#site, ...fields };
    this.#acts.push(act);
    this.#write(act);
    this.#tell("change");
    this.#next();
    return act;
  }

  #write(act) {
    try {
      storage().setItem(`${PREFIX}:${this.#person}:${act.id}`, JSON.stringify(act));
    } catch {
      act.isOnlyHere = true; // the browser's store is full or closed
    }
  }

  #strike(act) {
    this.#acts = this.#acts.filter((one) => one !== act);
    try {
      storage().removeItem(`${PREFIX}:${this.#person}:${act.id}`);
    } catch {
      // nothing was written
    }
  }

  async #next() {
    const act = this.#acts.find((one) => !one.fault && !one.conflict);
    if (!act || this.#sending || this.#paused) return;
    this.#sending = act;
    try {
      const answer = await post(this.#urls[act.kind], fieldsOf(act), { sessionUrl: this.#urls.session, person: this.#person });
      this.#tries = 0;
      this.#strike(act);
      this.#sending = null;
      this.#tell("saved", { act, answer });
    } catch (trouble) {
      this.#sending = null;
      this.#meet(act, trouble);
    }
    this.#tell("change");
    this.#next();
  }

  #meet(act, trouble) {
    if (!(trouble instanceof Trouble)) throw trouble;
    act.trouble = trouble.message;
    if (trouble.kind === "offline") {
      this.#paused = `${trouble.message} Trying again.`;
      this.#timer = setTimeout(() => this.tryAgain(), 1000 * PAUSES[Math.min(this.#tries, PAUSES.length - 1)]);
      this.#tries += 1;
    } else if (trouble.kind === "conflict") {
      act.conflict = trouble.answer.changed;
      this.#tell("conflict", { act, changed: trouble.answer.changed });
    } else if (trouble.kind === "refused") {
      if (act.kind === "undo") this.#strike(act); // it is undone already, or never was anything
      else act.fault = trouble.message;
      this.#tell("refused", { act, sentence: trouble.message });
    } else {
      this.#paused = trouble.message;
      this.#tell(trouble.kind === "out" ? "out" : "other", { sentence: trouble.message });
    }
  }

  #tell(name, detail = {}) {
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
    ...(act.choice ? [["choice", act.choice]] : []),
    ...(act.queue ? [["queue", act.queue]] : []),
    ...(act.position && !act.isDraft ? [["position", String(act.position)]] : []), // a draft comes late: the person is elsewhere
    ...act.findings.map((finding) => ["finding", finding]),
    ...act.images.flatMap(({ image, seen }) => [["image", image], ["seen", String(seen)]]),
  ];
}
