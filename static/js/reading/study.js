// A reader study: a verdict and a rating without the model, locked once the server has them; then score and heatmap are
// fetched, and the film is read again with them. The server sends nothing of the model before.

import { Refusal } from "./sending.js";

const NIL = "00000000-0000-0000-0000-000000000000";
const RETRY_MS = 10_000;
const HALF = 50;
const WORDS = { unaided: "Without the model", aided: "With the model" };
const WAITING = "Your reading is kept in this browser and not stored yet: score and heatmap appear once the server has it.";

export function createStudy({ root, addresses, film, clock, store, post, onChange, onDisagree, onOut, save, showTrouble }) {
  const part = (id) => document.getElementById(id);
  const agreeing = root.querySelector("[data-command=agree]");
  const disagreeing = root.querySelector("[data-command=disagree]");
  let entry = null; // the film on screen
  let stage = "";
  let rating = null;
  let typed = ""; // digits of the rating so far
  let agreement = "";
  let isRevealed = false;
  let wantsHeatmap = false;
  let warned = "";
  let timer = 0;

  const due = (of) => of.stages.find((name) => !of.done[name]) ?? null;

  // The rating

  function setRating(value, digits = "") {
    rating = value === null ? null : Math.min(100, Math.max(0, Math.round(value)));
    typed = digits;
    const slider = part("rating");
    slider.value = rating ?? HALF;
    slider.toggleAttribute("data-unset", rating === null);
    slider.setAttribute("aria-valuetext", rating === null ? "not chosen" : String(rating));
    if (document.activeElement !== part("rating-number")) part("rating-number").value = rating ?? "";
    onChange();
  }

  // 7 is 70, 73 is 73, 07 is 7, 100 is 100.
  function type(digit) {
    const digits = typed.length === 1 || typed + digit === "100" ? typed + digit : digit;
    setRating(digits.length === 1 ? Number(digits) * 10 : Number(digits), digits);
  }

  // The stages

  function enter(next, start) {
    clearTimeout(timer);
    entry = next;
    stage = due(entry);
    isRevealed = wantsHeatmap = false;
    agreement = start.agreement ?? "";
    warned = "";
    setRating(start.rating ?? null);
    show();
    if (stage === "aided") reveal();
  }

  async function reveal() {
    const asked = entry;
    clock.pause();
    const isWaiting = store.queue.some(({ item }) => item === asked.item);
    if (isWaiting) return showStage(WAITING);
    try {
      const result = await post(addresses.reveal.replace(NIL, asked.item), {});
      if (asked !== entry || stage !== "aided" || isRevealed) return;
      isRevealed = true;
      part("revealed-words").textContent = result.words;
      film.offerHeatmap(addresses.revealed.replace(NIL, asked.item));
      wantsHeatmap = true;
      showTrouble("");
      clock.resume();
      show();
      onShown();
    } catch (error) {
      if (asked !== entry) return;
      showTrouble(`Score and heatmap cannot be shown: ${error.message}`);
      if (error.kind === "out") onOut();
      else if (!(error instanceof Refusal)) timer = setTimeout(reveal, RETRY_MS);
    }
  }

  function onShown() {
    if (!wantsHeatmap || !film.isReady) return;
    wantsHeatmap = false;
    film.toggleHeatmap();
  }

  function show() {
    const isOpen = stage === "unaided" || isRevealed;
    showStage();
    part("revealed").hidden = !isRevealed;
    if (part("heatmap")) part("heatmap").hidden = !isRevealed;
    part("rating-set").disabled = !isOpen;
    part("lock").hidden = stage !== "unaided";
    part("lock").disabled = !isOpen;
    part("agreement-set").hidden = !isRevealed;
    part("reasons").hidden = agreement !== "disagree" || !isRevealed;
    for (const button of [agreeing, disagreeing]) {
      button.setAttribute("aria-pressed", String(button.dataset.command === agreement));
    }
  }

  function showStage(words = "") {
    const locked = stage === "aided" && entry.done.unaided;
    const before = locked ? ` Locked without it: ${locked.verdict}, ${locked.rating}.` : "";
    part("stage").dataset.stage = stage ?? "";
    part("stage").textContent = words || (stage ? `${WORDS[stage]}.${before}` : "");
  }

  function agree() {
    if (!isRevealed) return;
    agreement = "agree";
    show();
    save();
  }

  function disagree() {
    if (!isRevealed) return;
    agreement = "disagree";
    show();
    onDisagree();
  }

  // Slips are asked for once, since a locked reading cannot be corrected.
  function slip({ verdict }) {
    const isSlip = (verdict === "normal" && rating > HALF) || (verdict === "abnormal" && rating < HALF);
    const key = `${entry.item} ${stage} ${verdict} ${rating}`;
    if (!isSlip || warned === key) return "";
    warned = key;
    return `You call the film ${verdict} and rate its abnormality ${rating}. Save again if that is meant.`;
  }

  function whyNotSaved(chosen) {
    typed = ""; // the next digit begins a new rating
    if (stage === "aided" && !isRevealed) return WAITING;
    if (!chosen.verdict) return "Choose first whether the film is normal, abnormal or unsure.";
    if (rating === null) return "Rate the likelihood that the film is abnormal, from 0 to 100: type it.";
    if (stage === "aided" && !agreement) return "Say whether you agree with the model.";
    if (agreement === "disagree" && !chosen.reason) return "Say why you disagree: press 1 to 8.";
    return slip(chosen);
  }

  const COMMANDS = {
    ".": agree,
    ",": disagree,
    enter: () => (stage === "unaided" ? save() : showTrouble("Say whether you agree with the model.")),
    arrowup: () => setRating((rating ?? HALF) + 1),
    arrowdown: () => setRating((rating ?? HALF) - 1),
    pageup: () => setRating((rating ?? HALF) + 10),
    pagedown: () => setRating((rating ?? HALF) - 10),
  };

  part("rating").addEventListener("input", () => setRating(Number(part("rating").value)));
  part("rating-number").addEventListener("input", () => {
    const { value } = part("rating-number");
    setRating(value === "" ? null : Number(value));
  });
  part("rating-number").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    part("rating-number").blur();
  });
  part("lock").addEventListener("click", save);
  agreeing.addEventListener("click", agree);
  disagreeing.addEventListener("click", disagree);
  for (const name of ["online", "focus"]) {
    window.addEventListener(name, tryAgain);
  }

  function tryAgain() {
    if (stage === "aided" && !isRevealed) reveal();
  }

  return {
    due,
    enter,
    onShown,
    whyNotSaved,
    // What the server sent, and what still waits in this browser.
    open(items, queue) {
      for (const of of items) of.done = Object.fromEntries(of.readings.map((reading) => [reading.stage, reading]));
      for (const reading of queue) {
        const of = items.find(({ item }) => item === reading.item);
        if (of) of.done[reading.stage] = reading;
      }
    },
    startOf(of, draft) {
      if (draft?.stage === due(of)) return draft;
      const { verdict, findings, comment, boxes, rating: before } = of.done.unaided ?? {};
      return due(of) === "aided" && of.done.unaided ? { verdict, findings, comment, boxes, rating: before } : {};
    },
    content: () => ({ stage, rating, agreement }),
    keep: (of, reading) => (of.done[reading.stage] = reading),
    forget: (of, reading) => delete of.done[reading.stage],
    onKept: ({ item }) => item === entry?.item && tryAgain(),
    tryAgain,
    // Whether the key was one of the study's own.
    onKey(key, isRepeat) {
      if (part("rating-set").disabled) return key in COMMANDS || /^\d$/.test(key);
      if (/^\d$/.test(key)) {
        if (agreement === "disagree") return false; // then digits are reasons
        if (!isRepeat) type(key);
        return true;
      }
      const command = COMMANDS[key];
      if (command && (!isRepeat || key.startsWith("arrow") || key.startsWith("page"))) command();
      return Boolean(command);
    },
  };
}
