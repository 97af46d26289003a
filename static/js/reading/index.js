// The reading page: one key for the verdict, one for the reason, then the next film. Readings are kept in this browser until
// the server has saved them; the page never receives which films are flagged.

import { createClock } from "./clock.js";
import { createDialogs } from "./dialogs.js";
import { createFilm } from "./film.js";
import { keyOf } from "../labelling/keys.js";
import { loginDialog, withLogIn } from "../labelling/login.js";
import { csrf } from "../labelling/server.js";
import { createSender, createStore, newUuid, request } from "./sending.js";
import { createStudy } from "./study.js";

const root = document.getElementById("reading");
const addresses = JSON.parse(document.getElementById("addresses").textContent);
const part = (id) => document.getElementById(id);
const verdictButtons = [...root.querySelectorAll("[data-verdict]")];
const reasonButtons = [...root.querySelectorAll("[data-reason]")];
const store = createStore(`hilum-reading:${root.dataset.reader}:${root.dataset.worklist}`);
const clock = createClock();
const login = loginDialog();
const BREAK_AFTER_S = 40 * 60;

let items = []; // {item, image, reading}, in this reader's order; in a reader study {item, image, stages, readings, done}
let at = -1; // the film on screen
let chosen = { verdict: "", reason: "" };
let sessionSeconds = 0; // active, since the page was opened

const film = createFilm(root.querySelector("[data-hilum-viewer]"), addresses, {
  onShown: showWhetherReady,
  onHeatmap: (shown) => part("heatmap")?.setAttribute("aria-pressed", String(shown)),
  onOut: () => login.open(),
});
const sender = createSender({
  store,
  url: addresses.readings,
  renewed: async () => (await login.renew(), csrf()),
  onKept: (reading) => (showTrouble(""), showKept(), study?.onKept(reading)),
  onRefused: (reading, words) => reopen(reading, words),
  onTrouble: (error, count) => {
    showTrouble(troubleWords(error, count));
    showKept();
    if (error.kind === "out") login.open();
  },
});
const study = root.dataset.design
  ? createStudy({
      root,
      addresses,
      film,
      clock,
      store,
      save,
      showTrouble,
      post: (url, body) => sender.post(url, body),
      onChange: () => keepDraft(),
      onDisagree: () => showChosen(),
      onOut: () => login.open(),
    })
  : null;
const dialogs = createDialogs({
  onPause: () => clock.pause(),
  onResume: () => clock.resume(),
  onOpen: setKeys,
  escalate: (reason) => escalate(reason),
});

const ownItems = () => request(`${addresses.items}?reader=${root.dataset.reader}`);

// Which film

const isRead = (entry) => (study ? study.due(entry) === null : Boolean(entry.reading));

function firstUnread() {
  const index = items.findIndex((entry) => !isRead(entry));
  return index === -1 ? items.length : index;
}

function goTo(index) {
  at = Math.min(index, items.length);
  const isOver = at === items.length;
  part("finished").hidden = !isOver;
  part("question").hidden = isOver;
  for (const id of ["heatmap", "escalate", "pause"]) if (part(id)) part(id).disabled = isOver;
  if (part("back")) part("back").disabled = at === 0;
  showProgress();
  if (isOver) return clock.pause();
  const entry = items[at];
  const shown = film.show(entry, `Film ${at + 1} of ${items.length}`);
  showEntry(entry);
  showWhetherReady();
  Promise.resolve(shown).then(() => film.prefetch(items.slice(at + 1).filter((next) => !isRead(next)).slice(0, 2)));
}

function showEntry(entry) {
  const draft = store.draftOf(entry.item);
  const start = study ? study.startOf(entry, draft) : (draft ?? entry.reading ?? {});
  fill(start);
  film.setBoxes(start.boxes ?? []);
  clock.start(start === draft ? draft : {});
  study?.enter(entry, start);
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
    ...study?.content(),
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
  const words = study ? study.whyNotSaved(chosen) : whyNotSaved();
  if (words) return showTrouble(words);
  const entry = items[at];
  const entered = content();
  if (study || !entry.reading || !isSame(entered, entry.reading)) {
    const { activeSeconds, totalSeconds } = clock.read();
    const times = { active_seconds: activeSeconds, total_seconds: totalSeconds };
    const reading = { uuid: newUuid(), reader: root.dataset.reader, item: entry.item, ...entered, ...times };
    if (study) study.keep(entry, reading);
    else entry.reading = reading;
    sessionSeconds += activeSeconds;
    showTrouble(sessionSeconds > BREAK_AFTER_S ? "You have read for more than 40 minutes: a short break keeps readings steady." : "");
    if (sessionSeconds > BREAK_AFTER_S) sessionSeconds = 0;
    sender.add(reading);
  }
  store.setDraft(entry.item, null);
  showKept();
  if (study?.due(entry)) showEntry(entry);
  else goTo(firstUnread());
}

function whyNotSaved() {
  if (!chosen.verdict) return "Choose first whether the film is normal, abnormal or unsure.";
  return chosen.verdict === "abnormal" && !chosen.reason ? "An abnormal film needs a reason: press 1 to 8." : "";
}

