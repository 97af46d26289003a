// The reading page: one key for the verdict, one for the reason, then the next film. Readings are kept in this browser until
// the server has saved them; the page never receives which films are flagged.

import { createClock } from "./clock.js";
import { createDialogs } from "./dialogs.js";
import { createFilm } from "./film.js";
import { keyOf } from "../labelling/keys.js";
import { createSender, createStore, newUuid, request } from "./sending.js";

const root = document.getElementById("reading");
const addresses = JSON.parse(document.getElementById("addresses").textContent);
const part = (id) => document.getElementById(id);
const verdictButtons = [...root.querySelectorAll("[data-verdict]")];
const reasonButtons = [...root.querySelectorAll("[data-reason]")];
const store = createStore(`hilum-reading:${root.dataset.reader}:${root.dataset.worklist}`);
const clock = createClock();
const BREAK_AFTER_S = 40 * 60;

let items = []; // {item, image, reading}, in this reader's order
let at = -1; // the film on screen
let chosen = { verdict: "", reason: "" };
let sessionSeconds = 0; // active, since the page was opened

const film = createFilm(root.querySelector("[data-hilum-viewer]"), addresses, {
  onShown: showWhetherReady,
  onHeatmap: (shown) => part("heatmap")?.setAttribute("aria-pressed", String(shown)),
});
const sender = createSender({
  store,
  url: addresses.readings,
  refresh: async () => (await ownItems()).csrf,
  onKept: () => (showTrouble(""), showKept()),
  onRefused: (reading, words) => reopen(reading, words),
  onTrouble: (words, count) => (showTrouble(troubleWords(words, count)), showKept()),
});
const dialogs = createDialogs({
  onPause: () => clock.pause(),
  onResume: () => clock.resume(),
  onOpen: (open) => (film.keys = !open),
  escalate: (reason) => escalate(reason),
});

const ownItems = () => request(`${addresses.items}?reader=${root.dataset.reader}`);

// Which film

function firstUnread() {
  const index = items.findIndex(({ reading }) => !reading);
  return index === -1 ? items.length : index;
}

function goTo(index) {
  at = Math.min(index, items.length);
  const isOver = at === items.length;
  part("finished").hidden = !isOver;
  part("question").hidden = isOver;
  for (const id of ["heatmap", "escalate", "pause"]) if (part(id)) part(id).disabled = isOver;
  part("back").disabled = at === 0;
  showProgress();
  if (isOver) return clock.pause();
  const entry = items[at];
  const draft = store.draftOf(entry.item);
  fill(draft ?? entry.reading ?? {});
  clock.start(draft ?? {});
  const shown = film.show(entry, `Film ${at + 1} of ${items.length}`);
  film.setBoxes((draft ?? entry.reading)?.boxes ?? []);
  showWhetherReady();
  Promise.resolve(shown).then(() => film.prefetch(items.slice(at + 1).filter(({ reading }) => !reading).slice(0, 2)));
}

// The reading

function fill({ verdict = "", reason = "", findings = [], comment = "" }) {
  chosen = { verdict, reason };
  part("findings").value = findings.join(", ");
  part("comment").value = comment;
  showChosen();
}

function content() {
  return {
    ...chosen,
    findings: part("findings").value.split(",").map((finding) => finding.trim()).filter(Boolean),
    comment: part("comment").value.trim(),
    boxes: film.boxes.map(({ x, y, width, height, finding }) => ({ x, y, width, height, finding: finding ?? "" })),
  };
}

function keepDraft() {
  if (at >= 0 && at < items.length) store.setDraft(items[at].item, { ...content(), ...clock.read() });
}

function choose(verdict) {
  if (!film.isReady) return;
  chosen = { verdict, reason: verdict === chosen.verdict ? chosen.reason : "" };
  showChosen();
  keepDraft();
}

function giveReason(reason) {
  if (!chosen.verdict || !film.isReady) return;
  if (chosen.verdict === "normal" && reason === "true finding") return showTrouble("A normal film has no true finding: choose abnormal, or another reason.");
  chosen.reason = reason;
  save();
}

function save() {
  if (at >= items.length || !film.isReady) return;
  if (!chosen.verdict) return showTrouble("Choose first whether the film is normal, abnormal or unsure.");
  if (chosen.verdict === "abnormal" && !chosen.reason) return showTrouble("An abnormal film needs a reason: press 1 to 8.");
  const entry = items[at];
  const entered = content();
  if (!entry.reading || !isSame(entered, entry.reading)) {
    const { activeSeconds, totalSeconds } = clock.read();
    const times = { active_seconds: activeSeconds, total_seconds: totalSeconds };
    const reading = { uuid: newUuid(), reader: root.dataset.reader, item: entry.item, ...entered, ...times };
    entry.reading = reading;
    sessionSeconds += activeSeconds;
    showTrouble(sessionSeconds > BREAK_AFTER_S ? "You have read for more than 40 minutes: a short break keeps readings steady." : "");
    if (sessionSeconds > BREAK_AFTER_S) sessionSeconds = 0;
    sender.add(reading);
  }
  store.setDraft(entry.item, null);
  showKept();
  goTo(firstUnread());
}

function isSame(entered, reading) {
  return ["verdict", "reason", "comment", "findings", "boxes"].every(
    (name) => JSON.stringify(entered[name]) === JSON.stringify(reading[name] ?? (Array.isArray(entered[name]) ? [] : "")),
  );
}

// The server will never accept this reading: its film is shown again, with the reading as a draft.
function reopen({ item, ...draft }, words) {
  const index = items.findIndex((entry) => entry.item === item);
  if (index === -1) return;
  items[index].reading = null;
  keepDraft();
  store.setDraft(item, draft);
  goTo(index);
  showTrouble(`Film ${index + 1} was not saved. ${words}`);
}

async function escalate(reason) {
  const { item } = items[at];
  const { csrf } = await ownItems();
  await request(addresses.escalations, { method: "POST", body: { item, reason }, csrf });
  showTrouble("");
  part("kept").textContent = "Escalated to the honest broker";
}

// What the page shows

function showTrouble(words) {
  part("trouble").textContent = words;
  part("trouble").hidden = !words;
}

function troubleWords(words, count) {
  const waiting = count === 1 ? "1 reading is" : `${count} readings are`;
  const next = words === "You are logged out." ? " Log in in another tab." : "";
  return `${words}${next} ${waiting} kept in this browser, and sent as soon as the server takes ${count === 1 ? "it" : "them"}.`;
}

function showKept() {
  const waiting = store.queue.length;
  part("kept").textContent = waiting ? `${waiting} not saved yet` : "Saved";
}

function showProgress() {
  const read = items.filter(({ reading }) => reading).length;
  part("progress").value = read;
  part("place").textContent = at < items.length ? `Film ${at + 1} of ${items.length}` : `${read} of ${items.length} read`;
}

function showChosen() {
  for (const button of verdictButtons) button.setAttribute("aria-pressed", String(button.dataset.verdict === chosen.verdict));
  for (const button of reasonButtons) {
    button.setAttribute("aria-pressed", String(button.dataset.reason === chosen.reason));
    button.disabled = chosen.verdict === "normal" && button.dataset.reason === "true finding";
  }
  part("save-words").textContent = chosen.reason ? "Save as it is" : "Nothing to note";
  part("save").disabled = chosen.verdict === "abnormal" && !chosen.reason;
  part("reasons").disabled = !chosen.verdict;
}

function showWhetherReady() {
  root.dataset.state = film.isReady ? "ready" : "loading";
  root.dataset.film = String(at);
  for (const button of verdictButtons) button.disabled = !film.isReady;
}

// These keys are handled before the viewer's; a key that is handled here does not reach the viewer.

const COMMANDS = {
  normal: () => choose("normal"),
  abnormal: () => choose("abnormal"),
  unsure: () => choose("unsure"),
  next: save,
  findings: () => part("findings").focus(),
  comment: () => part("comment").focus(),
  heatmap: () => film.toggleHeatmap(),
  undo: goBack,
  pause: () => dialogs.pause(),
  escalate: () => dialogs.escalate(),
};

function goBack() {
  if (at <= 0) return;
  keepDraft();
  goTo(at - 1);
}

function isTyping(target) {
  return Boolean(target.closest?.("input:not([type=range], [type=checkbox], [type=radio]), textarea, select, dialog[open]"));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const isInField = isTyping(event.target);
  if (isInField && event.key === "Escape" && !event.target.closest("dialog")) return leaveField(event);
  if (isInField && !(event.key === "Enter" && event.target.id === "findings")) return;
  const key = keyOf(event);
  if (key === "Enter" && event.target.closest("button, a, summary, [role=button]")) return;
  const reason = reasonButtons[Number(key) - 1];
  const command = root.querySelector(`[data-command][data-key="${CSS.escape(key)}"]`)?.dataset.command;
  const answer = reason ? () => giveReason(reason.dataset.reason) : COMMANDS[command];
  if (!answer || (at >= items.length && command !== "undo")) return;
  event.preventDefault();
  if (!event.repeat) answer();
}

function leaveField(event) {
  event.preventDefault();
  event.target.blur();
}

// Start

async function start() {
  let own;
  try {
    own = await ownItems();
  } catch (error) {
    return showTrouble(`${error.message} Load the page again.`);
  }
  sender.setCsrf(own.csrf);
  items = own.items;
  for (const reading of store.queue) {
    const entry = items.find(({ item }) => item === reading.item);
    if (entry) entry.reading = reading;
  }
  const drafted = items.findIndex(({ item }) => item === store.lastDrafted);
  film.editBoxes([...part("finding-words").options].map(({ value }) => value), keepDraft);
  goTo(drafted === -1 ? firstUnread() : drafted);
  sender.flush();
}

for (const button of verdictButtons) button.addEventListener("click", () => choose(button.dataset.verdict));
for (const button of reasonButtons) button.addEventListener("click", () => giveReason(button.dataset.reason));
part("save").addEventListener("click", save);
part("back").addEventListener("click", goBack);
part("pause").addEventListener("click", () => dialogs.pause());
part("escalate").addEventListener("click", () => dialogs.escalate());
part("heatmap")?.addEventListener("click", () => film.toggleHeatmap());
for (const id of ["findings", "comment"]) part(id).addEventListener("input", keepDraft);
document.addEventListener("keydown", onKey, { capture: true });
window.addEventListener("pagehide", keepDraft);
start();