function isSame(entered, reading) {
  return ["verdict", "reason", "comment", "findings", "boxes"].every(
    (name) => JSON.stringify(entered[name]) === JSON.stringify(reading[name] ?? (Array.isArray(entered[name]) ? [] : "")),
  );
}

// The server will never accept this reading: its film is shown again, with the reading as a draft.
async function reopen({ item, ...draft }, words) {
  const index = items.findIndex((entry) => entry.item === item);
  if (index === -1) return;
  keepDraft();
  store.setDraft(item, draft);
  if (study) await loadStudy().catch(() => study.forget(items[index], draft)); // another tab may have stored this stage
  else items[index].reading = null;
  goTo(study ? firstUnread() : index);
  showTrouble(`Film ${index + 1} was not saved. ${words} What you entered is kept here.`);
}

async function loadStudy() {
  items = (await ownItems()).items;
  study.open(items, store.queue);
}

async function escalate(reason) {
  const body = { item: items[at].item, reason };
  await withLogIn(async () => {
    await login.renew();
    await request(addresses.escalations, { method: "POST", body, csrf: csrf() });
  });
  showTrouble("");
  part("kept").textContent = "Escalated to the honest broker";
}

// What the page shows

function showTrouble(words) {
  part("trouble").textContent = words;
  part("trouble").hidden = !words;
}

function troubleWords({ message }, count) {
  const waiting = count === 1 ? "1 reading is" : `${count} readings are`;
  return `${message} ${waiting} kept in this browser, and sent as soon as the server takes ${count === 1 ? "it" : "them"}.`;
}

function showKept() {
  const waiting = store.queue.length;
  part("kept").textContent = waiting ? `${waiting} not saved yet` : "Saved";
}

function showProgress() {
  const read = items.filter(isRead).length;
  part("progress").value = read;
  part("place").textContent = at < items.length ? `Film ${at + 1} of ${items.length}` : `${read} of ${items.length} read`;
}

function showChosen() {
  for (const button of verdictButtons) button.setAttribute("aria-pressed", String(button.dataset.verdict === chosen.verdict));
  for (const button of reasonButtons) {
    button.setAttribute("aria-pressed", String(button.dataset.reason === chosen.reason));
    button.disabled = chosen.verdict === "normal" && button.dataset.reason === "true finding";
  }
  if (!study) {
    part("save-words").textContent = chosen.reason ? "Save as it is" : "Nothing to note";
    part("save").disabled = chosen.verdict === "abnormal" && !chosen.reason;
  }
  part("reasons").disabled = !chosen.verdict;
}

function showWhetherReady() {
  root.dataset.state = film.isReady ? "ready" : "loading";
  root.dataset.film = String(at);
  for (const button of verdictButtons) button.disabled = !film.isReady;
  study?.onShown();
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
  if (at <= 0 || study) return; // readings of a study are locked
  keepDraft();
  goTo(at - 1);
}

// The keys of the viewer are off while a dialog is open.
function setKeys(open) {
  film.keys = !open && !document.querySelector("dialog[open]");
}

function isTyping(target) {
  return Boolean(target.closest?.("input:not([type=range], [type=checkbox], [type=radio]), textarea, select, dialog[open]"));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || login.isOpen) return;
  const isInField = isTyping(event.target);
  if (isInField && event.key === "Escape" && !event.target.closest("dialog")) return leaveField(event);
  if (isInField && !(event.key === "Enter" && event.target.id === "findings")) return;
  const key = keyOf(event);
  if (key === "Enter" && event.target.closest("button, a, summary, [role=button]")) return;
  if (at < items.length && study?.onKey(key.toLowerCase(), event.repeat)) return event.preventDefault();
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
  study?.open(items, store.queue);
  for (const reading of study ? [] : store.queue) {
    const entry = items.find(({ item }) => item === reading.item);
    if (entry) entry.reading = reading;
  }
  const drafted = items.findIndex(({ item }) => item === store.lastDrafted);
  film.editBoxes([...part("finding-words").options].map(({ value }) => value), keepDraft);
  goTo(drafted === -1 || study ? firstUnread() : drafted);
  sender.flush();
}

login.addEventListener("opened", () => (clock.hold(), setKeys(true)));
login.addEventListener("closed", () => (clock.release(), setKeys(false)));
login.addEventListener("renewed", () => {
  sender.setCsrf(csrf());
  film.fetchAgain();
  study?.tryAgain();
  sender.flush();
});
for (const button of verdictButtons) button.addEventListener("click", () => choose(button.dataset.verdict));
for (const button of reasonButtons) button.addEventListener("click", () => giveReason(button.dataset.reason));
part("save")?.addEventListener("click", save);
part("back")?.addEventListener("click", goBack);
part("pause").addEventListener("click", () => dialogs.pause());
part("escalate").addEventListener("click", () => dialogs.escalate());
part("heatmap")?.addEventListener("click", () => film.toggleHeatmap());
for (const id of ["findings", "comment"]) part(id).addEventListener("input", keepDraft);
document.addEventListener("keydown", onKey, { capture: true });
window.addEventListener("pagehide", keepDraft);
start();
